"""Workers without Ray: who gets which work, what is begun again, and what is sent back."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file
from tests.generate.tiny import byte_tokenizer
from tests.generate.tiny import tiny_model as written_model
from tests.train.test_session import Watcher
from tests.train.tiny import SETTINGS, rows

from assay.agent.agent import Agent
from assay.candidates.shared import many_trainings, tuning
from assay.config import FineTuneSection, Place
from assay.errors import ConfigError, ModelError
from assay.evaluate import worker_answers
from assay.models.load import load
from assay.place import scratch
from assay.place import workers as place_workers
from assay.place.opening import LazyWorkers
from assay.place.ray import workers as ray_workers
from assay.place.scratch import scratch_folder
from assay.place.workers import (
    MOST_LOSSES,
    News,
    Tell,
    WorkerLostError,
    Workers,
    WorkItem,
)
from assay.progress import SILENT, Progress
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
        self.work: WorkItem | None = None
        self.stopped = self.killed = False

    def begin(self, work: WorkItem) -> None:
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

    begun: list[WorkItem] = field(default_factory=list)
    started: list[InThisProcess] = field(default_factory=list)
    leaving: list[bool] = field(default_factory=list)

    away: Sequence[str] = ()

    def elsewhere(self) -> Sequence[str]:
        return self.away

    def start(self, *, may_leave: bool) -> InThisProcess:
        self.leaving.append(may_leave)
        self.started.append(InThisProcess(self))
        return self.started[-1]

    def wait(self, workers: Sequence[Any], seconds: float) -> None:
        pass


@dataclass
class Square:
    """A number times itself."""

    number: int
    dies: int = 0
    kept_bytes: int = 100

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

    jobs = [replace(job("many", seed), beside=2) for seed in (0, 1)]
    train_many(jobs, Workers(Workplace(), 2, Watcher()), ended)
    for seed in (0, 1):
        assert found[seed].beside == 2
        one = train_by_method(job("one", seed))
        assert found[seed].points == one.points
        assert points[f"many-{seed}"] == points[f"one-{seed}"]
        assert found[seed].adapter == tmp_path / f"many-{seed}" / "adapter"
        again = train_by_method(job("many", seed))  # is found, not trained
        assert again == found[seed]
        assert one.beside == 1
        theirs = load_file(found[seed].adapter / adapters.WEIGHTS)
        for weight, value in load_file(one.adapter / adapters.WEIGHTS).items():
            assert torch.equal(theirs[weight], value)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Place, Workplace], LazyWorkers]]:
    """Opens workers of a place, on a workplace that is told which machines there are."""
    with ExitStack() as stack:

        def open_(place: Place, workplace: Workplace) -> LazyWorkers:
            @contextmanager
            def workers(
                count: int, threads: int, gpus: int, progress: Progress
            ) -> Iterator[Workers]:
                yield Workers(workplace, count, progress)

            monkeypatch.setattr(ray_workers, "workers", workers)
            return LazyWorkers(place, 0, SILENT, stack)

        yield open_


def test_nothing_leaves_without_consent_be_it_to_machines_that_join_later(
    opened: Callable[[Place, Workplace], LazyWorkers],
) -> None:
    trains = Place(on="ray", consent=True)
    both = trains.model_copy(update={"consent_to_answer": True})
    several = Workplace(away=["10.0.0.3"])
    with pytest.raises(ConfigError, match="5 rows of train and validation"):
        opened(Place(on="ray"), several).to_train(5)
    for place in (Place(on="ray"), trains):
        with pytest.raises(ConfigError, match="7 requests"):
            opened(place, several).to_answer(7)
    with pytest.raises(ConfigError, match="texts of its documents"):
        opened(both, several).to_embed()
    with pytest.raises(ConfigError, match="texts of its documents"):
        opened(both, several).to_train(5, documents=True)
    assert several.started == []

    def leaving(place: Place, asks: Sequence[str]) -> list[bool]:
        workplace = Workplace()
        workers = opened(place, workplace)
        for ask in asks:
            found = getattr(workers, ask)(*([] if ask == "to_embed" else [1]))
            found.run([Square(1)], lambda place, event: None, lambda place, outcome: None)
        return workplace.leaving

    assert leaving(Place(on="ray"), ["to_train", "to_answer"]) == [False]
    assert leaving(trains, ["to_train", "to_answer"]) == [True, False]
    assert leaving(both, ["to_train", "to_answer"]) == [True]
    assert leaving(both, ["to_train", "to_embed"]) == [True, False]
    embeds = Place(on="ray", consent_for_documents=True)
    assert leaving(embeds, ["to_embed", "to_train"]) == [True, False]
    with pytest.raises(ConfigError, match="5 parts of documents would go"):
        opened(embeds, several).to_train(5, documents=True)
    joined = Workplace()
    workers = opened(trains, joined)
    workers.to_train(1)
    joined.away = ["10.0.0.3"]
    with pytest.raises(ConfigError, match="1 request,"):
        workers.to_answer(1)


def test_workers_without_consent_are_bound_to_this_machine_and_what_was_told_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a Ray that only notes what it is asked for."""
    asked: list[dict[str, Any]] = []

    class Actor:
        def __getattr__(self, name: str) -> Any:
            return SimpleNamespace(remote=lambda *given: name)

    def options(**given: Any) -> Any:
        asked.append(given)
        return SimpleNamespace(remote=lambda gpus: Actor())

    def get(reference: str) -> Any:
        if reference == "told":
            return ["an epoch"]
        raise ValueError("exploded.")

    ray = SimpleNamespace(
        remote=lambda kind: SimpleNamespace(options=options),
        wait=lambda references, timeout: (references, []),
        get=get,
        kill=_exploding,
        nodes=lambda: [{"NodeManagerAddress": "10.0.0.3", "Alive": True}],
        util=SimpleNamespace(get_node_ip_address=lambda: "10.0.0.1"),
        exceptions=SimpleNamespace(RayActorError=OSError, RayTaskError=KeyError),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)
    cluster = ray_workers._Cluster(1, 0)
    assert list(cluster.elsewhere()) == ["10.0.0.3"]
    cluster.start(may_leave=False)
    worker = cluster.start(may_leave=True)
    assert [one["resources"] for one in asked] == [{"node:10.0.0.1": 0.001}, {}]
    worker.begin(Square(1))
    news = worker.news()
    assert (news.told, news.done, str(news.error)) == (["an epoch"], True, "exploded.")
    # Where the cluster itself has died, what was raised is still said, and all are let go.
    workers = Workers(cluster, 2, Watcher())
    with pytest.raises(ValueError, match="exploded"):
        workers.run([Square(1)], lambda place, event: None, raised)
    assert workers._all == []


