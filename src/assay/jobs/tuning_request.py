"""What a fine-tuning is asked for: OpenAI's request, checked.

https://platform.openai.com/docs/api-reference/fine-tuning/create
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from assay.config import FineTuneSection
from assay.config.reinforcement import Reinforcement
from assay.config.strict import ClosedModel
from assay.evaluate.rewards import Grader
from assay.jobs.metadata import Metadata

Auto = Literal["auto"]
MOST_EPOCHS = 50
LARGEST_BATCH = 256
LARGEST_SEED = 2**31 - 1
LONGEST_ANSWER = 32_768
MOST_JUDGES = 2
"""Models that a grader may ask: they stay in memory beside the one that is trained."""
_AUTO = Reinforcement()
"""What `auto` is for reinforcement, the epochs excepted: as many as make that many steps."""


class _Part(ClosedModel):
    model_config = ConfigDict(frozen=True)


class Hyperparameters(_Part):
    """Numbers, or `auto`: decided by the number of rows and the size of the model."""

    batch_size: Annotated[int, Field(ge=1, le=LARGEST_BATCH)] | Auto = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=100)] | Auto = "auto"
    n_epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] | Auto = "auto"

    @field_validator("*", mode="wrap")
    @classmethod
    def _one_problem(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        """One message for a wrong value, not one for each type that it might have had."""
        if value is None:
            return "auto"
        try:
            return check(value)
        except ValidationError as error:
            raise ValueError(f"{error.errors()[0]['msg']}, or 'auto'") from None


class DpoHyperparameters(Hyperparameters):
    """With how strongly the model is held to where it started."""

    beta: Annotated[float, Field(gt=0, le=2)] | Auto = "auto"


class ReinforcementHyperparameters(Hyperparameters):
    """With how many answers are drawn to a prompt, and how often validation is measured.

    Attributes:
        compute_multiplier: times as many answers to each prompt as are drawn by default.
        eval_interval: steps between two measurements.
        eval_samples, reasoning_effort: taken, and without effect; the job says so.
    """

    compute_multiplier: Annotated[float, Field(ge=0.25, le=8)] | Auto = "auto"
    eval_interval: Annotated[int, Field(ge=1, le=100_000)] | Auto = "auto"
    eval_samples: Annotated[int, Field(ge=1, le=1000)] | Auto = "auto"
    reasoning_effort: Literal["auto", "default", "none", "minimal", "low", "medium", "high"] = (
        "default"
    )

    @property
    def unheeded(self) -> list[str]:
        """A sentence for each number that has no effect here."""
        said = []
        if self.eval_samples not in ("auto", 1):
            said.append(
                "eval_samples has no effect: validation is answered once, always with the most "
                "likely token."
            )
        if self.reasoning_effort not in ("auto", "default", "none"):
            said.append("reasoning_effort has no effect: the model has no reasoning to be set.")
        return said


class SupervisedMethod(_Part):
    """Learn the answers."""

    hyperparameters: Hyperparameters = Hyperparameters()


class DpoMethod(_Part):
    """Learn from a preferred and another answer (Direct Preference Optimization)."""

    hyperparameters: DpoHyperparameters = DpoHyperparameters()


class JsonSchema(_Part):
    """The schema of an answer."""

    name: Annotated[str, StringConstraints(max_length=100)] = "answer"
    description: Annotated[str, StringConstraints(max_length=10_000)] | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema", max_length=100)]
    strict: bool | None = None


class ResponseFormat(_Part):
    """An answer that does not follow the schema has no `output_json`."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class ReinforcementMethod(_Part):
    """Learn from what a grader says of the model's own answers.

    Attributes:
        max_completion_tokens: of an answer that is drawn; OpenAI's request has no such field.
    """

    grader: Annotated[Grader, Field(discriminator="type")]
    hyperparameters: ReinforcementHyperparameters = ReinforcementHyperparameters()
    response_format: ResponseFormat | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=LONGEST_ANSWER)] = 256


