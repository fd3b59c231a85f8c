"""TensorBoard's and MLflow's files of a training, read with their own readers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import pytest
from tests.train.test_session import Watcher
from tests.train.tiny import SETTINGS, rows, tiny_loaded, train

from assay.config import FineTune
from assay.errors import ConfigError
from assay.train import tracking as tracking_module
from assay.train.checkpoints import Point
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
from assay.train.mlflow_tracking import MLflowTracker
MLflowTracker.local(Path(sys.argv[1]) / "mlflow.db", "run-1", {"rank": 2}).close(finished=True)
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


class _Server(BaseHTTPRequestHandler):
    """As much of MLflow's REST API as a curve needs, of one experiment and one run."""

    requests: ClassVar[list[str]]
    metrics: ClassVar[dict[str, list[dict[str, Any]]]]
    params: ClassVar[dict[str, str]]
    runs: ClassVar[list[dict[str, Any]]]
    broken: ClassVar[bool]

    def _answer(self) -> None:
        path = self.path.partition("?")[0].rpartition("/mlflow/")[2]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        given = json.loads(body) if body else dict(parse_qsl(self.path.partition("?")[2]))
        self.requests.append(path)
        if self.broken:
            self._send({"error_code": "BAD_REQUEST", "message": "disk full"}, 400)
            return
        if path == "runs/create":
            self.runs.append({"info": {"run_id": "r", "run_uuid": "r", "experiment_id": "7"}})
        if path == "runs/log-parameter":
            self.params[given["key"]] = given["value"]
        for metric in given.get("metrics", []):
            self.metrics.setdefault(metric["key"], []).append(metric)
        answers: dict[str, dict[str, Any]] = {
            "experiments/get-by-name": {"experiment": {"experiment_id": "7", "name": "assay"}},
            "runs/search": {"runs": self.runs},
            "metrics/get-history": {"metrics": self.metrics.get(given.get("metric_key", ""), [])},
        }
        first = self.runs[0] if self.runs else {"info": {}}
        self._send(answers.get(path, {"run": first, "run_info": first["info"]}))

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815

    def _send(self, body: dict[str, Any], status: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Server]]:
    kind = type(
        "Server",
        (_Server,),
        {"requests": [], "metrics": {}, "params": {}, "runs": [], "broken": False},
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as listening:
        thread = Thread(target=listening.serve_forever)
        thread.start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listening.server_port}")
        yield kind
        listening.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_server_gets_every_point_once_and_no_prompt(
    tmp_path: Path, server: type[_Server]
) -> None:
    def stop_at_5(done: float) -> None:
        if done == 5:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        tracked(tmp_path, ["mlflow-server"], progress=Watcher(stop_at_5))
    result = tracked(tmp_path, ["mlflow-server"])
    check(
        {
            name: [(int(m["step"]), float(m["value"])) for m in found]
            for name, found in server.metrics.items()
        },
        result,
    )
    assert server.params["rank"] == str(SETTINGS.rank)
    assert "system_prompt" not in server.params
    assert server.requests[-1] == "runs/update"


@pytest.mark.slow
def test_a_server_that_fails_does_not_end_the_training(
    tmp_path: Path, server: type[_Server]
) -> None:
    server.broken = True
    watcher = Watcher()
    settings = SETTINGS.model_copy(update={"tracking": ["mlflow-server"]})
    with tracking(settings, tmp_path, "run-1", watcher) as observe:
        observe(Point(1, 0.1, 2.0), {})
        observe(Point(2, 0.2, 1.5), {})
    [line] = watcher.lines
    assert line.startswith("mlflow-server takes no values (")
    assert "disk full" in line
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "needs MLFLOW_TRACKING_URI"),
        ("https://robot:hunter2@mlflow.example", "contains a user or a password"),
    ],
)
def test_a_server_that_nobody_names_is_asked_for_and_one_with_a_password_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(ConfigError, match=said) as refused:
        tracked(tmp_path, ["mlflow-server"])
    assert "hunter2" not in str(refused.value)


def test_an_error_of_a_client_says_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no answer from https://robot:hunt@er2@mlflow.example/api for run-1")

    monkeypatch.setattr(tracking_module, "_check", lambda name: None)
    monkeypatch.setattr(tracking_module, "_open", fail)
    watcher = Watcher()
    settings = SETTINGS.model_copy(update={"tracking": ["mlflow-server"]})
    with tracking(settings, tmp_path, "run-1", watcher) as observe:
        observe(Point(1, 0.1, 2.0), {})
    [line] = watcher.lines
    assert "https://mlflow.example/api" in line
    assert not any(part in line for part in ("robot", "hunt", "er2"))


def test_weights_and_biases_is_told_to_collect_nothing_and_keeps_runs_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs in one process, as workers train them; the client itself is checked below."""
    begun: list[dict[str, Any]] = []

    def init(**given: Any) -> Any:
        begun.append(given)
        return SimpleNamespace(summary={}, define_metric=lambda *_, **__: None)

    fake = SimpleNamespace(Settings=lambda **given: given, init=init)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for run in ("run-1", "run-2"):
        tracking_module._open("wandb", SETTINGS, tmp_path, run)
    assert [one["id"] for one in begun] == ["run-1", "run-2"]
    for one in begun:
        said = one["settings"]
        assert (said["reinit"], said["host"]) == ("create_new", "")
        assert said["x_disable_meta"]
        assert said["x_disable_stats"]
        assert "system_prompt" not in one["config"]


@pytest.mark.slow
def test_weights_and_biases_gets_the_curve_and_nothing_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracked(tmp_path, ["wandb"])
    [file] = (tmp_path / "tracking" / "wandb").glob("offline-run-*/run-run-1.wandb")
    for _ in range(100):  # its own process writes on for a moment
        written = file.read_bytes()
        if written.count(b"validation_loss") >= 2:
            break
        time.sleep(0.1)
    assert written.count(b"sharing_saved") >= 6
    assert written.count(b"validation_loss") >= 2
    assert b"system_prompt" not in written
    assert str(Path.cwd()).encode() not in written
    assert socket.gethostname().encode() not in written
    assert not list(file.parent.glob("files/*"))
