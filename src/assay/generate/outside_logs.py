"""Logs of other evaluations as answers: Inspect's `.eval` and `.json`, lm-eval's `samples_*.jsonl`.

A row is found by what was asked: the hash of the turns, as they stand in the log, without its
system prompt, or the last of them alone. In lm-eval's, which has the prompt with its examples as
one text, a field of the document that the prompt has in it counts as well. Otherwise by an id that
is the row's. Numbers are no ids where something was asked: both programs count samples themselves.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from assay import json_reader
from assay.data.formats.json_records import read_lines
from assay.errors import DataError
from assay.example import ROLES, Example, Message, Role
from assay.generate.log_archive import read_samples, too_large
from assay.generate.recorded import input_sha256

MOST_BYTES = 256 << 20
"""Of a log that is one JSON value, and of the answers that are kept of an archive."""
ID = "the id"
KINDS = (
    "all that was asked",
    "what was asked without the system prompt",
    "the last turn alone",
    "a field of the document",
    ID,
)
"""Of keys of an answer, from the most exact to the least."""
_ATTACHED = "attachment://"
_SYSTEM = ("system", "developer")


@dataclass(frozen=True, slots=True)
class LoggedAnswer:
    """An answer of a log.

    Attributes:
        asked: what was asked, as a whole; two answers with the same one are to the same question.
        keys: of the rows that it may answer, of each of `KINDS`: hashes (`input_sha256`), and ids.
        rank: of several answers to one question that with the smallest counts, and of these the
            first.
    """

    asked: str
    keys: tuple[tuple[str, ...], ...]
    text: str
    rank: int = 0


def read_log(path: Path) -> list[LoggedAnswer] | None:
    """The answers of a log; None: the file is none.

    Raises:
        DataError: it is a log that cannot be read; names the sample or line.
    """
    if not path.is_file():
        return None  # whoever reads other files says so
    if zipfile.is_zipfile(path):
        return _ranked(_of_archive(path))
    first = next(read_lines(path, str(path), "utf-8-sig"), None)
    line = first.value if first is not None and isinstance(first.value, dict) else {}
    if _is_harness(line):
        return _ranked(_of_harness(path))
    if path.suffix == ".json" and "output" not in line:
        return _ranked(_of_json(path))
    return None


def _ranked(found: Iterator[LoggedAnswer]) -> list[LoggedAnswer]:
    return sorted(found, key=lambda one: one.rank)


def _of_archive(path: Path) -> Iterator[LoggedAnswer]:
    kept = 0
    for where, text in read_samples(path):
        for one in _sample(_parsed(text, where), where):
            kept += len(one.text)
            if kept > MOST_BYTES:
                raise too_large(f"{path}, answers", MOST_BYTES)
            yield one


def _of_json(path: Path) -> Iterator[LoggedAnswer]:
    if path.stat().st_size > MOST_BYTES:
        raise too_large(str(path), MOST_BYTES)
    log = _parsed(path.read_bytes(), str(path))
    samples = log.get("samples") if isinstance(log, dict) else None
    if not isinstance(samples, list):
        raise DataError(
            "the file is no log of Inspect: it has no `samples`.",
            where=str(path),
            fix="Give a log of Inspect or lm-eval, or lines of {id, output}.",
        )
    for number, sample in enumerate(samples, 1):
        yield from _sample(sample, f"{path}, sample {number}")


def _parsed(text: bytes, where: str) -> Any:
    try:
        return json_reader.read(text)
    except ValueError as error:
        what = json_reader.describe(error)
        raise DataError(f"the log is not JSON: {what}.", where=where) from None


def _sample(sample: Any, where: str) -> Iterator[LoggedAnswer]:
    """The answer of a sample of Inspect; none where it has none, as after an error."""
    if not isinstance(sample, dict) or "input" not in sample or "id" not in sample:
        raise DataError("it is no sample of Inspect (`id`, `input`, `output`).", where=where)
    attached = sample.get("attachments")
    attachments: dict[str, Any] = attached if isinstance(attached, dict) else {}
    output = sample.get("output")
    text = _completion(output, attachments) if isinstance(output, dict) else None
    if text is None:
        return
    turns = _turns(sample["input"], attachments)
    _check_texts([text, str(sample["id"]), *(turn.content for turn in turns)], where)
    epoch = sample.get("epoch", 1)
    rank = epoch if isinstance(epoch, int) else 1
    keys = (*_hashes(turns), (), _ids(sample["id"], bool(turns)))
    yield LoggedAnswer(_hash(turns) if turns else str(sample["id"]), keys, text, rank)


def _check_texts(texts: list[str], where: str) -> None:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        what = "a text has half of a character (an unpaired surrogate)."
        raise DataError(what, where=where) from None


def _ids(id: Any, asked: bool) -> tuple[str, ...]:
    """The id, if it can be a row's: one that counts samples says nothing of the row."""
    return () if asked and not isinstance(id, str) else (str(id),)


def _completion(output: dict[str, Any], attachments: dict[str, Any]) -> str | None:
    choices = output.get("choices")
    if not isinstance(choices, list) or not choices:
        said = output.get("completion")
        return _resolved(said, attachments) if isinstance(said, str) and said else None
    message = choices[0].get("message") if isinstance(choices[0], dict) else None
    return _content(message.get("content"), attachments) if isinstance(message, dict) else None


