"""Code of a request: what it is given, may use, and says."""

from __future__ import annotations

from typing import Any

import pytest

from assay.errors import UsageError
from assay.evaluate.confined import CodeError, check_possible, find_fault, run_grade


@pytest.fixture(scope="module", autouse=True)
def _possible() -> None:
    try:
        check_possible()
    except UsageError as error:
        pytest.skip(str(error))


LIBRARIES = """
import datetime, json, re, zoneinfo
import numpy, scipy.stats

def grade(sample, item):
    from rapidfuzz import fuzz  # as OpenAI's own examples do
    print("not a score")
    datetime.datetime.now(zoneinfo.ZoneInfo("Europe/Oslo"))
    assert sample["output_json"] == {"a": [1]} and sample["output_text"] == "Ü\\u2028\\ud800"
    return numpy.float32(fuzz.ratio(item["answer"], "ab") / 100) + scipy.stats.norm.cdf(0)
"""


def test_a_grader_sees_sample_and_item_and_uses_what_is_installed() -> None:
    sample = {"output_text": "Ü\u2028\ud800", "output_json": {"a": [1]}}
    assert run_grade(LIBRARIES, sample, {"answer": "ab"}) == 1.5


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
