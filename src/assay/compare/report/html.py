"""The report as one HTML file that opens offline.

Everything is inside: style, charts, a filter of thirty lines. Every text of the data is escaped by
the template engine; the page states a content security policy that lets nothing in or out.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import escape

from assay.chat.plain_calls import say_answer
from assay.compare.naming import in_words, rows_in_words
from assay.compare.report import (
    assumptions,
    charts,
    detectable,
    differences,
    general_ability,
    learning_curve,
    next_step,
    powered,
    rollouts,
    second_look,
    sizes,
    step_charts,
    typed_names,
    wording,
    worth,
)
from assay.compare.result import AnswerRow, Confusion, Result
from assay.store.files import write_atomic

REPORT_FILE = "report.html"
MOST_ROWS = 500
MOST_DOUBTFUL = 100
MOST_CHARACTERS = 600
"""Of a text shown inline; the answers file has the whole."""


def write_report(folder: Path, *, redact: bool = False) -> Path:
    """Write `report.html` beside the `result.json` and `answers.jsonl.gz` it is made from.

    Args:
        redact: leave out inputs, references and answers; figures, names of labels and of
            fields stay.
    """
    result = Result.model_validate_json((folder / "result.json").read_text(encoding="utf-8"))
    rows = [] if redact else list(read_answers(folder / "answers.jsonl.gz"))
    path = folder / REPORT_FILE
    write_atomic(path, render(result, rows, redacted=redact))
    return path


def read_answers(path: Path) -> Iterator[AnswerRow]:
    """The rows of an answers file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield AnswerRow.model_validate_json(line)


def render(result: Result, rows: Sequence[AnswerRow], *, redacted: bool) -> str:
    """The whole report as one HTML page."""
    style, script = _resource("report.css"), _resource("report.js")
    rows = rows_in_words(rows, result.names)
    result = in_words(result)
    ranked = wording.rank(result)
    shown = disagreements(rows)
    named_pairs, other_pairs = differences.divided_pairs(result)
    page: str = _template().render(
        result=result,
        ranked=ranked,
        shown=next((c for c in ranked if c.name == result.verdict.named), None),
        scores=charts.scores(result),
        forest=charts.forest(named_pairs, result.margin),
        other_pairs=charts.forest(other_pairs, result.margin) if other_pairs else None,
        quality=charts.cost_against_quality(ranked, result.verdict.named),
        routes=[(routing, charts.routing(routing)) for routing in result.routing],
        curves=[(curve, step_charts.training(curve)) for curve in result.curves],
        forgot=[
            (c.name, c.forgetting, charts.forgetting(c.forgetting))
            for c in ranked
            if c.forgetting is not None
        ],
        confusions=[(c, worst_confusions(c)) for c in result.confusions],
        doubtful=_doubtful(result, rows),
        look=second_look,
        powered=powered,
        rollouts=rollouts,
        rows=[_shortened(row, result.task) for row in shown],
        rows_in_all=len(rows),
        names=[c.name for c in ranked],
        redacted=redacted,
        say=wording,
        assumptions=assumptions,
        differences=differences,
        ability=general_ability,
        next_step=next_step,
        sizes=sizes,
        typed_names=typed_names,
        worth=worth,
        detectable=detectable,
        stated_otherwise=detectable.why_not_as_stated(result),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        config=json.dumps(result.config, indent=2, ensure_ascii=False),
    )
    return page


def notebook_frame(result: Result) -> str:
    """The report without its answers for a notebook."""
    return _frame(render(result, [], redacted=True), "Report of a comparison", 640)


def curve_frame(curve: Mapping[str, Any]) -> str:
    """A learning curve for a notebook: what twice the data would bring, and the chart.

    Args:
        curve: as `LearningCurve.to_dict` has it.
    """
    style = _resource("report.css")
    gain, checked = escape(learning_curve.doubled(curve)), escape(learning_curve.foreseen(curve))
    page = (
        f"<!doctype html><style>{style}</style><main><p>{gain}</p>"
        f'{charts.learning(curve)}<p class="soft">{checked}</p></main>'
    )
    return _frame(page, f"Learning curve of {curve['candidate']}", 560)


def _frame(page: str, title: str, height: int) -> str:
    """A page in a frame of its own, whose style and texts touch nothing around it."""
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox title="{escape(title)}" '
        f'style="width: 100%; height: {height}px; border: 0"></iframe>'
    )


def disagreements(rows: Sequence[AnswerRow]) -> list[AnswerRow]:
    """At most MOST_ROWS rows: those on which scores differ most, then those where all fail."""

    def spread(row: AnswerRow) -> tuple[float, float]:
        values = list(row.scores.values()) or [0.0]
        return max(values) - min(values), -max(values)

    return sorted(rows, key=spread, reverse=True)[:MOST_ROWS]


def worst_confusions(confusion: Confusion, most: int = 12) -> list[tuple[str, str, int]]:
    """The most frequent (expected, answered, count) off the diagonal."""
    labels = [*confusion.labels, "(no label of the set)"]
    cells = [
        (confusion.labels[i], labels[j], count)
        for i, row in enumerate(confusion.counts)
        for j, count in enumerate(row)
        if count and i != j
    ]
    return sorted(cells, key=lambda cell: -cell[2])[:most]


def _doubtful(result: Result, rows: Sequence[AnswerRow]) -> list[dict[str, Any]]:
    """The rows that are worth a second look, at most MOST_DOUBTFUL, and who says what."""
    look = result.second_look
    if look is None:
        return []
    doubtful = set(look.ids)

    def say(answer: str) -> str:
        return _cut(say_answer(answer, result.task))

    return [
        {
            "place": wording.place(_cut(row.id), row.line),
            "input": _cut(row.input),
            "reference": say(row.reference),
            "said": {say(one): names for one, names in second_look.said(row, look).items()},
        }
        for row in rows
        if row.id in doubtful
    ][:MOST_DOUBTFUL]


def _shortened(row: AnswerRow, task: str) -> dict[str, Any]:
    return {
        "place": wording.place(_cut(row.id), row.line),
        "input": _cut(row.input),
        "reference": _cut(say_answer(row.reference, task)),
        "answers": {name: _cut(say_answer(text, task)) for name, text in row.answers.items()},
        "scores": row.scores,
    }


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + " […]"


def _resource(name: str) -> str:
    return files("assay.compare.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_resource("report.html.jinja"))


def _hash(text: str) -> str:
    """Hash of an inline part, as a content security policy names it."""
    return "sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode()
