"""A training that learns from a grader: what it learns, what it says of itself, what it refuses."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.small import small_project
from tests.train import graded

from assay import project
from assay.candidates.shared import reward_judge, tuning
from assay.candidates.shared.training import TrainingSetup, train_version
from assay.compare.report import html
from assay.compare.report.terminal import print_result
from assay.config import FineTune
from assay.errors import AssayError, ConfigError, OutageError
from assay.evaluate.measure import Bench
from assay.generate.batch import Answer, Request
from assay.models.versions import load_version
from assay.progress import Silent
from assay.project import releases
from assay.train import adapters, auto
from assay.train.choices import Choices
from assay.train.job import StepReport
from assay.train.reinforce.figures import RewardPoint, warnings_of
from assay.train.reinforce.run import ReinforcementRun
from assay.train.session import train_by_method


def _settings(**changes: Any) -> FineTune:
    own = graded.SETTINGS.reinforcement.model_copy(update=changes)
    return graded.SETTINGS.model_copy(update={"reinforcement": own})


@pytest.mark.slow
def test_the_reward_rises_and_a_grader_that_was_hacked_is_named(tmp_path: Path) -> None:
    """Small letters are paid for, whatever they spell: the reward rises, exact answers do not."""
    settings = _settings(steps=12, prompts_per_step=4, group=8, beta=0.0, evaluate_every=4)
    told: list[StepReport] = []
    result = train_by_method(graded.job(tmp_path, settings, on_step=told.append))
    points = result.rewards
    assert [one.measured for one in told if one.validation] == list(points)
    assert [one.step for one in told if one.rollouts] == [4, 8, 12], "some answers are shown"
    worth = [one.reward for one in told[4].rollouts[:8]]
    assert worth == sorted(worth, reverse=True)
    assert [point.step for point in points] == [0, 4, 8, 12]
    rewards = [point.reward for point in points[1:]]
    assert rewards == sorted(rewards)
    assert rewards[-1] > rewards[0] + 0.1  # type: ignore[operator]
    assert points[-1].valid_reward > points[0].valid_reward + 0.1  # type: ignore[operator]
    assert points[-1].kl > points[1].kl > 0  # type: ignore[operator]
    assert points[-1].repeated > points[0].repeated  # type: ignore[operator]
    best = max(points, key=lambda point: point.valid_reward or 0)
    assert result.best_step == best.step
    assert result.best_validation_loss == 1 - best.valid_reward  # type: ignore[operator]
    [said] = warnings_of(points, result.best_step, "exact")
    assert "exact on validation did not rise (0.000 before, 0.000 after)" in said
    assert warnings_of(points, result.best_step, "small letters") == (), "the reward is what counts"
    assert train_by_method(graded.job(tmp_path, settings)).rewards == points


def test_a_prompt_that_a_step_asks_twice_is_answered_anew(tmp_path: Path) -> None:
    """Seven rows, nine prompts a step: two come again, as at the end of every round of all rows."""
    job = graded.job(tmp_path, _settings(prompts_per_step=9))
    with adapters.adapt(job.loaded, job.settings) as model:
        run = ReinforcementRun(job, model, "", Choices("float32", 1, False))
        answers, _, _ = run.draw_answers()
    names = [answer.rows[0].name for answer in answers]
    [again, _] = [name for name in {*names} if names.count(name) == 8]
    drawn = [tuple(a.rows[0].ids) for a in answers if a.rows[0].name == again]
    assert len({*drawn}) == 8


def test_memory_is_reckoned_for_the_longest_step_that_fits_into_rows(tmp_path: Path) -> None:
    job = graded.job(tmp_path)
    limit = len(job.train[0].prompt) + 5  # type: ignore[attr-defined]
    cut = replace(job, settings=job.settings.model_copy(update={"max_tokens": limit}))
    for one, longest in ((job, 8), (cut, 5)):
        assert len(one.largest) == 3, "prompts of a step"
        assert [row.trained_tokens for row in one.largest[0].rows] == [longest] * 4


@pytest.mark.parametrize(
    ("best_step", "primary", "said"),
    [
        (10, "exact", None),  # what is kept is better, whatever came after it
        (20, "exact", "but exact on validation did not rise (0.500 before, 0.400 after)"),
        (20, "judge", "but the reward on validation did not rise (0.300 before, 0.200 after)"),
    ],
)
def test_what_is_kept_is_judged_by_what_was_measured(
    best_step: int, primary: str, said: str | None
) -> None:
    points = [
        RewardPoint(0, valid_reward=0.3, others={"exact": 0.5}),
        RewardPoint(10, 0.2, 1.0, 0.4, {"exact": 0.6}),
        RewardPoint(20, 0.9, 1.0, 0.2, {"exact": 0.4}),
    ]
    found = warnings_of(points, best_step, primary)
    assert len(found) == (said is not None)
    assert all(said in one for one in found if said)


def test_where_nothing_can_be_learned_the_version_is_what_it_started_from(tmp_path: Path) -> None:
    settings = _settings(steps=8, beta=0.0, evaluate_every=2).model_copy(update={"patience": 2})
    result = train_by_method(
        graded.job(tmp_path, settings, reward=lambda _, texts: [1.0] * len(texts))
    )
    assert result.best_step == 0
    assert [point.step for point in result.rewards] == [0, 2, 4], "patience has ended it"
    kept = adapters.read(result.adapter)
    assert all(not value.any() for name, value in kept.items() if "lora_B" in name)
    said = " ".join(warnings_of(result.rewards, 0, "exact"))
    assert "the version is that model" in said
    assert "nothing could be learned" in said


REWARD = (
    '{type: string_check, name: e, operation: ilike, input: "{{sample.output_text}}", '
    'reference: "e"}'
)
EDIT = {
    "  - baseline-tfidf\n  - classifier\n  - nearest-answer\n"
    "  - prompt\n  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n": (
        "  - fine-tune\n  - fine-tune-reinforced\n"
    ),
    "margin: 0.02": "baselines: false\nmargin: 0.02",
    "epochs: 1": "epochs: 2\n  learning_rate: 0.02\n  reinforcement: {steps: 4, "
    "prompts_per_step: 2, group: 4, evaluate_every: 2, validation_rows: 8, learning_rate: 0.005, "
    f"reward: {REWARD}}}",
}


@pytest.mark.slow
def test_a_reinforced_version_is_compared_promoted_and_goes_on_from_the_supervised_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small_project(tmp_path, edit=EDIT)
    with monkeypatch.context() as hacked:
        hacked.setattr(
            tuning,
            "warnings_of",
            lambda points, _, name: [f"{name} did not rise in {len(points)} points"][: len(points)],
        )
        compared = made.compare().result
    found = {one.name: one for one in compared.candidates}
    assert {"fine-tune", "fine-tune-reinforced"} <= set(found)
    warning = "label-accuracy did not rise in 3 points"
    print_result(compared, Console(file=(shown := io.StringIO()), width=400))
    assert f"! fine-tune-reinforced: {warning}" in shown.getvalue()
    page = html.render(compared, [], redacted=True)
    assert shown.getvalue().count("did not rise") == page.count(warning) == 1
    trained = made.train()  # of the settings' own method: what fine-tune has trained
    context = made.context().with_training(method="reinforcement")
    version, result = train_version(context)
    assert result.preparation_seconds == trained.result.seconds > 0, "it costs both trainings"
    assert [point.step for point in result.rewards] == [0, 2, 4]
    assert set(result.rewards[0].others) == {"label-accuracy"}
    ranks = iter([trained.settings["rank"], 64])  # as where they learn from different rows
    monkeypatch.setattr(auto, "rank", lambda rows: next(ranks))
    setup = TrainingSetup.of(context.with_training(rank="auto"))
    assert setup.start == trained.version
    assert setup.settings.rank == trained.settings["rank"]
    record = load_version(made.store, version).record
    assert record.metrics == {
        "validation_reward": next(
            point.valid_reward for point in result.rewards if point.step == result.best_step
        )
    }
    for question in setup.units:  # what is asked is what the rows begin with
        request = question.request  # type: ignore[attr-defined]
        assert setup.template.prompt(request.messages, request.tools) == question.prompt  # type: ignore[attr-defined]
    workspace = project.open_workspace(made.root)
    done = releases.promote(workspace, "pets", "fine-tune-reinforced@1", force="to be served")
    assert done.name == "pets"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("dropout: 0.1", "reinforcement needs the probabilities"),
        ("adapter: full", "reinforcement needs an adapter"),
        ("reinforcement: {reward: exakt}", "there is no grader 'exakt'"),
        ("reinforcement: {reward: [a]}", "must be the name of a grader"),
        ("reinforcement: {learning_rate: fast}", "or auto"),
        ("reinforcement: {group: 1}", "at least 2"),
        ("reinforcement: {reward: {type: score_model, name: x}}", "score_model.model: Field req"),
        ("reinforcement: {reward: {type: python, name: x}}", "never run"),
        (
            "reinforcement: {reward: {type: score_model, name: x, model: m, range: [-10, 0], "
            'input: [{role: user, content: ""}]}}',
            "the range of x begins below 0",
        ),
        (
            "reinforcement: {reward: {type: string_check, name: x, operation: eq, input: "
            '"{{sample.text}}x{{me}}", reference: ""}}',
            "{{me}} is not a variable",
        ),
        (
            "reinforcement: {reward: {type: string_check, name: x, operation: eq, input: "
            '"{{sample.output_text}}", reference: "{{item.answer}}"}}',
            "a variable of the reward names what is not there",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    tmp_path: Path, settings: str, said: str
) -> None:
    with pytest.raises(AssayError, match=said.replace("{", r"\{")):
        small_project(
            tmp_path, edit={"epochs: 1": f"epochs: 1\n  method: reinforcement\n  {settings}"}
        ).train()
    assert not (tmp_path / "pets" / ".assay" / "work").exists()


JUDGED = """reinforcement:
    {steps: 2, prompts_per_step: 2, group: 4, evaluate_every: 1, validation_rows: 4, start: base,
     judge_usd: 1.0, judge_calls: CALLS, reward: {JUDGE, name: kind, model: "remote:far/judge",
     input: [{role: user, content: "{{item.input}} {{sample.output_text}}"}]}}"""
FAR = """margin: 0.02
providers: {far: {base_url: "https://far.example/v1", consent: true,
  prices: {judge: {input: 1, output: 10}}}}"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("judge", "replies", "worth"),
    [
        (
            "type: label_model, labels: [good, bad], passing_labels: [good]",
            ("bad", "good"),
            (0.0, 1.0),
        ),
        ("type: score_model, range: [0, 10]", (2, 7.5), (2.0, 7.5)),
    ],
)
def test_a_judge_is_asked_within_limits_once_and_its_failure_keeps_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judge: str, replies: Any, worth: Any
) -> None:
    asked: list[str] = []
    told: list[str] = []
    away = 0

    def ask(bench: Any, model: str, requests: Sequence[Request]) -> list[Answer]:
        nonlocal away
        assert model == "remote:far/judge"
        if away:
            away -= 1
            return [Answer("", "error", error="no line")] * len(requests)
        texts = [one.messages[0].content for one in requests]
        asked.extend(texts)
        results = [replies[len(text) % 2] for text in texts]
        return [
            Answer(json.dumps({"result": one}), prompt_tokens=1000, completion_tokens=100)
            for one in results
        ]

    monkeypatch.setattr(Bench, "_ask", ask)
    monkeypatch.setattr(reward_judge, "PAUSES_S", (0.0,))
    tune = "epochs: 1\n  method: reinforcement\n  " + JUDGED
    edit = {"epochs: 1": tune, "CALLS": "20", "JUDGE": judge, "margin: 0.02": FAR}
    made = small_project(tmp_path, edit=edit)
    with pytest.raises(ConfigError, match="the next ones would go beyond 20 questions"):
        train_version(made.context())
    path, before = made.root / "assay.yaml", len(asked)
    assert 12 < before <= 20, "the second step could not be graded"
    path.write_text(path.read_text().replace("judge_calls: 20", "judge_calls: 200"))
    away = 2

    class Told(Silent):
        def say(self, line: str) -> None:
            told.append(line)

    with pytest.raises(OutageError, match="the training goes on where it stopped"):
        train_version(project.open(made.root).context(Told()))
    away, continuing = 1, "Continuing after step 1"
    assert any(line.startswith(continuing) for line in told), "a higher limit is no other training"
    told.clear()
    _, result = train_version(project.open(made.root).context(Told()))
    assert [point.step for point in result.rewards] == [0, 1, 2]
    assert any(line.startswith(continuing) for line in told)
    assert len({*asked}) == len(asked) > before, "nothing was asked twice"
    low, high = worth
    means = [low + (high - low) * good / 8 for good in range(9)]  # of a step; validation has four
    for point in result.rewards:
        assert point.valid_reward in means[::2]
        assert point.reward is None or point.reward in means


def test_several_processes_and_searches_are_refused(tmp_path: Path) -> None:
    made = small_project(tmp_path, edit={"epochs: 1": "epochs: 1\n  method: reinforcement"})
    with pytest.raises(AssayError, match="a search compares settings by their validation loss"):
        made.sweep()
    path = made.root / "assay.yaml"
    path.write_text(path.read_text() + "\nplace: {on: ray, ranks: 2}\n")
    with pytest.raises(AssayError, match="several processes cannot share"):
        project.open(made.root).train()
    with pytest.raises(AssayError, match="fine-tune learns from graders, which several processes"):
        project.open(made.root).compare()
    assert not (made.store.folder / "runs").exists(), "said before anything is built"
