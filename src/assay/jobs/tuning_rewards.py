"""The reward of a fine-tuning by reinforcement: its request's grader, over the rows' items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from assay.chat.template import Template
from assay.data.json_schema import schema_validator
from assay.evaluate import rewards
from assay.evaluate.templates import describe_sample
from assay.example import Example, json_sha256
from assay.jobs.tuning_request import ReinforcementMethod
from assay.models.embed import STARTER, Vectors, get_embedder
from assay.train.reinforce.questions import Grading

REWARD = "the reward"
"""Name of the only grader that there is: none is left to look at it from outside."""


def make_grading(
    method: ReinforcementMethod, items: Mapping[str, Mapping[str, Any]], template: Template
) -> Grading:
    """What says what answers are worth.

    Args:
        items: what `{{item...}}` stands for, by the id of the example.
    """
    fits = _fits(method)

    def reward(examples: Sequence[Example], texts: Sequence[str]) -> list[float]:
        return [
            rewards.run_with(
                method.grader,
                {"item": items[one.id], "sample": describe_sample(text, one.tools, fits)},
                _embed,
            ).reward
            for one, text in zip(examples, texts, strict=True)
        ]

    asked = method.model_dump(mode="json", by_alias=True, exclude={"hyperparameters"})
    key = {"reward": asked, "items": json_sha256(dict(items))}
    return Grading(template, reward, {}, REWARD, start=None, key=key)


def _fits(method: ReinforcementMethod) -> Callable[[Any], bool] | None:
    """Whether what an answer says as JSON follows the schema that was asked for."""
    form = method.response_format
    if form is None:
        return None
    validator = schema_validator(form.json_schema.schema_, "response_format")
    return lambda value: bool(validator.is_valid(value))


def _embed(texts: Sequence[str]) -> Vectors:
    return get_embedder(STARTER).encode(texts)
