"""The work of a fine-tuning: its files are checked, then it is trained; what a worker calls.

    <state>/work/<job>/
        training.jsonl, validation.jsonl     the files as they were, whatever becomes of them
        run/                                 the trainer's folder: a killed run goes on from it

Everything that is told or kept is written as the job's owner (`queue.as_owner`) and before the
trainer's checkpoint that follows it; the end is one transaction. So a kill at any moment loses
nothing, and what is done again is not told again.
"""

from __future__ import annotations

import random
import secrets
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from assay import json_reader
from assay.chat.template import Template
from assay.config import FineTune
from assay.config.reinforcement import Reinforcement
from assay.data.propose import Judgement
from assay.errors import DataError, NotFoundError
from assay.jobs import fine_tuning, queue, training_data, tuned_models
from assay.jobs.fine_tuning import TRAIN, FineTuning, work_folder
from assay.jobs.prompt_data import check_prompts
from assay.jobs.step_metrics import StepMetrics
from assay.jobs.training_data import MOST_HELD_BACK, CheckedFile, hold_back
from assay.jobs.tuning_request import TuningRequest
from assay.jobs.tuning_rewards import REWARD, make_grading
from assay.jobs.worker import JobResult, NextJob, Work
from assay.models.lineage import keep_rows
from assay.models.load import load_to_train
from assay.models.show import describe
from assay.models.versions import REMOVAL, VersionRecord, remove_version
from assay.store import stored_files
from assay.store.files import link_or_copy, one_at_a_time
from assay.store.store import Store
from assay.store.tables import (
    FineTuningCheckpointRow,
    FineTuningRow,
    JobEventRow,
)
from assay.train import auto
from assay.train.choices import FILE as CHOICES
from assay.train.job import StepReport, TrainingJob
from assay.train.reinforce.figures import warnings_of
from assay.train.reinforce.questions import Grading
from assay.train.sequences import Unit
from assay.train.session import TrainResult, train_by_method
from assay.version import VERSION

KEPT_CHECKPOINTS = 3
RESULTS = "fine-tune-results"
"""Purpose of the file with the figures of every step."""


def check(work: Work) -> NextJob:
    """Look at the files, decide what was left to `auto`, and hand the job on.

    Raises:
        DataError: a file cannot be used; each line that is to blame is named.
        ModelError: the base model cannot be had.
    """
    store, tuning = work.store, _tuning(work)
    request = tuning.request
    files = _files(tuning)
    work.say("Validating " + " and ".join(f"{kind} file: {name}" for kind, name in files.items()))
    _take(work, files)
    template, limit = Template.load(request.model, work)
    training, validation = _checked(work, tuning, template, limit)
    for checked, kind in ((training, "training"), (validation, "validation")):
        for message, count in checked.warnings.values() if checked else ():
            more = f" ({count} lines in total.)" if count > 1 else ""
            queue.note(store, work.job, f"{kind} file: {message}{more}", kind="warning")
    for line in _unheeded(request):
        queue.note(store, work.job, line, kind="warning")
    rows = len(training.examples)
    if validation is None:
        rows -= len(hold_back(training.examples, tuning.seed))
    section = request.section(tuning.seed, rows)
    parameters = describe(request.model, work).parameters
    settings = auto.choose(section, parameters=parameters, rows=rows)
    multiplier = request.numbers.learning_rate_multiplier
    multiplier = 1.0 if multiplier == "auto" else multiplier
    settings = settings.model_copy(
        update={
            "learning_rate": settings.learning_rate * multiplier,
            "max_tokens": limit,
        }
    )
    chosen: dict[str, Any] = {
        "n_epochs": settings.epochs,
        "batch_size": settings.rows_per_step,
        "learning_rate_multiplier": multiplier,
        "settings": settings.identity(tracking=True),
    }
    if request.kind == "dpo":
        chosen["beta"] = settings.beta
    if request.reinforcement is not None:
        own, numbers = settings.reinforcement, request.reinforcement.hyperparameters
        stated = numbers.n_epochs
        seen = own.steps * own.prompts_per_step / rows
        chosen |= {
            "n_epochs": max(1, round(seen)) if stated == "auto" else stated,
            "eval_interval": own.evaluate_every,
            "compute_multiplier": own.group / Reinforcement().group,
            "eval_samples": 1,
        }
    with queue.as_owner(store, work.job) as session:
        session.execute(
            update(FineTuningRow).where(FineTuningRow.id == tuning.id).values(chosen=chosen)
        )
        session.add(_event(work, "Files validated, moving job to queued state"))
    return NextJob(TRAIN)


