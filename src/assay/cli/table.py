"""Tables that can be read on a terminal of any width: no column becomes so narrow that words are
broken, since columns for which there is no room stand below their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Literal

from rich.cells import cell_len
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

GAP = 2
"""Characters between two columns, and before what stands below a row."""
LONGEST_WORD = 32
"""Characters of a word that is not broken; longer ones, such as addresses and hashes, may be."""
TALLEST = 3
"""Lines that a column's longest text would at least take, where the column is as narrow as can
be."""
COPIED = ("id", "trace")
"""First columns whose values are never broken: one that is cut in two cannot be copied."""


def render(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str], width: int
) -> Iterator[RenderableType]:
    """A table, in parts to be printed one after the other.

    Args:
        numbers: the columns that are set flush right.
        width: characters of the terminal.
    """
    widths = fit(columns, rows, width)
    below = [place for place in range(len(columns)) if place not in widths]

    def make(part: Sequence[Sequence[str]], *, head: bool) -> Table:
        made = Table(header_style="bold", box=None, pad_edge=False, show_header=head)
        for place, wide in widths.items():
            side: Literal["left", "right"] = "right" if columns[place] in numbers else "left"
            made.add_column(columns[place], justify=side, overflow="fold", width=wide)
        for row in part:
            made.add_row(*(Text(row[place]) for place in widths))
        return made

    if not below:
        yield make(rows, head=True)
        return
    for number, row in enumerate(rows):
        yield make([row], head=number == 0)
        for place in below:
            if row[place]:
                label = f"{columns[place]}: " if columns[place] else ""
                yield Padding(
                    Text.assemble((label, "bold"), row[place]), (0, 0, 0, GAP), expand=False
                )


def fit(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """How wide each column is, by its place; columns for which there is no room are left out, those
    of the longest texts first."""
    longest, natural, least = dict[int, int](), dict[int, int](), dict[int, int]()
    for place, name in enumerate(columns):
        texts = [name, *(row[place] for row in rows)]
        longest[place] = max(map(cell_len, texts[1:]), default=0)
        natural[place] = min(max(map(cell_len, texts)), width)
        word = max((cell_len(word) for text in texts for word in text.split()), default=0)
        least[place] = max(min(word, LONGEST_WORD, width), ceil(natural[place] / TALLEST))
    if columns[0] in COPIED:
        least[0] = natural[0]
    while len(least) > 1 and _sum(least) > width:
        del least[max(list(least)[1:], key=lambda place: longest[place])]
    widths = {place: natural[place] for place in least}
    while _sum(widths) > width and (wider := [p for p in widths if widths[p] > least[p]]):
        widths[max(wider, key=lambda place: widths[place])] -= 1
    return widths


def _sum(widths: dict[int, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)