class Method(_Part):
    """How to learn."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: SupervisedMethod | None = None
    dpo: DpoMethod | None = None
    reinforcement: ReinforcementMethod | None = None

    @model_validator(mode="after")
    def _only_its_own(self) -> Method:
        """What is written for another method would be ignored."""
        for name in ("supervised", "dpo", "reinforcement"):
            if name != self.type and getattr(self, name) is not None:
                raise ValueError(f"{name} has no effect with the method {self.type}; leave it out")
        if self.type == "reinforcement" and self.reinforcement is None:
            raise ValueError("reinforcement needs a grader: reinforcement: {grader: {...}}")
        return self


class TuningRequest(_Part):
    """The body of `POST /v1/fine_tuning/jobs`.

    Attributes:
        hyperparameters: the older place of what stands in `method` now.
        suffix: becomes a part of the model's name; what a name cannot hold becomes a hyphen.
    """

    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    training_file: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    validation_file: Annotated[str, StringConstraints(max_length=100)] | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    suffix: Annotated[str, StringConstraints(max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | None = None
    metadata: Metadata | None = None
    integrations: (
        Annotated[
            list[Annotated[dict[str, Any], Field(max_length=100)]],
            Field(max_length=10, fail_fast=True),
        ]
        | None
    ) = None

    @property
    def kind(self) -> Literal["supervised", "dpo", "reinforcement"]:
        """The method, supervised where none is named."""
        return self.method.type if self.method else "supervised"

    @property
    def reinforcement(self) -> ReinforcementMethod | None:
        """What is asked for beside the files, where the method is reinforcement."""
        return self.method.reinforcement if self.method else None

    @property
    def numbers(self) -> Hyperparameters:
        """The hyperparameters, wherever they stand."""
        if self.reinforcement is not None:
            return self.reinforcement.hyperparameters
        if self.method is None:
            return self.hyperparameters or Hyperparameters()
        if self.method.type == "dpo":
            return (self.method.dpo or DpoMethod()).hyperparameters
        return (self.method.supervised or SupervisedMethod()).hyperparameters

    @property
    def slug(self) -> str:
        """The suffix as it stands in a name."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.suffix or "").strip("-")

    def section(self, seed: int, rows: int) -> FineTuneSection:
        """The trainer's settings, `auto` being left to `assay.train.auto`.

        Epochs that are stated are trained, all of them; those that are not may end early.

        Args:
            rows: that are trained on.
        """
        numbers = self.numbers
        if isinstance(numbers, ReinforcementHyperparameters):
            return _section_of_rewards(numbers, seed, rows)
        settings: dict[str, Any] = {
            "method": "dpo" if self.kind == "dpo" else "sft",
            "rows_per_step": numbers.batch_size,
            "epochs": numbers.n_epochs,
            "seed": seed,
        }
        if isinstance(numbers.n_epochs, int):
            settings["patience"] = numbers.n_epochs
        if isinstance(numbers, DpoHyperparameters) and numbers.beta != "auto":
            settings["beta"] = numbers.beta
        return FineTuneSection.model_validate(settings)


def _section_of_rewards(
    numbers: ReinforcementHyperparameters, seed: int, rows: int
) -> FineTuneSection:
    prompts = _AUTO.prompts_per_step if numbers.batch_size == "auto" else numbers.batch_size
    prompts = min(prompts, rows)
    steps = (
        _AUTO.steps if numbers.n_epochs == "auto" else math.ceil(numbers.n_epochs * rows / prompts)
    )
    every = _AUTO.evaluate_every if numbers.eval_interval == "auto" else numbers.eval_interval
    more = 1.0 if numbers.compute_multiplier == "auto" else numbers.compute_multiplier
    own = {
        "start": "base",
        "steps": steps,
        "prompts_per_step": prompts,
        "group": round(more * _AUTO.group),
        "evaluate_every": every,
    }
    settings: dict[str, Any] = {"method": "reinforcement", "seed": seed, "reinforcement": own}
    if numbers.n_epochs != "auto":
        settings["patience"] = steps
    return FineTuneSection.model_validate(settings)
