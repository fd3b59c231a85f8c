"""The lines of a batch on disk: requests that were asked for, answers as they come, and the files
that a client gets of them.

    <state>/work/<batch>/input                 the requests: another name of the client's file
    <state>/work/<batch>/answers-<random>.jsonl   answers, appended durably: `LINE OK JSON`
    <state>/work/<batch>/provider-<random>.json   lines that a provider's batch asks

Every attempt at a batch appends to a file of its own. So a line that a kill has cut is never gone
on with, and a process that was taken for dead spoils nothing: of a line that was answered twice,
one answer counts, and it is the same one whenever it is read.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from assay import json_reader
from assay.store import stored_files
from assay.store.store import Store
from assay.store.stored_files import StoredBytes

LINE_BYTES = 4 * 2**20
"""The longest line: what a request's body may have that comes alone."""
_NO_LIMIT = 2**62
_BODY, _END = b', "body": ', b'}, "error": null}'
TOKENS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "total_tokens")


@dataclass(slots=True)
class Answers:
    """What is there of a batch.

    Attributes:
        places: by the number of a line: file, offset and bytes of its answer.
        good: numbers of the lines that were answered with 200.
        usage: tokens of those, by the names in `TOKENS`.
        bytes: that all answers have.
    """

    places: dict[int, tuple[Path, int, int]] = field(default_factory=dict)
    good: set[int] = field(default_factory=set)
    usage: Counter[str] = field(default_factory=Counter)
    bytes: int = 0

    @property
    def failed(self) -> int:
        """Lines that were answered with an error."""
        return len(self.places) - len(self.good)


def folder_of(store: Store, batch: str) -> Path:
    """Where a batch keeps what it needs until it is over."""
    return store.folder / "work" / batch


def input_of(store: Store, batch: str) -> Path:
    """The requests of a batch, whatever becomes of the file that they came in."""
    return folder_of(store, batch) / "input"


def new_log(store: Store, batch: str) -> Path:
    """A file for the answers of one attempt."""
    return folder_of(store, batch) / f"answers-{secrets.token_hex(8)}.jsonl"


def logs(store: Store, batch: str) -> list[Path]:
    """The files with answers, in the order in which they count."""
    return sorted(folder_of(store, batch).glob("answers-*.jsonl"))


def new_provider_file(store: Store, batch: str) -> Path:
    """A file for what a provider's batch asks of this one."""
    return folder_of(store, batch) / f"provider-{secrets.token_hex(8)}.json"


def provider_files(store: Store, batch: str) -> list[Path]:
    """Those of providers' batches that may be under way."""
    return sorted(folder_of(store, batch).glob("provider-*.json"))


def read_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """The lines of a file that are not blank, with their numbers from 1; None: it is too long."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            if len(line) <= LINE_BYTES:
                if line.strip():
                    yield number, line
                continue
            while line and not line.endswith(b"\n"):
                line = file.readline(LINE_BYTES)
            yield number, None


def format_answer(
    number: int, custom_id: str, request: str, status: int, body: bytes, good: bool
) -> bytes:
    """An answer as it is kept.

    Args:
        number: of the line.
        request: id of the request.
        body: of the response, JSON without line breaks.
    """
    head = {"id": f"batch_req_{secrets.token_hex(12)}", "custom_id": custom_id}
    told = json.dumps({"status_code": status, "request_id": request})
    line = b"".join(
        (json.dumps(head)[:-1].encode(), b', "response": ', told[:-1].encode(), _BODY, body, _END)
    )
    return b"%d %d %s\n" % (number, good, line)


def usage_of(body: bytes) -> Counter[str]:
    """The tokens of an answer, whichever endpoint gave it; none where it cannot be read again, as
    one that repeats what was asked and is too deep by that."""
    try:
        usage = json_reader.read(body).get("usage") or {}
    except ValueError:
        return Counter()
    read = usage.get("prompt_tokens", usage.get("input_tokens")) or 0
    written = usage.get("completion_tokens", usage.get("output_tokens")) or 0
    before = usage.get("prompt_tokens_details", usage.get("input_tokens_details")) or {}
    after = usage.get("completion_tokens_details", usage.get("output_tokens_details")) or {}
    cached, reasoning = before.get("cached_tokens") or 0, after.get("reasoning_tokens") or 0
    counts = read, cached, written, reasoning, read + written
    return Counter(dict(zip(TOKENS, counts, strict=True)))


def collect(store: Store, batch: str) -> Answers:
    """All answers that are on disk; what a kill has cut is none."""
    found = Answers()
    for path in logs(store, batch):
        offset = 0
        with path.open("rb") as file:
            for kept in file:
                number, good, line = _divide(kept)
                if line is not None and number not in found.places:
                    start = offset + len(kept) - len(line)
                    found.places[number] = (path, start, len(line))
                    found.bytes += len(line)
                    if good:
                        found.good.add(number)
                        found.usage += usage_of(_body(line))
                offset += len(kept)
    return found


def _body(line: bytes) -> bytes:
    """Of the response, cut out: a line as a whole is deeper. Before it stand an id, a custom_id and
    a status, in which quotes are escaped."""
    return line[line.index(_BODY) + len(_BODY) : line.rindex(_END)]


def _divide(kept: bytes) -> tuple[int, bool, bytes | None]:
    parts = kept.split(b" ", 2)
    if len(parts) < 3 or not (parts[0].isdigit() and kept.endswith(b"\n")):
        return 0, False, None
    return int(parts[0]), parts[1] == b"1", parts[2]


def write_output(store: Store, found: Answers) -> StoredBytes | None:
    """The answers in the order of their requests; None where there are none."""
    if not found.good:
        return None
    return stored_files.write(store, _copies(found, sorted(found.good)), _NO_LIMIT)


def write_errors(
    store: Store, batch: str, found: Answers, unanswered: Mapping[str, str] | None
) -> StoredBytes | None:
    """What failed, and what was not tried; None where there is neither.

    Args:
        unanswered: why lines without an answer have none: `code` and `message`; None: all have.
    """
    numbers = sorted(found.places.keys() - found.good)
    left = iter(()) if unanswered is None else _untried(store, batch, found, unanswered)
    first = next(left, None)
    if not numbers and first is None:
        return None

    def lines() -> Iterator[bytes]:
        yield from _copies(found, numbers)
        if first is not None:
            yield first
            yield from left

    return stored_files.write(store, lines(), _NO_LIMIT)


def _copies(found: Answers, numbers: list[int]) -> Iterator[bytes]:
    for number in numbers:
        path, offset, size = found.places[number]
        with path.open("rb") as file:
            file.seek(offset)
            yield file.read(size)


def _untried(store: Store, batch: str, found: Answers, why: Mapping[str, str]) -> Iterator[bytes]:
    path = input_of(store, batch)
    for number, line in read_lines(path) if path.exists() else ():
        if number in found.places or line is None:
            continue
        told = {
            "id": f"batch_req_{secrets.token_hex(12)}",
            "custom_id": json_reader.read(line)["custom_id"],
            "response": None,
            "error": dict(why),
        }
        yield json.dumps(told, ensure_ascii=False).encode() + b"\n"
