"""What came of the items of a run, read from the files of its batch.

    lines = write_items(run, items)              # the batch's input, in the order of the items
    with open_results(store, batch) as results:
        page = results.page(after=20, limit=20)  # (number, outcome) of items 21 to 40
    count(criteria, results)                     # what a run tells of itself

An outcome is what the endpoint has answered of one item: `datasource_item`, `sample`, `results` and
`status`. An item that was not answered, as one whose model could not be asked, has an `error`.
"""

from __future__ import annotations

import json
import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from assay import json_reader
from assay.errors import NotFoundError
from assay.jobs.batches import CANCELLED, EVAL_ITEMS, EXPIRED, Batch
from assay.store import stored_files
from assay.store.store import Store

ItemStatus = Literal["pass", "fail", "error"]
PAGE_BYTES = 8 * 2**20
"""A page ends with the line that reaches it."""
USED = ("prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens")
SAMPLING = ("temperature", "top_p", "seed", "max_completion_tokens")
"""How a model was asked, as is told of each item."""
EMPTY: dict[str, Any] = {
    "result_counts": {"total": 0, "passed": 0, "failed": 0, "errored": 0},
    "per_testing_criteria_results": [],
    "per_model_usage": [],
}
"""What a run tells that was not counted, see `count`."""
LATE = {"code": "expired", "message": "The run was not over within 24 hours."}
_UNANSWERED = {
    CANCELLED["code"]: {
        "code": "canceled",
        "message": "The run was canceled before this item was answered.",
    },
    EXPIRED["code"]: LATE,
}
"""Why items have no answer, by the code of the batch."""
_HEAD = 200
"""Bytes of a line that its number is in."""
_NUMBER = re.compile(rb'"custom_id": "(\d+)"')
_CACHED = 64
"""Files whose lines need not be looked for again: of one with 50,000, 1 MB is kept."""


@dataclass(frozen=True, slots=True)
class _File:
    """A stored file, which never changes.

    Attributes:
        path: of a copy on disk; another one each time, where files are in a bucket.
    """

    id: str
    path: Path = field(compare=False)

    def read(self, number: int) -> tuple[Any, int]:
        """The line of this number, and its bytes.

        Raises:
            NotFoundError: there is none.
        """
        numbers, offsets = _find_lines(self)
        place = bisect_left(numbers, number)
        if place == len(numbers) or numbers[place] != number:
            raise NotFoundError(f"no such output item: {number}")
        with self.path.open("rb") as file:
            file.seek(offsets[place])
            line = file.readline()
        return json_reader.read(line), len(line)


