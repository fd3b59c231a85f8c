"""Answers that were kept of a model while it answered, found by the input that it was asked.

A recording is a file of JSON Lines, one object for each input:

    {"id": "row-7", "part": "holdout", "input_sha256": "...", "request_sha256": "...",
     "model": "ft:...", "base_url": "https://...", "output": "card_arrival", "finish": "stop",
     "prompt_tokens": 61, "completion_tokens": 4, "logprobs": [...], "at": 1764270000.0}

`input_sha256` is of what the row brings along, whatever prompt is put before it, so that the same
row is found in any project and file that has it; `request_sha256` is of all that was sent. Where
the input may be shown (not of a holdout) and the answer is whole, `messages` has both, and `tools`
what was offered: such a line is an example in OpenAI's form, too. In `output` the functions that
were called stand in `<tool_call>` marks, as a model on this machine writes them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from assay.data.calls import read_turn
from assay.data.formats.json_records import read_lines
from assay.errors import DataError
from assay.example import Example, Message, json_sha256
from assay.generate.batch import Answer, Request

INPUT = "input_sha256"
"""The field by which a line of a recording is told from one of other outside answers."""
_COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """One line of a recording.

    Attributes:
        id: of the row, in the file or part that it was read from.
        part: `holdout`, `validation`, `train`, or `data` of a file of inputs.
        at: when the answer came, in seconds since 1970.
        turns, tools: of the input, where it may be shown; what is read back has none.
        usd: what it cost; None where that is not known, and `most_usd` is what it cannot exceed.
    """

    id: str
    part: str
    input_sha256: str
    request_sha256: str
    model: str
    base_url: str
    answer: Answer
    at: float
    turns: tuple[Message, ...] = ()
    tools: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    usd: float | None = None
    most_usd: float | None = None

    @property
    def spent_usd(self) -> float:
        """What a budget counts for it."""
        return self.usd if self.usd is not None else self.most_usd or 0.0

    def to_dict(self) -> dict[str, Any]:
        """The object of its line; what is not known is left out."""
        answer = self.answer
        line: dict[str, Any] = {
            "id": self.id,
            "part": self.part,
            INPUT: self.input_sha256,
            "request_sha256": self.request_sha256,
            "model": self.model,
            "base_url": self.base_url,
            "output": answer.text,
            "finish": answer.finish,
        }
        line |= {name: value for name in _COUNTS if (value := getattr(answer, name)) is not None}
        line |= {
            name: value
            for name, value in (
                ("error", answer.error),
                ("logprob", answer.logprob),
                ("usd", self.usd),
                ("most_usd", self.most_usd),
                ("at", self.at),
            )
            if value is not None
        }
        if self.turns and answer.finish == "stop" and (said := read_turn(answer.text, self.tools)):
            line["messages"] = [message.to_dict() for message in (*self.turns, said)]
            if self.tools:
                line["tools"] = list(self.tools)
        if answer.tokens is not None:
            line["logprobs"] = [asdict(token) for token in answer.tokens]
        return line

    @classmethod
    def from_dict(cls, line: dict[str, Any]) -> RecordedAnswer:
        """The answer of a line; raises KeyError, TypeError or ValueError where it is none."""
        named = ("id", "part", INPUT, "request_sha256", "model", "base_url", "output", "finish")
        if any(not isinstance(line[name], str) for name in named):
            raise TypeError("a field that must be text is not")
        raw = {name: line.get(name) for name in (*_COUNTS, "error", "logprob")}
        answer = Answer.from_dict(
            {
                **raw,
                "text": line["output"],
                "finish": line["finish"],
                "tokens": line.get("logprobs"),
            }
        )
        if answer.finish not in ("stop", "length", "refused"):
            raise ValueError(f"{answer.finish} is not the end of an answer")
        usd, most = (
            None if line.get(name) is None else float(line[name]) for name in ("usd", "most_usd")
        )
        return cls(
            id=line["id"],
            part=line["part"],
            input_sha256=line[INPUT],
            request_sha256=line["request_sha256"],
            model=line["model"],
            base_url=line["base_url"],
            answer=answer,
            at=float(line["at"]),
            usd=usd,
            most_usd=most,
        )


def input_sha256(example: Example) -> str:
    """Sha256 (hex) of an example's turns before its target, and of the tools it offers."""
    return json_sha256([[message.to_dict() for message in example.prompt], list(example.tools)])


def request_sha256(request: Request) -> str:
    """Sha256 (hex) of all that a model is asked, limits and sampling included.

    Whether log-probabilities are told changes no answer, and is no part.
    """
    return json_sha256(
        {
            "messages": [message.to_dict() for message in request.messages],
            "tools": list(request.tools),
            "max_new_tokens": request.max_new_tokens,
            "schema": request.schema,
            "temperature": request.temperature,
            "seed": request.seed,
        }
    )


def read_recording(path: Path, tokens_of: Collection[str] = ()) -> dict[str, RecordedAnswer]:
    """The answers of a recording, by the hash of their input.

    Args:
        tokens_of: inputs whose answers bring their log-probabilities, which take the most room.

    Raises:
        DataError: it cannot be read, or a line is none of a recording. (A last line without its
            end, which a killed process has left, is passed over.)
    """
    return {one.input_sha256: one for one in _answers(path, tokens_of)}


def _answers(path: Path, tokens_of: Collection[str]) -> Iterator[RecordedAnswer]:
    """The answers in their order; a last line that a killed process has cut is none."""
    damaged: DataError | None = None
    for raw in read_lines(path, str(path), "utf-8-sig"):
        if damaged is not None:
            raise damaged
        where = f"{path}, line {raw.line}"
        if raw.problems:
            damaged = DataError(raw.problems[0].message, where=where, fix=raw.problems[0].fix)
            continue
        try:
            if raw.value.get(INPUT) not in tokens_of:
                raw.value.pop("logprobs", None)  # most of a line, and many objects
            yield RecordedAnswer.from_dict(raw.value)
        except (KeyError, TypeError, ValueError):
            damaged = DataError(
                "this is not a line of recorded answers.",
                where=where,
                fix="`assay rescue record` writes such a file. Delete the line to do without it.",
            )
    if damaged is not None and _ends_with_newline(path):
        raise damaged


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as lines:
        lines.seek(-1, os.SEEK_END)
        return lines.read(1) == b"\n"
