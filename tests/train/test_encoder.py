"""A training: it goes on to the same weights, and keeps no pickle on the way."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from tests.generate.test_classical import examples
from tests.models.tiny_cross_encoder import write_cross_encoder
from tests.models.tiny_embedder import write_embedder
from torch import nn

from assay.errors import DataError, ModelError
from assay.example import Example
from assay.models.embed import (
    Embedder,
    Reranker,
    SentenceModel,
    load_embedder,
    load_reranker,
)
from assay.models.tuned_encoder import keep_tuned, open_embedder, open_reranker
from assay.progress import SILENT, Progress
from assay.store.store import Store
from assay.train import checkpoints
from assay.train.encoder import loop
from assay.train.encoder.job import EncoderJob, EncoderSettings, learning_rate
from assay.train.encoder.label_pairs import LabelPairs
from assay.train.encoder.labels import Labels
from assay.train.encoder.loop import EncoderRun
from assay.train.encoder.objective import Objective
from assay.train.encoder.passage_pairs import PassagePairs
from assay.train.encoder.passages import Passages, PassageText, Question, Questions
from assay.train.encoder.session import EncoderResult, train_encoder

SETTINGS = EncoderSettings(epochs=4, rows_per_step=8, learning_rate=1e-2)
STEPS = 3  # of an epoch
Model = TypeVar("Model", bound=SentenceModel)
ROWS = examples(each=8)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Embedder:
    return with_dropout(load_embedder(str(write_embedder(tmp_path_factory.mktemp("embedder")))))


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Reranker:
    return with_dropout(load_reranker(str(write_cross_encoder(tmp_path_factory.mktemp("reads")))))


def with_dropout(made: Model) -> Model:
    """Which has to be drawn again as it was."""
    for module in made._model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.2
    return made


LABELS = Labels(ROWS, examples(each=3))
PAIRS = LabelPairs(ROWS[:12], examples(each=3), each=1, judged_each=1)


def questions(kind: type[Questions], *wrong: str) -> Any:
    """The label as the document that answers, in as many steps as the labels.

    Args:
        wrong: labels that are negatives of every question.
    """

    def passage(label: str) -> PassageText:
        return PassageText(label, f"the {label}")

    return kind(
        *(
            [
                Question(row.input, passage(row.output), tuple(map(passage, wrong)), (row.output,))
                for row in rows
            ]
            for rows in (examples(each=8 // (1 + len(wrong))), examples(each=3))
        )
    )


def job_of(
    base: SentenceModel,
    folder: Path,
    progress: Progress = SILENT,
    objective: Objective[Any] = LABELS,
) -> EncoderJob:
    return EncoderJob(base, objective, SETTINGS, folder / "work", progress)


def train(job: EncoderJob) -> EncoderResult:
    return train_encoder(job, Store(job.folder.parent / "state"))


@dataclass
class Stopping:
    """Ends the process' work at a step: by Ctrl-C, or as a kill would, without a word."""

    at: int
    kind: str
    kept: Path
    said: list[str] = field(default_factory=list)
    steps: int = 0

    def bring_run(self, folder: Path) -> None:
        if self.kept.exists():
            shutil.copytree(self.kept, folder, dirs_exist_ok=True)

    def keep_run(
        self, folder: Path, files: Mapping[str, Path], *, is_left: Callable[[], bool]
    ) -> None:
        for name, file in files.items() if is_left() else ():
            (self.kept / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, self.kept / name)
        if self.kind == "last save" and self.steps == self.at:
            os.kill(os.getpid(), signal.SIGINT)

    def say(self, line: str) -> None:
        self.said.append(line)

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Stopping]:
        yield self

    def advance(self, amount: float = 1, **info: object) -> None:
        self.steps += bool(amount)
        if self.steps == self.at and self.kind != "last save":
            if self.kind == "kill":
                raise SystemExit
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("base", "objective", "kind", "goes_on"),
    [
        ("embedder", LABELS, "kill", STEPS),
        ("embedder", LABELS, "ctrl-c", STEPS + 2),
        ("embedder", LABELS, "last save", 4 * STEPS),
        ("embedder", PAIRS, "ctrl-c", STEPS + 2),
        ("embedder", questions(Passages), "ctrl-c", STEPS + 2),
        ("reranker", questions(PassagePairs, "other"), "kill", STEPS),
        ("reranker", questions(PassagePairs, "other"), "ctrl-c", STEPS + 2),
    ],
)
def test_a_stopped_training_goes_on_to_the_same_weights(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    base: str,
    objective: Objective[Any],
    kind: str,
    goes_on: int,
) -> None:
    def job(name: str, progress: Progress = SILENT) -> EncoderJob:
        return job_of(request.getfixturevalue(base), tmp_path / name, progress, objective)

    whole = train(job("whole"))
    kept = tmp_path / "kept"  # at once, where the work is left: another machine has nothing else
    stopping = Stopping(4 * STEPS if kind == "last save" else STEPS + 2, kind, kept)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(job("stopped", stopping))
    left = [path for path in (tmp_path / "stopped" / "work").rglob("*") if path.is_file()]
    assert {path.suffix for path in left} == {".safetensors", ".json"}
    again, place = Stopping(-1, kind, kept), "elsewhere" if kind == "ctrl-c" else "stopped"
    finished = train(job(place, again))
    assert again.said == [f"Continuing after step {goes_on} of {4 * STEPS}."]
    assert (finished.name, finished.points) == (whole.name, whole.points)
    assert not list((tmp_path / place / "work").rglob("*.safetensors"))
    steps = again.steps
    assert train(job(place, again)) == finished
    assert again.steps == steps


