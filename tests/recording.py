"""The README's recording of a terminal, of a real run: `make recording`.

python -m tests.recording [FILE.svg]

A shell in a terminal of its own is typed to as a person would, and what it prints is kept with the
time. What takes long is shortened: the work of a command is shown in at most so many seconds, all
of it evenly. Keys and links that sign in are masked.
"""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pyte

from assay import builtin
from assay.store.files import write_atomic
from tests.terminal_svg import COLOURS, Line, Run, State, film

ROOT = Path(__file__).parent.parent
COLUMNS, ROWS = 100, 30
PROMPT = "$ "
KEY_S, PAUSE_S, FRAME_S = 0.035, 0.5, 0.2
"""Between two keys; before a command is sent; the least that a state is shown."""
TITLE = "A real run; long waits are shortened"
KEY = "THE KEY"
"""In a command: the one that the server has printed."""
SECRETS = re.compile(r"assay-[\w-]{16,}|(?<=once=)\S+")
REDRAWN = "\x1b[2K"
"""What a bar writes before it draws itself again: such lines do not scroll away."""
TICKET = "Did anybody hand in a straw hat?"


@dataclass(frozen=True, slots=True)
class Step:
    """A command.

    Attributes:
        until: what is waited for, a pattern; the next prompt, if empty.
        most_s: that its work is shown.
        read_s: that its end stands still.
    """

    command: str
    until: str = ""
    most_s: float = 4.0
    read_s: float = 3.0


STEPS = (
    Step("assay data check tickets.csv --input message --output desk", most_s=1.5, read_s=2.5),
    Step(
        "assay init support --data tickets.csv --input message --output desk",
        until=r"\[Y/n\]: ",
        most_s=2,
        read_s=2,
    ),
    Step("y", most_s=2, read_s=3.5),
    Step("cd support", read_s=0.2),
    Step("sed -i '/- few-shot/d; /- fine-tune/d' assay.yaml  # what takes minutes", read_s=0.5),
    Step("assay compare", most_s=10, read_s=7),
)


@dataclass(frozen=True, slots=True)
class Output:
    """What was printed, and when on the film."""

    second: float
    text: str


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "recording.svg"
    with tempfile.TemporaryDirectory() as folder:
        write_tickets(Path(folder) / "tickets.csv")
        outputs, seconds = Session(Path(folder)).record()
    write_atomic(target, film(list(states(outputs)), seconds, COLUMNS, ROWS, TITLE))
    print(f"{target}: {seconds:.0f} seconds")


def write_tickets(file: Path) -> None:
    """The messages that come with Assay as a table of two columns."""
    with file.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(["message", "desk"])
        for line in (builtin.folder() / "tickets.jsonl").read_text("utf-8").splitlines():
            ticket = json.loads(line)
            table.writerow([ticket["message"], ticket["record"]["desk"]])


