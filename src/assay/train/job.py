"""One training as a value: what is trained on what, how, where, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.config import FineTune, Place
from assay.errors import DataError, UsageError
from assay.models.load import LoadedModel
from assay.models.versions import LocalVersion
from assay.progress import SILENT, Progress
from assay.train.checkpoints import Point
from assay.train.device import Compute
from assay.train.methods import registry
from assay.train.methods.identity import code_sha256
from assay.train.methods.spec import MethodSpec
from assay.train.reinforce.figures import RewardPoint, Rollout
from assay.train.sequences import Unit, check_sequences, rows_of

if TYPE_CHECKING:
    from torch import nn

    from assay.train.reinforce.questions import Grading

OnPoint = Callable[[Point, Mapping[str, float]], None]
"""Called with every point of the curve, and again when its validation loss is known.

The mapping holds `learning_rate`, `tokens_per_s`, `effective_tokens_per_s`, `sharing_saved` (a
share) and `memory_bytes` since the point before; it is empty for the second call, and for the
points of a run that goes on, which are all told once more. What it raises ends the run.
"""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step, or the evaluation after an epoch, has shown.

    Attributes:
        step: steps done, of `total_steps`.
        loss: of this step's units, or of the whole validation set.
        accuracy: share of the trained tokens that were the model's first choice, before the step's
            update; None where the method does not learn single tokens.
        validation: whether it is an evaluation.
        score: of an evaluation, see `TrainingJob.score`.
        reward: the mean of the answers' rewards, of which the loss is what is left to 1; None
            where none are drawn.
        answer_tokens: mean length of these answers; None likewise.
        measured: of an evaluation, with all its figures; None likewise.
        rollouts: of a step before an evaluation, some of its answers.
        epoch: rows seen / rows of an epoch.
        learning_rate, gradient_norm, tokens_per_s: of the step, the norm before it was clipped and
            the tokens as rendered; None of an evaluation.
        write: puts what is trained, as it is now, into an existing folder (`TrainResult.adapter`).
    """

    step: int
    total_steps: int
    loss: float
    accuracy: float | None
    validation: bool
    epoch: float
    write: Callable[[Path], None]
    learning_rate: float | None = None
    gradient_norm: float | None = None
    tokens_per_s: float | None = None
    score: float | None = None
    reward: float | None = None
    answer_tokens: float | None = None
    measured: RewardPoint | None = None
    rollouts: tuple[Rollout, ...] = ()

    def describe(self) -> str:
        """All of it in one line."""
        figures = {
            **self._goal(),
            "score": (self.score, ".3f"),
            "accuracy": (self.accuracy, ".3f"),
            "learning rate": (self.learning_rate, ".2e"),
            "gradient norm": (self.gradient_norm, ".3f"),
            "tokens/s": (self.tokens_per_s, ".0f"),
        }
        said = [f"{name} {v:{form}}" for name, (v, form) in figures.items() if v is not None]
        return ", ".join(
            [f"step {self.step} of {self.total_steps}", f"epoch {self.epoch:.2f}", *said]
        )

    def _goal(self) -> dict[str, tuple[float, str]]:
        of = "validation " if self.validation else ""
        if self.reward is not None:
            return {f"{of}reward": (self.reward, ".3f")}
        return {f"{of}loss": (self.loss, ".4f")}


OnStep = Callable[[StepReport], None]
"""Called after every step and every evaluation, before the checkpoint that holds it is written. A
run that goes on tells the steps since its checkpoint again, with equal figures."""

