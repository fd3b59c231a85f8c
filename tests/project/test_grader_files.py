"""A grader's file is part of what was measured: another one makes another comparison."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.small import small_project

import assay
from assay.evaluate.graders import grader_files

GRADE = "def grade(answer, example):\n    return {worth} * (answer == example['output'])\n"


@pytest.mark.slow
def test_an_edited_grader_grades_anew(tmp_path: Path) -> None:
    root = small_project(tmp_path, rows=200).root
    config = yaml.safe_load((root / "assay.yaml").read_text())
    config["graders"] = [{"name": "python", "settings": {"file": "grade.py"}}]
    config |= {"primary": "python", "candidates": ["baseline-majority"]}
    (root / "assay.yaml").write_text(yaml.safe_dump(config))
    scores = []
    for worth in (1.0, 1.0, 0.5):
        (root / "grade.py").write_text(GRADE.format(worth=worth))
        opened = assay.open(root)
        found = opened.compare(trust_code=True).result.candidates
        scores.append(next(c.score for c in found if c.name == "baseline-majority"))
    assert scores[0] == scores[1]
    assert scores[0] == 2 * scores[2] > 0
    assert len(opened.openings()) == 2  # the second time nothing had changed


def test_files_that_are_not_there_say_so_elsewhere(tmp_path: Path) -> None:
    config = small_project(tmp_path).config
    specs = [{"name": "terms", "settings": {"file": "terms.txt"}}, {"name": "exact"}]
    changed = config.model_validate({**config.model_dump(), "graders": specs, "primary": "exact"})
    assert grader_files(changed, tmp_path) == {}
    (tmp_path / "terms.txt").write_text("refund\n")
    assert list(grader_files(changed, tmp_path)) == ["terms.txt"]
