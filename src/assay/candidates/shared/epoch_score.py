"""What the primary grader says of some validation rows after each epoch of a training.

It is shown beside the loss, and decides nothing: versions are compared on all of validation. A
training that was finished without is not made again for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from assay.candidates.building import Context
from assay.chat.template import Template
from assay.config import CONFIG_FILE
from assay.errors import ConfigError
from assay.evaluate.graders import grade
from assay.generate.batch import Answer, Request
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.models.load import LoadedModel
from assay.progress import StoppableProgress


def epoch_score(
    context: Context, loaded: LoadedModel, template: Template
) -> Callable[[Any, Callable[[], None]], float] | None:
    """What scores a model in training, 0 to 1; None where `fine_tune.graded_rows` is 0.

    The rows are drawn with the training's seed and are the same in every epoch. Answers are greedy,
    and constrained where `generate.constrained` is `on`.

    Raises:
        ConfigError: the primary grader asks a model, which would be asked in every epoch.
        UsageError: it runs code that nobody has said they trust.
    """
    settings = context.config.fine_tune
    if not settings.graded_rows:
        return None
    count = min(settings.graded_rows, len(context.judged))
    rows = random.Random(settings.seed).sample(context.judged, count)
    agent = context.chat_agent(
        system_prompt=context.training_prompt,
        constrained=context.config.generate.constrained == "on",
    )
    requests = context.bench.assemble(agent, rows)
    [spec] = [one for one in context.config.graders if one.label == context.config.primary]
    known = replace(context.bench.grading, ask=_refuse)
    grade(spec, [row.output for row in rows], rows, known)  # what is wrong with it shows now

    def score(model: Any, between: Callable[[], None]) -> float:
        trained = replace(loaded, model=model)
        engine = TransformersBatchEngine(trained, template, device=str(loaded.model.device))
        texts = [answer.text for answer in engine.answer(requests, StoppableProgress(between))]
        return grade(spec, texts, rows, known).mean or 0.0

    return score


def _refuse(model: str, requests: Sequence[Request]) -> Sequence[Answer]:
    raise ConfigError(
        f"the primary grader asks {model}, which would be asked again after every epoch.",
        where=f"{CONFIG_FILE}, fine_tune.graded_rows",
        fix="Set it to 0, or let another grader be primary.",
    )
