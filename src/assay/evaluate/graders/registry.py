"""How graders are declared, checked against assay.yaml, and called."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from assay.close_names import find_close_name
from assay.config import CONFIG_FILE, Config, GraderSpec, TaskKind
from assay.config.names import file_of, names_in
from assay.data.json_schema import schema_validator
from assay.errors import ConfigError, DataError, UsageError
from assay.example import Example
from assay.store.files import sha256_file

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

    from assay.generate.batch import Answer, Request

SCHEMA = f"{CONFIG_FILE}, output_schema"
Need = Literal["labels", "output_schema", "tools", "trust"]
"""`output_schema`: one, or the tools of each row."""


class GraderSettings(BaseModel):
    """Settings that every grader has; an unknown one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_: str | None = Field(
        None, alias="as", min_length=1, description="name under which the scores are kept"
    )

    def check(self, context: GradingContext) -> None:
        """Look at what the settings point at (files, patterns) before any money is spent.

        Raises:
            ConfigError: it is not there or cannot be used.
        """

    def files(self) -> tuple[str, ...]:
        """Files that the scores depend on, as they are named."""
        return tuple(name.value for name in names_in(self) if name.kind in ("file", "code"))


class Score(NamedTuple):
    """What one answer is worth.

    Attributes:
        value: from 0 to 1.
        parsed: False when the answer cannot be read as what the grader looks for (value 0).
        note: what a reader of the report should know, e.g. the rules that were broken.
        counted: False when the grader can say nothing about this example, whatever the answer
            (value 1); means are taken over the others.
    """

    value: float
    parsed: bool = True
    note: str | None = None
    counted: bool = True


UNPARSED_JSON = Score(0.0, parsed=False, note="not JSON")


@dataclass(frozen=True)
class GradingContext:
    """What graders may know of the project.

    Attributes:
        labels: the closed set of a label task.
        output_schema: JSON Schema of a json task.
        task: kind of task; None where it makes no difference.
        root: the project's folder; files in settings are relative to it.
        trust_code: the user said `--trust-code`. No API sets it.
        ask: puts requests to a model by its reference, for graders that are models; it checks that
            the project has agreed. None: there is no model to ask.
    """

    labels: Sequence[str] | None = None
    output_schema: dict[str, Any] | None = None
    task: TaskKind | None = None
    root: Path = field(default_factory=Path)
    trust_code: bool = False
    ask: Callable[[str, Sequence[Request]], Sequence[Answer]] | None = None

    @cached_property
    def validator(self) -> Validator:
        """Checks a value against `output_schema`; references to other files are not followed."""
        return schema_validator(self.output_schema or {}, SCHEMA)


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """One entry per example, in their order; see `Score` for their meaning."""

    scores: list[float]
    parsed: list[bool]
    notes: list[str | None]
    counted: list[bool]

    @property
    def mean(self) -> float | None:
        """Mean over the counted examples; None when there are none."""
        kept = [s for s, counted in zip(self.scores, self.counted, strict=True) if counted]
        return math.fsum(kept) / len(kept) if kept else None

    @property
    def failed(self) -> int:
        """Answers that could not be parsed."""
        return self.parsed.count(False)


@dataclass(frozen=True, slots=True)
class Grader:
    """One entry of the registry.

    Attributes:
        points: what its points are given for, in words that follow "47 of 100 points"; empty where
            an answer is right (1) or wrong (0).
    """

    name: str
    explanation: str
    settings: type[GraderSettings]
    needs: frozenset[Need]
    score_all: Callable[[Sequence[str], Sequence[Example], Any, GradingContext], Sequence[Score]]
    points: str = ""


GRADERS: dict[str, Grader] = {}

Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

S = TypeVar("S", bound=GraderSettings)
AnswerScorer = Callable[[str, Example, S, GradingContext], Score]
ReferenceScorer = Callable[[str, str, S, GradingContext], Score | None]
RunScorer = Callable[[Sequence[str], Sequence[Example], S, GradingContext], Sequence[Score]]


