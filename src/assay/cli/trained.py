"""What `assay train` prints of a version that it has trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from assay.cli.output import console, print_table
from assay.progress import format_duration
from assay.quantities import say_count, say_number


def print_trained(trained: Any) -> None:
    """The version, its curve epoch by epoch, and what training took."""
    from assay.train.methods import registry

    result = trained.result
    if result.rewards:
        _print_rewards(trained)
        return
    rows = []
    of_text = registry.learns_documents(trained.settings.get("method", "sft"))
    for point in result.points:
        if point.validation_loss is not None:
            kept = "  kept" if point.step == result.best_step else ""
            losses = f"{point.train_loss:.4f}", f"{point.validation_loss:.4f}{kept}"
            score = [] if point.score is None else [f"{point.score:.3f}"]
            perplexity = [f"{math.exp(point.validation_loss):.2f}"] if of_text else []
            rows.append((f"{point.epoch:g}", point.step, *losses, *perplexity, *score))
    columns = ["epoch", "step", "loss", "validation loss"]
    if of_text:
        columns.append("perplexity")
    if any(point.score is not None for point in result.points):
        columns.append("score")
    print_table(columns, rows, numbers=columns[:2])
    names = ["learning_rate", "rank", "epochs", "rows_per_step"]
    if trained.settings.get("adapter") == "full":  # which has none
        names.remove("rank")
    _print_account(trained, names)


def _print_rewards(trained: Any) -> None:
    """As `print_trained`, of a version that has learned from graders."""
    result = trained.result
    others = [*result.rewards[0].others]
    columns = ["step", "reward", "validation reward", *others, "tokens", "repeated", "KL"]
    rows = []
    for point in result.rewards:
        kept = "  kept" if point.step == result.best_step else ""
        rows.append(
            (
                point.step,
                None if point.reward is None else f"{point.reward:.3f}",
                f"{point.valid_reward:.3f}{kept}",
                *(f"{point.others[name]:.3f}" for name in others),
                f"{point.answer_tokens:.1f}",
                f"{point.repeated:.1%}",
                None if point.kl is None else f"{point.kl:.4f}",
            )
        )
    print_table(columns, rows, numbers=columns)
    _print_account(trained, ["learning_rate", "rank", "rows_per_step"])


def _print_account(trained: Any, names: Sequence[str]) -> None:
    """Settings of a training by their names, what it took, and what came of it."""
    from assay.compare.report.general_ability import in_a_line

    result = trained.result
    settings = ", ".join(f"{name} {say_number(trained.settings[name])}" for name in names)
    console.print(f"Trained with {settings}.")
    console.print(
        f"{say_count(result.steps, 'step')} in {format_duration(result.seconds)}: "
        f"{result.tokens_per_s:.0f} effective tokens/s in {result.compute}, at most "
        f"{result.peak_bytes / 2**30:.1f} GiB of memory."
    )
    console.print(in_a_line(trained.forgetting))
    for warning in trained.warnings:
        console.print(f"[yellow]![/] {escape(warning)}")
    console.print(f"\nVersion: {trained.version}", soft_wrap=True)
