"""States of a terminal as one SVG that plays them: text, and one CSS animation.

The states stand below each other as on a film, which is moved behind a window of the size of one.
A line that stands in several states is written once. Where nothing may move, or nothing is
animated, the last state is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

WIDTH, HEIGHT, SIZE = 8.4, 18, 14
"""Of a character's cell, and of its font, in pixels."""
BAR, MARGIN = 34, 14
COLOURS = {
    "black": "#5c6773",
    "red": "#f07178",
    "green": "#7fd88f",
    "brown": "#e6b673",
    "blue": "#73b8ff",
    "magenta": "#d2a6ff",
    "cyan": "#7fdbca",
    "white": "#d9e0e8",
    "default": "#d9e0e8",
}
PAPER, FRAME, QUIET = "#12161c", "#2a323d", "#8b97a5"


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring characters of one look, from a column on; a colour is one of `COLOURS`, or six
    hexadecimal digits."""

    column: int
    text: str
    colour: str
    bold: bool


Line = tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class State:
    """What the terminal shows from a time on, in seconds; as many lines as there are runs for."""

    second: float
    lines: tuple[Line, ...]


def film(states: Sequence[State], seconds: float, columns: int, rows: int, title: str) -> str:
    """The states as an SVG that takes so many seconds, again and again."""
    numbers: dict[Line, int] = {}
    shown = []
    window = rows * HEIGHT
    for i, state in enumerate(states):
        for row, line in enumerate(state.lines):
            if line:
                number = numbers.setdefault(line, len(numbers))
                shown.append(f'<use href="#l{number}" y="{i * window + row * HEIGHT}"/>')
    lines = "".join(f'<g id="l{number}">{_text(line)}</g>' for line, number in numbers.items())
    stops = "".join(
        f"{100 * state.second / seconds:.3f}%{{transform:translateY({-i * window}px)}}"
        for i, state in enumerate(states)
    )
    end = f"transform:translateY({-(len(states) - 1) * window}px)"
    width = round(columns * WIDTH + 2 * MARGIN)
    height = window + BAR + 2 * MARGIN
    style = (
        f"text{{font:{SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',"
        "'Liberation Mono',monospace;white-space:pre}.b{font-weight:700}"
        + "".join(f".{name}{{fill:{colour}}}" for name, colour in COLOURS.items())
        + f".film{{{end};animation:play {seconds:.1f}s step-end infinite}}"
        + f"@keyframes play{{{stops}100%{{{end}}}}}"
        + "@media (prefers-reduced-motion:reduce){.film{animation:none}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f"aria-label={quoteattr(title)}>\n<style>{style}</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}" stroke="{FRAME}"/>\n'
        f'<text x="{width / 2:.0f}" y="22" text-anchor="middle" fill="{QUIET}">{escape(title)}'
        f"</text>\n<defs>{lines}</defs>\n"
        f'<svg x="{MARGIN}" y="{BAR + MARGIN}" width="{width - MARGIN}" height="{window}">'
        f'<g class="film">{"".join(shown)}</g></svg>\n</svg>\n'
    )


def _text(line: Line) -> str:
    return "".join(
        f'<text x="{run.column * WIDTH:.1f}" y="{SIZE}" textLength="{len(run.text) * WIDTH:.1f}" '
        f"{_look(run)}>{escape(run.text)}</text>"
        for run in line
    )


def _look(run: Run) -> str:
    bold = " b" if run.bold else ""
    if run.colour in COLOURS:
        return f'class="{run.colour}{bold}"'
    return f'class="{bold}" fill="#{run.colour}"'
