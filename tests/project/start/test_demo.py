"""How much of the built-in project a machine is given."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from assay.candidates.spec import Sizes
from assay.config import Config
from assay.errors import UsageError
from assay.project import estimate
from assay.project.estimate import REFERENCE_FLOPS
from assay.project.start import demo
from assay.project.start.demo import BUDGET_S, EFFORTS, open_demos, open_desks

CONFIG = Config.model_validate(
    {
        "name": "ferry",
        "task": "json",
        "data": {"file": "tickets.jsonl"},
        "graders": [{"name": "exact-record"}],
        "primary": "exact-record",
        "candidates": ["prompt", "few-shot", "few-shot-nearest", "fine-tune"],
        "fine_tune": {"system_prompt": "Write the record."},
    }
)
SIZES = Sizes(
    train=542,
    validation=96,
    holdout=120,
    system_tokens=150,
    input_tokens=34,
    output_tokens=35,
    parameters=134.5e6,
    context=8192,
)


def given(monkeypatch: pytest.MonkeyPatch, speed: float) -> int:
    monkeypatch.setattr(estimate, "machine_flops", lambda: speed * REFERENCE_FLOPS)
    return EFFORTS.index(demo._affordable(CONFIG, SIZES))


def test_a_faster_machine_is_given_more(monkeypatch: pytest.MonkeyPatch) -> None:
    efforts = [given(monkeypatch, speed) for speed in (4.0, 1.0, 0.6, 0.4, 0.2, 0.001)]
    assert efforts[0] == 0
    assert efforts == sorted(efforts)
    assert len(set(efforts)) >= 4
    assert efforts[-1] == len(EFFORTS) - 1
    assert BUDGET_S < 600


def test_what_is_given_stands_in_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "assay.yaml"
    parts = "data:\n  train_rows: null\n  split: {validation: 0.15}  # rows\n\n# What is shown.\n"
    tuned = "fine_tune:\n  rank: 8  # of the adapter\n\ncosts:  # in USD\n  machine_hour_usd: 1\n"
    path.write_text(f"{parts}few_shot: {{ks: [8]}}\n{tuned}")
    demo._change(path, demo._settings(EFFORTS[-1]))
    tree = YAML(typ="safe").load(path)
    assert tree["data"]["train_rows"] == EFFORTS[-1].train_rows
    assert tree["data"]["split"]["validation"] == EFFORTS[-1].validation
    assert tree["few_shot"]["ks"] == [1]
    assert tree["fine_tune"]["epochs"] == 1
    # Comments and empty lines still stand over their own sections.
    text = path.read_text()
    assert "# rows\n  holdout_rows: 40\n\n# What is shown.\nfew_shot" in text
    assert "# of the adapter\n  epochs: 1\n  seeds: 1\n\ncosts:  # in USD\n" in text
    assert tree["data"]["holdout_rows"] == EFFORTS[-1].holdout_rows


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        next(open_demos(tmp_path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_the_first_job_is_one_for_a_classifier(tmp_path: Path) -> None:
    """Nothing of it depends on the machine: neither rows nor settings are cut to its speed."""
    made = open_desks(tmp_path / "desks")
    assert (made.config.task, made.config.labels) == ("label", ["care", "duty", "freight", "sales"])
    assert open_desks(tmp_path / "desks").config == made.config
    verdict = made.compare().result.verdict
    assert (verdict.outcome, verdict.recommend) == ("recommend", "classifier")
