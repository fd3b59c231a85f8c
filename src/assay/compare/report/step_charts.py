"""Charts of a training by its steps, as SVG text: losses, or rewards and what belongs to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from assay.compare.curve_section import Curve
from assay.compare.report import svg
from assay.quantities import say_number

_LEFT, _RIGHT, _TOP, _BELOW, _HEIGHT = 60.0, 180.0, 12.0, 40.0, 260.0


class Line(NamedTuple):
    """One figure by step, in steps' order; the name stands at its end."""

    name: str
    style: str
    rows: Sequence[tuple[int, float]]
    dots: bool = False


def training(curve: Curve) -> Markup:
    """Loss on train and validation by step; the step that was kept is marked."""
    points = curve.points
    trained = [(p.step, p.train_loss) for p in points if p.train_loss is not None]
    checked = [(p.step, p.validation_loss) for p in points if p.validation_loss is not None]
    lines = [Line("train", "plain", trained), Line("validation", "chosen", checked, dots=True)]
    return _by_step(lines, f"training curve of {curve.candidate}", curve.best_step)


def rewards(points: Sequence[Mapping[str, Any]], best_step: int | None) -> Markup:
    """Mean reward of the answers drawn and on validation, beside what other graders say there.

    Args:
        points: as `assay.project.jobs.curves.Figures.rewards`.
    """
    others = dict.fromkeys(name for point in points for name in point["others"])
    lines = [
        Line("reward, training", "plain", _rows(points, "reward")),
        Line("reward, validation", "chosen", _rows(points, "valid_reward"), dots=True),
        *(
            Line(
                name, "base", [(p["step"], p["others"][name]) for p in points if p["others"]], True
            )
            for name in others
        ),
    ]
    return _by_step(lines, "reward by step", best_step)


def lengths(points: Sequence[Mapping[str, Any]]) -> Markup:
    """Mean length of the answers drawn and on validation."""
    lines = [
        Line("training", "plain", _rows(points, "answer_tokens")),
        Line("validation", "chosen", _rows(points, "valid_tokens"), dots=True),
    ]
    return _by_step(lines, "tokens of an answer by step", None)


def divergence(points: Sequence[Mapping[str, Any]]) -> Markup:
    """KL from what the training started from."""
    return _by_step([Line("KL", "plain", _rows(points, "kl"), dots=True)], "KL by step", None)


def _rows(points: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(point["step"], point[name]) for point in points if point[name] is not None]


def _by_step(lines: Sequence[Line], label: str, kept: int | None) -> Markup:
    """Lines over one scale that begins at 0 or below; the highest 2 in 100 values may be cut."""
    drawn = [line for line in lines if line.rows]
    values = sorted(value for line in drawn for _, value in line.rows)
    if not values:
        return Markup("")
    last = max(step for line in drawn for step, _ in line.rows) or 1
    low, high = min(0.0, values[0]), values[int(0.98 * (len(values) - 1))] * 1.1

    def x(step: float) -> float:
        return _LEFT + (svg.WIDTH - _LEFT - _RIGHT) * step / last

    def y(value: float) -> float:
        share = (min(value, high) - low) / ((high - low) or 1)
        return _TOP + (_HEIGHT - _TOP - _BELOW) * (1 - share)

    body = []
    for tick in svg.ticks(low, high, 4):
        body.append(svg.line(_LEFT, y(tick), svg.WIDTH - _RIGHT, y(tick), "grid"))
        body.append(svg.text(_LEFT - 8, y(tick) + 4, say_number(tick), "end", "tick"))
    for tick in svg.ticks(0, last, 6):
        body.append(svg.text(x(tick), _HEIGHT - 22, say_number(tick), "middle", "tick"))
    middle = (_LEFT + svg.WIDTH - _RIGHT) / 2
    body.append(svg.text(middle, _HEIGHT - 5, "step", "middle", "tick"))
    for line in drawn:
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in line.rows)
        body.append(f'<polyline points="{path}" class="curve {line.style}"/>')
        if line.dots:
            body += [
                f'<circle cx="{x(s):.1f}" cy="{y(v):.1f}" r="4" class="dot {line.style}"/>'
                for s, v in line.rows
            ]
    named = sorted(drawn, key=lambda line: y(line.rows[-1][1]))
    places = svg.apart([y(line.rows[-1][1]) for line in named], svg.NAME, _HEIGHT - _BELOW)
    for line, place in zip(named, places, strict=True):
        name = svg.shortened(line.name, svg.PHONE_NAME)
        body.append(svg.text(x(last) + 10, place + 4, name, "start", "name"))
    if kept is not None:
        body.append(svg.line(x(kept), _TOP, x(kept), _HEIGHT - _BELOW, "bar-line"))
        body.append(svg.text(x(kept) + 5, _TOP + 10, "kept", "start", "tick"))
    return svg.image(_HEIGHT, label, body)
