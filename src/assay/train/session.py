"""What comes before the loop and what is left after it, for every method of training.

    units = units_of("pairs", examples, Template.of(loaded.tokenizer), "You answer in verse.")
    job = TrainingJob(loaded, units, checks, FineTune(method="dpo"), Path("run"))
    result = train_by_method(job)

The same call goes on where a killed one stopped, to the same bits, and returns at once what a
finished one has made.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from assay.errors import ModelError, UsageError
from assay.example import json_sha256
from assay.models.device import ran_out
from assay.place.opening import open_place
from assay.place.processes import Processes, on_this_machine
from assay.place.ranks import RankLostError
from assay.prefix.layout import layout_of
from assay.progress import Progress
from assay.store.files import new_folder, one_at_a_time, sha256_file
from assay.train import adapters, checkpoints, sealed
from assay.train.checkpoints import Point
from assay.train.choices import Choices, choose
from assay.train.estimate import check_memory, describe_embeddings, no_memory
from assay.train.follow import RankTask, follower
from assay.train.job import TrainingJob
from assay.train.loop import Run
from assay.train.objective import ObjectiveOf
from assay.train.reference import with_reference
from assay.train.reinforce.figures import RewardPoint
from assay.train.reinforce.run import ReinforcementRun
from assay.train.sequences import fingerprint, judgements_of, rows_of
from assay.train.step import check_head

TRAINER = 9  # raised when the same settings and data would train other weights
MOST_FAILURES = 3
"""How often a training goes on by itself after it has lost ranks, with no step in between."""
ADAPTER = "adapter"
RESULT = "training.json"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training has made.

    Attributes:
        adapter: folder with the weights of the best epoch: in PEFT's format, or in transformers'
            after full fine-tuning.
        points: the training curve.
        best_step: the step whose weights were kept.
        best_validation_loss: at that step, in nats per trained token (a preference method: per
            unit).
        steps: done, early stopping included.
        seconds: of work, over all processes that took part.
        trained_tokens: tokens that carried a loss, over all epochs.
        tokens: tokens that went through the model, over all epochs.
        tokens_per_s: `tokens` / `seconds` (checkpoints and validation included in the time).
        peak_bytes: the most memory the process had (on a GPU: on the device).
        compute, threads, activation_checkpointing: see `Choices`.
        rewards: of a training that learns from graders; its losses are what is left to a reward
            of 1.
        preparation_seconds: of work before the first step that is not in `seconds`: reference
            log-probabilities, what a teacher has taken, and the training of what it starts from.
        beside: how many trainings shared the machine when it ended, this one included.
        stopped: why it ended before its last step, see `TrainingJob.stop_when`; None: it did not.
        planned_steps: those of the settings, where it was stopped; else 0.
    """

    adapter: Path
    points: tuple[Point, ...]
    best_step: int
    best_validation_loss: float
    steps: int
    seconds: float
    trained_tokens: int
    tokens: int
    tokens_per_s: float
    peak_bytes: int
    compute: str
    threads: int
    activation_checkpointing: bool
    preparation_seconds: float = 0.0
    beside: int = 1
    rewards: tuple[RewardPoint, ...] = ()
    stopped: str | None = None
    planned_steps: int = 0

    @property
    def early_end(self) -> str | None:
        """Where it was stopped, and why; None: it was not."""
        if self.stopped is None:
            return None
        return f"after step {self.steps} of {self.planned_steps}: {self.stopped}"

    @property
    def best_figure(self) -> dict[str, float]:
        """What validation says of the weights that were kept, as a version's record names it."""
        if not self.rewards:
            return {"validation_loss": self.best_validation_loss}
        best = next(point for point in self.rewards if point.step == self.best_step)
        assert best.valid_reward is not None
        return {"validation_reward": best.valid_reward}


