"""Answers that an outside model gave already: read from a file, replayed to the same questions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from assay import json_reader
from assay.data.formats.json_records import read_lines
from assay.errors import DataError, ModelError, UsageError
from assay.example import json_sha256
from assay.generate.batch import Answer, BatchEngine, Request
from assay.generate.outside_logs import ID, KINDS, LoggedAnswer, read_log
from assay.generate.recorded import INPUT
from assay.generate.registry import EngineResources
from assay.progress import SILENT, Progress
from assay.quantities import say_count

_SHOWN = 5


def read_predictions(
    path: Path, ids: Sequence[str], inputs: Sequence[str] = (), progress: Progress = SILENT
) -> list[str]:
    """The outputs of an outside model, in the order of `ids`.

    Args:
        path: JSON Lines of `{"id": ..., "output": ...}`; `id` is the id of an example, or its row
            number counted from 1. An output that is not text is taken as JSON. A line of a
            recording (`assay.generate.recorded`) goes by the hash of its input instead: it answers
            every row that has this input, and is left out where none has. So is an answer of a log
            (`assay.generate.outside_logs`), which goes by an id as well.
        ids: of the examples to be answered. An id that equals one of them is always read as such;
            only the others are read as row numbers.
        inputs: the hash of each example's input, in the same order.
        progress: is told by what the rows of a log were found.

    Raises:
        DataError: a line cannot be read, or a row is missing, unknown or there twice.
    """
    place = {name: i for i, name in enumerate(ids)}
    found: dict[int, str] = {}
    first_line: dict[int, int] = {}
    unknown: list[str] = []
    twice: list[str] = []
    recorded: dict[str, str] = {}
    if (logged := read_log(path)) is not None:
        return _of_log(logged, path, ids, inputs, progress)
    for line, key, output, asked in _lines(path):
        if asked is not None:
            recorded[asked] = output
            continue
        index = place.get(key)
        if index is None and key.isascii() and key.isdigit() and 1 <= int(key) <= len(ids):
            index = int(key) - 1
        if index is None:
            unknown.append(f"{key} (line {line})")
        elif index in found:
            twice.append(f"{key} (lines {first_line[index]} and {line})")
        else:
            found[index], first_line[index] = output, line
    for index, asked in enumerate(inputs):
        if asked in recorded:
            found.setdefault(index, recorded[asked])
    missing = [ids[i] for i in range(len(ids)) if i not in found]
    for what, names in (
        ("do not name a row of the holdout", unknown),
        ("answer a row that another line answers, too", twice),
    ):
        if names:
            raise DataError(
                f"{len(names)} of the lines {what}: {_first_few(names)}.",
                where=str(path),
                fix="Write one line for each row of the holdout, with its id or its "
                "number, counted from 1.",
            )
    if missing:
        raise DataError(
            f"{_none_to(missing, ids)}: {_first_few(missing)}.",
            where=str(path),
            fix="Record the answers to the holdout with `assay rescue record`."
            if recorded
            else "Every row of the holdout needs an output; it may be an empty string.",
        )
    return [found[i] for i in range(len(ids))]


def _of_log(
    logged: Sequence[LoggedAnswer],
    path: Path,
    ids: Sequence[str],
    inputs: Sequence[str],
    progress: Progress,
) -> list[str]:
    """The answer of a log to each row, by the most exact key that names it alone."""
    found: dict[int, str] = {}
    answered: set[str] = set()  # questions: no other row is given an answer to one of them
    asked = [*inputs] or [""] * len(ids)
    counts: dict[str, int] = {}
    for kind, what in enumerate(KINDS):
        named = _named(logged, kind)
        new: set[str] = set()
        known = len(found)
        for row, (id, sha256) in enumerate(zip(ids, asked, strict=True)):
            one = named.get(id if what == ID else sha256) if row not in found else None
            if one is not None and one.asked not in answered:
                found[row] = one.text
                new.add(one.asked)
        answered |= new
        if len(found) > known:
            counts[what] = len(found) - known
    missing = [id for row, id in enumerate(ids) if row not in found]
    if missing:
        raise DataError(
            f"{_none_to(missing, ids)} in this log of {say_count(len(logged), 'answer')}: "
            f"{_first_few(missing)}.",
            where=str(path),
            fix="The log must have answered every row of the holdout: a row is found by its input, "
            "or by an id that is no number, and by none that fits several questions of the log.",
        )
    by = ", ".join(f"{count:,} by {what}" for what, count in counts.items())
    progress.say(f"{path.name}: rows were found {by}.")
    return [found[row] for row in range(len(ids))]


def _named(logged: Sequence[LoggedAnswer], kind: int) -> dict[str, LoggedAnswer | None]:
    """What each key of a kind names; None: several questions."""
    named: dict[str, LoggedAnswer | None] = {}
    for one in logged:
        for key in one.keys[kind]:
            first = named.setdefault(key, one)
            if first is not None and first.asked != one.asked:
                named[key] = None
    return named


def recorded_model(path: Path) -> str | None:
    """The model whose recording a file is; None: it is none."""
    with path.open("rb") as lines:
        try:
            first = json_reader.read(lines.readline())
        except ValueError:
            return None
    model = first.get("model") if isinstance(first, dict) and INPUT in first else None
    return model if isinstance(model, str) else None


def _lines(path: Path) -> Iterator[tuple[int, str, str, str | None]]:
    """Line number, id and output of each line, and the hash of its input in a recording."""
    for raw in read_lines(path, str(path), "utf-8-sig"):
        where = f"{path}, line {raw.line}"
        if raw.problems:
            raise DataError(raw.problems[0].message, where=where, fix=raw.problems[0].fix)
        for name in ("id", "output"):
            if name not in raw.value:
                raise DataError(f"the field `{name}` is missing.", where=where)
        key, output = raw.value["id"], raw.value["output"]
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise DataError("`id` is neither a string nor a row number.", where=where)
        text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
        asked = raw.value.get(INPUT)
        yield raw.line, str(key), text, asked if isinstance(asked, str) else None


def _none_to(missing: Sequence[str], ids: Sequence[str]) -> str:
    have = "has" if len(missing) == 1 else "have"
    return f"{len(missing)} of the {say_count(len(ids), 'row')} {have} no answer"


def _first_few(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def conversation_key(request: Request) -> str:
    """Sha256 (hex) of what a request asks: its messages and tools."""
    question = [[m.to_dict() for m in request.messages], list(request.tools)]
    return json_sha256(question)


class ReplayEngine:
    """Answers each request with the output that was recorded for the same conversation.

    Args:
        name: of the outside model.
        outputs: by `conversation_key`.
    """

    def __init__(self, name: str, outputs: Mapping[str, str]) -> None:
        self.name, self.outputs = name, dict(outputs)

    @classmethod
    def of(cls, name: str, requests: Sequence[Request], outputs: Sequence[str]) -> ReplayEngine:
        """An engine for requests and the outputs given to them.

        Raises:
            UsageError: one conversation has two different outputs.
        """
        table: dict[str, str] = {}
        for request, output in zip(requests, outputs, strict=True):
            if table.setdefault(conversation_key(request), output) != output:
                raise UsageError(
                    f"{name} gave two different outputs to one conversation.",
                    fix="Use `read_predictions`, which goes by the ids of the rows.",
                )
        return cls(name, table)

    @property
    def identity(self) -> dict[str, str]:
        """All that can change an answer and is not in the request."""
        digest = json_sha256(self.outputs)
        return {"engine": "replay", "model": self.name, "outputs": digest}

    def prompt_length(self, request: Request) -> int:
        """0: nothing is counted in tokens."""
        return 0

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """The recorded outputs; finish `error` where there is none."""
        outputs = [self.outputs.get(conversation_key(request)) for request in requests]
        return [
            Answer(text="", finish="error", error=f"{self.name} has no answer to this conversation")
            if output is None
            else Answer(text=output)
            for output in outputs
        ]


def open_batch(model: str, resources: EngineResources) -> BatchEngine:
    """Refused: the answers of an outside model cannot answer new questions."""
    raise ModelError("the answers of an outside model cannot answer new questions.")
