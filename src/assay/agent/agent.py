"""The agent: a whole specialisation as one value, known by the hash of its content."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from assay.agent.route import Route
from assay.agent.variables import check_name, fill
from assay.config.names import KnowledgeName, ModelName
from assay.example import Example, Message

_LATER: tuple[tuple[str, ...], ...] = (
    ("knowledge",),
    ("route",),
    ("knowledge", "weight"),
    ("knowledge", "rerank"),
    ("knowledge", "embedder"),
)
"""Settings, by their path, that agents saved before do not have."""


class Nearest(BaseModel):
    """Examples shown by likeness to the input.

    Attributes:
        k: how many are shown, the most similar one last.
        pool: blob of the examples to choose from (`assay.example.dump_examples`).
        embedder: the model that measures likeness.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    k: int = Field(ge=1)
    pool: str
    embedder: ModelName


class Knowledge(BaseModel):
    """Passages of documents put before the input (`agent/passages.py` has the form).

    Attributes:
        name: of the knowledge, within the project that asks.
        snapshot: the state of it that was evaluated, searched as long as it is kept; None: always
            the present state.
        k: at most so many passages, the best first.
        weight: of meaning in mode hybrid, 0 to 1; None fuses by ranks.
        threshold: passages that score less are not relevant; None: all are.
        rerank: cross-encoder that orders the best passages anew, `tuned:BLOB` for one that was
            trained on rows; None: none does.
        embedder: `tuned:BLOB`, an embedder that was trained on rows; the knowledge is searched by
            its vectors (`KnowledgeBase.tuned_copy`); None: by those of its own embedder.
        labels: only documents with one of these are searched; None: all.
        characters: what prompt, conversation and passages may have together; the passages that
            rank last are left out beyond it.
        abstain: what the model is told to say where the passages do not hold the answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: KnowledgeName
    snapshot: str | None = None
    k: int = Field(ge=1, le=1000)
    mode: Literal["bm25", "dense", "hybrid"] = "hybrid"
    weight: float | None = Field(None, ge=0, le=1)
    threshold: float | None = None
    rerank: ModelName | None = None
    embedder: str | None = Field(None, pattern=r"^tuned:[0-9a-f]{64}$")
    labels: tuple[str, ...] | None = None
    characters: int = Field(ge=1)
    abstain: str | None = None


MOST_TEMPERATURE = 2.0
"""Of a request, as in OpenAI's API, and of what is saved."""


class Agent(BaseModel):
    """How a request is made and which model answers it.

    Attributes:
        kind: `chat` (a language model), `classical` (none: a baseline), `outside` (answers were
            brought), `routed` (other agents answer, each with its own prompt and model).
        model: a model reference, `version:ID`, `remote:PROVIDER/MODEL`, `classical:BLOB`,
            `embedded:BLOB`, `nearest:BLOB`, `quote:BLOB`, `extract:BLOB`, `calls:BLOB`,
            `outside:BLOB`, or `routed`.
        route: which agent answers, of one that is `routed`.
        variables: what `{{name}}` in the system prompt stands for.
        shown: conversations put before the input, each a list of messages in OpenAI's form.
        output_schema: JSON Schema of the answer; enforced where `constrained`.
        choices: the closed set of answers; enforced where `constrained`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["chat", "classical", "outside", "routed"] = "chat"
    model: ModelName
    system_prompt: str = ""
    variables: dict[Annotated[str, AfterValidator(check_name)], str] = {}
    shown: tuple[tuple[dict[str, Any], ...], ...] = ()
    nearest: Nearest | None = None
    knowledge: Knowledge | None = None
    output_schema: dict[str, Any] | None = None
    choices: tuple[str, ...] | None = None
    constrained: bool = False
    max_new_tokens: int = Field(128, ge=1)
    temperature: float = Field(0.0, ge=0)
    seed: int = 0
    route: Route | None = None

    @model_validator(mode="after")
    def _routes_if_routed(self) -> Agent:
        if (self.kind == "routed") != (self.route is not None):
            raise ValueError("an agent has a route if, and only if, its kind is routed")
        return self

    def canonical(self) -> str:
        """The one spelling of this agent; its sha256 is the agent's id.

        Keys keep their order: a schema's properties are generated in the order they stand in.
        What came later is left out where it is not used: ids stay what they were.
        """
        content = self.model_dump(mode="json")
        variables = content.pop("variables")
        if variables:
            content["variables"] = dict(sorted(variables.items()))
        for *outer, last in _LATER:
            holder = content
            for name in outer:
                holder = holder.get(name) or {}
            if holder.get(last, 0) is None:
                del holder[last]
        return json.dumps(content, separators=(",", ":"), ensure_ascii=False)

    @property
    def prompt(self) -> str:
        """The system prompt as it is sent: its variables filled in."""
        return fill(self.system_prompt, self.variables)

    @property
    def id(self) -> str:
        """Sha256 (hex) of the canonical JSON."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def make_routed(route: Route) -> Agent:
    """An agent whose requests are answered by the arms of a route."""
    return Agent(kind="routed", model="routed", route=route)


def as_shown(example: Example) -> tuple[dict[str, Any], ...]:
    """An example as turns to be shown: without its system turn, which the agent has already."""
    turns = [m for m in example.messages if m.role not in ("system", "developer")]
    return tuple(message.to_dict() for message in turns)


def messages_of(shown: tuple[dict[str, Any], ...]) -> tuple[Message, ...]:
    """The messages that `as_shown` made JSON-ready."""
    return tuple(Message.from_dict(raw) for raw in shown)
