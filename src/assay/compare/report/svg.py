"""Parts of charts as SVG text. Every text is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, PHONE = 860, 340
ROW, PHONE_ROW = 26, 42
"""Of a row with its name beside it, and of one with its name above, for a phone."""
NAME, PHONE_NAME = 15, 22
"""Height of a line of names, and the most characters of one on a phone."""
CHARACTER, MOST_CHARACTERS = 7.2, 56
"""Width of one in a name beside its row, on average, and the most of one."""


def image(height: float, label: str, body: Sequence[str], width: float = WIDTH) -> Markup:
    """A whole chart; `label` is what it says to whoever cannot see it."""
    return Markup(
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(label)}">'
        + "".join(body)
        + "</svg>"
    )


def row_name(left: float, y: float, name: str, *, phone: bool) -> str:
    """The name of a row: left of `left`, or for a phone above the row, where it interrupts the
    lines of the chart from above to below."""
    if phone:
        behind = f'<rect x="0" y="{y - 26:.1f}" width="{PHONE}" height="18" class="behind"/>'
        return behind + text(0, y - 13, name, "start", "name")
    return text(left - 10, y + 4, shortened(name, MOST_CHARACTERS), "end", "name")


def room(names: Sequence[str]) -> float:
    """What names beside their rows take, in the units of WIDTH."""
    longest = max(map(len, names), default=0)
    return 16 + CHARACTER * min(longest, MOST_CHARACTERS)


def shortened(name: str, most: int) -> str:
    """A name of at most so many characters."""
    return f"{name[: most - 1]}…" if len(name) > most else name


def text(x: float, y: float, text: str, anchor: str = "start", style: str = "") -> str:
    """A text; `style` is a class of report.css."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} class="{style}">{escape(text)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    """A line from one point to another; `style` as of `text`."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers between low and high, steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [step * i for i in range(first, last + 1)]


def apart(places: Sequence[float], least: float, end: float) -> list[float]:
    """Ascending places moved as little as keeps them `least` apart and up to `end`."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + least) if found else place)
    for i in range(len(found) - 1, -1, -1):
        found[i] = min(found[i], end)
        end = found[i] - least
    return found
