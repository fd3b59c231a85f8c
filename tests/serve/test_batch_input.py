"""Lines of a batch's file that are read again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from assay.serve.batch_input import RequestIndex
from tests.serve.test_batches import jsonl, line


def test_lines_are_read_in_any_order_by_several_threads(tmp_path: Path) -> None:
    count, file = 3000, tmp_path / "input"
    file.write_bytes(jsonl([line(f"id-{n}", f"text {n}") for n in range(1, count + 1)]))
    for _ in range(30):
        index = RequestIndex(file)
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(index.read, range(count, count - 8, -1)))
        assert [one.custom_id for one in found] == [f"id-{one.number}" for one in found]
