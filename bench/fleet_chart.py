"""Line charts beside each other, as SVG; see `bench/fleet.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

STEPS = 5
WIDE, TALL, LEFT, TOP, BOTTOM, GAP = 250.0, 190.0, 56.0, 56.0, 50.0, 80.0
STYLE = """
svg { font: 13px system-ui, sans-serif; --ink: #1d2530; --soft: #5a6675; --line: #dfe4ea;
  --c0: #8a5a00; --c1: #a8355f; --c2: #3566a8; --c3: #0b7a53; background: #ffffff; }
@media (prefers-color-scheme: dark) { svg { --ink: #e7ebf0; --soft: #9fabb8; --line: #323b46;
  --c0: #e0b050; --c1: #ee86ab; --c2: #7fa9e6; --c3: #46c892; background: #14181d; } }
text { fill: var(--ink); } .tick { fill: var(--soft); } .grid { stroke: var(--line); }
path { fill: none; stroke-width: 2; } .grid { stroke-width: 1; }
""" + "".join(
    f".s{n} {{ stroke: var(--c{n}); }} .t{n} {{ fill: var(--c{n}); }}\n" for n in range(4)
)

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """A chart.

    Attributes:
        lines: by name.
        high: the highest value that is shown; a line ends where it goes beyond.
        ticks: on the horizontal axis, the last one being its end.
        colours: of the lines, numbers of `STYLE`'s.
    """

    title: str
    axis: str
    lines: Mapping[str, Points]
    high: float
    ticks: Sequence[float]
    colours: Sequence[int] = (0, 1, 2, 3)


def draw(panels: Sequence[Panel], label: str) -> str:
    """All panels in one row."""
    width = LEFT + len(panels) * (WIDE + GAP) - GAP + 16
    height = TOP + TALL + BOTTOM
    body = [
        part for n, panel in enumerate(panels) for part in _panel(LEFT + n * (WIDE + GAP), panel)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'role="img" aria-label="{escape(label)}">\n<style>{STYLE}</style>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _panel(left: float, panel: Panel) -> list[str]:
    end = panel.ticks[-1]

    def place(x: float, y: float) -> str:
        return f"{left + WIDE * x / end:.0f} {TOP + TALL * (1 - y / panel.high):.0f}"

    def text(x: float, y: float, said: str, anchor: str = "middle", style: str = "tick") -> str:
        return (
            f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" class="{style}">'
            f"{escape(said)}</text>"
        )

    body = [text(left - 40, 16, panel.title, "start", "")]
    for step in range(STEPS + 1):
        value = panel.high * step / STEPS
        y = TOP + TALL * (1 - step / STEPS)
        body.append(f'<path d="M{left:.0f} {y:.0f}h{WIDE:.0f}" class="grid"/>')
        body.append(text(left - 8, y + 4, f"{value:g}", "end"))
    body += [text(left + WIDE * x / end, TOP + TALL + 18, f"{x:g}") for x in panel.ticks]
    body.append(text(left + WIDE / 2, TOP + TALL + 38, panel.axis))
    for number, (name, points) in enumerate(panel.lines.items()):
        colour = panel.colours[number]
        line = "L".join(place(x, y) for x, y in _below(points, panel.high))
        body.append(f'<path d="M{line}" class="s{colour}"/>')
        x = left + (number % 2) * WIDE / 2
        body.append(text(x, 34 + 15 * (number // 2), name, "start", f"t{colour}"))
    return body


def _below(points: Points, high: float) -> Points:
    """Up to where the line goes beyond."""
    beyond = next((n for n, (_, y) in enumerate(points) if y > high), None)
    if not beyond:
        return points
    (x0, y0), (x1, y1) = points[beyond - 1 : beyond + 1]
    return [*points[:beyond], (x0 + (x1 - x0) * (high - y0) / (y1 - y0), high)]
