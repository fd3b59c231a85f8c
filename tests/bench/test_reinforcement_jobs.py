"""Ways to spend the same time stand in the page with their lead over the supervised version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.compare.sample import sample_result

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    import reinforcement_jobs

    return reinforcement_jobs


def test_a_job_is_written_into_the_block_of_the_page(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    shutil.copy(script.PAGE, page)
    monkeypatch.setattr(script, "PAGE", page)
    before = page.read_text("utf-8")
    text, pair = sample_result().model_dump_json(), sample_result().pairs[0]
    for old, new in ((pair.a, script.SUPERVISED), (pair.b, script.REINFORCED)):
        text = text.replace(json.dumps(old), json.dumps(f"{new}-1"))
    result = json.loads(text)
    result["environment"] |= {"processor": "P", "cores": 2, "python": "3"}
    result["environment"]["packages"] = {"torch": "1", "transformers": "2"}
    ways = [
        {"name": name, "version": "v", "seconds": seconds, "epochs": 2, "steps": 9, "best": 5}
        for name, seconds in ((script.SUPERVISED, 60.0), (script.REINFORCED, 120.0))
    ]
    found = {"job": "snips", "ways": ways, "result": result}
    (tmp_path / "snips.json").write_text(json.dumps(found))
    script.write_page(tmp_path)
    script.write_page(tmp_path)
    first, second = script.rows_of(found)
    ahead = f"{-100 * pair.difference:+.1f} ({-100 * pair.high:+.1f} to {-100 * pair.low:+.1f})"
    assert "| supervised | 1.0 | 9, 5 |" in first
    assert first.endswith("| – |")
    assert "| reinforced | 2.0 | 9, 5 |" in second
    assert second.endswith(f"| {ahead} |")
    written = page.read_text("utf-8")
    start, end = (before.split("equal time -->\n")[n] for n in (0, 1))
    assert written.startswith(start)
    assert written.endswith(end[end.index("<!-- end -->") :])
    assert written.count(f"{first}\n{second}\n\nScores on the holdout") == 1


def test_the_time_of_a_training_goes_on_after_it_was_stopped(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, file = [100.0], tmp_path / "way.seconds"
    monkeypatch.setattr(script, "time", SimpleNamespace(process_time=lambda: now[0]))
    first = script.ProcessorClock(file)
    now[0] += 7
    assert first(None) is None
    second = script.ProcessorClock(file, limit=10.0)
    now[0] += 2
    assert second(None) is None
    now[0] += 1
    assert second(None) == "the time is over"
    assert second.seconds == 10.0
