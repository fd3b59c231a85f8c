"""How much of its speed each kind of work keeps while another process keeps a core busy.

    pip install -e '.[bench]'
    python bench/contention.py [training trl transformers llama.cpp embedding] [--json] [--rounds 3]

SmolLM2-135M-Instruct is trained (LoRA of rank 16, two rows a step, none alike), by Assay and by
TRL, and answers; all-MiniLM-L6-v2 embeds. Of Assay's works two processes are ready at once: one as
it runs by itself, whose threads spin briefly only beside other work, and one whose threads always
spin as OpenMP's do by default. They are measured in turn, both quiet, then the first beside
`--busy` processes that do nothing but count; so that what wavers on the machine weighs on all
alike. At the end the spinning one is measured beside them once. TRL runs as it comes. A figure is
the median over rounds, in tokens (texts) a second of the clock; a ratio is the median of the
rounds' own.

The bars are printed beside the figures: contended at least 0.45 of quiet, quiet at least 0.95 of
spinning. The exit code is 1 where one is missed. Takes about 6 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

KEPT = 0.45
AS_FAST = 0.95
WINDOW_S = 5.0
LONGEST_S = 60.0
"""A step that takes longer beside a busy process is given up."""
START_S = 240.0
SETTLE_S = 3.0
"""After which a process has noticed that the busy ones are gone."""
WORKS = ("training", "trl", "transformers", "llama.cpp", "embedding")
SPINNING = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}  # what each has by default
_CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@dataclass(frozen=True)
class Line:
    """What was measured of a work; rates in units a second, None: not measured.

    Attributes:
        kept: contended / quiet.
        against_spinning: quiet / quiet of the process whose threads spin.
        spinning_contended: 0 where not one step was done within a minute.
    """

    work: str
    unit: str
    quiet: float
    contended: float
    kept: float
    spinning_quiet: float | None
    against_spinning: float | None
    spinning_contended: float | None

    @property
    def met(self) -> bool:
        """Whether it keeps the bars; the peer has none."""
        fast = self.against_spinning is None or self.against_spinning >= AS_FAST
        return self.work == "trl" or (self.kept >= KEPT and fast)


class Worker:
    """A process that works when it is told to, for so many seconds (`contention_work.py`)."""

    def __init__(self, work: str, wait: Mapping[str, str]) -> None:
        known = {key: value for key, value in os.environ.items() if key not in _CHOICES}
        script = Path(__file__).with_name("contention_work.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), work],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**known, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **wait},
        )

    def __enter__(self) -> Worker:
        ready = self._answer(START_S)
        if ready is None:
            self.process.kill()
            sys.exit("a process that was to be measured did not start; run it alone to see why.")
        self.unit = str(ready["unit"])
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def rate(self, longest: float = START_S) -> float:
        """Units a second; 0 where none was done within `longest` seconds (it is ended then)."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{WINDOW_S}\n".encode())
        self.process.stdin.flush()
        done = self._answer(longest)
        return 0.0 if done is None else float(done["units"]) / float(done["seconds"])

    def _answer(self, longest: float) -> dict[str, float | str] | None:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], longest)
        line = self.process.stdout.readline() if ready else b""
        return json.loads(line) if line else None


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that count as fast as they can."""
    counting = [sys.executable, "-P", "-c", "while True: pass"]
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen(counting)
            stack.callback(process.wait)
            stack.callback(process.kill)
        time.sleep(0.3)  # they count by then
        yield


def measure(work: str, rounds: int, others: int) -> Line:
    """All figures of one work."""
    quiet: list[float] = []
    contended: list[float] = []
    spinning: list[float] = []
    spinning_contended = None
    with ExitStack() as stack:
        one = stack.enter_context(Worker(work, {}))
        other = None if work == "trl" else stack.enter_context(Worker(work, SPINNING))
        for _ in range(rounds):
            time.sleep(SETTLE_S)
            quiet.append(one.rate())
            if other is not None:
                spinning.append(other.rate())
            with busy(others):
                contended.append(one.rate(LONGEST_S))
            if not contended[-1]:  # it was ended
                break
        if other is not None:
            with busy(others):
                spinning_contended = other.rate(LONGEST_S)
        unit = one.unit
    return Line(
        work=work,
        unit=unit,
        quiet=statistics.median(quiet),
        contended=statistics.median(contended),
        kept=statistics.median(c / q for c, q in zip(contended, quiet, strict=True)),
        spinning_quiet=statistics.median(spinning) if spinning else None,
        against_spinning=(
            statistics.median(q / s for q, s in zip(quiet, spinning, strict=True))
            if spinning
            else None
        ),
        spinning_contended=spinning_contended,
    )


def table(line: Line) -> str:
    """One line for people."""
    said = (
        f"{line.work:12} quiet {line.quiet:7.1f} {line.unit}/s, contended {line.contended:7.1f}, "
        f"kept {line.kept:.2f}"
    )
    if line.work == "trl":
        return f"{said} (as it comes, no bar)"
    said += f" (bar {KEPT}); spinning: quiet {line.spinning_quiet:7.1f}, by which Assay's is "
    said += f"{line.against_spinning:.2f} (bar {AS_FAST}), contended {line.spinning_contended:.1f}"
    return said + ("" if line.met else "  MISSED")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of: {', '.join(WORKS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", type=int, default=1, help="processes beside it")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if unknown := set(given.works) - set(WORKS):
        parser.error(f"unknown work: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    said = (
        f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f} at the start"
    )
    print(said, file=sys.stderr)
    lines = []
    for work in given.works or WORKS:
        if work == "trl" and find_spec("trl") is None:
            print("trl: left out, it is not installed: pip install -e '.[bench]'", file=sys.stderr)
            continue
        lines.append(measure(work, given.rounds, given.busy))
        print(table(lines[-1]), file=sys.stderr if given.json else sys.stdout, flush=True)
    if given.json:
        print(json.dumps([{**asdict(line), "met": line.met} for line in lines], indent=2))
    print(f"{time.monotonic() - began:.0f} s in all", file=sys.stderr)
    if not all(line.met for line in lines):
        sys.exit(1)


if __name__ == "__main__":
    main()
