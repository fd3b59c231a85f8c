"""One conversation with its target: what every room passes around."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from assay import json_reader

Role = Literal["system", "developer", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function the assistant asks for; `arguments` is JSON text, as OpenAI sends it."""

    id: str
    name: str
    arguments: str


CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
"""What a call stands between where it is written as text."""


def call_text(call: ToolCall) -> str:
    """A call as text in the form of Hermes and Qwen.

    Arguments that are not JSON are written as they are: whoever reads the text finds no call.
    """
    try:
        arguments = json.dumps(json_reader.read(call.arguments or "{}"), ensure_ascii=False)
        arguments.encode()  # half a pair of code units, which JSON may spell, can stand nowhere
    except ValueError:
        arguments = call.arguments
    name = json.dumps(call.name, ensure_ascii=False)
    return f'{CALL_OPEN}\n{{"name": {name}, "arguments": {arguments}}}\n{CALL_CLOSE}'


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `trained` is False for assistant turns that OpenAI's format gives weight 0."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    trained: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The message in OpenAI's wire format, `trained` included only where it is False."""
        out: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            out["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self.tool_calls
            ]
        if self.tool_call_id is not None:
            out["tool_call_id"] = self.tool_call_id
        if self.name is not None:
            out["name"] = self.name
        if not self.trained:
            out["weight"] = 0
        return out

    @property
    def text(self) -> str:
        """What the turn says, then the functions it calls, each written in `<tool_call>` marks."""
        return "\n".join(
            [*([self.content] if self.content else []), *map(call_text, self.tool_calls)]
        )

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Message:
        """The inverse of `to_dict`; expects a message that has been checked."""
        calls = tuple(
            ToolCall(
                id=str(call.get("id", "")),
                name=call["function"]["name"],
                arguments=call["function"]["arguments"],
            )
            for call in raw.get("tool_calls") or ()
        )
        return cls(
            role=cast(Role, raw["role"]),
            content=raw.get("content") or "",
            tool_calls=calls,
            tool_call_id=raw.get("tool_call_id"),
            name=raw.get("name"),
            trained=raw.get("weight", 1) != 0,
        )


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation; the last assistant turn is the target.

    Attributes:
        id: unique within its dataset (a column, else `row-N`, N counted from 1 when it was read
            first: once a holdout was opened, removals above a row leave its id as it is).
        messages: the turns, target last.
        tools: OpenAI tool definitions offered to the assistant.
        weight: weight of the example in the training loss.
        group: examples with one group never straddle a split (document, customer, table).
        references: further outputs that are as right as the target.
        possible: for each call of the target, in its order, what is as right as what it says; see
            `docs/tools.md`.
        assertions: what an answer to this row has to pass, as promptfoo writes it; see
            `assay.data.assertions`.
        rejected: the turns of the answer that was not preferred (preference data), else empty.
        desirable: the thumb of unpaired preference data (KTO), else None.
        document: name of the document that answers the input; "" when none does, None when nothing
            is said of it.
        line: first line of the row in its file, counted from 1; 0 when made by a program.
    """

    id: str
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    weight: float = 1.0
    group: str | None = None
    references: tuple[str, ...] = ()
    possible: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    assertions: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    rejected: tuple[Message, ...] = ()
    desirable: bool | None = None
    document: str | None = None
    line: int = 0

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Every turn before the target."""
        return self.messages[:-1]

    @property
    def target(self) -> Message:
        """The turn that is to be learned and measured."""
        return self.messages[-1]

    @property
    def input(self) -> str:
        """The text of the turns before the target, system and developer turns left out."""
        kept = [m.content for m in self.prompt if m.role not in ("system", "developer")]
        return "\n".join(kept)

    @property
    def output(self) -> str:
        """The text of the target, the functions that it calls included."""
        return self.target.text

    @property
    def liked(self) -> bool:
        """Whether the target may serve as a right answer: nobody turned the thumb down on it."""
        return self.desirable is not False

    @property
    def accepted(self) -> tuple[str, ...]:
        """Every output that counts as right: the target, then the references."""
        return (self.output, *self.references)

    def content_hash(self) -> str:
        """Sha256 (hex) of what is said in the example; id, line, group and document are no part."""
        raw = self.to_dict()
        for key in ("id", "line", "group", "document"):
            raw.pop(key, None)
        return json_sha256(raw)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; fields at their default are left out."""
        out: dict[str, Any] = {"id": self.id, "messages": [m.to_dict() for m in self.messages]}
        if self.tools:
            out["tools"] = list(self.tools)
        if self.weight != 1.0:
            out["weight"] = self.weight
        if self.group is not None:
            out["group"] = self.group
        if self.references:
            out["references"] = list(self.references)
        if self.possible:
            out["possible"] = list(self.possible)
        if self.assertions:
            out["assertions"] = list(self.assertions)
        if self.rejected:
            out["rejected"] = [m.to_dict() for m in self.rejected]
        if self.desirable is not None:
            out["desirable"] = self.desirable
        if self.document is not None:
            out["document"] = self.document
        if self.line:
            out["line"] = self.line
        return out

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Example:
        """The example that `to_dict` has written."""
        return cls(
            id=raw["id"],
            messages=tuple(Message.from_dict(m) for m in raw["messages"]),
            tools=tuple(raw.get("tools", ())),
            weight=raw.get("weight", 1.0),
            group=raw.get("group"),
            references=tuple(raw.get("references", ())),
            possible=tuple(raw.get("possible", ())),
            assertions=tuple(raw.get("assertions", ())),
            rejected=tuple(Message.from_dict(m) for m in raw.get("rejected", ())),
            desirable=raw.get("desirable"),
            document=raw.get("document"),
            line=raw.get("line", 0),
        )

    @classmethod
    def of(cls, input: str, output: str, *, id: str = "row-1", **fields: Any) -> Example:
        """One question and its answer."""
        turns = (Message("user", input), Message("assistant", output))
        return cls(id=id, messages=turns, **fields)

    def with_system(self, prompt: str | None) -> Example:
        """The same example under a system prompt; one that it brings itself stays in front."""
        if not prompt or (self.messages and self.messages[0].role in ("system", "developer")):
            return self
        return replace(self, messages=(Message("system", prompt), *self.messages))


def canonical_json(value: Any) -> str:
    """One spelling of a JSON value (sorted keys, no spaces, UTF-8), fit for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def json_sha256(value: Any) -> str:
    """Sha256 (hex) of a JSON value, however its keys are ordered."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def read_examples(path: Path) -> Iterator[Example]:
    """Examples of a file in Assay's own form, one JSON object a line."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield Example.from_dict(json_reader.read(line))


def load_examples(data: bytes) -> Iterator[Example]:
    """The examples of such a file's bytes. A line ends in a newline only: texts may hold others."""
    for line in io.BytesIO(data):
        yield Example.from_dict(json_reader.read(line))


def dump_examples(examples: Iterable[Example]) -> Iterator[str]:
    """The lines (newline included) that `read_examples` reads."""
    for example in examples:
        yield canonical_json(example.to_dict()) + "\n"
