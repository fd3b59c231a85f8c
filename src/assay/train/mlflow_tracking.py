"""The training curve for MLflow, in a file of this machine or at a server.

Which server is said by a variable of the environment, as MLflow's own tools read it: a setting of a
project cannot send anything to an address of its choice.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from assay.config import CONFIG_FILE
from assay.errors import ConfigError

ADDRESS = "MLFLOW_TRACKING_URI"
_WAIT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
"""A training does not wait for minutes until a server is back."""


def check_address() -> None:
    """Refuse a server that the environment does not name, or names with a password: the client
    writes the address into its errors.

    Raises:
        ConfigError: it does so.
    """
    address = os.environ.get(ADDRESS, "")
    if re.search(r"//[^/\s]*@", address):
        raise ConfigError(
            f"{ADDRESS} contains a user or a password.",
            where=f"{CONFIG_FILE}, fine_tune.tracking",
            fix="Take it out of the address, and set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD.",
        )
    if not address.startswith(("http://", "https://", "databricks")):
        raise ConfigError(
            f"mlflow-server needs {ADDRESS}, the address of an MLflow server.",
            where=f"{CONFIG_FILE}, fine_tune.tracking",
            fix="Set it in the environment, or use mlflow, which writes a local file.",
        )


class MLflowTracker:
    """A run of an MLflow client's experiment `assay`, which the same name goes on with."""

    def __init__(
        self, client: Any, run: str, settings: Mapping[str, Any], artifacts: str | None = None
    ) -> None:
        self._client = client
        known = client.get_experiment_by_name("assay")
        experiment = (
            known.experiment_id
            if known
            else client.create_experiment("assay", artifact_location=artifacts)
        )
        named = f"attributes.run_name = '{run}'"
        found = client.search_runs([experiment], filter_string=named, max_results=1)
        if found:
            self._run = found[0].info.run_id
            client.update_run(self._run, status="RUNNING")
        else:
            self._run = client.create_run(experiment, run_name=run).info.run_id
            for key, value in settings.items():
                client.log_param(self._run, key, value)

    @classmethod
    def local(cls, database: Path, run: str, settings: Mapping[str, Any]) -> MLflowTracker:
        """In a file of this machine."""
        _quiet()
        from mlflow import MlflowClient

        database.parent.mkdir(parents=True, exist_ok=True)
        url = URL.create("sqlite", database=str(database.absolute())).render_as_string()
        artifacts = database.with_name("mlflow").absolute().as_uri()
        return cls(MlflowClient(tracking_uri=url), run, settings, artifacts)

    @classmethod
    def of_server(cls, run: str, settings: Mapping[str, Any]) -> MLflowTracker:
        """At the server, which is asked for seconds and not for minutes."""
        _quiet()
        for name, value in _WAIT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        return cls(MlflowClient(tracking_uri=os.environ[ADDRESS]), run, settings)

    def last_step(self, name: str) -> int:
        history = self._client.get_metric_history(self._run, name)
        return max((metric.step for metric in history), default=-1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._run, status="FINISHED" if finished else "KILLED")


def _quiet() -> None:
    """Read at import: it would report its use over the network, and log between our own lines."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
