"""Code of a request: what it is given, may use, and says."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from assay.errors import UsageError
from assay.evaluate import confined
from assay.evaluate.confined import (
    CodeError,
    ConfinementError,
    TimeAllowance,
    check_possible,
    find_fault,
)
from assay.generate.stream import BusyError

pytestmark = pytest.mark.usefixtures("can_confine")


def run_grade(source: str, sample: dict[str, Any], item: dict[str, Any]) -> float:
    return confined.run_grade(source, sample, item, TimeAllowance())


LIBRARIES = """
from __future__ import annotations

import dataclasses, datetime, json, re, zoneinfo
import numpy, scipy.stats

@dataclasses.dataclass
class Share:
    value: float

def grade(sample, item):
    from rapidfuzz import fuzz  # as OpenAI's own examples do
    print("not a score")
    datetime.datetime.now(zoneinfo.ZoneInfo("Europe/Oslo"))
    assert sample["output_json"] == {"a": [1]} and sample["output_text"] == "Ü\\u2028\\ud800"
    share = Share(numpy.float32(fuzz.ratio(item["answer"], "ab") / 100))
    assert share.value + scipy.stats.norm.cdf(0) == 1.5
    return (numpy.ones(2) == 1).all()
"""


def test_a_grader_sees_sample_and_item_and_uses_what_is_installed() -> None:
    sample = {"output_text": "Ü\u2028\ud800", "output_json": {"a": [1]}}
    assert run_grade(LIBRARIES, sample, {"answer": "ab"}) == 1.0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def grade(sample, item):\n    x = 1\n    return item['b']", r"KeyError: 'b' \(line 3\)"),
        ("import no_such_module", r"ModuleNotFoundError: .* \(line 1\)"),
        ("def grade(sample, item): return 'good'", r"grade returned 'good' \(str\), not a number"),
        ("def grade(sample, item): return float('nan')", "grade returned nan, not a finite"),
        ("def other(sample, item): return 1", r"there is no function grade\(sample, item\)"),
        ("def grade(sample): return 1", "takes 1 positional argument but 2 were given"),
    ],
)
def test_a_failure_says_what_and_where(source: str, said: str) -> None:
    with pytest.raises(CodeError, match=said):
        run_grade(source, {}, {})


def test_sources_are_compiled_and_not_run() -> None:
    fine: Any = "import time; time.sleep(600)"
    assert find_fault([fine, "def grade(sample, item)\n    return 1"]) == (
        1,
        "SyntaxError: expected ':' (line 1)",
    )


def test_two_grades_run_at_a_time_whoever_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, pair = [], [], threading.Barrier(2, timeout=60)

    def call(*_: Any) -> dict[str, Any]:
        running.append(1)
        pair.wait()
        most.append(len(running))
        time.sleep(0.02)
        running.pop()
        return {"score": 1.0}

    monkeypatch.setattr(confined, "_call", call)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: run_grade("", {}, {}), range(6)))
    assert max(most) == 2


def test_the_code_of_an_item_has_so_much_time_together(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def call(_: Any, seconds: float) -> Any:
        given.append(seconds)
        now[0] += seconds
        raise CodeError("it took too long")

    now = [0.0]
    monkeypatch.setattr(confined, "_call", call)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    allowance = TimeAllowance(70.0)
    for _ in range(5):
        with pytest.raises(CodeError):
            confined.run_grade("", {}, {}, allowance)
    assert given == [30.0, 30.0, 10.0]


def test_one_compilation_runs_at_a_time_and_for_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(confined, "COMPILE_SECONDS", 0.001)
    with pytest.raises(CodeError, match=r"it took more than 0.001 s"):
        find_fault([])
    with confined._COMPILATIONS, pytest.raises(BusyError, match="Other code is being compiled"):
        find_fault([])


def test_a_process_that_does_not_start_is_an_error_of_the_confinement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", never)
    with pytest.raises(ConfinementError, match="not be started: Resource temporarily unavailable"):
        run_grade("", {}, {})


def test_a_system_without_files_in_memory_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS and Windows are: `assay serve --trust-code` says so and does not start."""
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(UsageError, match="is not Linux"):
        check_possible()
