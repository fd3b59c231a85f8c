"""OpenAI's graders: what an answer is worth, by a recipe that a request brings.

    grader = GRADER.validate_python({"type": "string_check", "name": "same", "operation": "eq",
                                     "input": "{{sample.output_text}}",
                                     "reference": "{{item.answer}}"})
    run(grader, item={"answer": "yes"}, sample="yes").reward        # 1.0

A project's own graders are in `graders/`; what both have in common is theirs. Graders of code are
refused here; evals may run them (`criteria`). The metric `meteor` pairs no synonyms (`meteor.py`).
https://platform.openai.com/docs/guides/graders
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter

from assay.config.strict import ClosedModel
from assay.errors import UsageError
from assay.evaluate.formula import Formula
from assay.evaluate.graders.text import bleu, gleu, rouge_l_f1, rouge_n_f1
from assay.evaluate.meteor import check_stemmer, meteor
from assay.evaluate.model_graders import MODEL_GRADERS, LabelModel, ScoreModel, check_messages
from assay.evaluate.templates import (
    Name,
    Template,
    TooLongError,
    VariableError,
    check_item_texts,
    check_templates,
    describe_sample,
    fill,
    missing_variable,
)
from assay.models.embed import Vectors

MOST_COMPARED = 2_500_000_000
"""Characters times characters, over all parts of a grader, or all criteria of an eval: the work
that some metrics take."""
Embed = Callable[[Sequence[str]], Vectors]
Judge = Callable[[ScoreModel | LabelModel, Mapping[str, Any]], float | None]
"""What a model says of an answer, given what `item` and `sample` stand for; None: its reply says
nothing."""


class _Named(ClosedModel):
    name: Name


class StringCheck(_Named):
    """1 where a text is, is not, or contains another."""

    type: Literal["string_check"]
    input: Template
    reference: Template
    operation: Literal["eq", "ne", "like", "ilike"]


class TextSimilarity(_Named):
    """How alike two texts are, from 0 to 1."""

    type: Literal["text_similarity"]
    input: Template
    reference: Template
    evaluation_metric: Literal[
        "cosine",
        "fuzzy_match",
        "bleu",
        "gleu",
        "meteor",
        "rouge_1",
        "rouge_2",
        "rouge_3",
        "rouge_4",
        "rouge_5",
        "rouge_l",
    ]


class UnsupportedGrader(BaseModel):
    """A grader that OpenAI has and Assay does not run; its settings are not looked at."""

    model_config = ConfigDict(extra="allow")

    type: Literal["python"]
    name: Name = "grader"


_Single = StringCheck | TextSimilarity | ScoreModel | LabelModel | UnsupportedGrader
Single = Annotated[_Single, Field(discriminator="type")]


class MultiGrader(_Named):
    """A formula of the scores of several graders, by their keys (of a single one: its name)."""

    type: Literal["multi"]
    graders: (
        Annotated[dict[str, Single], Field(min_length=1, max_length=100, fail_fast=True)] | Single
    )
    calculate_output: str

    @property
    def parts(self) -> dict[str, _Single]:
        """The combined graders by the names that the formula uses."""
        if isinstance(self.graders, dict):
            return self.graders
        return {self.graders.name: self.graders}

    @property
    def named(self) -> dict[str, str]:
        """Graders of a project by the names that the formula uses; none over an API."""
        return {}


def _count(graders: Any) -> Literal["one", "several"]:
    return "several" if isinstance(graders, dict) and "type" not in graders else "one"


class ProjectMultiGrader(MultiGrader):
    """The same in a project's settings, where a text names one of the project's graders."""

    graders: Annotated[  # type: ignore[assignment]
        Annotated[
            dict[str, Single | Annotated[str, Field(min_length=1)]],
            Field(min_length=1, max_length=100, fail_fast=True),
            Tag("several"),
        ]
        | Annotated[Single, Tag("one")],
        Discriminator(_count),
    ]

    @property
    def parts(self) -> dict[str, _Single]:
        """See `MultiGrader`; without those that are named."""
        if not isinstance(self.graders, dict):
            return {self.graders.name: self.graders}
        return {key: one for key, one in self.graders.items() if not isinstance(one, str)}

    @property
    def named(self) -> dict[str, str]:
        """The project's graders by the names that the formula uses."""
        found = self.graders if isinstance(self.graders, dict) else {}
        return {key: one for key, one in found.items() if isinstance(one, str)}


