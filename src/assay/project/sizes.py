"""Counts an estimate is made from: rows of each part, tokens of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from assay.candidates.spec import Sizes
from assay.config import Config
from assay.example import Example, Message

if TYPE_CHECKING:
    from assay.chat.template import Template

SAMPLE = 300


def sizes_of(
    train: Sequence[Example],
    config: Config,
    template: Template,
    context: int,
    parameters: float,
    *,
    validation: int,
    holdout: int,
) -> Sizes:
    """Rows as they are, tokens by rendering a sample of train."""
    sample = train[:: max(1, len(train) // SAMPLE)][:SAMPLE]
    lengths = [token_lengths(example, template, config.system_prompt) for example in sample]
    system = 0
    if config.system_prompt:
        shared = [Message("system", config.system_prompt), Message("user", "")]
        system = len(template.prompt(shared))
    return Sizes(
        train=len(train),
        validation=validation,
        holdout=holdout,
        system_tokens=system,
        input_tokens=max(1.0, fmean(whole - out for whole, out in lengths) - system),
        output_tokens=fmean(out for _, out in lengths),
        parameters=parameters,
        context=context,
    )


def token_lengths(example: Example, template: Template, prompt: str) -> tuple[int, int]:
    """(tokens of the whole, tokens that are trained) of one example."""
    rendered = template.render(example.with_system(prompt).messages, example.tools)
    return len(rendered.ids), sum(rendered.trained)
