"""The training curve at Weights & Biases, or at a server of one's own that speaks like it.

Which one is said by variables of the environment, as its own tool reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class WandbTracker:
    """A run of Weights & Biases, which the same name goes on with.

    Offline (`WANDB_MODE=offline`) each process writes a folder of its own, with the whole curve.
    """

    def __init__(self, folder: Path, run: str, settings: Mapping[str, Any]) -> None:
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
            config=dict(settings),
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