Grader = _Single | MultiGrader
GRADER: TypeAdapter[Grader] = TypeAdapter(Annotated[Grader, Field(discriminator="type")])
PROJECT_GRADER: TypeAdapter[Grader] = TypeAdapter(
    Annotated[_Single | ProjectMultiGrader, Field(discriminator="type")]
)
"""As `fine_tune.reinforcement.reward` writes it."""


@dataclass(slots=True)
class Reward:
    """What came of a grader.

    Attributes:
        scores: of each grader by its name; of a multi grader by its keys.
        errors: OpenAI's names of what went wrong; the reward is 0 then.
        seconds: that it took.
        compared: characters of texts times those of their references, over all similarities.
    """

    reward: float = 0.0
    scores: dict[str, float] = field(default_factory=dict)
    errors: set[str] = field(default_factory=set)
    seconds: float = 0.0
    compared: int = 0


def check(grader: Grader, *, judged: bool = False) -> None:
    """Refuse what cannot be run, before it is.

    Args:
        judged: whether models can be asked.

    Raises:
        UsageError: it needs code or a judging model, a metric that cannot be had here, or has a
            template or a formula that says nothing.
    """
    for part in parts_of(grader):
        if isinstance(part, UnsupportedGrader):
            raise UsageError(
                "the code of a python grader is never run here.",
                fix="Use another grader, or name a python grader of the project's assay.yaml with "
                "--trust-code.",
            )
        if isinstance(part, MODEL_GRADERS):
            if not judged:
                raise UsageError(
                    "graders that ask a model are not supported here yet.",
                    fix="Use string_check, text_similarity or multi.",
                )
            check_messages(part.input)
            continue
        if isinstance(part, TextSimilarity) and part.evaluation_metric == "meteor":
            check_stemmer()
        check_templates(part.input, part.reference)
    if isinstance(grader, MultiGrader):
        _formula_of(grader)


def _formula_of(grader: MultiGrader) -> Formula:
    return Formula(grader.calculate_output, frozenset((*grader.parts, *grader.named)))


def parts_of(grader: Grader) -> list[_Single]:
    """The graders that a grader combines, or itself; those that it only names are left out."""
    return [*grader.parts.values()] if isinstance(grader, MultiGrader) else [grader]


def missing_of_item(grader: Grader, item: Mapping[str, Any]) -> str | None:
    """The first variable of a grader, as it is written, that an item has no value for."""
    return missing_variable({"item": item}, *_texts_of(grader))


def check_item(grader: Grader, item: Mapping[str, Any]) -> None:
    """Refuse an item that has a value for every variable, and too long a text.

    Raises:
        TooLongError: no answer to it could be graded.
    """
    check_item_texts(item, *_texts_of(grader))


def _texts_of(grader: Grader) -> list[str]:
    """All templates of a grader."""
    texts: list[str] = []
    for part in parts_of(grader):
        if isinstance(part, MODEL_GRADERS):
            texts += [message.text for message in part.input]
        elif not isinstance(part, UnsupportedGrader):
            texts += [part.input, part.reference]
    return texts


def run(grader: Grader, item: Any, sample: str, embed: Embed | None = None) -> Reward:
    """Grade one answer.

    Args:
        item: what `{{item...}}` stands for.
        sample: the answer, `{{sample.output_text}}`; `output_json` is what it says as JSON.
        embed: texts to vectors of length 1, for the metric `cosine`.

    Raises:
        UsageError: see `check`; or a text is too long, or all of them together are.
    """
    return run_with(grader, {"item": item, "sample": describe_sample(sample)}, embed)


