"""A user's own Python function as a grader."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from assay.config import GraderSpec
from assay.errors import AssayError
from assay.evaluate.graders import AnswerScores, GradingContext, grade
from assay.evaluate.trusted import Limits, trusted_function, trusted_tools
from assay.example import Example

EXAMPLES = [Example.of("2 + 2", "4", id="one"), Example.of("3 + 3", "6", id="two")]


def graded(
    root: Path, code: str, answers: tuple[str, str] = ("4", "5"), **more: Any
) -> AnswerScores:
    (root / "mine.py").write_text(code)
    spec = GraderSpec(name="python", settings={"file": "mine.py", **more})
    return grade(spec, answers, EXAMPLES, GradingContext(root=root, trust_code=True))


def test_the_function_sees_answer_and_example(tmp_path: Path) -> None:
    code = """
def grade(answer, example):
    assert example["input"] in ("2 + 2", "3 + 3") and example["id"] in ("one", "two")
    assert example["messages"][0]["role"] == "user" and example["accepted"] == [example["output"]]
    return answer == example["output"]
"""
    assert graded(tmp_path, code).scores == [1.0, 0.0]


def test_one_process_serves_all_answers_and_prints_do_not_disturb(tmp_path: Path) -> None:
    code = """
import os
print("loading")
seen = []
def judge(answer, example):
    print('{"score": 1}')
    os.write(1, b'{"score": 1}\\n')
    seen.append(os.getpid())
    return 0.5 if len(seen) == 2 and seen[0] == seen[1] else 0
"""
    assert graded(tmp_path, code, function="judge").scores == [0.0, 0.5]


def test_odd_text_arrives_whole(tmp_path: Path) -> None:
    code = "def grade(answer, example): return answer in ('Ü\\u2028\\n\\ud800', 'y' * 300_000)"
    assert graded(tmp_path, code, ("Ü\u2028\n\ud800", "y" * 300_000)).scores == [1, 1]


def test_modules_beside_the_file_can_be_imported_and_nothing_is_left_there(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 0.25")
    assert graded(tmp_path, "from beside import VALUE\ndef grade(a, e): return VALUE").scores == [
        0.25,
        0.25,
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside.py", "mine.py"]


def test_secrets_are_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    code = """
import os
def grade(answer, example):
    allowed = {"PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LC_CTYPE"}
    return not set(os.environ) - allowed
"""
    assert graded(tmp_path, code).scores == [1, 1]


@pytest.mark.parametrize(
    ("code", "line", "complaint"),
    [
        ("def grade(a, e):\n    x = 1\n    return x / 0", 3, "ZeroDivisionError: division by zero"),
        ("def grade(a, e):\n    return int('x' * 3)", 2, "ValueError: invalid literal"),
        ("def grade(a, e)\n    return 1", 1, "SyntaxError"),
        ("import no_such_module", 1, "ModuleNotFoundError"),
        ("import sys\nsys.exit(0)", 2, "SystemExit"),
        ("def other(a, e): return 1", None, r"no function grade\(answer, example\)"),
        ("grade = 3", None, r"no function grade"),
        ("def grade(a): return 1", None, "TypeError"),
        ("def grade(a, e): return 'good'", None, r"returned 'good' \(str\)"),
        ("def grade(a, e): return None", None, r"returned None"),
        ("def grade(a, e): return float('nan')", None, "returned nan"),
        ("def grade(a, e): return 1.2", None, "returned 1.2, not a number from 0 to 1"),
        ("def grade(a, e): return -1", None, "returned -1"),
        ("import os\ndef grade(a, e): os._exit(7)", None, "its process ended .exit code 7"),
        ("import os\ndef grade(a, e): os.kill(os.getpid(), 11)", None, "ended .SIGSEGV"),
    ],
)
def test_a_failure_names_file_and_line(
    tmp_path: Path, code: str, line: int | None, complaint: str
) -> None:
    with pytest.raises(AssayError, match=complaint) as caught:
        graded(tmp_path, code)
    file = str(tmp_path / "mine.py")
    assert caught.value.where == (f"{file}, line {line}" if line else file)


def test_an_error_in_a_library_names_the_users_line(tmp_path: Path) -> None:
    with pytest.raises(AssayError) as caught:
        graded(tmp_path, "import json\ndef grade(a, e):\n    return json.loads('{')")
    assert caught.value.where == f"{tmp_path / 'mine.py'}, line 3"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"seconds_per_answer": 0.3}, "one answer took more than 0.3 s"),
        ({"seconds": 0.3}, "all answers together took more than 0.3 s"),
    ],
)
def test_an_endless_loop_is_ended_with_its_children(
    tmp_path: Path, settings: dict[str, float], complaint: str
) -> None:
    code = """
