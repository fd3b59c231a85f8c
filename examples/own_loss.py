"""Train a version by a loss of one's own; nothing of Assay is edited.

    assay demo tickets                     # or `assay init` with examples of your own
    python examples/own_loss.py tickets    # rows with answers: label smoothing
    python examples/own_loss.py chats      # rows with a better and a worse answer: SimPO

Prefixes that rows share are computed once, a training that was stopped goes on to the same bits,
and changing the loss below starts afresh. Installed as a package with an entry point of the group
`assay.training_methods`, the module of a method can be named in assay.yaml (docs/training.md).
"""

import argparse

from torch import Tensor
from torch.nn import functional

import assay
from assay.train.methods.spec import MethodSpec
from assay.train.preference import PairLogps

SMOOTHING = 0.1
MARGIN = 0.5


def smoothed(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each token, with a little of the probability wanted for all others."""
    return functional.cross_entropy(logits, targets, label_smoothing=SMOOTHING, reduction="none")


def simpo(pairs: PairLogps, beta: float) -> Tensor:
    """−log σ(β (ℓ_chosen − ℓ_rejected) − γ), ℓ a mean over tokens (arXiv:2405.14734, eq. 6)."""
    chosen = pairs.chosen / pairs.chosen_tokens
    rejected = pairs.rejected / pairs.rejected_tokens
    return -functional.logsigmoid(beta * (chosen - rejected) - MARGIN)


ANSWERS = MethodSpec(
    name="smoothed",
    title="learn from answers, with label smoothing",
    explanation="As sft, but less sure of itself.",
    learns_from="answers",
    formula="cross-entropy with a smoothed target",
    token_loss=smoothed,
)
PAIRS = MethodSpec(
    name="simpo",
    title="learn from preferences",
    explanation="As dpo, without a reference.",
    learns_from="pairs",
    formula="−log σ(β (ℓ_c − ℓ_r) − γ)",
    pair_loss=simpo,
    rate=1 / 20,
)


def main() -> None:
    """Train, and say what came of it."""
    parser = argparse.ArgumentParser(description="Train a version by a loss of one's own.")
    parser.add_argument("project", help="folder of a project")
    project = assay.open(parser.parse_args().project)
    judged = all(example.rejected for example in project.context().train)
    trained = project.train(method=PAIRS if judged else ANSWERS)
    loss = trained.result.best_validation_loss
    print(f"version {trained.version} by {trained.settings['method']}: validation loss {loss:.4f}")


if __name__ == "__main__":
    main()
