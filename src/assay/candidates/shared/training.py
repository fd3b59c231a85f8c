"""Training a version: its rows, general ones among them, and the adapter that is kept of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from assay.candidates.building import Context
from assay.candidates.shared import reinforcement
from assay.candidates.shared.distill import (
    TrainingTargets,
    check_method,
    targets_of_recording,
    targets_of_teacher,
)
from assay.candidates.shared.epoch_score import epoch_score
from assay.candidates.shared.rehearsal import sample_general_rows
from assay.candidates.shared.training_documents import (
    TrainingDocuments,
    check_tokens,
    training_documents,
)
from assay.chat.template import Template
from assay.config import FineTune
from assay.errors import ConfigError
from assay.example import Example, canonical_json, json_sha256
from assay.models.lineage import (
    DOCUMENT_FILES,
    DOCUMENTS,
    GRADERS,
    START,
    TEACHER,
    keep_files,
    keep_rows,
    rows_sha256,
)
from assay.models.load import LoadedModel, load_to_train
from assay.models.versions import VersionRecord, load_version, save_version
from assay.train import auto
from assay.train.checkpoints import Point
from assay.train.documents import document_units
from assay.train.job import OnPoint, OnStep, StopWhen, TrainingJob
from assay.train.methods.identity import code_sha256
from assay.train.ranks import check_place
from assay.train.reinforce.questions import Grading
from assay.train.sequences import Unit
from assay.train.session import TrainResult, train_by_method
from assay.train.tracking import tracking
from assay.train.units import units_of
from assay.version import VERSION


def train_version(
    context: Context,
    asked: Context | None = None,
    on_point: OnPoint | None = None,
    on_step: OnStep | None = None,
    loaded: LoadedModel | None = None,
    stop_when: StopWhen | None = None,
) -> tuple[str, TrainResult]:
    """Train an adapter and keep it as a version; an interrupted training goes on.

    Args:
        asked: the rows that those of `context` were made of, where they were changed; the version
            then knows of both.
        on_point, on_step, stop_when: see `TrainingJob`.
        loaded: the model, where it is there already.

    Returns:
        the version's id and the trainer's account.
    """
    config, prepared = context.config, TrainingSetup.of(context, loaded)
    result = prepared.train(context, prepared.settings, on_point, on_step, stop_when=stop_when)
    learned = prepared.targets.examples
    saw: dict[str, Sequence[Example]] = {"general": prepared.general}
    if prepared.documents is None:
        saw |= {"train": learned, "validation": context.validation}
        if learned is not context.train:
            saw["asked"] = context.train
        if asked is not None:
            saw |= {"asked": asked.train, "asked_validation": asked.validation}
    kept = {part: keep_rows(context.store, examples) for part, examples in saw.items() if examples}
    if prepared.documents is not None:
        kept[DOCUMENT_FILES] = keep_files(context.store, prepared.documents.files)
    record = VersionRecord(
        base=config.model,
        base_sha256=prepared.loaded.weights_sha256,
        data=prepared.data | kept,
        split=context.split,
        settings=prepared.settings.identity() | prepared.code,
        template=prepared.template.to_dict(),
        template_sha256=prepared.template.sha256,
        metrics=result.best_figure,
        seed=prepared.settings.seed,
        code=VERSION,
        parent=prepared.start,
        stopped=result.early_end,
    )
    return save_version(context.store, result.adapter, record), result


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """Model, rendered rows and settings of a training, as `compare`, `train` and a sweep share it.

    Attributes:
        targets: what is trained on, with the teacher's answers where there is a teacher; learning
            from graders, with the time that the supervised training before it has taken.
        general: rows that are mixed in, so that less is forgotten.
        units, checks: of training and validation.
        method_sha256: of the code of a method that is not Assay's own.
        settings: the project's, with what it leaves open decided.
        graded_by: what says what answers are worth, where the method learns from that.
        start: id of the version that is trained further.
        documents: those that are learned in place of rows.
    """

    loaded: LoadedModel
    template: Template
    prompt: str
    targets: TrainingTargets
    general: tuple[Example, ...]
    units: list[Unit]
    checks: list[Unit]
    method_sha256: str | None
    settings: FineTune
    graded_by: Grading | None = None
    start: str | None = None
    documents: TrainingDocuments | None = None

    @classmethod
    def of(cls, context: Context, loaded: LoadedModel | None = None) -> TrainingSetup:
        """Ask the teacher, if there is one, load the model and render the rows.

        Args:
            loaded: the model, where it is there already.
        """
        settings, method = context.config.fine_tune, context.method
        check_place(context.config.place, settings, context.own_method)
        if method.reinforces:
            return cls._from_graders(context, loaded)
        if method.learns_from == "documents":
            return cls._from_documents(context, loaded)
        targets = training_targets(context)
        general = sample_general_rows(settings, method, len(targets.examples))
        loaded = loaded or load_to_train(context.config.model, settings.quantization)
        start = None
        if context.documents_first:
            context.progress.say("The documents are learned first, then the rows.")
            start, first = train_version(context.on_documents(), loaded=loaded)
            targets = replace(targets, seconds=targets.seconds + first.seconds)
            # The rule of the rank counts rows, of which documents have another number.
            rank = load_version(context.store, start).record.settings["rank"]
            settings = settings.model_copy(update={"rank": rank})
        template, prompt = Template.of(loaded.tokenizer), context.training_prompt
        learns_from = method.learns_from
        if learns_from == "answers":
            units = targets.units(template, prompt) + units_of(learns_from, general, template, "")
        else:
            units = units_of(learns_from, targets.examples, template, prompt)
        return cls(
            loaded,
            template,
            prompt,
            targets,
            general,
            units,
            units_of(learns_from, context.validation, template, prompt),
            code_sha256(method),
            auto.choose(
                settings,
                parameters=loaded.model.num_parameters(),
                rows=len(targets.examples),
                units=len(units),
                method=method,
            ),
            start=start,
        )

    @classmethod
    def _from_documents(cls, context: Context, loaded: LoadedModel | None) -> TrainingSetup:
        """Of a method that learns the documents of the project, and no rows."""
        settings, method = context.config.fine_tune, context.method
        check_method(context)
        found = training_documents(context)
        loaded = loaded or load_to_train(context.config.model, settings.quantization)
        template = Template.of(loaded.tokenizer)
        limit = min(settings.max_tokens, loaded.context_length)
        units, checks = (
            document_units(part, template, limit) for part in (found.train, found.held)
        )
        check_tokens(units, found)
        general = sample_general_rows(settings, method, len(units))
        mixed = units + units_of("answers", general, template, "")
        return cls(
            loaded,
            template,
            "",
            TrainingTargets((), ()),
            general,
            mixed,
            checks,
            code_sha256(method),
            auto.choose(
                settings,
                parameters=loaded.model.num_parameters(),
                rows=len(units),
                units=len(mixed),
                method=method,
            ),
            documents=found,
        )

    @classmethod
    def _from_graders(cls, context: Context, loaded: LoadedModel | None) -> TrainingSetup:
        """Of a method that learns from graders; the supervised version is trained first."""
        settings, method = context.config.fine_tune, context.method
        rows = tuple(row for row in context.answered if row.weight > 0)
        loaded = loaded or load_to_train(context.config.model, settings.quantization)
        template = Template.of(loaded.tokenizer)
        grading = reinforcement.make_grading(context, template)
        start, seconds = None, 0.0
        if settings.reinforcement.start == "supervised":
            context.progress.say("Reinforcement starts from the supervised version.")
            start, first = train_version(reinforcement.supervised(context), loaded=loaded)
            seconds = first.seconds + first.preparation_seconds
            # The rule of the rank counts rows, of which a teacher or a thumb down leaves others.
            rank = load_version(context.store, start).record.settings["rank"]
            grading = reinforcement.start_from(grading, start)
            settings = settings.model_copy(update={"rank": rank})
        return cls(
            loaded,
            template,
            context.training_prompt,
            TrainingTargets(rows, tuple(() for _ in rows), seconds),
            (),
            [*reinforcement.questions(context, rows, template)],
            [*reinforcement.questions(context, reinforcement.checks_of(context), template)],
            code_sha256(method),
            auto.choose(
                settings,
                parameters=loaded.model.num_parameters(),
                rows=len(rows),
                method=method,
            ),
            grading,
            start,
        )

    @property
    def data(self) -> dict[str, str]:
        """Sha256 (hex) of each thing that is trained on."""
        found = {"train": rows_sha256(self.targets.examples)}
        if self.documents is not None:
            found = {DOCUMENTS: self.documents.sha256}
        if self.targets.digest is not None:
            found[TEACHER] = self.targets.digest
        if self.general:
            found["general"] = rows_sha256(self.general)
        if self.graded_by is not None:
            found[GRADERS] = json_sha256(dict(self.graded_by.key))  # which names the start
        elif self.start is not None:
            found[START] = self.start
        return found

    @property
    def code(self) -> dict[str, str]:
        """What a method that is not Assay's own adds to the settings."""
        return {} if self.method_sha256 is None else {"method_sha256": self.method_sha256}

    def name(self, context: Context, settings: FineTune) -> str:
        """Name of a training with these settings, and of its folder."""
        data = self.data | self.code
        checks = context.validation if self.documents is None else ()
        key = _key(self.loaded, self.template, self.prompt, data, checks, settings)
        return f"fine-tune-{key[:16]}"

    def train(
        self,
        context: Context,
        settings: FineTune,
        on_point: OnPoint | None = None,
        on_step: OnStep | None = None,
        *,
        within: Path | None = None,
        stop_when: StopWhen | None = None,
    ) -> TrainResult:
        """Train an adapter; the same settings go on from where they were, or are done.

        Args:
            on_point, on_step, stop_when: see `TrainingJob`.
            within: parent of its folder; None: where all trainings of the project are.
        """
        with self.track(context, settings, on_point) as told:
            job = self.job(context, settings, told, within=within, on_step=on_step)
            return self.account(train_by_method(replace(job, stop_when=stop_when)))

    @contextmanager
    def track(
        self, context: Context, settings: FineTune, on_point: OnPoint | None
    ) -> Iterator[OnPoint]:
        """What writes the curve to the trackers of the settings, and tells `on_point`."""
        name = self.name(context, settings)
        with tracking(settings, context.store.folder / "tracking", name, context.progress) as write:

            def told(point: Point, rates: Mapping[str, float]) -> None:
                write(point, rates)
                if on_point is not None:
                    on_point(point, rates)

            yield told

    def job(
        self,
        context: Context,
        settings: FineTune,
        on_point: OnPoint,
        *,
        within: Path | None = None,
        on_step: OnStep | None = None,
        beside: int = 1,
    ) -> TrainingJob:
        """The training with these settings; see `train`, and `TrainingJob.beside`."""
        return TrainingJob(
            self.loaded,
            self.units,
            self.checks,
            settings,
            (within or context.folder) / self.name(context, settings),
            context.progress,
            on_point=on_point,
            on_step=on_step,
            score=None if self.graded_by else epoch_score(context, self.loaded, self.template),
            place=context.config.place,
            method=context.own_method,
            beside=beside,
            method_sha256=self.method_sha256,
            graded_by=self.graded_by,
            start=None if self.start is None else load_version(context.store, self.start),
        )

    def account(self, result: TrainResult) -> TrainResult:
        """A result with what the teacher has taken, or the training that comes before."""
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
        settings.identity(),
    ]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()
