"""Routes in a comparison: from assay.yaml to the report, and what the report says of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from assay.compare.report import charts, wording
from assay.compare.report.html import render
from assay.compare.result import Result
from assay.compare.routing_section import RoutedArm, Routing
from assay.evaluate.routing import curve, reached, worth
from tests.small import small_project

from .sample import sample_result


def routing_of(skill: float, kind: str = "learned") -> Routing:
    """A route over made-up scores that knows, by `skill`, where the strong arm gains."""
    rng = np.random.default_rng(0)
    hard = rng.random(300) < 0.4
    cheap = (rng.random(300) < np.where(hard, 0.3, 0.9)).astype(float)
    scores = np.stack([cheap, (rng.random(300) < 0.85).astype(float)], axis=1)
    need = skill * hard + rng.random(300)
    answered = (need > np.median(need)).astype(int)
    arms = [
        RoutedArm(name=name, agent=name, score=float(scores[:, i].mean()), answers=0.5, asked=0.5)
        for i, name in enumerate(("small", "<big>"))
    ]
    return Routing(
        candidate="router",
        kind=kind,
        arms=arms,
        target=0.95,
        against_target=reached(scores, scores[np.arange(300), answered], 0.95),
        worth=worth(scores, answered),
        curve=None if kind == "rules" else curve(scores, need),
    )


def test_a_result_with_routes_survives_json_and_one_without_is_read() -> None:
    result = sample_result().model_copy(update={"routing": [routing_of(1.0)]})
    assert Result.model_validate_json(result.model_dump_json()) == result
    older = json.loads(sample_result().model_dump_json())
    del older["routing"]
    assert Result.model_validate(older).routing == []


def test_a_tie_with_random_is_reported_as_one() -> None:
    assert "Beside random mixing at the same cost it is a tie" in wording.routing(routing_of(0.0))
    assert "ahead of random mixing at the same cost" in wording.routing(routing_of(3.0))


def test_the_page_draws_the_curve_and_escapes_names() -> None:
    sample = sample_result()
    result = sample.model_copy(
        update={
            "routing": [routing_of(1.0), routing_of(1.0, kind="rules")],
            "names": sample.names | {"router": "Learned route"},
        }
    )
    page = render(result, [], redacted=False)
    assert "What routing is worth" in page
    assert page.count("quality of Learned route by the share") == 1
    assert "<big>" not in page
    assert "&lt;big&gt;" in page
    assert charts.routing(routing_of(1.0, kind="rules")) == ""
    assert "What routing is worth" not in render(sample_result(), [], redacted=False)


@pytest.mark.slow
def test_from_assay_yaml_to_the_report(tmp_path: Path) -> None:
    routes = """candidates:
  - cascade
  - router
  - rules"""
    section = """
route:
  cheap: prompt
  strong: baseline-tfidf
  target: 0.9
  rules:
    - {pattern: parrot, to: baseline-tfidf}
  otherwise: prompt
"""
    made = small_project(tmp_path, rows=240)
    path = made.root / "assay.yaml"
    text = path.read_text()
    start = text.index("candidates:")
    end = text.index("\n\n", start) if "\n\n" in text[start:] else len(text)
    path.write_text(text[:start] + routes + "\n" + section + text[end:])
    from assay import project

    done = project.open(made.root).compare()
    result = done.result
    found = {one.candidate: one for one in result.routing}
    assert set(found) == {"cascade", "router", "rules"}
    for one in found.values():
        assert [arm.name for arm in one.arms] == ["prompt", "baseline-tfidf"] or one.kind == "rules"
        assert sum(arm.answers for arm in one.arms) == pytest.approx(1.0)
        assert all(arm.cost_per_1000 is not None for arm in one.arms)
    cascade = found["cascade"]
    assert cascade.arms[0].asked == 1.0
    assert cascade.curve is not None
    by_name = {c.name: c for c in result.candidates}
    for name in found:
        routed = by_name[name]
        assert routed.score == pytest.approx(found[name].worth.quality.value)
        assert routed.latency_p50_s is not None
        assert routed.cost_per_1000 is not None
    # A cascade pays the cheap arm for every request.
    assert (by_name["cascade"].cost_per_1000 or 0) >= (cascade.arms[0].cost_per_1000 or 0)
    with gzip.open(done.folder / "answers.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    share = sum(row["arms"]["router"] == "baseline-tfidf" for row in rows) / len(rows)
    assert share == pytest.approx(found["router"].arms[-1].answers)
    assert all(row["arms"]["rules"] == "baseline-tfidf" for row in rows if "parrot" in row["input"])
    assert "What routing is worth" in done.report.read_text()
    again = project.open(made.root).compare()
    assert again.result == result
