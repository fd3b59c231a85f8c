"""Training a version: its rows, general ones among them, and the adapter that is kept of it."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from assay import builtin, json_reader
from assay.agent.agent import Agent
from assay.candidates.building import (
    Candidate,
    ConstraintChoice,
    Context,
    SeedScore,
    as_curve,
    as_trials,
)
from assay.candidates.shared.distill import (
    TrainingTargets,
    targets_of_recording,
    targets_of_teacher,
)
from assay.chat.template import Template
from assay.config import FineTune, FineTuneSection, TrainingSettings
from assay.config.training import SEEDS
from assay.errors import ConfigError
from assay.evaluate.stats import training_spread
from assay.example import Example, canonical_json
from assay.models.lineage import TEACHER, keep_rows, rows_sha256
from assay.models.load import LoadedModel, load_to_train
from assay.models.versions import VersionRecord, save_version
from assay.train import auto
from assay.train.checkpoints import Point
from assay.train.job import OnPoint, TrainingJob
from assay.train.methods import train_by_method, units_of
from assay.train.ranks import check_place
from assay.train.sequences import Unit
from assay.train.session import TrainResult
from assay.train.tracking import tracking
from assay.version import VERSION


def train_version(
    context: Context, asked: Context | None = None, on_point: OnPoint | None = None
) -> tuple[str, TrainResult]:
    """Train an adapter and keep it as a version; an interrupted training goes on.

    Args:
        asked: the rows that those of `context` were made of, where they were changed; the version
            then knows of both.
        on_point: see `TrainingJob`.

    Returns:
        the version's id and the trainer's account.
    """
    config, prepared = context.config, TrainingSetup.of(context)
    result = prepared.train(context, prepared.settings, on_point)
    learned = prepared.targets.examples
    saw = {"train": learned, "general": prepared.general, "validation": context.validation}
    if learned is not context.train:
        saw["asked"] = context.train
    if asked is not None:
        saw |= {"asked": asked.train, "asked_validation": asked.validation}
    kept = {part: keep_rows(context.store, examples) for part, examples in saw.items() if examples}
    record = VersionRecord(
        base=config.model,
        base_sha256=prepared.loaded.weights_sha256,
        data=prepared.data | kept,
        split=context.split,
        settings=prepared.settings.model_dump(mode="json", exclude={"tracking"}),
        template=prepared.template.to_dict(),
        template_sha256=prepared.template.sha256,
        metrics={"validation_loss": result.best_validation_loss},
        seed=prepared.settings.seed,
        code=VERSION,
    )
    return save_version(context.store, result.adapter, record), result


def tune(
    context: Context, agent_of: Callable[[str], Agent], taught: Context | None = None
) -> Candidate:
    """Train with one seed after the other; the version that is best on validation takes part, of
    equal ones that of the first seed. All trainings are part of what it takes to make it.

    Args:
        agent_of: the agent that answers with the version of an id.
        taught: what is trained on, where that is not what is asked (see `train_version`).
    """
    settings = context.config.fine_tune
    made: list[tuple[int, ConstraintChoice, TrainResult]] = []

    def train(seed: int) -> float:
        asked = context if taught is not None else None
        version, result = train_version(_seeded(taught or context, seed), asked=asked)
        agent = agent_of(version)
        made.append((seed, context.choose_constraint(agent, context.measure(agent)), result))
        # A teacher has answered once for all seeds.
        again = settings.teacher is not None and len(made) > 1
        return result.seconds + (0.0 if again else result.preparation_seconds)

    seconds = train(settings.seed)
    count = settings.seed_count(seconds)
    seconds += sum(train(settings.seed + more) for more in range(1, count))
    seed, chosen, result = max(made, key=lambda one: (one[1].measurement.score, -one[0]))
    return Candidate(
        agent=chosen.agent,
        tried=as_trials(chosen.tried, f"seed {seed}, " if count > 1 else ""),
        scores=tuple(chosen.measurement.primary_scores),
        setup_seconds=seconds,
        fine_tuned=True,
        retrained=True,
        warnings=_one_seed_warning(settings, seconds) if count == 1 else (),
        seeds=tuple(SeedScore(one, c.measurement.score, one == seed) for one, c, _ in made),
        seed_spread=_spread([one.measurement.primary_scores for _, one, _ in made]),
        curve=as_curve(result.points),
        best_step=result.best_step,
    )


def _spread(scores: Sequence[Sequence[float]]) -> float | None:
    """See `training_spread`; None of fewer than two trainings or examples."""
    values = np.array(scores)
    return training_spread(values) if min(values.shape) > 1 else None


def _one_seed_warning(settings: FineTuneSection, seconds: float) -> tuple[str, ...]:
    """That chance could not be told from the way of training, where the time decided so."""
    if settings.seeds is not None:
        return ()
    more = math.ceil((SEEDS - 1) * seconds / 60)
    return (
        f"Trained with one seed only: {SEEDS - 1} more would take about {more} minutes, but "
        f"fine_tune.seeds_minutes allows only {settings.seeds_minutes:g}.",
    )


def _seeded(context: Context, seed: int) -> Context:
    """The context with another seed of training."""
    settings = context.config.fine_tune.model_copy(update={"seed": seed})
    config = context.config.model_copy(update={"fine_tune": settings})
    return replace(context, bench=replace(context.bench, config=config))


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """Model, rendered rows and settings of a training, as `compare`, `train` and a sweep share it.

    Attributes:
        targets: what is trained on, with the teacher's answers where there is a teacher.
        general: rows that are mixed in, so that less is forgotten.
        units, checks: of training and validation.
        settings: the project's, with what it leaves open decided.
    """

    loaded: LoadedModel
    template: Template
    prompt: str
    targets: TrainingTargets
    general: tuple[Example, ...]
    units: list[Unit]
    checks: list[Unit]
    settings: FineTune

    @classmethod
    def of(cls, context: Context) -> TrainingSetup:
        """Ask the teacher, if there is one, load the model and render the rows."""
        settings = context.config.fine_tune
        check_place(context.config.place, settings)
        targets = training_targets(context)
        general = sample_general_rows(settings, len(targets.examples))
        loaded = load_to_train(context.config.model)
        template, prompt = Template.of(loaded.tokenizer), context.training_prompt
        if settings.method == "sft":
            units = targets.units(template, prompt) + units_of("sft", general, template, "")
        else:
            units = units_of(settings.method, targets.examples, template, prompt)
        return cls(
            loaded,
            template,
            prompt,
            targets,
            general,
            units,
            units_of(settings.method, context.validation, template, prompt),
            auto.choose(
                settings,
                parameters=loaded.model.num_parameters(),
                rows=len(targets.examples),
                units=len(units),
            ),
        )

    @property
    def data(self) -> dict[str, str]:
        """Sha256 (hex) of each thing that is trained on."""
        found = {"train": rows_sha256(self.targets.examples)}
        if self.targets.digest is not None:
            found[TEACHER] = self.targets.digest
        if self.general:
            found["general"] = rows_sha256(self.general)
        return found

    def name(self, context: Context, settings: FineTune) -> str:
        """Name of a training with these settings, and of its folder."""
        key = _key(self.loaded, self.template, self.prompt, self.data, context.validation, settings)
        return f"fine-tune-{key[:16]}"

    def train(
        self,
        context: Context,
        settings: FineTune,
        on_point: OnPoint | None = None,
        *,
        within: Path | None = None,
    ) -> TrainResult:
        """Train an adapter; the same settings go on from where they were, or are done.

        Args:
            on_point: see `TrainingJob`.
            within: parent of its folder; None: where all trainings of the project are.
        """
        name = self.name(context, settings)
        with tracking(settings, context.store.folder / "tracking", name) as write:

            def told(point: Point, rates: Mapping[str, float]) -> None:
                write(point, rates)
                if on_point is not None:
                    on_point(point, rates)

            job = TrainingJob(
                self.loaded,
                self.units,
                self.checks,
                settings,
                (within or context.folder) / name,
                context.progress,
                on_point=told,
                place=context.config.place,
            )
            result = train_by_method(job)
        seconds = result.preparation_seconds + self.targets.seconds
        return replace(result, preparation_seconds=seconds)


def training_targets(context: Context) -> TrainingTargets:
    """The training rows, or a teacher's answers to their inputs.

    Raises:
        AssayError: as `distill.targets_of_teacher` and `distill.targets_of_recording`.
    """
    settings = context.config.fine_tune
    if settings.teacher is not None:
        return targets_of_teacher(context, settings.teacher)
    if settings.recorded is not None:
        return targets_of_recording(context, settings.recorded)
    if settings.distill != "auto":
        raise ConfigError(
            f"distill: {settings.distill} needs a teacher, but none is set.",
            where="assay.yaml, fine_tune.distill",
            fix="Set fine_tune.teacher or fine_tune.recorded, or remove distill.",
        )
    return TrainingTargets(context.train, tuple(() for _ in context.train))


def _key(
    loaded: LoadedModel,
    template: Template,
    prompt: str,
    data: dict[str, str],
    validation: tuple[Example, ...],
    settings: FineTune,
) -> str:
    parts = [
        loaded.weights_sha256,
        template.sha256,
        prompt,
        data,
        rows_sha256(validation),
        settings.model_dump(mode="json", exclude={"tracking"}),
    ]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


@cache
def general_rows() -> tuple[Example, ...]:
    """All built-in general rows, which a version learns beside those of the job to forget less.

    Old tasks practised beside the new one are the oldest remedy there is (Robins 1995,
    Catastrophic Forgetting, Rehearsal and Pseudorehearsal). The rows are no part of the probe that
    measures forgetting.
    """
    lines = builtin.rehearsal().read_text("utf-8").splitlines()
    rows = [json_reader.read(line) for line in lines]
    return tuple(
        Example.of(row["prompt"], row["answer"], id=f"general-{number}")
        for number, row in enumerate(rows, start=1)
    )


def sample_general_rows(settings: TrainingSettings, rows: int) -> tuple[Example, ...]:
    """The general rows that are trained on beside `rows` rows of the job.

    They make up the share `fine_tune.rehearsal` of all rows, drawn with the training's seed, each
    as often as the others; without one of them there is none.

    Raises:
        ConfigError: a method that learns from preferences.
    """
    share = settings.rehearsal
    if not share:
        return ()
    if settings.method != "sft":
        raise ConfigError(
            f"general rows contain answers, but the method {settings.method} learns from "
            "judgements.",
            where="assay.yaml, fine_tune.rehearsal",
            fix="Use method: sft, or remove rehearsal.",
        )
    every = list(general_rows())
    random.Random(settings.seed).shuffle(every)
    count = max(1, round(rows * share / (1 - share)))
    return tuple((every * (count // len(every) + 1))[:count])