def train_by_method(job: TrainingJob) -> TrainResult:
    """Train by the job's method; a step has `rows_per_step` units.

    Where the method needs the base model's log-probabilities, they are computed first and kept in
    the run's folder. Losses are means over units, or over tokens where single tokens are learned.
    Of two processes with one folder the second waits, and finds what the first has made. All else
    is said at `train_units`.

    Raises:
        DataError: nothing to train, a row that cannot be trained on, or rows of which the method
            can learn nothing.
        ConfigError: there is no such method.
        ModelError, KeyboardInterrupt: as `train_units`.
    """
    method, job = job.spec, job.validate()
    said = "Another process is running this training; waiting for it to finish."
    with one_at_a_time(job.folder / "lock", lambda: job.progress.say(said)):
        checkpoints.bring(job.folder, job.progress)  # first: they go with what was chosen there
        choices = choose(job)
        method.check(job.train)
        train, validation = (
            method.prepare(units, job.max_tokens) for units in (job.train, job.validation)
        )
        seconds = 0.0
        if method.reference:
            with choices.apply(job.loaded.model):
                train, validation, seconds = with_reference(job, train, validation, choices.compute)
        job = replace(job, train=train, validation=validation)
        result = train_units(job, choices, method.objective_of(job.settings, train))
        return replace(result, preparation_seconds=seconds)


def train_units(
    job: TrainingJob, choices: Choices, objective_of: ObjectiveOf | None = None
) -> TrainResult:
    """Train on `job.train`, keep the epoch with the best loss on `job.validation`.

    Ctrl-C finishes the step, writes a checkpoint and raises KeyboardInterrupt; a second one does
    not wait for the step. In either case, and after a kill, the same call goes on from the last
    checkpoint. Other data, settings or base weights start afresh.

    Args:
        job: checked.
        choices: as `choose` has made them for this job.
        objective_of: see `Run`.

    Raises:
        ModelError: not enough memory, an architecture that does not fit, a loss that is not a
            number, or an adapter without effect.
        KeyboardInterrupt: stopped by the user; nothing is lost.
    """
    parts = {
        "trainer": TRAINER,
        "base": job.loaded.weights_sha256,
        "dtype": job.loaded.dtype,
        "device": job.loaded.model.device.type,
        "choices": choices.key,
        "settings": job.settings.identity(),
        "train": fingerprint(rows_of(job.train)),
        "validation": fingerprint(rows_of(job.validation)),
        "judgements": judgements_of([*job.train, *job.validation]),
    }
    key = json_sha256(parts | job.place_key | job.method_key)
    finished = _finished(job, key)
    if finished is not None:
        if finished.stopped is None:
            checkpoints.clear(job.folder)
        return finished
    model = job.loaded.model
    as_chosen = choices.settle(job.settings)
    if job.place.size > 1 and model.device.type != "cpu":
        raise ModelError(
            "several processes train on processors only so far, and this model is on a GPU.",
            where="assay.yaml, place",
            fix="Train with `--on here`.",
        )
    if job.place.size > 1 and job.stop_when is not None:
        raise UsageError(
            "stop_when is asked in one process, and this training is shared by several.",
            fix="Train with `--on here`, or without stop_when.",
        )
    ranks = on_this_machine(job.place.size)
    largest = job.largest
    check_memory(model, largest, as_chosen, choices.compute, ranks, copies=ranks - 1)
    if job.settings.embeddings == "train":
        job.progress.say(describe_embeddings(model, job.settings))
    if (layout := layout_of(model)) != "tree":
        how = "one after the other" if layout == "packed" else "padded to one length"
        kind = type(model).__name__
        job.progress.say(
            f"Prefixes of {kind} cannot be shared yet: rows are computed whole, {how}."
        )
    rows = len(job.train) + len(job.validation)
    with open_place(
        job.place, choices.threads, rows, job.progress, documents=job.learns_documents
    ) as processes:
        failures = RankFailures(job.progress)
        while True:
            try:
                return _attempt(job, choices, key, objective_of, processes)
            except RankLostError as lost:
                failures.note(lost, checkpoints.last_step(job.folder))
            except (RuntimeError, MemoryError) as error:
                if not ran_out(error):
                    raise
                what = "training ran out of memory."
                raise no_memory(what, model, largest, as_chosen, choices.compute) from None


