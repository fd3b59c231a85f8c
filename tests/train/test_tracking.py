"""TensorBoard's and MLflow's files of a training, read with their own readers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.train.test_session import Watcher
from tests.train.tiny import SETTINGS, rows, tiny_loaded, train

from assay.config import FineTune
from assay.errors import ConfigError
from assay.train.session import TrainResult
from assay.train.tracking import tracking

NAMES = {
    "loss",
    "validation_loss",
    "epoch",
    "learning_rate",
    "tokens_per_s",
    "effective_tokens_per_s",
    "sharing_saved",
    "memory_bytes",
}
Curves = dict[str, list[tuple[int, float]]]


def tensorboard(folder: Path) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard" / "run-1")).Reload()
    return {
        tag: [(event.step, event.value) for event in read.Scalars(tag)]
        for tag in read.Tags()["scalars"]
    }


def mlflow(folder: Path) -> Curves:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("assay")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["rank"] == str(SETTINGS.rank)
    return {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


READERS = {"tensorboard": tensorboard, "mlflow": mlflow}


def tracked(folder: Path, kinds: list[Any], **changes: Any) -> TrainResult:
    """A training of 10 rows, 2 epochs of 3 steps."""
    settings = SETTINGS.model_copy(update={"tracking": kinds})
    with tracking(settings, folder / "tracking", "run-1") as observe:
        return train(
            tiny_loaded(),
            rows(10),
            rows(4, seed=1),
            settings,
            folder / "work",
            compute="float32",
            on_point=observe,
            **{"checkpoint_seconds": 1e9, **changes},
        )


def check(curves: Curves, result: TrainResult) -> None:
    assert curves.keys() == NAMES
    for name, values in curves.items():
        steps = [step for step, _ in values]
        assert steps == ([3, 6] if name == "validation_loss" else [1, 2, 3, 4, 5, 6]), name
    losses = [point.train_loss for point in result.points]
    assert [value for _, value in curves["loss"]] == pytest.approx(losses)
    checks = [p.validation_loss for p in result.points if p.validation_loss is not None]
    assert [value for _, value in curves["validation_loss"]] == pytest.approx(checks)
    assert min(value for _, value in curves["effective_tokens_per_s"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", READERS)
def test_every_point_is_written_once_though_the_run_is_interrupted(
    tmp_path: Path, kind: str
) -> None:
    def stop_at_5(done: float) -> None:
        if done == 5:
            raise RuntimeError("killed")  # no checkpoint since the epoch's end: 4, 5 come again

    with pytest.raises(RuntimeError):
        tracked(tmp_path, [kind], progress=Watcher(stop_at_5))
    watcher = Watcher()
    result = tracked(tmp_path, [kind], progress=watcher)
    assert watcher.lines == ["Continuing after step 3 of 6."]
    check(READERS[kind](tmp_path / "tracking"), result)


@pytest.mark.slow
def test_a_record_cut_short_by_a_kill_is_written_again(tmp_path: Path) -> None:
    def stop_at_5(done: float) -> None:
        if done == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        tracked(tmp_path, ["tensorboard"], progress=Watcher(stop_at_5))
    (file,) = (tmp_path / "tracking" / "tensorboard" / "run-1").iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    result = tracked(tmp_path, ["tensorboard"])
    curves = tensorboard(tmp_path / "tracking")
    assert [step for step, _ in curves["loss"]] == [1, 2, 3, 4, 5, 6]
    losses = [point.train_loss for point in result.points]
    assert [value for _, value in curves["loss"]] == pytest.approx(losses)


@pytest.mark.parametrize("kind", READERS)
def test_a_missing_package_is_named_before_anything_is_done(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(ConfigError, match=r"pip install 'assay\[tracking\]'"):
        tracked(tmp_path, [kind])
    assert list(tmp_path.iterdir()) == []


_OPENED = """
import sys
from pathlib import Path
from assay.config import FineTune
from assay.train.tracking import _MLflow
_MLflow(Path(sys.argv[1]) / "mlflow.db", "run-1", FineTune()).close(finished=True)
"""


@pytest.mark.slow
def test_mlflow_logs_nothing_of_its_own(tmp_path: Path) -> None:
    """In a process of its own: it reads how much to log when it is imported."""
    pytest.importorskip("mlflow")
    command = [sys.executable, "-c", _OPENED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (tmp_path / "mlflow.db").exists()
    assert (done.stdout, done.stderr) == ("", "")


def test_without_tracking_nothing_is_written(tmp_path: Path) -> None:
    with tracking(FineTune(), tmp_path / "tracking", "run-1"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_where_the_curve_is_written_changes_nothing_in_the_training(tmp_path: Path) -> None:
    first = tracked(tmp_path, [])
    assert tracked(tmp_path, ["tensorboard"]) == first  # finished: the same run, not another
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