def over_all(
    name: str,
    explanation: str,
    *,
    settings: type[S],
    needs: tuple[Need, ...] = (),
    points: str = "",
) -> Callable[[RunScorer[S]], RunScorer[S]]:
    """Declare a grader that sees all answers at once."""

    def declare(function: RunScorer[S]) -> RunScorer[S]:
        GRADERS[name] = Grader(name, explanation, settings, frozenset(needs), function, points)
        return function

    return declare


def of_answer(
    name: str,
    explanation: str,
    *,
    settings: type[S],
    needs: tuple[Need, ...] = (),
    points: str = "",
) -> Callable[[AnswerScorer[S]], AnswerScorer[S]]:
    """Declare a grader that sees one answer and its example."""

    def declare(function: AnswerScorer[S]) -> AnswerScorer[S]:
        def score_all(
            answers: Sequence[str],
            examples: Sequence[Example],
            chosen: S,
            context: GradingContext,
        ) -> list[Score]:
            pairs = zip(answers, examples, strict=True)
            return [function(answer, example, chosen, context) for answer, example in pairs]

        over_all(name, explanation, settings=settings, needs=needs, points=points)(score_all)
        return function

    return declare


def against_reference(
    name: str,
    explanation: str,
    *,
    settings: type[S],
    needs: tuple[Need, ...] = (),
    wants: str = "text",
    points: str = "",
) -> Callable[[ReferenceScorer[S]], ReferenceScorer[S]]:
    """Declare a grader that compares an answer with one expected output; the best one counts.

    The function returns None for an expected output that it cannot use because it holds no
    `wants` (such as "JSON value"); an example without a usable one is a `DataError`.
    """

    def declare(function: ReferenceScorer[S]) -> ReferenceScorer[S]:
        def best(answer: str, example: Example, chosen: S, context: GradingContext) -> Score:
            scores = [
                score
                for reference in example.accepted
                if (score := function(answer, reference, chosen, context)) is not None
            ]
            if not scores:
                raise DataError(
                    f"{name} needs a {wants} in the expected output, which has none.",
                    where=f"example {example.id}"
                    + (f", line {example.line}" if example.line else ""),
                    fix="Correct the row, or choose another grader.",
                )
            # What is not counted is so for the example, whatever the answer: it beats nothing.
            counted = [score for score in scores if score.counted]
            return max(counted or scores, key=lambda score: score.value)

        of_answer(name, explanation, settings=settings, needs=needs, points=points)(best)
        return function

    return declare


def grade(
    spec: GraderSpec,
    answers: Sequence[str],
    examples: Sequence[Example],
    context: GradingContext,
) -> AnswerScores:
    """Score answers[i] against examples[i].

    Raises:
        ConfigError: unknown grader or setting, or the project lacks what the grader needs.
        UsageError: the grader runs the user's code and `--trust-code` was not given.
        DataError: an example has no expected output that this grader can use.
    """
    if len(answers) != len(examples):
        raise ValueError(f"{len(answers)} answers for {len(examples)} examples")
    where = f"grader {spec.label}"
    grader, settings = _resolve(spec, where)
    _require(grader, context, where)
    if "trust" in grader.needs and not context.trust_code:
        raise UsageError(
            f"the grader {spec.label} runs Python code of this project.",
            fix="Read that code; if you trust it, say so with --trust-code.",
        )
    settings.check(context)
    scores = grader.score_all(answers, examples, settings, context)
    for score in scores:
        if not 0.0 <= score.value <= 1.0:  # NaN fails as well
            raise RuntimeError(f"{grader.name} gave {score.value}, outside of 0 to 1")
    return AnswerScores(
        scores=[float(score.value) for score in scores],
        parsed=[score.parsed for score in scores],
        notes=[score.note for score in scores],
        counted=[score.counted for score in scores],
    )


def grader_files(config: Config, root: Path) -> dict[str, str]:
    """By name, the sha256 (hex) of every file that a grader of the project reads.

    Scores of a file that has changed are other scores, though the settings are the same.

    Args:
        root: the project's folder.
    """
    names = {
        name
        for spec in config.graders
        for name in _resolve(spec, f"grader {spec.label}")[1].files()
    }
    files = {name: file_of(name, root) for name in sorted(names)}
    return {name: sha256_file(file) for name, file in files.items() if file.is_file()}


