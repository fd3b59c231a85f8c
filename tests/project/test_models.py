"""Base models are listed with what they take, and fetched by a job that says why it could not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.small import write_model

from assay.candidates.spec import Sizes
from assay.config import Config
from assay.errors import ModelError, StateError
from assay.jobs.pulling import PULL
from assay.jobs.service import QUICK, work_on
from assay.models.catalogue import CATALOGUE
from assay.models.pull import pull as fetch
from assay.progress import format_duration
from assay.project import estimate, models
from assay.project.workspace import Workspace


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))


def test_every_starter_is_listed_with_what_it_takes() -> None:
    found = {one.ref: one for one in models.list_base_models()}
    assert found.keys() == CATALOGUE.keys()
    for name, one in found.items():
        assert (one.tuning_bytes is None) == (CATALOGUE[name].kind == "embedder")
        assert one.tuning_bytes is None or one.tuning_bytes > one.disk_bytes
        assert not one.ready
        with pytest.raises(ModelError, match="not on this machine"):
            models.describe(name)


def test_a_model_is_fetched_by_a_job_beside_long_ones(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    workspace = Workspace(tmp_path / "served")
    folder = str(write_model(tmp_path / "model"))
    models.pull(workspace, folder)
    with pytest.raises(StateError, match="already"):
        models.pull(workspace, folder)
    done = work_on(workspace.store, QUICK).once()
    assert done is not None
    assert (done.kind, done.status, done.result) == (
        PULL,
        "succeeded",
        {"model": folder, "folder": folder},
    )


def test_a_model_that_cannot_be_had_is_told_in_plain_words(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(ModelError, match="no starter, folder or file"):
        models.pull(workspace, "smollm3")
    models.pull(workspace, "nobody/nothing")
    done = work_on(workspace.store, [PULL]).once()
    assert done is not None
    assert done.status == "failed"
    assert "the hub cannot be reached" in str(done.error)
    assert [job.id for job in models.pulls(workspace)] == [done.id]


def test_nobody_on_the_web_names_what_lies_on_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "served").mkdir()
    workspace = Workspace(tmp_path / "served")
    folder = write_model(tmp_path / "own" / "model")
    monkeypatch.chdir(tmp_path)
    for ref in (str(folder), "own/model", "own/model.gguf", "~/x", "~root", "../own", ""):
        with pytest.raises(ModelError, match="neither a starter nor the name of a model"):
            models.pull(workspace.act_as("user:ann"), ref)
    assert models.pulls(workspace) == []
    for ref in (next(iter(CATALOGUE)), "org/name"):
        models.pull(workspace.act_as("user:ann"), ref)
    assert len(models.pulls(workspace)) == 2


@pytest.mark.parametrize("ref", ["~nosuchuser/x", "x" * 5000, "a\0b"])
def test_what_cannot_be_a_name_is_no_model(tmp_path: Path, ref: str) -> None:
    workspace = Workspace(tmp_path)
    for seen in (workspace, workspace.act_as("user:ann")):
        with pytest.raises(ModelError):
            models.pull(seen, ref)
    with pytest.raises(ModelError, match="no starter, folder or file"):
        fetch(ref)


SIZES = (135e6, 0.6e9, 1e9, 1.7e9, 4e9, 8e9)
"""Parameters, of the table in docs/models.md."""


def estimated(parameters: float) -> str:
    """A line of that table, from the functions that tell a comparison's time beforehand."""
    config = Config.model_validate(
        {
            "name": "tickets",
            "task": "label",
            "labels": ["a", "b"],
            "data": {"file": "tickets.csv"},
            "graders": [{"name": "label-accuracy"}],
            "primary": "label-accuracy",
            "candidates": ["fine-tune"],
            "fine_tune": {"system_prompt": "Classify the message."},
        }
    )
    sizes = Sizes(
        train=1000,
        validation=150,
        holdout=200,
        system_tokens=6,
        input_tokens=60,
        output_tokens=10,
        parameters=parameters,
        context=4096,
    )
    scale = parameters / estimate.REFERENCE_PARAMETERS
    memory = next(gb for gb in range(1, 1000) if models.largest_tuned(gb * 10**9) >= parameters)
    training = format_duration(estimate.training_seconds(config, sizes, 1000, scale))
    answer = estimate.answer_seconds(sizes, 0, 10, scale)
    size = (
        f"{parameters / 1e6:.0f} million" if parameters < 5e8 else f"{parameters / 1e9:g} billion"
    )
    return f"| {size} | {memory} GB | {training} | {answer:.1f} s |"


def test_the_table_of_sizes_says_what_the_product_estimates() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    wanted = "\n".join(estimated(parameters) for parameters in SIZES)
    assert wanted in page, wanted
