"""Line charts as SVG, for the scripts beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

PANEL, TALL, LEFT, TOP = 300.0, 210.0, 56.0, 46.0
"""Width and height that a chart takes with what stands around it; where the first one begins."""
WIDE = PANEL - 80
STYLE = """
svg { font: 13px system-ui, sans-serif; --ink: #1d2530; --soft: #5a6675; --line: #dfe4ea;
  --c0: #8a5a00; --c1: #a8355f; --c2: #3566a8; --c3: #0b7a53; --c4: #6a4bb5; background: #ffffff; }
@media (prefers-color-scheme: dark) { svg { --ink: #e7ebf0; --soft: #9fabb8; --line: #323b46;
  --c0: #e0b050; --c1: #ee86ab; --c2: #7fa9e6; --c3: #46c892; --c4: #b39df0;
  background: #14181d; } }
text { fill: var(--ink); } .tick { fill: var(--soft); } .grid { stroke: var(--line); }
.curve { fill: none; stroke-width: 2; }
""" + "".join(
    f".curve.c{n} {{ stroke: var(--c{n}); }} .dot.c{n}, .name.c{n} {{ fill: var(--c{n}); }}\n"
    for n in range(5)
)


@dataclass(frozen=True)
class Curve:
    """Points, and how they are shown.

    Attributes:
        style: c0 to c4, a colour.
        name: stands below the chart; may be empty.
    """

    style: str
    name: str
    points: Sequence[tuple[float, float]]


def chart(width: float, height: float, label: str, body: Sequence[str]) -> str:
    """A whole image; `label` is what it says to whoever cannot see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'role="img" aria-label="{escape(label)}">\n'
        f"<style>{STYLE}</style>\n" + "\n".join(body) + "\n</svg>\n"
    )


def panel(
    left: float,
    top: float,
    axis: str,
    name: str,
    curves: Sequence[Curve],
    wide: float = WIDE,
) -> list[str]:
    """One chart, its axes from 0."""
    tall = TALL - 80
    right = max(x for curve in curves for x, _ in curve.points)
    high = max(y for curve in curves for _, y in curve.points) * 1.05

    def place(x: float, y: float) -> tuple[float, float]:
        return left + wide * x / right, top + tall * (1 - y / high)

    def text(x: float, y: float, said: str, anchor: str = "middle", style: str = "tick") -> str:
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">'
            f"{escape(said)}</text>"
        )

    body = [text(left, top - 10, name, "start", "")]
    for tick in ticks(high):
        _, y = place(0, tick)
        body.append(f'<path d="M{left:.1f} {y:.1f}h{wide:.1f}" class="grid"/>')
        body.append(text(left - 8, y + 4, f"{tick:g}", "end"))
    for tick in ticks(right):
        body.append(text(place(tick, 0)[0], top + tall + 18, f"{tick:g}"))
    body.append(text(left + wide / 2, top + tall + 36, axis))
    for number, curve in enumerate(curves):
        places = [place(x, y) for x, y in curve.points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        body.append(f'<path d="M{path}" class="curve {curve.style}"/>')
        few = places if len(places) <= 50 else []  # more would be a band
        body += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="dot {curve.style}"/>' for x, y in few
        ]
        if curve.name:
            x, y = left + wide * (number % 2) / 2, top + tall + 54 + 16 * (number // 2)
            body.append(text(x, y, curve.name, "start", f"name {curve.style}"))
    return body


def ticks(high: float, count: int = 5) -> list[float]:
    """Round numbers from 0 to `high`, steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(high / count))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= high / count)
    return [step * i for i in range(math.floor(high / step + 1e-9) + 1)]