def train(work: Work) -> JobResult:
    """Train, keep every epoch's weights as a checkpoint and the best one's as the model.

    Raises:
        DataError, ModelError: it cannot be trained.
        KeyboardInterrupt: it was stopped; the same call goes on.
    """
    store, tuning = work.store, _tuning(work)
    folder = work_folder(store, tuning.id)
    assert tuning.chosen is not None
    settings = FineTune.model_validate(tuning.chosen["settings"])
    # A process that was given up too early may still be at it.
    waiting = partial(work.say, "Another process is running this job; waiting for it to end")
    with one_at_a_time(folder / ".lock", waiting):
        _take(work, _files(tuning))  # again, where its folder is gone: a backup leaves it out
        work.say("Fine-tuning job started")
        loaded = load_to_train(tuning.request.model, settings.quantization, work)
        template = Template.of(loaded.tokenizer)
        parts = _parts(work, tuning, template, loaded.context_length)
        run = _Run(work, tuning, folder, parts, template, loaded.weights_sha256)
        job = TrainingJob(
            loaded,
            parts["train"].units,
            parts["validation"].units,
            settings,
            folder / "run",
            work,
            on_step=run.note,
            graded_by=_grading(work, tuning, parts, template),
        )
        result = train_by_method(job)
        for line in warnings_of(result.rewards, result.best_step, REWARD):
            queue.note(store, work.job, line, kind="warning")
        return run.finish(result)


class _Split:
    """Training or validation: units for the trainer, and by what hash its rows are remembered."""

    def __init__(self, store: Store, checked: CheckedFile, places: list[int]) -> None:
        self.units: list[Unit] = [unit for place in places for unit in checked.units[place]]
        self.rows = keep_rows(store, (checked.examples[place] for place in places))
        self.items = checked.items


class _Run:
    """What is kept of a training while it goes on, and at its end."""

    def __init__(
        self,
        work: Work,
        tuning: FineTuning,
        folder: Path,
        parts: dict[str, _Split],
        template: Template,
        base_sha256: str,
    ) -> None:
        self.work, self.tuning, self.folder = work, tuning, folder
        self.parts, self.template, self.base_sha256 = parts, template, base_sha256
        of_rewards = tuning.request.reinforcement is not None
        self.store = work.store
        self.metrics = StepMetrics(work.store, work.job, of_rewards=of_rewards)

    def note(self, report: StepReport) -> None:
        """Keep the figures of a step or an evaluation, and the weights after an evaluation: not
        those that the training starts from."""
        self.metrics.record(report)
        if report.validation and report.step:
            self._checkpoint(report)

    def _checkpoint(self, report: StepReport) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="epoch.") as draft:
            report.write(Path(draft))
            figure = {"validation_loss": report.loss}
            if report.reward is not None:
                figure = {"validation_reward": report.reward}
            version = self._save(Path(draft), figure)
        name = fine_tuning.served_name(self.tuning, version, report.step)
        row = FineTuningCheckpointRow(
            id=f"ftckpt_{secrets.token_hex(12)}",
            job=self.tuning.id,
            step=report.step,
            name=name.name,
            version=version,
            metrics={"step": report.step, **self.metrics.steps[report.step]},
        )
        known = select(FineTuningCheckpointRow.id).where(
            FineTuningCheckpointRow.job == row.job, FineTuningCheckpointRow.step == row.step
        )
        with queue.as_owner(self.store, self.work.job) as session:
            if session.scalar(known) is None:
                session.add_all([row, name])
                session.add(_event(self.work, f"Checkpoint created at step {row.step}: {row.name}"))
        _forget_old_checkpoints(self.work, self.tuning.id)

    def finish(self, trained: TrainResult) -> JobResult:
        """The model, its name and the result file, to appear together with the job's end."""
        version = self._save(trained.adapter, trained.best_figure)
        name = fine_tuning.served_name(self.tuning, version)
        csv = self.metrics.csv().encode()
        written = stored_files.write(self.store, [csv], stored_files.FILE_BYTES)
        file = stored_files.row_of(written, self.tuning.project, "step_metrics.csv", RESULTS)
        events = [
            _event(self.work, f"New fine-tuned model created: {name.name}"),
            _event(self.work, "The job has successfully completed"),
        ]
        result = {
            "model": name.name,
            "version": version,
            "result_file": written.id,
            "trained_tokens": trained.tokens,
        }
        return JobResult(result, [name, file, *events])

    def _save(self, made: Path, metrics: dict[str, float]) -> str:
        assert self.tuning.chosen is not None
        choices = json_reader.read((self.folder / "run" / CHOICES).read_text("utf-8"))["choices"]
        record = VersionRecord(
            base=self.tuning.request.model,
            base_sha256=self.base_sha256,
            data={name: part.rows for name, part in self.parts.items()},
            settings=self.tuning.chosen["settings"] | choices,
            seed=self.tuning.seed,
            code=VERSION,
            template=self.template.to_dict(),
            template_sha256=self.template.sha256,
            metrics=metrics,
        )
        return tuned_models.save(self.store, self.work.job, made, record)