class Session:
    """A shell that is typed to; the film's clock runs as is said at `Step`."""

    def __init__(self, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PS1": PROMPT, "TERM": "xterm-256color"}
        environment["BASH_SILENCE_DEPRECATION_WARNING"] = "1"
        self._shell = pexpect.spawn(
            "bash",
            ["--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            dimensions=(ROWS, COLUMNS),
            encoding="utf-8",
            timeout=3600,
        )
        self._folder = folder
        self._second = 0.0
        self._outputs: list[Output] = []

    def record(self) -> tuple[list[Output], float]:
        """What was printed by all steps, and how long the film is."""
        self._take(PROMPT_AT_END, 1.0)
        self._second = 0.0
        for step in STEPS:
            self._do(step)
        [result] = (self._folder / "support" / ".assay").rglob("result.json")
        for step in serving(json.loads(result.read_text("utf-8"))["verdict"]):
            self._do(step)
        self._shell.close(force=True)
        return self._outputs, self._second

    def _do(self, step: Step) -> None:
        print(f"{time.strftime('%X')} {step.command}", file=sys.stderr)
        self._second += PAUSE_S
        printed = "".join(output.text for output in self._outputs)
        for letter in step.command.replace(KEY, (SECRETS.findall(printed) or [""])[0]):
            self._shell.send(letter)
            self._take(re.escape(letter), KEY_S)
        self._second += PAUSE_S
        self._shell.send("\n")
        self._take(step.until or PROMPT_AT_END, step.most_s, step.read_s)
        self._second += step.read_s

    def _take(self, until: str, most_s: float, page_s: float = 0.0) -> None:
        """Wait for a pattern; what came until then takes at most so long on the film, and so long
        more for each page that would scroll away."""
        began, kept, text = time.monotonic(), [], ""
        while not re.search(until, text):
            piece = self._shell.read_nonblocking(4096, timeout=3600)
            kept.append((time.monotonic() - began, piece))
            text += piece
        took = kept[-1][0] or 1.0
        pace = min(1.0, most_s / took)
        lines = 0
        for second, piece in kept:
            for line in piece.splitlines(keepends=True):
                lines = 0 if REDRAWN in line else lines + line.endswith("\n")
                if lines == ROWS - 2:
                    self._second += page_s
                    lines = 0
                self._outputs.append(Output(self._second + pace * second, line))
        self._second += pace * took


PROMPT_AT_END = r"(^|\n|\r|\x1b\[\?2004h)\$ $"


def serving(verdict: dict[str, str | None]) -> tuple[Step, ...]:
    """What is done with the winner, or what is to be used meanwhile."""
    name = verdict["recommend"]
    why = "" if name else ' --force "best so far"'
    name = name or verdict["use_meanwhile"]
    body = json.dumps({"model": "desk", "messages": [{"role": "user", "content": TICKET}]})
    return (
        Step(f"assay release promote desk {name}@1{why}", most_s=1.5, read_s=1.5),
        Step("assay serve &", until=r"Studio.*\n", most_s=2, read_s=2),
        Step(f"KEY={KEY}", read_s=0.2),
        Step(
            'curl -s http://127.0.0.1:8000/v1/chat/completions -H "Authorization: Bearer $KEY" '
            f"--json '{body}'",
            most_s=1.5,
            read_s=6,
        ),
    )


def masked(outputs: list[Output]) -> Iterator[Output]:
    """The same with secrets written over, wherever they were cut into pieces."""
    printed = "".join(output.text for output in outputs)
    text, start = SECRETS.sub(lambda found: "•" * len(found[0]), printed), 0
    for output in outputs:
        end = start + len(output.text)
        yield Output(output.second, text[start:end])
        start = end


def states(outputs: list[Output]) -> Iterator[State]:
    """What the terminal shows after each output, but no more often than can be seen."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    last: State | None = None
    for i, output in enumerate(masked(outputs)):
        stream.feed(output.text)
        following = outputs[i + 1].second if i + 1 < len(outputs) else float("inf")
        if following - (last.second if last else 0.0) < FRAME_S:
            continue
        lines = tuple(_line(screen, row) for row in range(ROWS))
        if last is None or lines != last.lines:
            last = State(output.second, lines)
            yield last


def _line(screen: pyte.Screen, row: int) -> Line:
    """A row of the screen as runs of one look, nothing at its end."""
    cells = [screen.buffer[row][column] for column in range(COLUMNS)]
    text = "".join(cell.data or " " for cell in cells)
    runs: list[Run] = []
    for column, (cell, letter) in enumerate(zip(cells, text, strict=True)):
        named = cell.fg in COLOURS or re.fullmatch("[0-9a-f]{6}", cell.fg)
        look = cell.fg if named else "default", bool(cell.bold)
        if runs and (runs[-1].colour, runs[-1].bold) == look:
            before = runs.pop()
            runs.append(Run(before.column, before.text + letter, *look))
        else:
            runs.append(Run(column, letter, *look))
    while runs and not runs[-1].text.strip():
        runs.pop()
    if runs:
        end = runs.pop()
        runs.append(Run(end.column, end.text.rstrip(), end.colour, end.bold))
    return tuple(run for run in runs if run.text.strip())


if __name__ == "__main__":
    main()
