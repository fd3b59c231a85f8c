"""What `build` of a candidate's file gets and gives: (train, validation) in, a candidate out.

It sees train and validation, never a holdout: nothing in its context can read one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from assay.agent.agent import Agent
from assay.config import Config, is_remote
from assay.errors import ConfigError, DataError
from assay.evaluate.measure import Bench, Measurement, RefusalError
from assay.example import Example
from assay.progress import Progress, say_quoting
from assay.store.store import Store
from assay.train.methods import registry
from assay.train.methods.spec import MethodSpec

if TYPE_CHECKING:
    from assay.train.checkpoints import Point  # loads torch


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting that was tried on validation."""

    setting: str
    score: float
    chosen: bool


@dataclass(frozen=True, slots=True)
class LossPoint:
    """One point of a training curve."""

    step: int
    epoch: float
    train_loss: float | None
    validation_loss: float | None


@dataclass(frozen=True, slots=True)
class SeedScore:
    """A training with one seed, and its version's score on validation."""

    seed: int
    score: float
    chosen: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """An agent that is ready to take part in a comparison.

    Attributes:
        tried: settings tried on validation.
        scores: of the chosen setting on validation, one for each example, same order.
        setup_seconds: machine time of building it (training, indexing), once.
        curated: it needs training rows that somebody has collected and checked. A builder says so
            only of rows that the agent does not hold, such as those that a prompt was chosen on;
            of all others the registry knows it.
        retrained: it goes stale and is made again several times a year.
        seeds: trainings that differ in their seed alone, where it was trained; one takes part.
        seed_spread: standard deviation of their true scores, without what the examples of
            validation put into it; None of fewer than two.
        curve: training curve, where it was trained; `best_step` is the one that was kept.
        arms: of a route, the candidates that it asks, by the ids of their agents.
        target: share of the strong arm's quality that a route's threshold was chosen to keep; None
            where it was chosen for nothing or for something else.
        recorded: of answers from outside that are a recording, the model that gave them.
        name, kind, title, baseline, floor: as the registry knows it; a builder leaves them out.
            `kind` is the name it was built by, or a saved agent's.
    """

    agent: Agent
    tried: tuple[Trial, ...]
    scores: tuple[float, ...]
    name: str = ""
    kind: str = ""
    title: str = ""
    setup_seconds: float = 0.0
    baseline: bool = False
    floor: bool = False
    fine_tuned: bool = False
    curated: bool = False
    retrained: bool = False
    seeds: tuple[SeedScore, ...] = ()
    seed_spread: float | None = None
    curve: tuple[LossPoint, ...] = ()
    best_step: int | None = None
    warnings: tuple[str, ...] = ()
    arms: Mapping[str, Candidate] = field(default_factory=dict)
    target: float | None = None
    recorded: str | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """The input of `build`: data, configuration, engines.

    Attributes:
        split: sha256 of the holdout that is locked away; None where there is none.
        built: candidates that are there already, by name.
        own_method: a training method that was handed over and is not installed; None: the one that
            assay.yaml names.
        documents_first: whether a training learns the project's documents before its rows.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    bench: Bench
    split: str | None = None
    built: Mapping[str, Candidate] = field(default_factory=dict)
    own_method: MethodSpec | None = None
    documents_first: bool = False

    @property
    def method(self) -> MethodSpec:
        """The method of training.

        Raises:
            ConfigError: there is none of the name that assay.yaml says.
        """
        return self.own_method or registry.find(self.config.fine_tune.method)

    @property
    def config(self) -> Config:
        """What assay.yaml of the project says."""
        return self.bench.config

    def with_training(self, **changes: object) -> Context:
        """The same with other settings of training; a `method` among them is an installed one."""
        settings = self.config.fine_tune.model_copy(update=changes)
        config = self.config.model_copy(update={"fine_tune": settings})
        own = None if "method" in changes else self.own_method
        return replace(self, bench=replace(self.bench, config=config), own_method=own)

    def on_documents(self) -> Context:
        """The same for a training that learns the project's documents alone."""
        own = self.with_training(
            method="text", teacher=None, recorded=None, distill="auto", graded_rows=0
        )
        return replace(own, documents_first=False)

    @property
    def store(self) -> Store:
        """Tables and blobs of the project."""
        return self.bench.store

    @property
    def progress(self) -> Progress:
        """Who is told how far the work is."""
        return self.bench.progress

    @property
    def folder(self) -> Path:
        """Where work in progress (checkpoints) is kept."""
        return self.store.folder / "work"

    @property
    def training_prompt(self) -> str:
        """The system prompt a version is trained and served with."""
        own = self.config.fine_tune.system_prompt
        return self.config.system_prompt if own is None else own

    @property
    def answered(self) -> tuple[Example, ...]:
        """Training rows without a thumb down: their answers may be shown or copied.

        Raises:
            DataError: there are none.
        """
        return _liked(self.train, "training")

    @property
    def judged(self) -> tuple[Example, ...]:
        """Validation rows without a thumb down: agents are measured on them.

        Raises:
            DataError: there are none.
        """
        return _liked(self.validation, "validation")

    def measure(self, agent: Agent, *, with_confidence: bool = False) -> Measurement:
        """Measure an agent on `judged`, see `Bench.measure`."""
        return self.bench.measure(agent, self.judged, with_confidence=with_confidence)

    def attempt(self, agent: Agent) -> Measurement | None:
        """Measure an agent on `judged`; None where every request is refused, as too long, say."""
        try:
            return self.measure(agent)
        except RefusalError as error:
            say_quoting(self.progress, str(error), error.plain)
            return None

    def chat_agent(self, **changes: object) -> Agent:
        """The agent that assay.yaml describes.

        Args:
            changes: fields of `Agent` that differ from it.
        """
        config = self.config
        fields: dict[str, object] = {
            "model": config.model,
            "system_prompt": config.system_prompt,
            "output_schema": config.output_schema if config.task == "json" else None,
            "choices": tuple(config.labels) if config.task == "label" and config.labels else None,
            "max_new_tokens": config.generate.max_new_tokens,
            "constrained": False,
        }
        return Agent.model_validate(fields | changes)

    def choose_constraint(self, agent: Agent, free: Measurement) -> ConstraintChoice:
        """Choose between free and constrained answers on validation, unless it is fixed.

        A tie goes to constrained answers, whose form is certain. Of a provider's model only records
        are constrained: the protocols have no word for a list of labels.
        """
        mode = self.config.generate.constrained
        # An answer of both words and a call is not to be had so.
        alone = not any(row.target.tool_calls and row.target.content for row in self.train)
        calls = self.config.task == "tools" and not is_remote(agent.model) and alone
        possible = calls or agent.output_schema is not None or agent.choices is not None
        if mode == "on" and not possible and not is_remote(agent.model):
            raise ConfigError(
                "constrained answers need `labels`, an `output_schema`, or calls of tools.",
                where="assay.yaml, generate.constrained",
                fix="Add one, or use `auto`.",
            )
        if mode == "off" or not possible:
            return ConstraintChoice(agent, free, (("unconstrained", free.score, True),))
        tight = agent.model_copy(update={"constrained": True})
        bound = self.measure(tight) if mode == "on" else self.attempt(tight)
        if bound is None:  # a provider that knows no schemas
            tried = (("constrained", 0.0, False), ("unconstrained", free.score, True))
            return ConstraintChoice(agent, free, tried)
        wins = mode == "on" or bound.score >= free.score
        tried = (("constrained", bound.score, wins), ("unconstrained", free.score, not wins))
        return (
            ConstraintChoice(tight, bound, tried) if wins else ConstraintChoice(agent, free, tried)
        )


def _liked(examples: tuple[Example, ...], part: str) -> tuple[Example, ...]:
    liked = tuple(example for example in examples if example.liked)
    if examples and not liked:
        raise DataError(
            f"every {part} row is rated thumbs down, so there is no correct answer among them.",
            fix="Add rows whose answer is rated thumbs up.",
        )
    return liked


@dataclass(frozen=True, slots=True)
class ConstraintChoice:
    """The agent that won on validation, its measurement, and what was tried."""

    agent: Agent
    measurement: Measurement
    tried: tuple[tuple[str, float, bool], ...]


def as_trials(rows: Sequence[tuple[str, float, bool]], prefix: str = "") -> tuple[Trial, ...]:
    """Trials of rows (setting, score, chosen); `prefix` is put before each setting."""
    return tuple(Trial(f"{prefix}{setting}", score, chosen) for setting, score, chosen in rows)


def as_curve(points: Sequence[Point]) -> tuple[LossPoint, ...]:
    """The points of a training's curve, as a report shows them."""
    return tuple(LossPoint(p.step, p.epoch, p.train_loss, p.validation_loss) for p in points)


class Stopwatch:
    """Measures wall time from its creation on."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Seconds since the stopwatch was created."""
        return time.monotonic() - self._start
