"""What the rest of the program asks about a training method: `SPEC` of its file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from assay.config import FineTune
from assay.data.propose import Judgement
from assay.errors import UsageError
from assay.extensions import NAME
from assay.train.preference import PairLoss, PairObjective
from assay.train.sequences import Unit

if TYPE_CHECKING:  # loads torch
    from assay.train.loss import TokenLoss
    from assay.train.objective import ObjectiveOf

Source = Judgement | Literal["documents"]
"""What a method learns from: rows that hold something, or texts without rows."""
HOLDS: dict[Source, str] = {
    "answers": "an answer",
    "documents": "a part of a document",
    "pairs": "a better and a worse answer",
    "thumbs": "an answer with a thumb up or down",
}
"""What a row of it holds."""


def as_they_are(units: Sequence[Unit], limit: int) -> list[Unit]:
    """The units, with nothing added."""
    return [*units]


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method of training: what a row must hold, and what is minimised.

    What is minimised is one of `token_loss`, `pair_loss` and `objective`; with none of them, the
    cross-entropy of the answers' tokens.

    Attributes:
        name: in assay.yaml.
        title: what it does, as the beginning of a sentence.
        explanation: what it is for, one sentence.
        learns_from: what a row must hold.
        formula: the loss of a unit.
        token_loss: called with logits [n, V] (float32, with a graph) and the tokens that follow
            [n]; the loss of each token, [n].
        pair_loss: called with `PairLogps` and `fine_tune.beta`; the loss of each pair.
        objective: called once, with the settings and all training units; gives what makes the
            objective of a step (or of the whole validation set) from the model and its units.
        reference: whether log-probabilities under the model that the training starts from are
            needed (`Unit.reference`).
        rate: share of the learning rate that `assay.train.auto` has for sft.
        prepare: called with the units of one split and the most tokens of a row; the units that
            are trained or measured.
        check: refuses training units that nothing can be learned from, with a DataError.
        proposed: a new project whose rows hold this learns by it.
        reinforces: it learns from answers of its own and what graders say of them
            (`assay.train.reinforce`); the row's answer is what graders compare with.
    """

    name: str
    title: str
    explanation: str
    learns_from: Source
    formula: str
    token_loss: TokenLoss | None = None
    pair_loss: PairLoss | None = None
    objective: Callable[[FineTune, Sequence[Unit]], ObjectiveOf] | None = None
    reference: bool = False
    rate: float = 1.0
    prepare: Callable[[Sequence[Unit], int], list[Unit]] = as_they_are
    check: Callable[[Sequence[Unit]], None] = lambda train: None
    proposed: bool = False
    reinforces: bool = False

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: it says what.
        """
        why = None
        if not NAME.fullmatch(self.name):
            why = "a name may contain only lowercase letters, digits and hyphens"
        elif self.learns_from not in HOLDS:
            why = f"learns_from is none of {', '.join(HOLDS)}"
        elif sum(one is not None for one in (self.token_loss, self.pair_loss, self.objective)) > 1:
            why = "it has more than one of token_loss, pair_loss and objective"
        elif self.pair_loss is not None and self.learns_from != "pairs":
            why = "a pair_loss learns from pairs"
        elif self.token_loss is not None and not self.learns_tokens:
            why = "a token_loss learns from answers or documents"
        elif not self.learns_tokens and not (self.pair_loss or self.objective):
            why = f"it learns from {self.learns_from}, but has no loss of them"
        elif self.reinforces and self.name != "reinforcement":
            why = "no other method than reinforcement draws answers"  # its settings are its own
        if why is not None:
            raise UsageError(f"the training method {self.name!r} cannot be used: {why}.")

    @property
    def learns_tokens(self) -> bool:
        """Whether every unit is one row, of which single tokens can be learned."""
        return self.learns_from in ("answers", "documents")

    @property
    def learns_distributions(self) -> bool:
        """Whether a teacher's distribution can take the place of a certain token."""
        own = (self.token_loss, self.objective, self.pair_loss)
        learns_answers = self.learns_from == "answers" and not self.reinforces
        return learns_answers and all(one is None for one in own)

    def objective_of(self, settings: FineTune, train: Sequence[Unit]) -> ObjectiveOf | None:
        """What makes the objective of a step; None: the cross-entropy of single tokens."""
        if self.pair_loss is not None:
            pairs = PairObjective(self.pair_loss, settings.beta)
            return lambda model, units: pairs
        if self.token_loss is not None:
            from assay.train.objective import TokenObjective

            tokens = TokenObjective(self.token_loss)
            return lambda model, units: tokens
        return None if self.objective is None else self.objective(settings, train)