def write_items(run: str, items: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """The lines of a run's batch.

    Args:
        items: each with `item` and perhaps `sample`.
    """
    for number, one in enumerate(items, 1):
        body = {"run": run, **one}
        line = {"custom_id": str(number), "method": "POST", "url": EVAL_ITEMS, "body": body}
        yield json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


class Results:
    """The outcomes of a batch that is over, by the numbers of its lines from 1."""

    def __init__(self, items: _File, good: _File | None, failed: _File | None) -> None:
        self._items, self._good, self._failed = items, good, failed
        self._good_numbers = set() if good is None else set(_find_lines(good)[0])
        failures = () if failed is None else _find_lines(failed)[0]
        self.numbers = sorted(self._good_numbers.union(failures))

    def graded(self) -> Iterator[dict[str, Any]]:
        """The outcomes of the items that were graded, in their order."""
        return iter(()) if self._good is None else _bodies(self._good)

    def read(self, number: int) -> dict[str, Any]:
        """One outcome.

        Raises:
            NotFoundError: there is none of this number.
        """
        return self._read(number)[0]

    def _read(self, number: int) -> tuple[dict[str, Any], int]:
        """An outcome, and about how many bytes it has."""
        if self._good is not None and number in self._good_numbers:
            line, size = self._good.read(number)
            return line["response"]["body"], size
        if self._failed is None:
            raise NotFoundError(f"no such output item: {number}")
        line, _ = self._failed.read(number)
        error = line["error"] or line["response"]["body"]["error"]
        asked, size = self._items.read(number)
        why = _UNANSWERED.get(error["code"], error)
        return error_outcome(asked["body"]["item"], why["code"], why["message"]), size

    def page(
        self,
        *,
        after: int | None = None,
        limit: int = 20,
        newest_first: bool = False,
        status: ItemStatus | None = None,
    ) -> tuple[list[tuple[int, dict[str, Any]]], bool]:
        """Outcomes in the order of their numbers, and whether there are more. It may have fewer
        than `limit`, where they are long."""
        found: list[tuple[int, dict[str, Any]]] = []
        left = PAGE_BYTES
        for number in reversed(self.numbers) if newest_first else self.numbers:
            if after is not None and (number >= after if newest_first else number <= after):
                continue
            if status is not None and self._status(number) != status:
                continue
            if len(found) == limit or left <= 0:
                return found, True
            outcome, size = self._read(number)
            left -= size
            found.append((number, outcome))
        return found, False

    def _status(self, number: int) -> ItemStatus:
        """Of an item; all that were graded are read for it once."""
        if self._good is None or number not in self._good_numbers:
            return "error"
        numbers, _ = _find_lines(self._good)
        return _STATUSES[_read_statuses(self._good)[bisect_left(numbers, number)]]


_STATUSES: tuple[ItemStatus, ...] = ("pass", "fail", "error")


def error_outcome(item: dict[str, Any], code: str | None, message: str) -> dict[str, Any]:
    """The outcome of an item that was not graded."""
    error = {"code": code or "server_error", "message": message}
    return {"datasource_item": item, "sample": {"error": error}, "results": [], "status": "error"}


@contextmanager
def open_results(store: Store, batch: Batch) -> Iterator[Results]:
    """The outcomes of a batch, read until the block ends.

    Raises:
        NotFoundError: somebody has deleted a file of the run.
        ObjectsError: a file is in a bucket that is out of reach.
    """
    with ExitStack() as held:

        def open(id: str) -> _File:
            file = stored_files.find(store, batch.project, id)
            return _File(id, held.enter_context(stored_files.on_disk(store, file)))

        outputs = batch.output_file, batch.error_file
        good, failed = (None if id is None else open(id) for id in outputs)
        yield Results(open(batch.input_file), good, failed)


def count(names: Sequence[str], results: Results) -> dict[str, Any]:
    """What a run tells of its items.

    Args:
        names: of the criteria.
    """
    total = len(results.numbers)
    counts = Counter({"total": total, "passed": 0, "failed": 0, "errored": total})
    passed, failed = [0] * len(names), [0] * len(names)
    models: dict[str, Counter[str]] = {}
    kinds = {"pass": "passed", "fail": "failed", "error": "errored"}
    for outcome in results.graded():
        counts["errored"] -= 1
        counts[kinds[outcome["status"]]] += 1
        for place, one in enumerate(outcome["results"]):
            (passed if one["passed"] else failed)[place] += 1
        for model, usage in outcome.get("usage", {}).items():
            models.setdefault(model, Counter()).update(usage)
    return {
        "result_counts": dict(counts),
        "per_testing_criteria_results": [
            {"testing_criteria": name, "passed": good, "failed": bad}
            for name, good, bad in zip(names, passed, failed, strict=True)
        ],
        "per_model_usage": [
            {
                "model_name": model,
                "invocation_count": used["invocation_count"],
                **{name: used[name] for name in USED},
            }
            for model, used in sorted(models.items())
        ],
    }


@lru_cache(_CACHED)
def _find_lines(file: _File) -> tuple[array[int], array[int]]:
    """The numbers of a file's lines in their order, and where each line begins."""
    found, offset = list[tuple[int, int]](), 0
    with file.path.open("rb") as lines:
        for line in lines:
            number = _NUMBER.search(line[:_HEAD])
            assert number is not None, file.id
            found.append((int(number[1]), offset))
            offset += len(line)
    found.sort()
    return array("q", (number for number, _ in found)), array("q", (place for _, place in found))


@lru_cache(_CACHED)
def _read_statuses(file: _File) -> bytes:
    """Of each line, in the order of the numbers, the place of its status in `_STATUSES`."""
    return bytes(_STATUSES.index(body["status"]) for body in _bodies(file))


def _bodies(file: _File) -> Iterator[dict[str, Any]]:
    """What a file's lines say, which were written in the order of their numbers."""
    with file.path.open("rb") as lines:
        for line in lines:
            yield json_reader.read(line)["response"]["body"]
