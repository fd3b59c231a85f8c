"""The reward of a fine-tuning by reinforcement: its request's grader, over the rows' items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.agent.agent import Agent
from assay.agent.engines import BatchEngines
from assay.candidates.shared.reward_judge import RewardJudge, judges_of
from assay.chat.template import Template
from assay.config.reinforcement import Reinforcement
from assay.data.json_schema import mismatches, schema_validator
from assay.evaluate import rewards
from assay.evaluate.run import run
from assay.evaluate.templates import describe_sample
from assay.example import Example, json_sha256
from assay.generate.batch import Answer, Request
from assay.jobs.tuning_request import ReinforcementMethod
from assay.jobs.worker import Work
from assay.models.embed import STARTER, Vectors, get_embedder
from assay.store.tables import ServedNameRow
from assay.train.reinforce.questions import Grading

REWARD = "the reward"
"""Name of the only grader that there is: none is left to look at it from outside."""


def make_grading(
    work: Work,
    method: ReinforcementMethod,
    items: Mapping[str, Mapping[str, Any]],
    template: Template,
    folder: Path,
) -> Grading:
    """What says what answers are worth.

    Args:
        items: what `{{item...}}` stands for, by the id of the example.
        folder: of the job, where the replies of models that are asked are kept.
    """
    fits, judge = _fits(method), _judge(work, method.grader, folder / "judgements")

    def reward(examples: Sequence[Example], texts: Sequence[str]) -> list[float]:
        names = [
            {"item": items[one.id], "sample": describe_sample(text, one.tools, fits)}
            for one, text in zip(examples, texts, strict=True)
        ]
        if judge is not None:
            judge.ask(names)
        found = [rewards.run_on_drawn(method.grader, one, _embed, judge) for one in names]
        return [one.reward for one in found]

    asked = method.model_dump(mode="json", by_alias=True, exclude={"hyperparameters"})
    key = {"reward": asked, "items": json_sha256(dict(items))}
    return Grading(template, reward, {}, REWARD, key)


def _judge(work: Work, grader: rewards.Grader, folder: Path) -> RewardJudge | None:
    """Who is asked where the grader asks models: those of this machine, which cost no money."""
    models = {part.model for part in judges_of(grader)}
    if not models:
        return None
    store, project = work.store, work.job.project
    engines = BatchEngines(store, keep=len(models))

    def ask(name: str, requests: Sequence[Request]) -> Sequence[Answer]:
        with store.session() as session:
            row = session.get(ServedNameRow, name)
        is_own = row is not None and row.project == project
        model = row.target if row is not None and is_own else name
        engine = engines.for_agent(Agent(model=model))
        return run(requests, engine, agent_id=f"grader {model}", folder=folder / "runs")

    unlimited = Reinforcement(judge_calls=None, judge_usd=None)
    return RewardJudge(
        grader,
        unlimited,
        folder,
        ask,
        engines.providers,
        where="method.reinforcement.grader",
        again="Check that this machine can run the model beside the training, and create the job "
        "again.",
        progress=work,
    )


def _fits(method: ReinforcementMethod) -> Callable[[Any], bool] | None:
    """Whether what an answer says as JSON follows the schema that was asked for."""
    form = method.response_format
    if form is None:
        return None
    where = "response_format"
    validator = schema_validator(form.json_schema.schema_, where)
    return lambda value: next(mismatches(validator, value, where), None) is None


def _embed(texts: Sequence[str]) -> Vectors:
    return get_embedder(STARTER).encode(texts)
