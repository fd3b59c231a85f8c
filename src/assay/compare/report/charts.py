"""Charts as SVG text: forest of differences, cost against quality, routing, forgetting.

Colours are classes of report.css, so that they follow light and dark. Every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from assay.compare.reasons import signed
from assay.compare.report import svg
from assay.compare.report.differences import is_puzzling
from assay.compare.report.general_ability import perplexity
from assay.compare.report.wording import in_100, rank, usd
from assay.compare.result import CandidateResult, PairResult, Result
from assay.compare.routing_section import Routing
from assay.evaluate.forgetting import Ability, Forgetting


def scores(result: Result, *, phone: bool = False) -> Markup:
    """Every candidate's score with its interval, best first, on one scale from 0 to 100.

    Args:
        phone: narrow, with names above their rows.
    """
    rows = [c for c in rank(result) if c.score is not None]
    left, right, top = (8.0, 48.0, 8.0) if phone else (svg.room([c.name for c in rows]), 70.0, 8.0)
    width, row = (svg.PHONE, svg.PHONE_ROW) if phone else (svg.WIDTH, svg.ROW)
    height = top + row * len(rows) + 30

    def x(score: float) -> float:
        return left + (width - left - right) * score

    body = [svg.line(x(t / 100), top, x(t / 100), height - 24, "grid") for t in range(0, 101, 20)]
    body += [svg.text(x(t / 100), height - 8, str(t), "middle", "tick") for t in range(0, 101, 20)]
    if result.good_enough is not None:
        place = x(result.good_enough)
        body.append(svg.line(place, top, place, height - 24, "bar-line"))
    for i, candidate in enumerate(rows):
        y = top + row * (i + 1) - svg.ROW / 2
        style = _style(candidate, result)
        low, high = candidate.low or 0.0, candidate.high or 0.0
        body.append(svg.row_name(left, y, candidate.name, phone=phone))
        body.append(svg.line(x(low), y, x(high), y, f"whisker {style}"))
        body.append(
            f'<circle cx="{x(candidate.score or 0):.1f}" cy="{y:.1f}" r="5" class="dot {style}">'
            f"<title>{escape(candidate.name)}: {in_100(candidate.score)}</title></circle>"
        )
        body.append(svg.text(width - right + 12, y + 4, in_100(candidate.score), "start", "value"))
    return svg.image(height, "score of every candidate with its interval", body, width)


def _style(candidate: CandidateResult, result: Result) -> str:
    return "chosen" if candidate.name == result.verdict.named else "plain"


def forest(pairs: Sequence[PairResult], margin: float, *, phone: bool = False) -> Markup:
    """Paired differences with their intervals; the band is the margin that does not matter. `phone`
    as of `scores`."""
    names = [f"{pair.a} − {pair.b}" for pair in pairs]
    left, right, top = (4.0, 120.0, 8.0) if phone else (svg.room(names), 165.0, 8.0)
    width, row = (svg.PHONE, svg.PHONE_ROW) if phone else (svg.WIDTH, svg.ROW)
    height = top + row * len(pairs) + 30
    reach = max([margin, *(max(abs(p.low), abs(p.high)) for p in pairs)]) * 1.08

    def x(value: float) -> float:
        return left + (width - left - right) * (value + reach) / (2 * reach)

    band = x(margin) - x(-margin)
    body = [
        f'<rect x="{x(-margin):.1f}" y="{top}" width="{band:.1f}" height="{height - 24 - top:.1f}"'
        ' class="band"/>'
    ]
    for tick in svg.ticks(-reach, reach, 4 if phone else 6):
        body.append(svg.line(x(tick), top, x(tick), height - 24, "zero" if tick == 0 else "grid"))
        body.append(
            svg.text(x(tick), height - 8, f"{100 * tick:+g}" if tick else "0", "middle", "tick")
        )
    for i, pair in enumerate(pairs):
        y = top + row * (i + 1) - svg.ROW / 2
        style = {"better": "chosen", "worse": "lost"}.get(pair.call, "plain")
        body.append(svg.row_name(left, y, names[i], phone=phone))
        body.append(svg.line(x(pair.low), y, x(pair.high), y, f"whisker {style}"))
        body.append(
            f'<circle cx="{x(pair.difference):.1f}" cy="{y:.1f}" r="5" class="dot {style}"/>'
        )
        said = f"{signed(pair.difference)}  {pair.call.replace('_', ' ')}"
        said += " *" if is_puzzling(pair) else ""
        body.append(svg.text(width - right + 12, y + 4, said, "start", "value"))
    return svg.image(height, "differences between candidates with their intervals", body, width)


def cost_against_quality(
    candidates: Sequence[CandidateResult], named: str | None, *, phone: bool = False
) -> Markup:
    """First year's cost to own (log scale) against score; unknown costs are not drawn. `phone`:
    narrow. Names stand in a column beside the chart, each led to its dot by a line: beside the dots
    they would lie on one another, on intervals and on the axis."""
    known = [c for c in candidates if c.yearly_cost is not None and c.score is not None]
    if not known:
        return Markup("")
    left, right, top = (34.0, 166.0, 14.0) if phone else (60.0, 220.0, 14.0)
    width = svg.PHONE if phone else svg.WIDTH
    floor = 1.0
    caption = ["first year's cost (scale of 1, 2, 5, 10)"]
    if min(c.yearly_cost or 0.0 for c in known) < floor:
        caption.append("below $1 drawn at $1")
    if not phone:
        caption = ["; ".join(caption)]
    end = 44 + svg.NAME * (len(caption) - 1)
    height = max(276 + end, top + end + svg.NAME * len(known))
    costs = [max(floor, c.yearly_cost or 0.0) for c in known]
    low, high = math.log10(min(costs)) - 0.15, math.log10(max(costs)) + 0.15
    if high - low < 0.6:
        low, high = low - 0.3, high + 0.3

    def x(cost: float) -> float:
        return left + (width - left - right) * (math.log10(max(floor, cost)) - low) / (high - low)

    def y(score: float) -> float:
        return top + (height - top - end) * (1 - score)

    body = []
    for tick in range(0, 101, 20):
        body.append(svg.line(left, y(tick / 100), width - right, y(tick / 100), "grid"))
        body.append(svg.text(left - 8, y(tick / 100) + 4, str(tick), "end", "tick"))
    for power in range(math.floor(low), math.ceil(high) + 1):
        for digit in (1,) if phone and high - low > 1 else (1, 2, 5):
            cost = digit * 10.0**power
            if low <= math.log10(cost) <= high:
                body.append(svg.line(x(cost), top, x(cost), height - end + 4, "grid"))
                price = usd(cost).removesuffix(".00")
                body.append(svg.text(x(cost), height - end + 20, price, "middle", "tick"))
    # From the left edge on a phone: around the middle of so narrow a chart it would be cut off.
    at, anchor = (0.0, "start") if phone else ((left + width - right) / 2, "middle")
    for i, said in enumerate(reversed(caption)):
        body.append(svg.text(at, height - 6 - svg.NAME * i, said, anchor, "tick"))
    ranked = sorted(zip(known, costs, strict=True), key=lambda row: -(row[0].score or 0))
    places = svg.apart([y(candidate.score or 0) for candidate, _ in ranked], svg.NAME, height - end)
    for (candidate, cost), place in zip(ranked, places, strict=True):
        px, py = x(cost), y(candidate.score or 0)
        style = "chosen" if candidate.name == named else "plain"
        body.append(svg.line(px, py, width - right + 4, place, "grid"))
        body.append(
            svg.line(px, y(candidate.low or 0), px, y(candidate.high or 0), f"whisker {style}")
        )
        body.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="6" class="dot {style}"/>')
        name = candidate.name
        name = svg.shortened(name, svg.PHONE_NAME) if phone else name
        body.append(svg.text(width - right + 8, place + 4, name, "start", "name"))
    return svg.image(height, "cost to own against score", body, width)


def learning(curve: Mapping[str, Any]) -> Markup:
    """Scores by training rows (log scale), and what is foreseen for twice as many, if anything is.

    Args:
        curve: as `LearningCurve.to_dict` has it.
    """
    left, right, top, bottom, height = 60.0, 130.0, 14.0, 44.0, 300.0
    points = curve["points"]
    then = curve["doubling"]["then"] if curve["backtest"]["covered"] else None
    sizes = [*(point["rows"] for point in points), *([then["size"]] if then else [])]
    first, last = math.log2(sizes[0]), math.log2(sizes[-1])
    values: list[float] = [score for point in points for score in point["scores"]]
    values += [then["low"], then["high"]] if then else []
    room = 0.08 * (max(values) - min(values)) or 0.02
    low, high = max(0.0, min(values) - room), min(1.0, max(values) + room)

    def x(rows: float) -> float:
        return left + (svg.WIDTH - left - right) * (math.log2(rows) - first) / (last - first)

    def y(score: float) -> float:
        return top + (height - top - bottom) * (high - score) / (high - low)

    body = []
    for tick in svg.ticks(100 * low, 100 * high, 5):
        body.append(svg.line(left, y(tick / 100), svg.WIDTH - right, y(tick / 100), "grid"))
        body.append(svg.text(left - 8, y(tick / 100) + 4, f"{tick:g}", "end", "tick"))
    for rows in sizes:
        body.append(svg.text(x(rows), height - 24, f"{rows:,}", "middle", "tick"))
    body.append(
        svg.text((left + svg.WIDTH - right) / 2, height - 6, "training rows", "middle", "tick")
    )
    means = [(p["rows"], sum(p["scores"]) / len(p["scores"])) for p in points]
    path = " ".join(f"{x(rows):.1f},{y(score):.1f}" for rows, score in means)
    body.append(f'<polyline points="{path}" class="curve plain"/>')
    for point in points:
        body += [
            f'<circle cx="{x(point["rows"]):.1f}" cy="{y(score):.1f}" r="4" class="dot plain"/>'
            for score in point["scores"]
        ]
    if then:
        end = x(then["size"]), y(then["score"])
        body.append(svg.line(x(means[-1][0]), y(means[-1][1]), *end, "bar-line"))
        body.append(svg.line(end[0], y(then["low"]), end[0], y(then["high"]), "whisker chosen"))
        body.append(f'<circle cx="{end[0]:.1f}" cy="{end[1]:.1f}" r="5" class="dot chosen"/>')
        body.append(svg.text(end[0] + 11, end[1] + 4, "forecast", "start", "name"))
    return svg.image(height, f"learning curve of {curve['candidate']}", body)


def routing(found: Routing) -> Markup:
    """Quality by the strong arm's share, with its band; nothing of rules, which have one point."""
    if found.curve is None:
        return Markup("")
    left, right, top, bottom, height = 60.0, 190.0, 14.0, 44.0, 320.0
    points = sorted(found.curve.points, key=lambda point: point.share)
    worth = found.worth
    values = [end for p in points for end in (p.quality.low, p.quality.high)]
    least, most = min(values), max(*values, worth.oracle.quality)
    room = 0.06 * (most - least) or 0.01
    low, high = max(0.0, least - room), min(1.0, most + room)

    def x(share: float) -> float:
        return left + (svg.WIDTH - left - right) * share

    def y(score: float) -> float:
        return top + (height - top - bottom) * (high - score) / (high - low)

    def path(pairs: list[tuple[float, float]]) -> str:
        return " ".join(f"{x(share):.1f},{y(score):.1f}" for share, score in pairs)

    body = []
    for tick in svg.ticks(100 * low, 100 * high, 5):
        body.append(svg.line(left, y(tick / 100), svg.WIDTH - right, y(tick / 100), "grid"))
        body.append(svg.text(left - 8, y(tick / 100) + 4, f"{tick:g}", "end", "tick"))
    for percent in range(0, 101, 20):
        body.append(svg.text(x(percent / 100), height - 24, f"{percent} %", "middle", "tick"))
    said = f"answers by {found.arms[-1].name}"
    body.append(svg.text((left + svg.WIDTH - right) / 2, height - 6, said, "middle", "tick"))
    above = [(p.share, p.quality.high) for p in points]
    below = [(p.share, p.quality.low) for p in reversed(points)]
    body.append(f'<polygon points="{path(above + below)}" class="band"/>')
    mixed = [(p.share, p.random) for p in points]
    body.append(f'<polyline points="{path(mixed)}" class="curve base"/>')
    drawn = [(p.share, p.quality.value) for p in points]
    body.append(f'<polyline points="{path(drawn)}" class="curve plain"/>')
    share, quality = worth.shares[-1], worth.quality
    body.append(svg.line(x(share), y(quality.low), x(share), y(quality.high), "whisker chosen"))
    marks = [
        (share, quality.value, "chosen", found.candidate),
        (worth.oracle.share, worth.oracle.quality, "base", "always right"),
        (0.0, found.arms[0].score, "plain", found.arms[0].name),
        (1.0, found.arms[-1].score, "plain", found.arms[-1].name),
    ]
    for place, score, style, name in marks:
        body.append(f'<circle cx="{x(place):.1f}" cy="{y(score):.1f}" r="5" class="dot {style}"/>')
        body.append(svg.text(x(place) + 9, y(score) + 4, name, "start", "name"))
    return svg.image(height, f"quality of {found.candidate} by the share of its strong arm", body)


