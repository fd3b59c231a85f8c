"""What a terminal shows while something long runs."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from assay import progress
from assay.cli.progress import Terminal


def terminal(*, drawn: bool) -> tuple[Terminal, StringIO]:
    made, out = Terminal(), StringIO()
    made.console = Console(file=out, force_terminal=drawn, width=100, color_system=None)
    return made, out


def step(loss: float) -> dict[str, object]:
    return {
        "loss": loss,
        "tokens_per_s": 320,
        "effective_tokens_per_s": 3100,
        "sharing_saved": "91%",
        "memory": "2.1 GiB",
    }


def test_a_training_shows_all_its_figures_at_once() -> None:
    made, out = terminal(drawn=True)
    with made.task("training", 10, "steps") as bar:
        bar.advance(1, **step(0.5))
        bar.advance(0, validation_loss=0.75)
        bar.advance(1, **step(0.25))
        assert made._bars is not None
        made._bars.refresh()
    last = " ".join(out.getvalue().rpartition("loss 0.25")[2].split())
    for figure in ("tokens/s 320", "effective tokens/s 3100", "sharing saved 91%"):
        assert figure in last
    assert "memory 2.1 GiB" in last
    assert "validation loss 0.75" in last
    assert "2/10" in out.getvalue()


def test_lines_instead_of_bars_say_how_long_a_resumed_run_will_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, out = terminal(drawn=False)
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with made.task("training", 100, "steps") as bar:
        bar.advance(60)  # done before
        for _ in range(20):
            now[0] += 2
            bar.advance(1, **step(0.5))
    (line,) = [text for text in out.getvalue().replace("\n", " ").split("training: ") if text]
    assert line.startswith("75 of 100 steps, 0.5/s, 50 s left, loss 0.5")
    assert "effective tokens/s 3100" in line


def test_a_batch_that_takes_long_has_a_rate_and_no_time_left_once_all_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, out = terminal(drawn=False)
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with made.task("answering", 64, "requests") as bar:
        now[0] += 40
        bar.advance(32)
        now[0] += 64
        bar.advance(32)
    assert out.getvalue().splitlines() == [
        "answering: 32 of 64 requests, 0.8/s, 40 s left",
        "answering: 64 of 64 requests, 0.5/s",
    ]


def test_the_rate_is_that_of_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbour comes or goes, and what was kept of an earlier run took no time."""
    made, out = terminal(drawn=False)
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with made.task("answering", 1000, "requests") as bar:
        for amount in (300, 30):
            now[0] += 30
            bar.advance(amount)
    first, second = out.getvalue().splitlines()
    assert "10/s, 70 s left" in first
    assert "1/s, 11 min left" in second


@pytest.mark.parametrize("drawn", [True, False])
def test_words_of_others_are_neither_markup_nor_escape_codes(
    drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the licence that a hub states of a model."""
    made, out = terminal(drawn=drawn)
    monkeypatch.setattr("assay.cli.progress.LINE_EVERY_S", 0.0)
    words = "licence [/x] [bold]mit :smile: \x1b]0;title\x07"
    shown = r"licence [/x] [bold]mit :smile: \x1b]0;title\x07"
    made.say(words)
    assert out.getvalue() == f"{shown}\n"
    with made.task(words, 10, "rows") as bar:
        bar.advance(1, found=words)
        if made._bars is not None:
            made._bars.refresh()
        made.say(words)
    assert out.getvalue().count(shown) >= 4
    assert "\x1b]" not in out.getvalue()
