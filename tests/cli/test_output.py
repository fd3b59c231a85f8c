"""What the command line prints of results that tests do not have to compute."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from assay.cli import output, traces
from assay.cli.trained import print_trained
from assay.compare.report import general_ability
from assay.project.estimate import Estimate, Pace, Stage

SETTINGS = {"learning_rate": 0.001, "rank": 16, "epochs": 3, "rows_per_step": 8}
RESULT = SimpleNamespace(
    points=[],
    rewards=[],
    best_step=1,
    steps=10,
    seconds=5.0,
    tokens_per_s=100.0,
    compute="float32",
    peak_bytes=2**30,
)


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_a_training_of_all_weights_has_no_rank(
    adapter: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(general_ability, "in_a_line", lambda _: "")
    trained = SimpleNamespace(
        result=RESULT,
        settings=SETTINGS | {"adapter": adapter},
        forgetting=None,
        version="v",
        warnings=[],
    )
    print_trained(trained)
    said = " ".join(capsys.readouterr().out.split())
    assert "epochs 3" in said
    assert ("rank 16" in said) == (adapter == "lora")


def test_what_an_earlier_run_has_done_is_said_above_what_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stages = (Stage("start", "start and report", "other", 60.0),)
    left = Estimate(stages, Pace(), 0.0, None, None, 10, 0.1)
    output.print_estimate(left, 0.4)
    said = "About 40% of this comparison was done by an earlier run and is kept."
    assert capsys.readouterr().out.startswith(said)
    output.print_estimate(left, 0.001)
    assert "earlier run" not in capsys.readouterr().out


def test_a_value_that_somebody_wrote_stays_in_its_cell(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "[bold]why\x1b]0;x\x07\n\x1b[31mb@1"
    output.print_table(("agent", "reason", "doubt"), [("a@1", reason, "none")])
    _, line = capsys.readouterr().out.splitlines()
    assert line.split() == ["a@1", r"[bold]why\x1b]0;x\x07\n\x1b[31mb@1", "none"]


REASON = "forced: to see what it costs on a share of the callers"
ROW = ("key-0123456789ab", "front desk of the shop", REASON, 12.5,
       datetime(2026, 1, 1, tzinfo=UTC), "few-shot-nearest@1")  # fmt: skip


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_no_word_of_a_table_is_broken_and_no_column_is_lost(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "console", Console(width=width))
    columns = ("id", "name", "reason", "USD", "created", "agent")
    output.print_table(columns, [ROW, ROW], numbers=["USD"])
    said = capsys.readouterr().out
    words = [word for value in ROW for word in output.say_value(value).split()]
    assert not set(words) - set(said.split())  # a word that is broken is none of them
    assert all(len(line) <= width for line in said.splitlines())
    names = [name.removesuffix(":") for name in said.split()]
    assert all(name in names for name in columns)
    head, *lines = said.splitlines()
    if width == 200:
        assert (head.split(), len(lines)) == (list(columns), 2)
    elif width == 80:  # what is longest stands below
        assert head.split() == [name for name in columns if name != "reason"]
        assert [line.rstrip() for line in lines].count(f"  reason: {REASON}") == 2


def test_a_trace_that_calls_a_function_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    function = {"name": "find_ferry", "arguments": '{"to": "Kiel"}'}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": function}]}
    trace = SimpleNamespace(
        id="t", release="r", messages=[call, {"role": "tool", "content": "none"}], answer=call,
        thumb=None, corrected=None, sampled=False, masked=0, at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    traces._print_traces([trace])
    traces._print_trace(trace)
    said = capsys.readouterr().out
    assert "none   find_ferry(t" in said
    assert said.count('assistant: find_ferry(to: "Kiel")') == 2


@pytest.mark.parametrize("found", ["/usr/bin/assay", None])
def test_the_demo_ends_with_what_to_do_next(
    found: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output.shutil, "which", lambda _: found)
    monkeypatch.setattr(output.sys, "argv", [".venv/bin/assay", "demo"])
    report = Path("my demo/report.html")
    output.print_next_steps([report])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    command = "assay" if found else ".venv/bin/assay"
    assert str(report) in lines
    assert f"{command} serve --folder 'my demo'" in lines
    assert f"{command} init my-job --data FILE" in lines
    assert f"{command} compare --project my-job" in lines