def _exploding(actor: object, *, no_restart: bool) -> None:
    raise Exception("the cluster has died.")


def raised(place: int, outcome: Any) -> None:
    """Raises what a work has raised."""
    if isinstance(outcome, Exception):
        raise outcome


def test_what_workers_hold_is_not_counted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(Workplace(), 2, Watcher())
    assert workers.held(2) == 0
    works = [Square(1, kept_bytes=70), Square(2, kept_bytes=50)]
    workers.run(works, lambda place, event: None, raised)
    assert (workers.held(2), workers.held(1)) == (120, 70)
    engine: Any = SimpleNamespace(model=SimpleNamespace(device=torch.device("cpu")))
    monkeypatch.setattr(worker_answers, "available_bytes", lambda device: 80)
    worker_answers._check_memory(engine, 100, workers)
    with pytest.raises(ConfigError, match="2 workers on this machine would load"):
        worker_answers._check_memory(engine, 101, workers)
    workers.close()
    assert workers.held(2) == 0


def test_a_training_that_is_refused_stops_no_other(tmp_path: Path) -> None:
    """A rank that the model cannot have is a trial that has failed, as in one process."""
    model = tmp_path / "base"
    written_model().save_pretrained(model)
    byte_tokenizer().save_pretrained(model)
    loaded, found = load(str(model)), dict[int, TrainResult | Exception]()
    fits = SETTINGS.model_copy(update={"epochs": 1})
    refused = fits.model_copy(update={"rank": 2**24})
    jobs = [
        TrainingJob(loaded, alone(rows(4)), alone(rows(2)), one, tmp_path / str(one.rank))
        for one in (refused, fits)
    ]
    workers = Workers(Workplace(), 2, Watcher())
    train_many(jobs, workers, lambda place, outcome: found.update({place: outcome}))
    assert isinstance(found[0], ModelError)
    assert isinstance(found[1], TrainResult)


@pytest.mark.parametrize(("documents", "why"), [(False, "workers cannot"), (True, "each goes on")])
def test_what_workers_cannot_train_is_trained_here(documents: bool, why: str) -> None:
    watcher = Watcher()
    workers = SimpleNamespace(count=2)  # nothing is asked of them, and no model loaded
    context: Any = SimpleNamespace(
        bench=SimpleNamespace(workers=workers),
        config=SimpleNamespace(fine_tune=FineTuneSection(graded_rows=5)),
        progress=watcher,
        own_method=None,
        documents_first=documents,
    )
    many_trainings.train_ahead([context, context])
    (line,) = watcher.lines
    assert line.startswith(f"Trained in this process, one version after the other: {why}")


@pytest.mark.parametrize(("reference", "charged"), [(False, 18.0), (True, 14.0)])
def test_trainings_that_ran_beside_each_other_are_charged_once(
    reference: bool, charged: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seeds of 10 s by two workers at once are 10 s of the machine; what a teacher took is not
    shared, what the base's log-probabilities took is."""
    result = SimpleNamespace(
        seconds=10.0, preparation_seconds=4.0, points=(), rewards=(), best_step=1, beside=2
    )
    monkeypatch.setattr(tuning, "train_version", lambda context, asked: ("one", result))
    monkeypatch.setattr(tuning, "train_ahead", lambda contexts: None)
    measurement = SimpleNamespace(score=0.5, primary_scores=[0.0, 1.0])
    chosen = SimpleNamespace(measurement=measurement, agent=None, tried=())
    settings = FineTuneSection(seeds=2)
    context: Any = SimpleNamespace(
        config=SimpleNamespace(fine_tune=settings, primary="exact", model="tiny"),
        bench=SimpleNamespace(engines=SimpleNamespace(is_served=lambda model: False)),
        method=SimpleNamespace(reference=reference, reinforces=False),
        documents_first=False,
        measure=lambda agent: None,
        choose_constraint=lambda agent, measured: chosen,
    )
    context.with_training = lambda seed: context
    made = tuning.tune(context, lambda version: Agent(model=version))
    assert made.setup_seconds == charged


def test_folders_of_killed_workers_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "_YOUNG_S", -1.0)
    for name in ("left", "held"):
        (tmp_path / f"assay-training-{name}").mkdir()
    held = tmp_path / "assay-training-held"
    with FileLock(held / "scratch.lock"), scratch_folder("training") as own:
        assert {*tmp_path.iterdir()} == {held, own}
    assert [path.name for path in tmp_path.iterdir()] == ["assay-training-held"]


def _unless(write: Callable[..., int], end: str) -> Callable[..., int]:
    def written(path: Path, *args: Any, **given: Any) -> int:
        return 0 if path.as_posix().endswith(end) else write(path, *args, **given)

    return written