StopWhen = Callable[[StepReport], str | None]
"""Says why a training is to end now; None: it goes on. The training that has ended so is found done
by whoever may stop it; for others it goes on from there."""


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training.

    Attributes:
        loaded: base weights without an adapter; given back as they were.
        train, validation: as `units.units_of` makes them of what the method learns from.
        folder: of this run; holds its checkpoints while it runs and `adapter/` afterwards.
        compute: number format of the matrix multiplications (weights and optimiser stay float32);
            None takes what is faster here.
        checkpoint_seconds: time between checkpoints within an epoch.
        on_point: None or called with the curve; not for a training that was finished before.
        on_step: None or called with steps and evaluations, likewise.
        score: None or called with the model after each epoch, what it is worth from 0 to 1; of
            several processes rank 0 calls it. It has to change nothing, and to call what it is
            given beside the model now and then: that is left by a Ctrl-C.
        place: the processes that train.
        beside: how many trainings share this machine, this one included.
        method: None: the one that `settings.method` names; else a method that nobody has installed.
        method_sha256: of the code of a method that is not Assay's own; None: `validate` reckons it,
            once for all keys of the training.
        graded_by: of a method that `reinforces`, whose units are `reinforce.questions.Question`.
        start: the version that is trained further, of the same base with the same settings of its
            adapter; None: the base.
        stop_when: None or called after every step and every evaluation with what `on_step` is told;
            a reason that it gives ends the training there as after its last step.
    """

    loaded: LoadedModel
    train: Sequence[Unit]
    validation: Sequence[Unit]
    settings: FineTune
    folder: Path
    progress: Progress = SILENT
    compute: Compute | None = None
    checkpoint_seconds: float = 30.0
    on_point: OnPoint | None = None
    on_step: OnStep | None = None
    score: Callable[[nn.Module, Callable[[], None]], float] | None = None
    place: Place = field(default_factory=Place)
    beside: int = 1
    method: MethodSpec | None = None
    method_sha256: str | None = None
    graded_by: Grading | None = None
    start: LocalVersion | None = None
    stop_when: StopWhen | None = None

    @property
    def spec(self) -> MethodSpec:
        """The method.

        Raises:
            ConfigError: there is none of that name.
        """
        return self.method or registry.find(self.settings.method)

    @property
    def learns_documents(self) -> bool:
        """Whether its units are parts of documents, general rows apart."""
        return self.spec.learns_from == "documents"

    @property
    def max_tokens(self) -> int:
        """The most tokens of a row: of the settings, at most the model's context."""
        return min(self.settings.max_tokens, self.loaded.context_length)

    @property
    def place_key(self) -> dict[str, int]:
        """What the number of processes adds to a key: it decides in which order sums are made."""
        return {"ranks": self.place.size} if self.place.size > 1 else {}

    @property
    def method_key(self) -> dict[str, Any]:
        """What a method adds to a key: the code of one that is not Assay's own, the graders (whose
        key names the start), what it starts from."""
        own: dict[str, Any] = {}
        if self.method_sha256 is not None:
            own["method"] = self.method_sha256
        if self.graded_by is not None:
            own["graded_by"] = dict(self.graded_by.key)
        elif self.start is not None:
            own["start"] = self.start.id
        return own

    @property
    def largest(self) -> Sequence[Unit]:
        """Units as large as any that goes through the model, to reckon memory with."""
        if self.graded_by is None:
            return self.train
        from assay.train.reinforce.questions import longest_groups

        return longest_groups(self.train, self.settings.reinforcement, self.max_tokens)

    @property
    def is_watched(self) -> bool:
        """Whether somebody is told of every step."""
        return self.on_step is not None or self.stop_when is not None

    def tell(self, report: StepReport, stopped: str | None) -> str | None:
        """Call `on_step`, and `stop_when` unless it has given a reason before.

        Args:
            stopped: the reason that was given before.

        Returns:
            the reason that there is now.

        Raises:
            UsageError: `stop_when` gave something else, such as the False of a comparison.
        """
        if self.on_step is not None:
            self.on_step(report)
        if self.stop_when is None or stopped is not None:
            return stopped
        reason: object = self.stop_when(report)
        if reason is None or (isinstance(reason, str) and reason):
            return reason
        raise UsageError(
            f"stop_when returned {reason!r}, which is neither None nor a reason.",
            fix="Let it return None to go on, and a text that says why to end the training, as in "
            '`return "loss below 0.2" if report.loss < 0.2 else None`.',
        )

    def validate(self) -> TrainingJob:
        """The same job without the units of weight 0, every row having been looked at, and with the
        hash of its method.

        Raises:
            DataError: nothing to train, or a row that cannot be trained on, named.
            ConfigError: there is no method of that name.
            UsageError: it cannot be told whether the method's code has changed.
        """
        train = self._checked(self.train, "training")
        validation = self._checked(self.validation, "validation")
        code = self.method_sha256 or code_sha256(self.spec)
        return replace(self, train=train, validation=validation, method_sha256=code)

    def _checked(self, units: Sequence[Unit], kind: str) -> list[Unit]:
        check_sequences(rows_of(units), kind, self.max_tokens)
        kept = [unit for unit in units if unit.rows[0].weight > 0]
        if not kept:
            raise DataError(
                f"the {kind} set is empty." if not units else f"every {kind} row has weight 0.",
                fix="Fine-tuning needs rows to train on and rows to validate on.",
            )
        return kept