def _forget_old_checkpoints(work: Work, tuning: str) -> None:
    kept, store = FineTuningCheckpointRow, work.store
    query = select(kept).where(kept.job == tuning).order_by(kept.step.desc())
    with store.session() as session:
        old = session.scalars(query.offset(KEPT_CHECKPOINTS)).all()
    for row in old:
        with store.lock(REMOVAL):
            with queue.as_owner(store, work.job) as session:
                is_used = (
                    tuned_models.has_agent(session, row.version)
                    or tuned_models.has_other_name(session, row.version, row.name)
                    or tuned_models.find_maker(session, row.version) is not None
                )
            # Its weights first: a kill between the two leaves it to be forgotten once more. In no
            # transaction: removal writes to the database itself, and waits for the bucket.
            if not is_used:
                remove_version(store, row.version)
            with queue.as_owner(store, work.job) as session:
                tuned_models.forget_name(session, row.name)


def _tuning(work: Work) -> FineTuning:
    return fine_tuning.find(work.store, work.job.project, work.job.id)


def _event(work: Work, message: str, kind: str = "message") -> JobEventRow:
    return JobEventRow(job=work.job.id, kind=kind, message=message)


def _files(tuning: FineTuning) -> dict[str, str]:
    given = {
        "training": tuning.request.training_file,
        "validation": tuning.request.validation_file,
    }
    return {kind: id for kind, id in given.items() if id}


def _take(work: Work, files: dict[str, str]) -> None:
    """Names of our own for the bytes of the files, so that they may be deleted meanwhile.

    Raises:
        DataError: one was deleted before.
    """
    folder = work_folder(work.store, work.job.id)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, id in files.items():
        target = folder / f"{kind}.jsonl"
        if target.exists():
            continue
        try:
            file = stored_files.find(work.store, work.job.project, id)
            with stored_files.on_disk(work.store, file) as path:
                link_or_copy(path, target)
        except (NotFoundError, FileNotFoundError):
            raise _refused(
                work, kind, f"The {kind} file {id} was deleted.", "file_not_found"
            ) from None


def _refused(work: Work, kind: str, message: str, code: str) -> DataError:
    """Keeps why, in OpenAI's words, before the job fails of it."""
    with queue.as_owner(work.store, work.job) as session:
        error = {"code": code, "param": f"{kind}_file"}
        session.execute(
            update(FineTuningRow).where(FineTuningRow.id == work.job.id).values(error=error)
        )
    return DataError(message)


def _checked(
    work: Work, tuning: FineTuning, template: Template, limit: int
) -> tuple[CheckedFile, CheckedFile | None]:
    """The training and the validation file, read and found good.

    Raises:
        DataError: one is not.
    """
    folder, request = work_folder(work.store, tuning.id), tuning.request
    learns_from: Judgement = "pairs" if request.kind == "dpo" else "answers"
    found: list[CheckedFile | None] = []
    for kind, least in (("training", training_data.LEAST_ROWS), ("validation", 1)):
        path = folder / f"{kind}.jsonl"
        if not path.exists():
            found.append(None)
            continue
        if request.reinforcement is not None:
            checked = check_prompts(path, request.reinforcement, template, limit)
        else:
            checked = training_data.check(path, learns_from, template, limit)
        complaint = checked.complaint(least)
        if complaint:
            raise _refused(
                work,
                kind,
                f"The job failed due to an invalid {kind} file. {complaint}",
                f"invalid_{kind}_file",
            )
        found.append(checked)
    training, validation = found
    assert training is not None
    return training, validation


def _parts(work: Work, tuning: FineTuning, template: Template, limit: int) -> dict[str, _Split]:
    """What is trained on, and what the best epoch is told by."""
    training, validation = _checked(work, tuning, template, limit)
    kept, measured = list(range(len(training.examples))), validation or training
    places = list(range(len(measured.examples)))
    if tuning.request.reinforcement is not None and len(places) > MOST_HELD_BACK:
        places = sorted(random.Random(tuning.seed).sample(places, MOST_HELD_BACK))
    if validation is None:
        held = hold_back(training.examples, tuning.seed)
        work.say(
            f"No validation file: {len(held)} of {len(kept)} examples "
            f"{'is' if len(held) == 1 else 'are'} held back to find the best epoch."
        )
        kept, places = [place for place in kept if place not in held], sorted(held)
    return {
        "train": _Split(work.store, training, kept),
        "validation": _Split(work.store, measured, places),
    }


def _grading(
    work: Work, tuning: FineTuning, parts: dict[str, _Split], template: Template
) -> Grading | None:
    """What the answers of the model are worth, where it learns from that."""
    method = tuning.request.reinforcement
    if method is None:
        return None
    items = parts["train"].items | parts["validation"].items
    return make_grading(work, method, items, template, work_folder(work.store, tuning.id))


def _unheeded(request: TuningRequest) -> list[str]:
    """A sentence for each number of the request that has no effect."""
    return [] if request.reinforcement is None else request.reinforcement.hyperparameters.unheeded
