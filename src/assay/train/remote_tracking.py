"""The training curve at a server: MLflow's, or Weights & Biases.

Which one is said by variables of the environment, as their own tools read them: a setting of a
project cannot send anything to an address of its choice. Sent are the curve, the name of the run
and the settings but for the prompt; no row is.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.config import CONFIG_FILE, FineTune
from assay.errors import ConfigError

MLFLOW_ADDRESS = "MLFLOW_TRACKING_URI"
_WAIT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""A training does not wait for minutes until a server is back."""
_PRIVATE = {"system_prompt", "tracking"}
_LOGIN = re.compile(r"//[^/\s]*@")


def check_address(name: str) -> None:
    """Refuse a server that the environment does not name, or names with a password: clients write
    the address into their errors.

    Raises:
        ConfigError: it does so.
    """
    address = os.environ.get(MLFLOW_ADDRESS, "")
    if name == "mlflow-server" and _LOGIN.search(address):
        raise ConfigError(
            f"{MLFLOW_ADDRESS} contains a user or a password.",
            where=f"{CONFIG_FILE}, fine_tune.tracking",
            fix="Take it out of the address, and set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD.",
        )
    if name == "mlflow-server" and not address.startswith(("http://", "https://", "databricks")):
        raise ConfigError(
            f"mlflow-server needs {MLFLOW_ADDRESS}, the address of an MLflow server.",
            where=f"{CONFIG_FILE}, fine_tune.tracking",
            fix="Set it in the environment, or use mlflow, which writes a local file.",
        )


def without_login(text: str) -> str:
    """A text without what addresses in it say of users and passwords."""
    return _LOGIN.sub("//", text)


def shared_settings(settings: FineTune) -> dict[str, Any]:
    """The settings that a server is told, JSON-ready."""
    return settings.model_dump(mode="json", exclude=_PRIVATE)


def mlflow_client() -> Any:
    """A client of the server, which asks it for seconds and not for minutes."""
    quiet_mlflow()
    for name, value in _WAIT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=os.environ[MLFLOW_ADDRESS])


def quiet_mlflow() -> None:
    """Read at import: it would report its use over the network, and log between our own lines."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")


class WandbTracker:
    """A run of Weights & Biases, which the same name goes on with.

    Offline (`WANDB_MODE=offline`) each process writes a folder of its own, with the whole curve.
    """

    def __init__(self, folder: Path, run: str, settings: FineTune) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            save_code=False,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
            host="",
            reinit="create_new",  # several trainings are told from this process at once
        )
        self._run: Any = wandb.init(
            project="assay",
            id=run,
            name=run,
            resume="allow",
            dir=str(folder),
            config=shared_settings(settings),
            settings=quiet,
        )
        self._run.define_metric("*", step_metric="step")
        known = self._run.summary.get("written")
        self._written = {} if known is None else dict(known)

    def last_step(self, name: str) -> int:
        """What the run's own summary says of it."""
        return int(self._written.get(name, -1))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Handed to the run's own process, which sends it."""
        self._run.log({"step": step, **values})
        self._written |= dict.fromkeys(values, step)
        self._run.summary["written"] = dict(self._written)

    def close(self, *, finished: bool) -> None:
        """Waits until all is sent."""
        self._run.finish(exit_code=0 if finished else 1)


def now_ms() -> int:
    """Milliseconds since 1970, as MLflow counts time."""
    return int(1000 * time.time())