import subprocess, sys, pathlib
def grade(answer, example):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path("child").write_text(str(child.pid))
    while True:
        pass
"""
    start = time.monotonic()
    with pytest.raises(AssayError, match=complaint):
        graded(tmp_path, code, **settings)
    assert time.monotonic() - start < 20
    child = int((tmp_path / "child").read_text())
    assert _ends(child)


def _ends(pid: int) -> bool:
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_many_quick_answers_that_take_too_long_together_are_ended(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef grade(a, e): time.sleep(0.05); return 1")
    limits = Limits(seconds_per_call=1, seconds=0.4)
    with (
        trusted_function(tmp_path / "slow.py", "grade", limits, folder=tmp_path) as function,
        pytest.raises(AssayError, match="all answers together"),
    ):
        sum(function("a", {}) for _ in range(100))


def test_a_leak_is_stopped(tmp_path: Path) -> None:
    code = "def grade(a, e):\n    return len(bytearray(400 * 2**20)) > 0"
    assert graded(tmp_path, code).scores == [1, 1]
    with pytest.raises(AssayError, match=r"line 2: the grader failed: MemoryError"):
        graded(tmp_path, code, memory_mib=256)


def test_the_worker_is_gone_afterwards(tmp_path: Path) -> None:
    code = "pathlib.Path('pid').write_text(str(os.getpid()))\n    return 1"
    graded(tmp_path, f"import os, pathlib\ndef grade(a, e):\n    {code}")
    pid = int((tmp_path / "pid").read_text())
    assert pid != os.getpid()
    assert _ends(pid)


TOOLS = """
import datetime, os, sys
import shop
def book(room):
    shop.BOOKED.append(room)
    return shop.BOOKED
def day(): return datetime.date(2027, 1, 1)
def share(): return float("nan")
def find_ferry_(): sys.exit("no such ferry")
def end(): os._exit(0)
def fill(): bytearray(8 * 2**30)
def _2nd(): return "second"
def from_(): return "from"
async def later(): return 1
"""


def test_tools_answer_every_dialogue_as_the_first(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TOOLS)
    (tmp_path / "shop.py").write_text("BOOKED = []")
    names = ("2nd", "from")
    with trusted_tools(tmp_path / "mine.py", Limits(), folder=tmp_path, functions=names) as tools:
        assert [file.name for file in tools.files] == ["mine.py", "shop.py"]
        for _ in range(2):
            assert tools.use([("book", {"room": 1}), ("book", {"room": 2})]) == ["[1]", "[1, 2]"]
        said = tools.use([(name, {}) for name in ("day", "share", "find-ferry.", *names)])
        assert [text.split(":")[0] for text in said[:3]] == ['{"error"'] * 3
        assert "date is not JSON" in said[0]
        assert "no such ferry" in said[2]
        assert said[3:] == ["second", "from"]


@pytest.mark.parametrize(
    ("functions", "call", "complaint"),
    [
        ((), "end", "its process ended .exit code 0"),
        ((), "fill", "MemoryError"),
        (("later",), None, "later is async"),
        (("no-such",), None, "no function no_such in it for the tool no-such"),
        (("2nd", "_2nd"), None, "2nd and _2nd would both be its function _2nd"),
    ],
)
def test_tools_that_fail_say_how(
    tmp_path: Path, functions: tuple[str, ...], call: str | None, complaint: str
) -> None:
    (tmp_path / "mine.py").write_text(TOOLS)
    (tmp_path / "shop.py").write_text("BOOKED = []")
    file = tmp_path / "mine.py"
    with (
        pytest.raises(AssayError, match=complaint),
        trusted_tools(file, Limits(), folder=tmp_path, functions=functions) as tools,
    ):
        tools.use([(str(call), {})])