def _attempt(
    job: TrainingJob,
    choices: Choices,
    key: str,
    objective_of: ObjectiveOf | None,
    processes: Processes,
) -> TrainResult:
    """From the last checkpoint to the end."""
    with adapters.adapt(job.loaded, job.settings) as adapted, choices.apply(adapted):
        check_head(adapted, job.train[0].rows[0])
        start = checkpoints.latest(job.folder, key, job.progress)
        with processes.ranks(follower, RankTask.of(job, choices, start)) as ranks:
            kind = Run if job.graded_by is None else ReinforcementRun
            run = kind(job, adapted, key, choices, objective_of, ranks)
            if start is not None:
                run.go_to(start)
            run.to_the_end()
        return _finish(run, choices)


class RankFailures:
    """How often a training has lost a rank, and whether it shall go on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._count, self._step = 0, 0

    def note(self, lost: RankLostError, step: int) -> None:
        """Count a lost rank after the checkpoint of `step`.

        Raises:
            RankLostError: one too many since there was a checkpoint.
        """
        self._count = 1 if step > self._step else self._count + 1
        self._step = step
        if self._count > MOST_FAILURES:
            raise RankLostError(
                f"{lost} That happened {self._count} times since the last checkpoint.",
                fix="Look for what ends it: too little memory ends processes (`dmesg`). The same "
                "command goes on from the last checkpoint; `--on here` trains in one process.",
            ) from None
        self._progress.say(f"{lost} Going on from the last checkpoint with all processes anew.")


def _finish(run: Run, choices: Choices) -> TrainResult:
    """Write the best weights, then the result, then drop the checkpoints; of a training that was
    stopped they are kept, to go on from."""
    state, folder = run.state, run.job.folder
    best = run.weights_of(state.best_step)
    adapters.set_weights(run.model, best)
    if state.best_step:
        adapters.check_effect(run.model, run.job.loaded, run.job.train[0].rows[0])
    with new_folder(folder / ADAPTER) as draft:
        adapters.write(draft, run.model, best)
    assert state.best_validation_loss is not None
    result = TrainResult(
        adapter=folder / ADAPTER,
        points=tuple(state.points),
        best_step=state.best_step,
        best_validation_loss=state.best_validation_loss,
        steps=state.step,
        seconds=state.seconds,
        trained_tokens=state.trained_tokens,
        tokens=state.tokens,
        tokens_per_s=state.tokens / state.seconds,
        peak_bytes=state.peak_bytes,
        compute=choices.compute,
        threads=choices.threads,
        activation_checkpointing=choices.activation_checkpointing,
        beside=run.job.beside,
        rewards=tuple(state.rewards),
        stopped=state.stopped,
        planned_steps=0 if state.stopped is None else run.total_steps,
    )
    body = {name: value for name, value in asdict(result).items() if name != "adapter"}
    digest = sha256_file(adapters.weights_file(result.adapter))
    sealed.write(folder / RESULT, {"key": run.key, "weights": digest, "result": body})
    for unfinished in folder.glob(f".{ADAPTER}.*"):
        shutil.rmtree(unfinished)
    if result.stopped is None:
        checkpoints.clear(folder)
    else:
        run.job.progress.say(f"Stopped {result.early_end}")
    return result


def _finished(job: TrainingJob, key: str) -> TrainResult | None:
    """The result of the same training, if it was made before and its adapter is whole; one that
    was stopped is done only for who may stop it."""
    kept = sealed.read(job.folder / RESULT, key, job.progress)
    if kept is None:
        return None
    if kept["result"].get("stopped") is not None and job.stop_when is None:
        return None
    try:
        if sha256_file(adapters.weights_file(job.folder / ADAPTER)) != kept["weights"]:
            return None
    except FileNotFoundError:
        return None
    result = kept["result"]
    points = tuple(Point(**point) for point in result.pop("points"))
    rewards = tuple(RewardPoint(**point) for point in result.pop("rewards", ()))
    return TrainResult(adapter=job.folder / ADAPTER, points=points, rewards=rewards, **result)
