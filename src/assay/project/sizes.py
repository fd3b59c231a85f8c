"""Counts an estimate is made from: rows of each part, tokens of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from assay.config import Config
from assay.example import Example, Message
from assay.project.estimate import Sizes

SAMPLE = 300


def sizes_of(
    examples: Sequence[Example],
    config: Config,
    template: Any,
    context: int,
    parameters: float,
    *,
    rows: int,
    holdout_rows: int | None,
) -> Sizes:
    """Rows by the configured shares, tokens by rendering a sample.

    Args:
        rows: usable rows of the data file.
        holdout_rows: rows of an official holdout; None where a share is held back.
    """
    sample = examples[:: max(1, len(examples) // SAMPLE)][:SAMPLE]
    lengths = [token_lengths(example, template, config.system_prompt) for example in sample]
    system = template.prompt([Message("system", config.system_prompt), Message("user", "")])
    system_tokens = len(system) if config.system_prompt else 0
    split = config.data.split
    held = round(rows * split.holdout) if holdout_rows is None else holdout_rows
    rest = rows - held if holdout_rows is None else rows
    validation = round(rest * split.validation)
    train = rest - validation
    return Sizes(
        train=min(train, config.data.train_rows or train),
        validation=validation,
        holdout=min(held, config.data.holdout_rows or held),
        system_tokens=system_tokens,
        input_tokens=max(1.0, fmean(whole - out for whole, out in lengths) - system_tokens),
        output_tokens=fmean(out for _, out in lengths),
        parameters=parameters,
        context=context,
    )


def token_lengths(example: Example, template: Any, prompt: str) -> tuple[int, int]:
    """(tokens of the whole, tokens that are trained) of one example."""
    rendered = template.render(example.with_system(prompt).messages, example.tools)
    return len(rendered.ids), sum(rendered.trained)
