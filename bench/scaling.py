"""How the time and the memory of a training step grow: with rows, with length, with sharing.

    python bench/scaling.py [--quick] [--steps 3] [--out docs/scaling.svg]

Rows of random tokens, of which a given share is the same in all rows of a step and the last eight
are trained; SmolLM2-135M-Instruct, LoRA of rank 16, one number format for all points (the one the
trainer picks on this machine). Every point is a process of its own: the median of its steps, its
peak memory, weights and libraries included. Prints the points and draws them.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from line_chart import LEFT, PANEL, TALL, TOP, Curve, chart, panel
from train import Outcome, run, say
from train_works import Job, Row

TRAINED = 8
LIMIT_S = 1800.0


@dataclass(frozen=True)
class Point:
    """A step of `rows` rows of `length` tokens, of which `share` begin all rows alike."""

    rows: int
    length: int
    share: float


@dataclass(frozen=True)
class Measured:
    """Seconds of a step and most memory of its process, in 1e6 bytes."""

    seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Line:
    """Points of one curve: (where on the axis, what was measured)."""

    style: str
    name: str
    points: list[tuple[float, Point]]


def axes(quick: bool) -> dict[str, list[Line]]:
    """What is varied, and the curves drawn against it."""
    rows = [2, 4] if quick else [8, 16, 32, 64]
    lengths = [64, 128] if quick else [128, 256, 512, 1024]
    shares = [0.0, 0.9] if quick else [0.0, 0.25, 0.5, 0.75, 0.9, 0.95]
    length, count = lengths[-2], rows[-2]

    def curves(points: Callable[[float], list[tuple[float, Point]]]) -> list[Line]:
        return [
            Line("c2", "nothing shared", points(0.0)),
            Line("c3", "90 % shared", points(0.9)),
        ]

    return {
        f"rows of {length} tokens": curves(lambda s: [(n, Point(n, length, s)) for n in rows]),
        f"tokens of a row, {rows[1]} rows": curves(
            lambda s: [(n, Point(rows[1], n, s)) for n in lengths]
        ),
        f"% shared, {count} rows of {length} tokens": [
            Line("c3", "", [(100 * s, Point(count, length, s)) for s in shares])
        ],
    }


def rows_of(point: Point, steps: int) -> list[Row]:
    """Random ids, the same for the same point; the common ones are those of all steps."""
    draw = random.Random(f"{point}")
    common = round(point.share * (point.length - TRAINED))
    prefix = [draw.randrange(100, 40_000) for _ in range(common)]
    return [
        {
            "ids": prefix + [draw.randrange(100, 40_000) for _ in range(point.length - common)],
            "trained": TRAINED,
        }
        for _ in range(steps * point.rows)
    ]


def measure(
    point: Point, steps: int, compute: Literal["float32", "bfloat16"] | None = None
) -> tuple[Measured, Outcome]:
    """The point in a process of its own."""
    job = Job("sft", rows_of(point, steps), point.rows, compute=compute)
    (outcome,) = run("ours", job, LIMIT_S)
    return Measured(statistics.median(outcome["step_s"]), outcome["peak_mb"]), outcome


def draw(panels: dict[str, list[Line]], measured: dict[Point, Measured]) -> str:
    """Time above, memory below, a column for each axis."""
    kinds: list[tuple[str, Callable[[Measured], float]]] = [
        ("seconds a step", lambda m: m.seconds),
        ("GB at most", lambda m: m.peak_mb / 1000),
    ]
    width, height = LEFT + PANEL * len(panels), TOP + TALL * len(kinds)
    body = []
    for column, (axis, lines) in enumerate(panels.items()):
        for row, (name, value) in enumerate(kinds):
            curves = [
                Curve(line.style, line.name, [(x, value(measured[p])) for x, p in line.points])
                for line in lines
            ]
            body += panel(LEFT + column * PANEL, TOP + row * TALL, axis, name, curves)
    return chart(width, height, "time and memory of a training step", body)


def main() -> None:
    """Measure every point once, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few small points, one step each")
    parser.add_argument("--steps", type=int, default=3, help="of each point; the median counts")
    parser.add_argument("--out", type=Path, help="the chart; default: docs/scaling.svg, if whole")
    given = parser.parse_args()
    panels = axes(given.quick)
    steps = 1 if given.quick else given.steps
    points = list(dict.fromkeys(p for lines in panels.values() for c in lines for _, p in c.points))
    _, probed = measure(points[0], steps)
    compute: Literal["float32", "bfloat16"] = (
        "bfloat16" if "bfloat16" in probed["what"] else "float32"
    )
    say(probed["what"])
    measured = {}
    for point in points:
        measured[point], _ = measure(point, steps, compute)
        print(
            f"{point.rows} rows of {point.length} tokens, {point.share:.0%} shared: "
            f"{measured[point].seconds:.2f} s, {measured[point].peak_mb:.0f} MB",
            flush=True,
        )
    out = given.out or (None if given.quick else Path(__file__).parents[1] / "docs" / "scaling.svg")
    if out is not None:
        out.write_text(draw(panels, measured), encoding="utf-8")
        say(f"drawn into {out}")


if __name__ == "__main__":
    main()