def check_graders(config: Config, root: Path | None = None) -> None:
    """Check every grader of a configuration, so that no mistake shows after the spending.

    Args:
        root: the project's folder; None leaves out files that settings name.

    Raises:
        ConfigError: the first mistake, with its place in assay.yaml.
    """
    context = GradingContext(
        labels=config.labels,
        output_schema=config.output_schema,
        task=config.task,
        root=root or Path(),
    )
    seen: set[str] = set()
    for number, spec in enumerate(config.graders):
        where = f"{CONFIG_FILE}, graders.{number}"
        grader, settings = _resolve(spec, where)
        _require(grader, context, where)
        if spec.label in seen:
            raise ConfigError(
                f"two graders are called {spec.label!r}.",
                where=where,
                fix="Give one of them another name: settings: {as: another-name}.",
            )
        seen.add(spec.label)
        if root is not None:
            settings.check(context)
    _check_rewards(config)


def _check_rewards(config: Config) -> None:
    """Check the graders of the project that are named as the reward, or as parts of it."""
    reward, place = config.fine_tune.reinforcement.reward, "fine_tune.reinforcement.reward"
    named = {place: reward}
    parts = reward.get("graders") if isinstance(reward, dict) else None
    if isinstance(parts, dict) and "type" not in parts:
        named = {f"{place}.graders.{key}": name for key, name in parts.items()}
    usable = [spec.label for spec in config.graders if spec.name != "judge"]
    for where, name in named.items():
        if not isinstance(name, str) or name in usable:
            continue
        is_judge = any(spec.label == name for spec in config.graders)
        raise ConfigError(
            f"the grader {name} compares two answers, in both orders; it cannot be the reward."
            if is_judge
            else f"there is no grader {name!r} among the project's.",
            where=f"{CONFIG_FILE}, {where}",
            fix=f"Choose from: {', '.join(usable)}.",
        )


def _resolve(spec: GraderSpec, where: str) -> tuple[Grader, GraderSettings]:
    grader = GRADERS.get(spec.name)
    if grader is None:
        close = find_close_name(spec.name, GRADERS)
        raise ConfigError(
            f"there is no grader {spec.name!r}.",
            where=where,
            fix=f"Did you mean {close}?" if close else f"There are: {', '.join(GRADERS)}.",
        )
    try:
        return grader, grader.settings.model_validate(spec.settings)
    except ValidationError as error:
        first = error.errors()[0]
        setting = ".".join(str(part) for part in first["loc"])
        known = [info.alias or key for key, info in grader.settings.model_fields.items()]
        if first["type"] == "extra_forbidden":
            what = f"{spec.name} has no setting {setting!r}."
        else:
            reason = first["msg"].removeprefix("Value error, ")
            what = f"{setting}: {reason}." if setting else f"{reason}."
        raise ConfigError(
            what, where=f"{where}, settings", fix=f"Settings of {spec.name}: {', '.join(known)}."
        ) from None


def _require(grader: Grader, context: GradingContext, where: str) -> None:
    if "labels" in grader.needs and not context.labels:
        raise ConfigError(
            f"{grader.name} needs the set of labels.",
            where=where,
            fix=f"List them under `labels` in {CONFIG_FILE}.",
        )
    if "tools" in grader.needs and context.task != "tools":
        raise ConfigError(
            f"{grader.name} scores calls of functions, which only a tools task has.",
            where=where,
            fix=f"Set `task: tools` in {CONFIG_FILE}, or choose another grader.",
        )
    if "output_schema" in grader.needs and context.task != "tools":
        if context.output_schema is None:
            raise ConfigError(
                f"{grader.name} needs a JSON Schema of the output.",
                where=where,
                fix=f"Write it under `output_schema` in {CONFIG_FILE}.",
            )
        schema_validator(context.output_schema, SCHEMA)