def test_it_learns_and_leaves_the_embedder_as_it_was(embedder: Embedder, tmp_path: Path) -> None:
    texts = [row.input for row in ROWS]
    before = embedder.encode(texts)
    job = job_of(embedder, tmp_path)
    result = train(job)
    losses = [p.validation_loss for p in result.points if p.validation_loss is not None]
    assert losses[-1] < losses[0]
    tuned = open_embedder(result.name, Store(tmp_path / "state"))
    assert (embedder.encode(texts) == before).all()
    assert np.abs(tuned.encode(texts) - before).max() > 0.01
    own, base = (dict(one._model.named_parameters()) for one in (tuned, embedder))
    same = [name for name in own if (own[name] == base[name]).all()]
    assert [name for name in same if "embeddings" in name and "LayerNorm" not in name]
    assert open_embedder(result.name, Store(tmp_path / "state")) is tuned


def test_a_trained_cross_encoder_is_another_and_knows_the_one_it_belongs_to(
    reranker: Reranker, tmp_path: Path
) -> None:
    texts = [f"the {label}" for label in ("card", "fee", "other")]
    before = reranker.scores("bank card lost", texts)
    result = train(job_of(reranker, tmp_path, objective=questions(PassagePairs, "other")))
    store = Store(tmp_path / "state")
    tuned = open_reranker(result.name, store)
    assert np.abs(np.subtract(tuned.scores("bank card lost", texts), before)).max() > 0.01
    assert reranker.scores("bank card lost", texts) == before
    assert tuned.identity != reranker.identity
    assert open_reranker(result.name, store) is tuned
    with pytest.raises(ModelError, match="trained embedder"):
        open_embedder(result.name, store)
    other = write_cross_encoder(tmp_path / "other")
    kept = keep_tuned(store, load_reranker(str(other)), {})
    write_cross_encoder(other, seed=1)
    with pytest.raises(ModelError, match="not the one that was trained"):
        open_reranker(kept, store)


@pytest.mark.parametrize(
    ("evaluations", "kept_at", "ended_at"), [(1, 2 * STEPS, 4 * STEPS), (2, 3, 6), (3, 2, 4)]
)
def test_the_best_measurement_is_kept_and_patience_ends_it(
    embedder: Embedder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    evaluations: int,
    kept_at: int,
    ended_at: int,
) -> None:
    losses = iter([0.5, 0.4, 0.6, 0.7])
    monkeypatch.setattr(EncoderRun, "validation_loss", lambda _: next(losses))
    monkeypatch.setattr(checkpoints, "clear", lambda _: None)
    settings = replace(SETTINGS, evaluations=evaluations)
    result = train(replace(job_of(embedder, tmp_path), settings=settings))
    assert (result.best_step, result.points[-1].step) == (kept_at, ended_at)
    [folder] = (tmp_path / "work").iterdir()
    best = checkpoints.read_weights(folder, kept_at)
    tuned = dict(open_embedder(result.name, Store(tmp_path / "state"))._model.named_parameters())
    kept = {name.removeprefix("body."): w for name, w in best.items() if name.startswith("body.")}
    assert kept
    assert all((tuned[name] == weights).all() for name, weights in kept.items())


def test_what_does_not_fit_in_memory_is_refused_before_it_starts(
    embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "available_bytes", lambda _: 10_000)
    with pytest.raises(ModelError, match="smaller"):
        train(job_of(embedder, tmp_path))
    assert not (tmp_path / "work").exists()


def test_rows_of_weight_0_teach_nothing(embedder: Embedder, tmp_path: Path) -> None:
    wrong = [Example.of(row.input, "fee", weight=0.0) for row in ROWS]
    rows = Labels([*ROWS, *wrong], examples(each=3))
    job = EncoderJob(embedder, rows, SETTINGS, tmp_path / "work")
    run = EncoderRun(job, tmp_path / "run", "")
    assert len(run.rows) == len(ROWS)


def test_a_training_without_rows_is_refused(embedder: Embedder, tmp_path: Path) -> None:
    unheard = Question("card lost", PassageText("card", "card"), (), ("card",), weight=0.0)
    job = EncoderJob(embedder, Passages([unheard], []), SETTINGS, tmp_path / "work")
    with pytest.raises(DataError, match="no row is left"):
        train(job)


def test_a_larger_embedder_learns_by_smaller_steps() -> None:
    rates = [learning_rate(weights) for weights in (1_000_000, 23_000_000, 110_000_000)]
    assert rates == [1e-4, 1e-4, 5.3e-5]
