"""A judge's errors are in the intervals of its scores; what no interval holds is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import assay
from assay.agent.agent import Agent
from assay.candidates.building import Candidate
from assay.compare.partiality import partial_judges
from assay.compare.preconditions import measure_judges
from assay.models.versions import save_version
from tests.evaluate.test_judge import MODEL, judging_project, longer, people_pairs
from tests.generate.remote.provider import Reply, said, serving
from tests.models.test_versions import RECORD, adapter
from tests.small import small_project

__all__ = ["adapter"]


def test_a_judge_that_is_candidate_base_teacher_or_reward_is_named(
    tmp_path: Path, adapter: Path
) -> None:
    def rule(body: dict[str, Any], _: int) -> Reply:
        return said(longer(body["messages"][0]["content"]))

    one = Candidate(Agent(model=MODEL), (), (), name="remote")
    other = Candidate(Agent(model="m"), (), (), name="prompt")
    tuned = replace(other, name="fine-tune", fine_tuned=True)
    with serving(rule) as server:
        bench = judging_project(tmp_path, server.provider(), people_pairs(60))
        learning = bench.config.fine_tune.model_copy(update={"teacher": MODEL})
        bench = replace(bench, config=bench.config.model_copy(update={"fine_tune": learning}))
        judges = measure_judges(bench)
    decides, own = partial_judges([one, other, tuned], judges, bench)
    assert "`remote`, `fine-tune` answer with" in own
    assert "60 pairs" in decides
    assert judges[0].error == 0.0
    assert judges[0].error_high is not None
    assert 0 < judges[0].error_high < 0.1, "60 pairs do not prove a judge that never errs"
    reward = {
        "type": "score_model",
        "name": "x",
        "model": MODEL,
        "input": [{"role": "user", "content": ""}],
    }
    settings = {"method": "reinforcement", "reinforcement": {"reward": reward}}
    version = save_version(bench.store, adapter, RECORD.model_copy(update={"settings": settings}))
    pleasing = replace(other, agent=Agent(model=f"version:{version}"), name="reinforced")
    _, pleased = partial_judges([other, pleasing], judges, bench)
    assert pleased.startswith("The judge judge judges what it has rewarded: `reinforced` learned")
    [unknown] = partial_judges([other], [], bench)
    assert "has not been compared with people" in unknown
    assert list(partial_judges([other], judges, bench)) == [decides]


def test_a_comparison_by_a_judge_says_so(tmp_path: Path) -> None:
    def rule(body: dict[str, Any], _: int) -> Reply:
        text = body["messages"][-1]["content"]
        return said(longer(text) if "Compare two answers" in text else "a cat")

    with serving(rule) as far:
        names = "  - prompt\n  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n"
        made = small_project(tmp_path, rows=80, edit={names: "  - remote\n"})
        judged = (
            (made.root / "assay.yaml")
            .read_text()
            .replace("primary: label-accuracy", "primary: judge")
            .replace(
                "  - name: label-accuracy\n",
                "  - name: judge\n    settings: {model: 'remote:far/big', pairs: pairs.jsonl}\n",
            )
        )
        (made.root / "assay.yaml").write_text(
            f"{judged}remote: remote:far/big\nproviders:\n  far:\n    base_url: "
            f"http://127.0.0.1:{far.port}/v1\n    private_network: true\n    consent: true\n"
        )
        lines = [
            json.dumps({"question": p.question, "a": p.a, "b": p.b, "labels": p.labels})
            for p in people_pairs(60)
        ]
        (made.root / "pairs.jsonl").write_text("\n".join(lines))
        result = assay.open(made.root).compare(reason="test").result
    [judge_found] = result.judges
    assert result.plan.judge_error == judge_found.error_high
    assert any("judges what comes from itself: `remote` answers" in w for w in result.warnings)
    error = result.plan.judge_error
    assert error is not None
    for one in result.candidates:
        assert one.score is not None
        for low, high in (
            (one.low, one.high),
            (one.metrics["judge"].low, one.metrics["judge"].high),
        ):
            assert low <= max(0.0, one.score - error)
            assert high >= min(1.0, one.score + error)