def run_with(
    grader: Grader,
    names: Mapping[str, Any],
    embed: Embed | None = None,
    compared: int = 0,
    judge: Judge | None = None,
    given: Mapping[str, float] = MappingProxyType({}),
) -> Reward:
    """As `run`, with what `item` and `sample` stand for.

    Args:
        given: the scores of graders that a multi grader only names, by its keys.
        compared: where `Reward.compared` begins.
        judge: asks models; None: graders that need one are refused.

    Raises:
        UsageError: as `run`.
    """
    check(grader, judged=judge is not None)
    began = time.perf_counter()
    result = Reward(compared=compared)
    if isinstance(grader, MultiGrader):
        result.scores |= given
        for key, part in grader.parts.items():
            result.scores[key] = _guarded(part, names, embed, result, judge)
        try:
            result.reward = _formula_of(grader).value(result.scores)
        except ArithmeticError:
            result.errors.add("formula_parse_error")
    else:
        result.reward = _guarded(grader, names, embed, result, judge)
        result.scores[grader.name] = result.reward
    if result.errors:
        result.reward = 0.0
    result.seconds = time.perf_counter() - began
    return result


def run_on_drawn(
    grader: Grader,
    names: Mapping[str, Any],
    embed: Embed | None = None,
    judge: Judge | None = None,
    given: Mapping[str, float] = MappingProxyType({}),
) -> Reward:
    """As `run_with`, of an answer that a model in training has drawn: whatever it is, the training
    goes on. One that is too long to be compared is worth 0, with the error `other_error`.

    Raises:
        UsageError: as `check`.
    """
    try:
        return run_with(grader, names, embed, judge=judge, given=given)
    except TooLongError:
        return Reward(errors={"other_error"})


def _guarded(
    grader: Any,
    names: Mapping[str, Any],
    embed: Embed | None,
    result: Reward,
    judge: Judge | None,
) -> float:
    try:
        if isinstance(grader, MODEL_GRADERS):
            assert judge is not None
            score = judge(grader, names)
            if score is None:
                result.errors.add("model_grader_parse_error")
            return score or 0.0
        text, reference = fill(grader.input, names), fill(grader.reference, names)
    except VariableError as error:
        result.errors.add(str(error))
        return 0.0
    if isinstance(grader, StringCheck):
        return float(_string_check(grader.operation, text, reference))
    result.compared += len(text) * len(reference)
    if result.compared > MOST_COMPARED:
        raise TooLongError(
            f"the texts to compare are too long (their lengths' products add up to more than "
            f"{MOST_COMPARED}).",
            fix="Compare fewer or shorter texts in one grader or eval.",
        )
    return _similarity(grader.evaluation_metric, text, reference, embed)


def _string_check(operation: str, text: str, reference: str) -> bool:
    if operation == "eq":
        return text == reference
    if operation == "ne":
        return text != reference
    if operation == "ilike":
        return reference.casefold() in text.casefold()
    return reference in text


def _similarity(metric: str, text: str, reference: str, embed: Embed | None) -> float:
    if metric == "cosine":
        if embed is None:
            raise UsageError("no embedder is available for the metric cosine.")
        one, other = embed([text, reference])
        return float(min(1.0, max(0.0, float(one @ other))))
    if metric == "fuzzy_match":
        from rapidfuzz import fuzz

        return float(fuzz.ratio(text, reference)) / 100
    if metric == "bleu":
        return bleu(text, reference)
    if metric == "rouge_l":
        return rouge_l_f1(text, reference)
    if metric == "gleu":
        return gleu(text, reference)
    if metric == "meteor":
        return meteor(text, reference)
    return rouge_n_f1(text, reference, int(metric.removeprefix("rouge_")))
