"""A request and its answer that another program has kept."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from assay.data.calls import turn_of
from assay.example import Example, Message
from assay.release.traces import Thumb, Trace


@dataclass(frozen=True, slots=True)
class ImportedTrace:
    """One call of a model, as its program has kept it.

    Attributes:
        id: as the program calls it; "" where it has no name.
        messages: all that was asked, system prompt included.
        tools: that were offered, in OpenAI's form.
        model: that answered, as the program calls it; `provider`: whose it is.
        usd: what the program says that it cost; None where it says nothing.
        seconds: from the request to the end of the answer.
        at: when it was asked, ISO 8601 in UTC.
        cut: whether the answer ended at a limit of its length; False, too, where nothing tells.
        thumb, corrected: feedback of people; None where there was none.
    """

    id: str
    messages: tuple[Message, ...]
    answer: Message
    tools: tuple[dict[str, Any], ...] = ()
    model: str | None = None
    provider: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    usd: float | None = None
    seconds: float | None = None
    at: str | None = None
    thumb: Thumb | None = None
    corrected: str | None = None
    cut: bool = False

    @property
    def system(self) -> str:
        """The system prompt, all turns of it."""
        return "\n".join(m.content for m in self.messages if m.role in ("system", "developer"))

    @property
    def input(self) -> str:
        """What was said to the model beside the system prompt."""
        return Example("", (*self.messages, self.answer)).input

    @property
    def first_input(self) -> str:
        """What a user said first: how a conversation began."""
        return next((m.content for m in self.messages if m.role == "user"), "")

    @property
    def right(self) -> Message | None:
        """The answer that people have said to be right; None where nobody has."""
        if self.corrected is not None:
            return turn_of(self.corrected, self.tools)
        return self.answer if self.thumb == "up" and not self.cut else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; what is not known, or not so, is left out."""
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        known |= {
            "messages": [message.to_dict() for message in self.messages],
            "answer": self.answer.to_dict(),
            "tools": list(self.tools) or None,
            "cut": self.cut or None,
        }
        return {name: value for name, value in known.items() if value is not None}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> ImportedTrace:
        """The trace that `to_dict` has written; what stands beside its fields is passed over."""
        known = {one.name: raw[one.name] for one in fields(cls) if one.name in raw}
        known["messages"] = tuple(map(Message.from_dict, raw["messages"]))
        known["answer"] = Message.from_dict(raw["answer"])
        known["tools"] = tuple(raw.get("tools", ()))
        return cls(**known)


def of_release(trace: Trace) -> ImportedTrace:
    """A trace of a release in the form of those that are imported; the release is its model."""
    usage = trace.usage or {}
    return ImportedTrace(
        id=trace.id,
        messages=tuple(map(Message.from_dict, trace.messages)),
        answer=Message.from_dict(trace.answer),
        tools=tuple(trace.tools),
        model=trace.release,
        provider="assay",
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        usd=usage.get("usd"),
        seconds=usage.get("seconds"),
        at=trace.at.isoformat(),
        thumb=trace.thumb,
        corrected=trace.corrected,
    )
