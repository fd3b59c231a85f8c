"""The gate is open for what answers alike, and shut, with the first difference, for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.generate.tiny import tiny_loaded

from assay.agent.agent import Agent
from assay.agent.runtime import assemble, assemble_plain
from assay.chat.template import Template
from assay.errors import ModelError
from assay.evaluate.measure import Bench, Measurement
from assay.evaluate.parity import MOST_KL, Parity, _apart, divergence, parity
from assay.evaluate.targets import FolderTarget
from assay.example import Example
from assay.generate.batch import Answer, Request
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.progress import SILENT

EXAMPLES = [Example.of(f"question {n}", f"answer {n}", id=f"row-{n}") for n in range(240)]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.evaluate.parity.DIVERGENCE_PROMPTS", 10)


def test_the_divergence_is_kl_where_all_is_named_and_less_where_a_part_is() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = (np.log(rng.dirichlet(np.ones(30))) for _ in range(2))
    whole = float((np.exp(ours) * (ours - theirs)).sum())
    assert divergence(ours, dict(enumerate(theirs))) == pytest.approx(whole)
    some = {place: theirs[place] for place in range(10)}
    assert 0 < divergence(ours, some) < whole
    assert divergence(ours, {place: ours[place] for place in range(10)}) == pytest.approx(0)


@dataclass
class _Target:
    """An engine that may differ in one respect."""

    engine: TransformersBatchEngine
    answers: Callable[[int], str] = lambda place: f"answer {place}"
    extra: list[int] = field(default_factory=list)
    sharper: float = 1.0
    bits: int = 16

    def render(self, request: Request) -> list[int]:
        return [*self.engine.template.prompt(request.messages), *self.extra]

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        return [Answer(self.answers(place)) for place in range(len(requests))]

    def expects(self, ids: Sequence[int]) -> dict[int, float]:
        exact = FolderTarget.expects(SimpleNamespace(_engine=self.engine), ids)  # type: ignore[arg-type]
        logs = self.sharper * np.array([exact[i] for i in range(len(exact))])
        logs -= np.log(np.exp(logs).sum())
        best = np.argsort(-logs)[:50]
        return {int(i): float(logs[i]) for i in best}


def _bench(engine: TransformersBatchEngine, right: Callable[[str, str], bool] = str.__eq__) -> Any:
    """A bench whose evaluated engine has answered everything right."""

    def grade(answers: list[Answer], examples: Sequence[Example]) -> Measurement:
        pairs = zip(answers, examples, strict=True)
        scores = [float(right(a.text, e.output)) for a, e in pairs]
        yes = [True] * len(scores)
        return Measurement(answers, {"exact": scores}, {"exact": yes}, yes, "exact")

    def measure(agent: Agent, examples: Sequence[Example]) -> Measurement:
        return grade([Answer(e.output) for e in examples], examples)

    bench = SimpleNamespace(
        store=None,
        owner="",
        progress=SILENT,
        engines=SimpleNamespace(for_agent=lambda agent: engine),
        assemble=assemble_plain,
        grade=grade,
        measure=measure,
    )
    bench.here = bench
    return bench


@pytest.fixture(scope="module")
def engine() -> TransformersBatchEngine:
    loaded = tiny_loaded()
    return TransformersBatchEngine(loaded, Template.of(loaded.tokenizer), device="cpu")


def _look(engine: TransformersBatchEngine, rows: int = 240, **changes: Any) -> Parity:
    bench: Bench = _bench(engine)
    return parity(bench, Agent(model="tiny"), EXAMPLES[:rows], _Target(engine, **changes))


def test_an_equal_target_passes_whatever_the_number_of_examples(
    engine: TransformersBatchEngine,
) -> None:
    for rows in (3, 240):
        found = _look(engine, rows)
        found.check()
        assert found.prompts == found.equal_answers == rows
        assert found.p == 0
        assert abs(found.divergence) < 1e-9


def test_another_spelling_of_a_prompt_is_refused_with_its_place(
    engine: TransformersBatchEngine,
) -> None:
    found = _look(engine, 5, extra=[7])
    with pytest.raises(ModelError, match="Prompt 1 has different tokens from token"):
        found.check()


def test_a_score_that_may_be_a_point_lower_is_refused_with_the_first_loss(
    engine: TransformersBatchEngine,
) -> None:
    lost = _look(engine, answers=lambda n: "?" if n % 60 == 7 else f"answer {n}")
    assert lost.target < lost.evaluated == 1
    assert lost.p > 0.05
    with pytest.raises(
        ModelError, match=r"'question 7' was answered 'answer 7' and is now answered '\?'"
    ):
        lost.check()


def test_other_expectations_are_refused_even_where_every_answer_is_equal(
    engine: TransformersBatchEngine,
) -> None:
    found = _look(engine, 20, sharper=1.5)
    assert found.equal_answers == 20
    assert found.divergence > MOST_KL[16]
    with pytest.raises(ModelError, match="next-token probabilities differ"):
        found.check()


def test_coarser_weights_may_expect_something_else_but_not_anything(
    engine: TransformersBatchEngine,
) -> None:
    found = _look(engine, 20, sharper=1.2, bits=4)
    found.check()
    assert MOST_KL[16] < found.divergence < MOST_KL[4]
    assert found.formats[1] == "4 bits"
    with pytest.raises(ModelError, match="next-token probabilities differ"):
        _look(engine, 20, sharper=2.5, bits=4).check()


@pytest.mark.parametrize(("sharpness", "passes"), [(0.02, True), (1.0, False)])
def test_answers_may_differ_only_where_the_engine_was_as_good_as_undecided(
    sharpness: float, passes: bool
) -> None:
    """Every answer scores 0 in both, so that the score cannot tell."""
    loaded = tiny_loaded()
    head = loaded.model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach() * sharpness)
    engine = TransformersBatchEngine(loaded, Template.of(loaded.tokenizer), device="cpu")
    bench = _bench(engine, right=lambda answer, expected: False)
    bench.measure = lambda agent, examples: bench.grade(
        engine.answer(assemble(agent, examples, None, "")), examples
    )
    agent = Agent(model="tiny", max_new_tokens=8)
    target = _Target(engine, answers=lambda n: f"answer {n}" if n % 2 else "other")
    found = parity(bench, agent, EXAMPLES[:18], target)
    assert (found.evaluated, found.target) == (0, 0)
    assert (found.unexplained >= 9) is not passes
    assert found.near_ties + found.unexplained == 18
    if passes:
        found.check()
    else:
        with pytest.raises(ModelError, match="18 answers differ where the evaluated engine was"):
            found.check()


def test_without_validation_nothing_is_let_through(engine: TransformersBatchEngine) -> None:
    with pytest.raises(ModelError, match="no validation examples"):
        _look(engine, 0)


def test_answers_are_shown_where_they_part() -> None:
    same = "It is " + "very " * 30
    assert _apart(f"{same}good.", f"{same}bad.") == (f"{same[-40:]}good.", f"{same[-40:]}bad.")
    assert _apart("yes", "yes, it is") == ("yes", "yes, it is")
