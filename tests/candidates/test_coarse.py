"""A tuned version in fewer bits: judged beside it, kept, and served by what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.fresh_process import Said, fresh_process
from tests.serve.running import running
from tests.small import small_project

from assay import project
from assay.agent.routing import arm
from assay.agent.runtime import assemble
from assay.agent.versions import find_version
from assay.compare.result import Result
from assay.errors import ModelError
from assay.evaluate import parity
from assay.models.versions import version_bits, version_id
from assay.project import releases

pytestmark = pytest.mark.slow

COARSE = ("fine-tune-8bit", "fine-tune-4bit")
EDIT = {
    "  - baseline-tfidf\n  - classifier\n  - nearest-answer\n"
    "  - prompt\n  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n": (
        "  - fine-tune\n  - fine-tune-8bit\n  - fine-tune-4bit\n"
    ),
    "margin: 0.02": "baselines: false\nmargin: 0.02",
}
Compared = tuple[project.Project, Result]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """llama.cpp's threads spin; two of them on busy cores take seconds for what takes one none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assay.generate.llamacpp.server.cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def compared(_one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """A project whose version is trained once, for all tests of this file."""
    made = small_project(tmp_path_factory.mktemp("coarse"), edit=EDIT)
    return made, made.compare().result


def test_coarser_versions_take_part_beside_the_one_they_are_of(compared: Compared) -> None:
    made, result = compared
    found = {one.name: one for one in result.candidates}
    assert all(found[name].model_bytes for name in ("fine-tune", *COARSE))
    assert found["fine-tune-8bit"].tokens_per_s
    assert found["fine-tune-8bit"].fine_tuned
    tuned, eight, four = (
        arm(made.store, find_version(made.store, f"{name}@1").agent).model
        for name in ("fine-tune", *COARSE)
    )
    assert (eight, four) == (f"{tuned}/8", f"{tuned}/4")
    assert {version_id(eight), version_id(four)} == {version_id(tuned)}


def test_what_was_kept_answers_as_measured_in_a_fresh_process_and_served(
    compared: Compared,
) -> None:
    made, _ = compared
    context, labels = made.context(), [f"{name}@1" for name in COARSE]
    measured = []
    for label in labels:
        agent = arm(made.store, find_version(made.store, label).agent)
        engine = context.bench.engines.for_agent(agent)
        requests = assemble(agent, context.judged, made.store)
        answers = engine.answer([replace(request, logprobs=0) for request in requests])
        assert [a.text for a in answers] == [a.text for a in context.measure(agent).answers]
        measured.append((engine.identity, [(a.text, a.logprob) for a in answers]))
    (_, eight), (_, four) = measured
    # Few labels can be answered, so texts alone do not show which file has answered.
    assert not _are_equal(eight, four)

    with fresh_process() as process:
        again = process.ask(made.store, "pets", labels, context.judged)
    for (identity, said), (before, told) in zip(again, measured, strict=True):
        assert identity == before
        assert _are_equal(said, told)

    workspace = project.open_workspace(made.root)
    for label in reversed(labels):
        releases.promote(workspace, "support", label, force="to be served")
    with running(made.root, lambda served: served.engines()) as server:
        chat: Any = server.client().chat.completions

        def served() -> Said:
            answers: Said = []
            for row in context.judged:
                asked: Any = {
                    "model": "support",
                    "messages": [{"role": "user", "content": row.input}],
                }
                whole = chat.create(**asked, logprobs=True).choices[0]
                chunks = [c.choices[0] for c in chat.create(**asked, stream=True) if c.choices]
                text = whole.message.content or ""
                assert "".join(c.delta.content or "" for c in chunks) == text
                answers.append((text, sum(token.logprob for token in whole.logprobs.content)))
            return answers

        assert _are_equal(served(), eight)
        releases.rollback(workspace, "support")
        assert _are_equal(served(), four)


def _are_equal(ones: Said, others: Said) -> bool:
    """Whether texts are equal, and log-probabilities but for what a batch changes: hundredths."""
    return [text for text, _ in ones] == [text for text, _ in others] and [
        logprob for _, logprob in ones
    ] == pytest.approx([logprob for _, logprob in others], abs=0.1)


def test_one_that_answers_something_else_is_left_out_with_the_reason(
    compared: Compared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "MOST_KL", {16: 0.005, 8: -1.0, 4: -1.0})
    result = compared[0].compare().result
    assert "fine-tune" in {one.name for one in result.candidates}
    left = [text for text in result.warnings if "was left out" in text]
    assert [text.partition(" ")[0] for text in left] == ["`fine-tune-8bit`", "`fine-tune-4bit`"]
    assert all("next-token probabilities differ by" in text for text in left)


def test_bits_that_no_file_has_are_refused() -> None:
    assert version_bits("version:3f9a01") == version_bits("some/model") == 16
    assert version_bits("version:3f9a01/4") == 4
    with pytest.raises(ModelError, match="cannot be stored in '3' bits"):
        version_bits("version:3f9a01/3")
