"""The result on a terminal: verdict, table, differences."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from assay.compare.naming import with_named_range
from assay.compare.reasons import signed
from assay.compare.report import (
    assumptions,
    detectable,
    differences,
    general_ability,
    next_step,
    powered,
    rollouts,
    second_look,
    sizes,
    wording,
    worth,
)
from assay.compare.result import Result
from assay.compare.rollout_section import Rollout

COLOURS = {"recommend": "green", "none": "red", "cannot_tell": "yellow"}
BAR = 14


def print_result(result: Result, console: Console | None = None) -> None:
    """Print what a person needs to decide; the report has the rest."""
    out, result = console or Console(highlight=False), with_named_range(result)
    colour = COLOURS[wording.tone(result.verdict)]
    text = "\n".join(
        [
            escape(result.verdict.reason),
            "",
            f"Next: {escape(next_step.say(result))}",
            escape(worth.fine_tuning(result)),
            *([escape(decided)] if (decided := worth.deciding(result)) else []),
        ]
    )
    out.print(
        Panel(
            text, title=f"[bold]{escape(wording.headline(result.verdict))}[/]", border_style=colour
        )
    )
    # Figures before drawings: where there is no room for both, a narrow column would cut numbers.
    tables = [_candidates(result, bars=True), _candidates(result, bars=False)]
    fitting = [table for table in tables if _is_room(table, out)]
    out.print(fitting[0] if fitting else _candidates(result, bars=False, sized=False))
    if not fitting and sizes.columns(result):
        out.print(_sizes(result))
    if result.pairs:
        out.print(_pairs(result))
    if explained := differences.intervals(result, differences.divided_pairs(result)[0]):
        out.print(escape(explained))
    if why := differences.why_recommended(result):
        out.print(escape(why))
    for one in result.replacements:
        out.print(escape(one.sentence))
    if result.prediction_powered is not None:
        if shown := powered.lines(result):
            out.print(_powered(shown))
        out.print(escape(powered.summary(result.prediction_powered)))
    if result.rollout is not None:
        out.print(_rollouts(result.rollout))
        out.print(escape(rollouts.summary(result.rollout)))
    for candidate in result.candidates:
        if candidate.forgetting is not None:
            out.print(
                f"{escape(candidate.name)}: {general_ability.in_a_line(candidate.forgetting)}"
            )
            if kept := worth.remedy(result, candidate.forgetting):
                out.print(escape(kept))
    for candidate in result.candidates:
        if line := wording.found_documents(candidate):
            out.print(escape(line))
    for judge in result.judges:
        out.print(escape(wording.judge(judge)))
    for square in result.additions:
        out.print(escape(wording.together(square)))
    if known := wording.known_answers(result):
        out.print(escape(known))
    if result.second_look is not None:
        out.print(escape(second_look.summary(result.second_look, result.good_enough)))
    for warning in [*result.warnings, *result.data.quarantine.warnings]:
        out.print(f"[yellow]![/] {escape(warning)}")
    for candidate in wording.rank(result):
        for warning in candidate.warnings:
            out.print(f"[yellow]![/] {escape(candidate.name)}: {escape(warning)}")
    out.print(
        f"Score: {wording.score_meaning(result)}. Likely range: where it would probably be on all "
        f"examples of this kind (95 % interval). {wording.unread_meaning(result)} {wording.MONTH} "
        f"{sizes.meaning(result)}".rstrip()
    )
    used = next((c for c in result.candidates if c.name == result.verdict.named), None)
    if spent := assumptions.of_first_year(used):
        out.print(escape(spent))
    if assumed := assumptions.of_result(result):
        out.print(escape(assumed))
    if chosen := wording.chosen_range(result):
        out.print(escape(chosen))
    out.print(
        f"Measured on {result.data.holdout:,} locked examples (the holdout), used for the "
        f"{wording.ordinal(result.opening.number)} time. "
        f"{detectable.effect(result)} {detectable.needed_of_pairs(result) or ''}".rstrip()
    )
    if stated := detectable.why_not_as_stated(result):
        out.print(escape(stated))


def _powered(lines: Sequence[powered.Line]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(powered.COLUMNS):
        table.add_column(name, justify="right" if number else "left")
    for line in lines:
        table.add_row(*map(escape, line))
    return table


def _rollouts(found: Rollout) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(rollouts.columns(found)):
        words = number == 0 or name in rollouts.WORDS
        table.add_column(name, justify="left" if words else "right")
    for line in rollouts.lines(found):
        table.add_row(*(escape(cell) for cell in line if cell is not None))
    return table


def _is_room(table: Table, out: Console) -> bool:
    return out.measure(table, options=out.options.update(max_width=1000)).maximum <= out.width


def _candidates(result: Result, *, bars: bool, sized: bool = True) -> Table:
    beside = sizes.columns(result) if sized else {}
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("candidate", no_wrap=True)
    if bars:
        table.add_column("", no_wrap=True)
    first = result.candidates[0]
    for name in ("score", *wording.figures(first), *beside.get(first.name, {})):
        table.add_column(name, justify="right", no_wrap=True)
    for c in wording.rank(result):
        table.add_row(
            escape(c.name),
            *([_bar(c.low, c.score, c.high)] if bars else []),
            wording.in_100(c.score),
            *wording.figures(c).values(),
            *beside.get(c.name, {}).values(),
            style="green" if c.name == result.verdict.named else "",
        )
    return table


def _sizes(result: Result) -> Table:
    """Of the language models alone, where the table of candidates has no room for it."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("candidate", no_wrap=True)
    found = sizes.columns(result)
    for name in found[result.candidates[0].name]:
        table.add_column(name, justify="right", no_wrap=True)
    for c in wording.rank(result):
        if c.model_bytes:
            table.add_row(escape(c.name), *found[c.name].values())
    return table


def _bar(low: float | None, score: float | None, high: float | None) -> str:
    """An interval on a line from 0 to 1."""
    if low is None or score is None or high is None:
        return ""
    places = [" "] * (BAR + 1)
    for i in range(round(low * BAR), round(high * BAR) + 1):
        places[i] = "─"
    places[round(score * BAR)] = "●"
    return "".join(places)


def _pairs(result: Result) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("first − second", no_wrap=True)
    table.add_column("points ahead", justify="right")
    table.add_column("likely range", no_wrap=True)
    table.add_column("first is")
    pairs, others = differences.divided_pairs(result)
    for pair in pairs:
        table.add_row(
            f"{escape(pair.a)} − {escape(pair.b)}",
            signed(pair.difference),
            f"{signed(pair.low)} to {signed(pair.high)}",
            differences.call(pair),
        )
    if others:
        table.caption = f"{len(others)} more, between the others, are in the report."
        table.caption_justify = "left"
    return table
