"""What came of the items of a run, read from the files of its batch.

    lines = write_items(items)                   # the batch's input, in the order of the items
    with open_results(store, batch) as results:
        page = results.page(after=20, limit=20)  # (number, outcome) of items 21 to 40
    count(criteria, results)                     # what a run tells of itself

An outcome is what the endpoint has answered of one item: `datasource_item`, `sample`, `results` and
`status`. An item that was not answered, as one whose model could not be asked, has an `error`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from assay import json_reader
from assay.errors import NotFoundError
from assay.jobs.batches import EVAL_ITEMS, Batch
from assay.store import stored_files
from assay.store.store import Store

ItemStatus = Literal["pass", "fail", "error"]
_HEAD = 200
"""Bytes of a line that its number is in."""
_NUMBER = re.compile(rb'"custom_id": "(\d+)"')
_USED = ("prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a line is."""

    file: Path
    offset: int
    size: int

    def read(self) -> Any:
        with self.file.open("rb") as file:
            file.seek(self.offset)
            return json_reader.read(file.read(self.size))


def write_items(run: str, items: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """The lines of a run's batch.

    Args:
        items: each with `item` and perhaps `sample`.
    """
    for number, one in enumerate(items, 1):
        body = {"model": run, **one}
        line = {"custom_id": str(number), "method": "POST", "url": EVAL_ITEMS, "body": body}
        yield json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


class Results:
    """The outcomes of a batch that is over, by the numbers of its lines from 1."""

    def __init__(self, items: Path, good: Path | None, failed: Path | None) -> None:
        self._items = _places(items)
        self._good = {} if good is None else _places(good)
        self._failed = {} if failed is None else _places(failed)
        self.numbers = sorted({*self._good, *self._failed})

    def read(self, number: int) -> dict[str, Any]:
        """One outcome.

        Raises:
            NotFoundError: there is none of this number.
        """
        if number in self._good:
            outcome: dict[str, Any] = self._good[number].read()["response"]["body"]
            return outcome
        if number not in self._failed:
            raise NotFoundError(f"no such output item: {number}")
        line = self._failed[number].read()
        error = line["error"] or line["response"]["body"]["error"]
        return fail(self._items[number].read()["body"]["item"], error["code"], error["message"])

    def page(
        self,
        *,
        after: int | None = None,
        limit: int = 20,
        newest_first: bool = False,
        status: ItemStatus | None = None,
    ) -> tuple[list[tuple[int, dict[str, Any]]], bool]:
        """Outcomes in the order of their numbers, and whether there are more."""
        numbers = reversed(self.numbers) if newest_first else iter(self.numbers)
        found: list[tuple[int, dict[str, Any]]] = []
        for number in numbers:
            if after is not None and (number >= after if newest_first else number <= after):
                continue
            outcome = self.read(number)
            if status is not None and outcome["status"] != status:
                continue
            if len(found) == limit:
                return found, True
            found.append((number, outcome))
        return found, False


def fail(item: dict[str, Any], code: str | None, message: str) -> dict[str, Any]:
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
        files = [
            None
            if id is None
            else held.enter_context(
                stored_files.on_disk(store, stored_files.find(store, batch.project, id))
            )
            for id in (batch.input_file, batch.output_file, batch.error_file)
        ]
        items, good, failed = files
        assert items is not None
        yield Results(items, good, failed)


def count(names: Sequence[str], results: Results) -> dict[str, Any]:
    """What a run tells of its items.

    Args:
        names: of the criteria.
    """
    counts = Counter({"total": 0, "passed": 0, "failed": 0, "errored": 0})
    passed, failed = [0] * len(names), [0] * len(names)
    models: dict[str, Counter[str]] = {}
    kinds = {"pass": "passed", "fail": "failed", "error": "errored"}
    for number in results.numbers:
        outcome = results.read(number)
        counts["total"] += 1
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
                **{name: used[name] for name in _USED},
            }
            for model, used in sorted(models.items())
        ],
    }


def _places(path: Path) -> dict[int, _Place]:
    """Where the line of each number is."""
    found, offset = {}, 0
    with path.open("rb") as file:
        for line in file:
            number = _NUMBER.search(line[:_HEAD])
            assert number is not None, path
            found[int(number[1])] = _Place(path, offset, len(line))
            offset += len(line)
    return found
