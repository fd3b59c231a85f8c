"""What a route is: which of several agents answers a request. Frozen, part of an agent's content.

The arms of a route are agents by id. `assay.agent.routing` follows a route; what it decides on is
in the request (and, in a cascade, in the cheap arm's answer), never in a target.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from assay.config import RouteConditions, Strict

AgentId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

Confidence = Literal["token", "answer"]
"""`token`: the geometric mean of the probabilities of an answer's tokens; `answer`: the probability
of the whole answer, for answers from a closed set."""

SURELY = 2.0
"""Beyond every confidence and every gain: a threshold that all fall short of."""


class Rule(RouteConditions):
    """Where a request goes that meets the conditions."""

    to: AgentId


class Rules(Strict):
    """The first rule that holds decides.

    Attributes:
        classifier: blob of a classical model, whose label the rules may ask for.
    """

    kind: Literal["rules"] = "rules"
    rules: tuple[Rule, ...] = Field(min_length=1)
    otherwise: AgentId
    classifier: str | None = None

    @property
    def arms(self) -> tuple[str, ...]:
        """Ids of the agents that may answer, each once."""
        return tuple(dict.fromkeys([*(rule.to for rule in self.rules), self.otherwise]))

    @model_validator(mode="after")
    def _can_classify(self) -> Rules:
        if self.classifier is None and any(rule.labels for rule in self.rules):
            raise ValueError("rules that ask for a label need a classifier")
        return self


class Cascade(Strict):
    """The cheap arm answers; where it is not sure enough, the strong one answers instead.

    Attributes:
        threshold: the least confidence with which the cheap answer is given.
    """

    kind: Literal["cascade"] = "cascade"
    cheap: AgentId
    strong: AgentId
    confidence: Confidence
    threshold: float = Field(ge=0, le=SURELY)

    @property
    def arms(self) -> tuple[str, ...]:
        """Ids of the agents that may answer."""
        return (self.cheap, self.strong)


class LearnedRoute(Strict):
    """A model reads the input and says how likely each arm is right.

    Attributes:
        model: blob of a `assay.agent.learned.RouterModel`.
        threshold: the strong arm answers where it is predicted to gain more than this.
    """

    kind: Literal["learned"] = "learned"
    cheap: AgentId
    strong: AgentId
    model: str
    threshold: float = Field(ge=-SURELY, le=SURELY)

    @property
    def arms(self) -> tuple[str, ...]:
        """Ids of the agents that may answer."""
        return (self.cheap, self.strong)


Route = Annotated[Rules | Cascade | LearnedRoute, Field(discriminator="kind")]
