"""Routes between agents: which arms there are, and what sends a request to which."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from assay import patterns
from assay.config.names import ArmName
from assay.config.strict import Strict


class RouteConditions(Strict):
    """What a rule of a route asks of a request; all that are stated must hold."""

    pattern: str | None = Field(
        None, max_length=1000, description="Regular expression to find anywhere in the input."
    )
    longer_than: int | None = Field(
        None, ge=0, description="The input must have more characters than this."
    )
    shorter_than: int | None = Field(
        None, ge=1, description="The input must have fewer characters than this."
    )
    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2}$")], ...] | None = Field(
        None,
        min_length=1,
        description="Language codes such as en, de; an input of uncertain language does not match.",
    )
    labels: tuple[str, ...] | None = Field(
        None, min_length=1, description="Labels that a TF-IDF classifier gives to the input."
    )

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            patterns.compile_pattern(value)
        return value

    @model_validator(mode="after")
    def _asks_something(self) -> RouteConditions:
        asked = (self.pattern, self.longer_than, self.shorter_than, self.languages, self.labels)
        if all(value is None for value in asked):
            raise ValueError(
                "a rule needs a condition: pattern, longer_than, shorter_than, languages or labels"
            )
        return self


class RouteRule(RouteConditions):
    """Conditions and the arm that gets a request which meets them; the first match decides."""

    to: ArmName = Field(description="A candidate, NAME@VERSION of a saved agent, or a model.")


class RouteSection(Strict):
    """Arms of the candidates `cascade`, `router` and `rules` (docs/providers.md).

    An arm is a candidate's name, NAME@VERSION of a saved agent, or a model.
    """

    cheap: ArmName | None = Field(
        None, description="cascade and router: the arm that is asked first."
    )
    strong: ArmName | None = Field(
        None,
        description="cascade and router: the arm for the remaining requests.",
    )
    target: float = Field(
        0.95, gt=0, le=1, description="Share of the strong arm's quality to keep."
    )
    most_strong: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Instead of target: the best quality with at most this share of requests "
        "going to the strong arm.",
    )
    rules: list[RouteRule] = Field(
        default_factory=list, description="The rules of the candidate `rules`."
    )
    otherwise: ArmName | None = Field(None, description="The arm for requests that match no rule.")

    @model_validator(mode="after")
    def _is_whole(self) -> RouteSection:
        if (self.cheap is None) != (self.strong is None):
            raise ValueError("give both cheap and strong")
        if bool(self.rules) != (self.otherwise is not None):
            raise ValueError("rules and otherwise must be given together")
        if self.cheap is not None and self.cheap == self.strong:
            raise ValueError("cheap and strong must be different")
        return self

    @property
    def arms(self) -> list[str]:
        """Names of all arms, in the order cheap, strong, otherwise, rules."""
        arms = (self.cheap, self.strong, self.otherwise, *(rule.to for rule in self.rules))
        return [arm for arm in arms if arm is not None]