def forgetting(found: Forgetting) -> Markup:
    """Before and after training, by kind: perplexity on the left, instructions on the right."""
    top, middle = 44.0, svg.WIDTH / 2
    height = top + svg.ROW * max(len(found.text.kinds), len(found.instructions.kinds)) + 4
    body = [
        *_before_and_after(
            found.text, 0.0, middle - 10, top, ("perplexity, log scale", perplexity, False)
        ),
        *_before_and_after(
            found.instructions, middle + 10, svg.WIDTH, top, ("followed in 100", in_100, True)
        ),
    ]
    return svg.image(height, "general ability by kind, before and after training", body)


def _before_and_after(
    ability: Ability,
    start: float,
    end: float,
    top: float,
    scale: tuple[str, Callable[[float], str], bool],
) -> list[str]:
    """A line from before to after for each kind; red where it became worse.

    Args:
        scale: its title, how a figure is written, whether more is better.
    """
    title, say, more_is_better = scale
    left, right = start + 112.0, end - 105.0
    values = [value for kind in ability.kinds for value in (kind.base, kind.tuned)]
    reach = max([*values, 1e-9])
    body = [
        svg.text(left, top - 26, title, "start", "name"),
        svg.text(left, top - 9, "grey before, coloured after training", "start", "tick"),
    ]
    for i, kind in enumerate(ability.kinds):
        y = top + svg.ROW * i + svg.ROW / 2
        before, after = (left + (right - left) * v / reach for v in (kind.base, kind.tuned))
        worse = kind.tuned < kind.base if more_is_better else kind.tuned > kind.base
        style = "lost" if worse else "plain"
        body += [
            svg.text(left - 12, y + 4, kind.kind, "end", "name"),
            svg.line(left, y, right, y, "grid"),
            svg.line(before, y, after, y, f"whisker {style}"),
            f'<circle cx="{before:.1f}" cy="{y:.1f}" r="5" class="dot base"/>',
            f'<circle cx="{after:.1f}" cy="{y:.1f}" r="5" class="dot {style}"/>',
            svg.text(right + 12, y + 4, f"{say(kind.base)} → {say(kind.tuned)}", "start", "value"),
        ]
    return body
