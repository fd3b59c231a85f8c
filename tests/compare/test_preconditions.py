"""Who gets which rows is named before anything is built, and nothing is without consent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assay.agent.agent import Agent
from assay.agent.consent import ConsentError
from assay.agent.versions import save_agent
from assay.candidates.spec import Part
from assay.compare.preconditions import check_sendings
from assay.example import Example, Message
from tests.candidates.test_distill import context_of
from tests.small import small_project

FAR = {"far": {"base_url": "https://far.example.com/v1"}}
MODEL = "remote:far/big"


def row(number: int, text: str = "hello") -> Example:
    return Example(f"row-{number}", (Message("user", text), Message("assistant", "hi")))


ROWS: dict[Part, list[Example]] = {
    "train": [row(n) for n in range(4)],
    "validation": [row(8, "I am ann.lee@mail.org"), row(9, "and bob.lee@mail.org")],
}


def told(folder: Path, saved: tuple[Agent, ...] = (), **fields: Any) -> str:
    """What is said where nobody has agreed; nothing once somebody has."""
    bench = context_of(folder, fields.pop("fine_tune", {}), providers=FAR, **fields).bench
    with pytest.raises(ConsentError) as caught:
        check_sendings(ROWS, 7, bench, saved)
    assert caught.value.provider == "far"
    bench.engines.providers.agree("far")
    check_sendings(ROWS, 7, bench, saved)
    return caught.value.what


def test_provider_rows_and_personal_data_are_named(tmp_path: Path) -> None:
    said = told(tmp_path, candidates=["remote"], remote=MODEL)
    assert "The provider far (https://far.example.com/v1)" in said
    assert "2 rows of validation, 7 rows of holdout" in said
    assert "train" not in said
    assert "e-mail address: 2" in said
    assert "lee" not in said


ARMS = {"cheap": "prompt", "strong": MODEL}
JUDGE = {"name": "judge", "settings": {"model": MODEL}}


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"candidates": ["fine-tune"], "fine_tune": {"teacher": MODEL}}, {"train"}),
        (
            {"candidates": ["fine-tune-reinforced"], "fine_tune": {"teacher": MODEL}},
            {"train"},
        ),
        (
            {"candidates": ["prompt-optimised"], "prompt_search": {"proposer": MODEL}},
            {"train"},
        ),
        ({"candidates": ["cascade"], "route": ARMS}, {"validation", "holdout"}),
        ({"candidates": ["router"], "route": ARMS}, {"train", "validation", "holdout"}),
        (
            {
                "candidates": ["rules"],
                "route": {"rules": [{"pattern": "x", "to": "kept@1"}], "otherwise": "prompt"},
            },
            {"validation", "holdout"},
        ),
        (
            {"candidates": ["prompt"], "graders": [{"name": "exact"}, JUDGE]},
            {"validation", "holdout"},
        ),
        (
            {"candidates": ["prompt"], "unlabelled": {"file": "more.csv", "model": MODEL}},
            {"holdout"},
        ),
    ],
    ids=[
        "teacher",
        "teacher of the start",
        "proposer",
        "cascade",
        "router",
        "rules",
        "judge",
        "annotator",
    ],
)
def test_whoever_may_be_asked(tmp_path: Path, fields: dict[str, Any], parts: set[str]) -> None:
    save_agent(context_of(tmp_path, {}).store, "kept", Agent(model=MODEL), message="m")
    said = told(tmp_path, **fields)
    assert {part for part in ("train", "validation", "holdout") if f"rows of {part}" in said} == (
        parts
    )


def test_a_saved_agent_and_what_stays_here(tmp_path: Path) -> None:
    assert "rows of holdout" in told(tmp_path, (Agent(model=MODEL),), candidates=["prompt"])
    bench = context_of(tmp_path, {}, candidates=["prompt"], route=ARMS, remote=MODEL).bench
    check_sendings(ROWS, 7, bench)  # described, and asked by no candidate
    from_base = {"teacher": MODEL, "reinforcement": {"start": "base"}}
    bench = context_of(tmp_path, from_base, candidates=["fine-tune-reinforced"]).bench
    check_sendings(ROWS, 7, bench)


def test_it_is_asked_before_anything_is_built(tmp_path: Path) -> None:
    made = small_project(tmp_path)
    path = made.root / "assay.yaml"
    line = "  - baseline-majority\n"
    text = path.read_text(encoding="utf-8").replace(line, f"  - remote\n{line}", 1)
    extra = f"remote: {MODEL}\nproviders:\n  far: {{base_url: https://far.example.com/v1}}\n"
    path.write_text(text + extra, encoding="utf-8")
    project = type(made)(made.root)
    with pytest.raises(ConsentError, match="rows of holdout"):
        project.compare()
    assert not (project.store.folder / "runs").exists()


def test_unlabelled_inputs_go_where_the_holdout_goes(tmp_path: Path) -> None:
    bench = context_of(tmp_path, {}, providers=FAR, candidates=["remote"], remote=MODEL).bench
    inputs = [row(20, "ask zoe.lee@mail.org")]
    with pytest.raises(ConsentError) as caught:
        check_sendings(ROWS, 7, bench, (), inputs)
    assert "2 rows of validation, 1 unlabelled input, 7 rows of holdout" in caught.value.what
    assert "e-mail address: 3" in caught.value.what
