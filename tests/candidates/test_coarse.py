"""A tuned version in fewer bits: judged beside it, and served by what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.small import small_project

from assay import project
from assay.agent.routing import arm
from assay.agent.runtime import assemble
from assay.agent.versions import find_version
from assay.errors import ModelError
from assay.evaluate import parity
from assay.generate.stream_batch import StreamBatchEngine
from assay.models.versions import version_bits, version_id
from assay.project import releases

pytestmark = pytest.mark.slow

EDIT = {"  - encoder\n  - fine-tune\n": "  - fine-tune\n  - fine-tune-8bit\n  - fine-tune-4bit\n"}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp's threads spin; two of them on busy cores take seconds for what takes one none."""
    monkeypatch.setattr("assay.generate.llamacpp.server.cores", lambda: 1)


def test_coarser_versions_take_part_and_are_served_as_they_were_measured(tmp_path: Path) -> None:
    made = small_project(tmp_path, edit=EDIT)
    done = made.compare().result
    found = {one.name: one for one in done.candidates}
    sizes = [found[name].model_bytes for name in ("fine-tune", "fine-tune-8bit", "fine-tune-4bit")]
    assert all(sizes)
    assert found["fine-tune-8bit"].tokens_per_s
    assert found["fine-tune-8bit"].fine_tuned
    tuned, coarse = (
        arm(made.store, find_version(made.store, f"{name}@1").agent)
        for name in ("fine-tune", "fine-tune-8bit")
    )
    assert coarse.model == f"{tuned.model}/8"
    assert version_id(coarse.model) == version_id(tuned.model)
    workspace = project.open_workspace(made.root)
    context = made.context()
    measured = context.measure(coarse)
    releases.promote(workspace, "pets", "fine-tune-8bit@1", force="to be served")
    engines = workspace.engines()
    try:
        serving = StreamBatchEngine(engines.engine(coarse.model), None, {})
        requests = assemble(coarse, context.judged, made.store, "pets")
        served = serving.answer(requests)
    finally:
        engines.close()
    assert [one.text for one in served] == [one.text for one in measured.answers]


def test_one_that_answers_something_else_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "MOST_KL", {16: 0.005, 8: -1.0, 4: -1.0})
    made = small_project(tmp_path, edit={**EDIT, "  - prompt\n": ""})
    done = made.compare().result
    assert "fine-tune" in {one.name for one in done.candidates}
    left = [text for text in done.warnings if "was left out" in text]
    assert [text.partition(" ")[0] for text in left] == ["`fine-tune-8bit`", "`fine-tune-4bit`"]
    assert all("next-token probabilities differ by" in text for text in left)


def test_bits_that_no_file_has_are_refused() -> None:
    assert version_bits("version:3f9a01") == version_bits("some/model") == 16
    assert version_bits("version:3f9a01/4") == 4
    with pytest.raises(ModelError, match="cannot be stored in '3' bits"):
        version_bits("version:3f9a01/3")
