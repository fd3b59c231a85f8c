"""Workers without Ray: who gets which work, what is begun again, and what is sent back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.generate.tiny import byte_tokenizer
from tests.generate.tiny import tiny_model as written_model
from tests.train.test_session import Watcher
from tests.train.tiny import SETTINGS, rows

from assay.errors import ConfigError, ModelError
from assay.models.load import load
from assay.place import workers as place_workers
from assay.place.workers import (
    MOST_LOSSES,
    News,
    Tell,
    Work,
    WorkerLostError,
    Workers,
)
from assay.train import adapters, many
from assay.train.checkpoints import Point
from assay.train.job import TrainingJob
from assay.train.many import train_many
from assay.train.sequences import alone
from assay.train.session import TrainResult, train_by_method


class InThisProcess:
    """A worker that does its work where it is asked for news."""

    ready = True

    def __init__(self, cluster: Workplace) -> None:
        self.cluster = cluster
        self.work: Work | None = None
        self.stopped = self.killed = False

    def begin(self, work: Work) -> None:
        self.work, self.stopped = work, False
        self.cluster.begun.append(work)

    def news(self) -> News:
        told: list[object] = []

        def tell(event: object) -> None:
            told.append(event)

        assert self.work is not None
        try:
            return News(told, done=True, result=self.work.run(tell))
        except Exception as error:
            return News(told, done=True, error=error)

    def stop(self) -> None:
        self.stopped = True

    def kill(self) -> None:
        self.killed = True


@dataclass
class Workplace:
    """Where those are had from."""

    begun: list[Work] = field(default_factory=list)
    started: list[InThisProcess] = field(default_factory=list)

    def start(self) -> InThisProcess:
        self.started.append(InThisProcess(self))
        return self.started[-1]

    def wait(self, workers: Sequence[Any], seconds: float) -> None:
        pass


@dataclass
class Square:
    """A number times itself."""

    number: int
    dies: int = 0

    def run(self, tell: Tell) -> int:
        tell(f"at {self.number}")
        if self.dies:
            self.dies -= 1
            raise WorkerLostError("a process of the cluster has died (killed).")
        if self.number < 0:
            raise ModelError("too small.")
        return self.number**2


def results(
    works: Sequence[Square], told: Callable[[int, object], None] = lambda place, event: None
) -> tuple[dict[int, Any], Workplace, list[str]]:
    """What came of works in two workers, and what was said."""
    cluster, watcher, found = Workplace(), Watcher(), dict[int, Any]()
    workers = Workers(cluster, 2, watcher)
    workers.run(works, told, lambda place, outcome: found.update({place: outcome}))
    workers.close()
    assert sum(one.killed for one in cluster.started) == 2
    return found, cluster, watcher.lines


def test_every_work_is_done_once_and_begun_again_where_its_process_died() -> None:
    told: list[tuple[int, object]] = []
    works = [Square(2), Square(3, dies=MOST_LOSSES), Square(-1), Square(5)]
    found, cluster, lines = results(works, lambda place, event: told.append((place, event)))
    assert {place: found[place] for place in (0, 1, 3)} == {0: 4, 1: 9, 3: 25}
    assert isinstance(found[2], ModelError)
    assert len(cluster.started) == 2 + MOST_LOSSES
    assert cluster.begun.count(works[1]) == 1 + MOST_LOSSES
    assert {place for place, _ in told} == {0, 1, 2, 3}
    assert len(lines) == MOST_LOSSES
    assert "begun again" in lines[0]
    with pytest.raises(WorkerLostError, match="4 times to the same work"):
        results([Square(1, dies=MOST_LOSSES + 1)])


def test_what_a_listener_raises_stops_that_work_alone() -> None:
    def told(place: int, event: object) -> None:
        if place == 0:
            raise ModelError("falls behind.")

    found, cluster, _ = results([Square(2), Square(3)], told)
    assert str(found[0]) == "falls behind."
    assert found[1] == 9
    assert [one.stopped for one in cluster.started] == [True, False]


def test_workers_that_were_left_at_their_work_are_not_sent_more() -> None:
    cluster = Workplace()
    workers = Workers(cluster, 2, Watcher())

    def ended(place: int, outcome: Any) -> None:
        if isinstance(outcome, Exception):
            raise outcome

    with pytest.raises(ModelError, match="too small"):
        workers.run([Square(-1), Square(2)], lambda place, event: None, ended)
    assert [one.killed for one in cluster.started] == [True, True]
    workers.run([Square(1)], lambda place, event: None, ended)
    assert len(cluster.started) == 3


def test_a_cluster_without_room_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InThisProcess, "ready", False)
    monkeypatch.setattr(place_workers, "STARTED_S", 1.0)
    with pytest.raises(ConfigError, match="no room for a single worker"):
        results([Square(1)])


@pytest.mark.parametrize("reached", [True, False])
def test_trainings_of_workers_are_those_of_this_process(
    reached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a worker reaches the folder of the training, or sends what it has made."""
    model = tmp_path / "base"
    written_model().save_pretrained(model)
    byte_tokenizer().save_pretrained(model)
    if not reached:
        monkeypatch.setattr(many, "_MARK", "no/such/file")
        monkeypatch.setattr(Path, "write_text", _unless(Path.write_text, "no/such/file"))
    points: dict[str, list[Point]] = {}

    def job(name: str, seed: int) -> TrainingJob:
        return TrainingJob(
            load(str(model)),
            alone(rows(6)),
            alone(rows(4, seed=1)),
            SETTINGS.model_copy(update={"epochs": 2, "seed": seed}),
            tmp_path / f"{name}-{seed}",
            compute="float32",
            on_point=lambda point, rates: points.setdefault(f"{name}-{seed}", []).append(point),
        )

    found: dict[int, TrainResult] = {}

    def ended(place: int, outcome: TrainResult | Exception) -> None:
        assert isinstance(outcome, TrainResult)
        found[place] = outcome

    train_many([job("many", 0), job("many", 1)], Workers(Workplace(), 2, Watcher()), ended)
    for seed in (0, 1):
        one = train_by_method(job("one", seed))
        assert found[seed].points == one.points
        assert points[f"many-{seed}"] == points[f"one-{seed}"]
        assert found[seed].adapter == tmp_path / f"many-{seed}" / "adapter"
        again = train_by_method(job("many", seed))  # is found, not trained
        assert again == found[seed]
        theirs = load_file(found[seed].adapter / adapters.WEIGHTS)
        for weight, value in load_file(one.adapter / adapters.WEIGHTS).items():
            assert torch.equal(theirs[weight], value)


def _unless(write: Callable[..., int], end: str) -> Callable[..., int]:
    def written(path: Path, *args: Any, **given: Any) -> int:
        return 0 if path.as_posix().endswith(end) else write(path, *args, **given)

    return written