def _content(content: Any, attachments: dict[str, Any]) -> str:
    """The text of a message; reasoning, pictures and what else is in it are left out."""
    if isinstance(content, str):
        return _resolved(content, attachments)
    parts = content if isinstance(content, list) else []
    texts = [
        _resolved(part["text"], attachments)
        for part in parts
        if isinstance(part, dict)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
    ]
    return "\n".join(texts)


def _resolved(text: str, attachments: dict[str, Any]) -> str:
    """A text that stands apart from its message, for it is long."""
    if not text.startswith(_ATTACHED):
        return text
    found = attachments.get(text.removeprefix(_ATTACHED))
    return found if isinstance(found, str) else text


def _turns(asked: Any, attachments: dict[str, Any]) -> list[Message]:
    if isinstance(asked, str):
        return [Message("user", _resolved(asked, attachments))]
    return [
        Message(cast(Role, turn["role"]), _content(turn.get("content"), attachments))
        for turn in (asked if isinstance(asked, list) else [])
        if isinstance(turn, dict) and turn.get("role") in ROLES
    ]


def _hashes(turns: list[Message]) -> tuple[tuple[str, ...], ...]:
    """Of all turns, of those without the system prompt, and of the last one alone."""
    if not turns:
        return (), (), ()
    talk = [turn for turn in turns if turn.role not in _SYSTEM]
    return (_hash(turns),), (_hash(talk),), _hashes_of(talk[-1:])


def _hashes_of(last: list[Message]) -> tuple[str, ...]:
    """Of a turn as it stands, and without the blanks around it."""
    stripped = [Message(turn.role, turn.content.strip()) for turn in last]
    return tuple(dict.fromkeys([_hash(last), _hash(stripped)]))


def _hash(turns: list[Message]) -> str:
    return input_sha256(Example("", (*turns, Message("assistant", ""))))


def _is_harness(line: dict[str, Any]) -> bool:
    return {"doc_id", "doc", "resps"} <= line.keys()


def _of_harness(path: Path) -> Iterator[LoggedAnswer]:
    for raw in read_lines(path, str(path), "utf-8-sig"):
        where = f"{path}, line {raw.line}"
        if raw.problems:
            raise DataError(raw.problems[0].message, where=where, fix=raw.problems[0].fix)
        if not isinstance(raw.value, dict) or not _is_harness(raw.value):
            raise DataError("it is no line of lm-eval's samples (`doc_id`, `doc`).", where=where)
        line = raw.value
        arguments = _arguments(line.get("arguments"))
        text = _response(line["resps"], arguments)
        if text is None:
            raise DataError("the answer under `resps` cannot be read.", where=where)
        doc = line["doc"] if isinstance(line["doc"], dict) else {}
        asked = _asked(arguments[0][0]) if arguments and arguments[0] else []
        _check_texts([turn.content for turn in asked], where)  # turns in JSON have escapes, too
        prompt = asked[-1].content if asked else ""
        fields = [
            one
            for value in doc.values()
            if isinstance(value, str) and value.strip() and value in prompt
            for one in _hashes_of([Message("user", value)])
        ]
        ids = _ids(doc["id"], bool(asked)) if "id" in doc else ()
        keys = (*_hashes(asked), tuple(dict.fromkeys(fields)), ids)
        yield LoggedAnswer(_hash(asked) if asked else where, keys, text)


def _arguments(raw: Any) -> list[list[Any]]:
    """What each request was given: the prompt first. (`gen_args_0: {arg_0, arg_1}`, or lists.)"""
    each = raw.values() if isinstance(raw, dict) else raw if isinstance(raw, list) else []
    return [
        list(one.values()) if isinstance(one, dict) else one
        for one in each
        if isinstance(one, dict | list)
    ]


def _asked(prompt: Any) -> list[Message]:
    """The turns of a prompt, which is one text, or turns as JSON; in a list where a model behind
    an API was asked."""
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        return []
    if prompt.startswith("["):
        try:
            turns = _turns(json_reader.read(prompt), {})
        except ValueError:
            turns = []
        if turns:
            return turns
    return [Message("user", prompt)]


def _response(resps: Any, arguments: list[list[Any]]) -> str | None:
    """The first text that was generated; of a choice the one that is likeliest."""
    if not isinstance(resps, list) or not resps:
        return None
    firsts = [one[0] if isinstance(one, list) and one else one for one in resps]
    if isinstance(firsts[0], str):
        return firsts[0]
    likelihoods = [_likelihood(one) for one in firsts]
    if len(arguments) != len(firsts) or any(one is None for one in likelihoods):
        return None
    best = max(range(len(firsts)), key=lambda n: likelihoods[n] or float("-inf"))
    chosen = arguments[best][1] if len(arguments[best]) > 1 else None
    return chosen.strip() if isinstance(chosen, str) else None


def _likelihood(value: Any) -> float | None:
    """Of `[log-probability, whether it is the greedy answer]`, as numbers or as text."""
    first = value[0] if isinstance(value, list) and value else value
    try:
        return float(first)
    except (TypeError, ValueError):
        return None
