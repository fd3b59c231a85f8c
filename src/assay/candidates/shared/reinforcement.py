"""What a version learns from that learns from graders: its prompts, its reward, and its start."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import ValidationError

from assay.candidates.building import Context
from assay.candidates.shared.reward_judge import (
    RewardJudge,
    check_judges,
    judges_of,
    judges_of_setting,
)
from assay.chat.template import Template
from assay.config import CONFIG_FILE, Config, GraderSpec
from assay.errors import ConfigError, UsageError
from assay.evaluate import rewards
from assay.evaluate.graders import GradingContext, grade, grader_files
from assay.evaluate.templates import describe_sample
from assay.example import Example
from assay.generate.batch import Answer, Request
from assay.train.reinforce.questions import Grading, Question, Reward
from assay.train.units import answered_rows

WHERE = f"{CONFIG_FILE}, fine_tune.reinforcement"
OTHERS = 2
"""At most so many graders beside the reward grade validation, the primary one first."""


def make_grading(context: Context, template: Template) -> Grading:
    """What says what answers are worth, where the training starts from the base.

    Raises:
        ConfigError: it is a `judge`, its form is not one of OpenAI's that are run here, or a model
            that it asks cannot be asked within the limits.
        UsageError: it runs code that nobody has said they trust.
    """
    config = context.config
    wanted = config.fine_tune.reinforcement.reward
    known = replace(context.bench.grading, ask=_refuse)
    own = config.primary if wanted is None else wanted
    reward = _reward_of(context, known)
    asked = [spec for spec in config.graders if _is_asked(spec, config, known)]
    decides = [spec for spec in asked if spec.label == config.primary]
    unseen: dict[str, Reward] = {
        spec.label: partial(_by_grader, spec, known)
        for spec in (*decides, *asked)
        if spec.label != own
    }
    others = dict([*unseen.items()][:OTHERS])
    judged, asks = context.judged, judges_of_setting(wanted)
    for one in (reward, *others.values()):  # what is wrong with it shows now
        seen = judged[:1] if one is reward and asks else judged
        one(seen, [row.output for row in seen])
    key = _key(context) | {"start": None}
    return Grading(template, reward, others, config.primary, key)


def start_from(grading: Grading, version: str) -> Grading:
    """The same where the training starts from a version, named by its id."""
    return replace(grading, key={**grading.key, "start": version})


def _key(context: Context) -> dict[str, Any]:
    """All that the rewards depend on beside the rows, JSON-ready."""
    config = context.config
    wanted = config.fine_tune.reinforcement.reward
    return {
        "reward": config.primary if wanted is None else wanted,
        "graders": [spec.model_dump(mode="json") for spec in config.graders],
        "files": grader_files(config, context.bench.root),
        "schema": config.output_schema,
        "labels": config.labels,
        "max_new_tokens": config.generate.max_new_tokens,
    }


def recipe_of(config: Config) -> rewards.Grader | None:
    """The reward in OpenAI's form; None where it is one of the project's graders.

    Raises:
        ConfigError: its form is not one of OpenAI's that are run here.
    """
    wanted = config.fine_tune.reinforcement.reward
    if isinstance(wanted, dict):
        try:
            grader = rewards.PROJECT_GRADER.validate_python(wanted)
            rewards.check(grader, judged=True)
            check_judges(grader)
        except ValidationError as error:
            first = error.errors()[0]
            setting = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"{setting}: {first['msg']}.", where=f"{WHERE}.reward") from None
        except UsageError as error:
            raise ConfigError(error.what, where=f"{WHERE}.reward", fix=error.fix) from None
        return grader
    return None


def _reward_of(context: Context, known: GradingContext) -> Reward:
    """The reward that the settings name.

    Raises:
        ConfigError: it cannot be had.
    """
    config, grader = context.config, recipe_of(context.config)
    if grader is not None:
        combined = grader.named if isinstance(grader, rewards.MultiGrader) else {}
        named = {key: _by_name(name, config, known) for key, name in combined.items()}
        return partial(_by_recipe, grader, named, _judge_of(context, grader))
    wanted = config.fine_tune.reinforcement.reward
    return _by_name(wanted if isinstance(wanted, str) else config.primary, config, known)


def _by_name(name: str, config: Config, known: GradingContext) -> Reward:
    """The reward of one of the project's graders, of which `check_graders` says that it is there.

    Raises:
        ConfigError: it is a `judge`.
    """
    [spec] = [one for one in config.graders if one.label == name]
    if spec.name == "judge":
        raise _asks_a_model()
    return partial(_by_grader, spec, known)


def _judge_of(context: Context, grader: rewards.Grader) -> RewardJudge | None:
    """Who is asked where the grader asks models."""
    if not judges_of(grader):
        return None
    bench, own = context.bench, context.config.fine_tune.reinforcement
    assert bench.grading.ask is not None
    folder = context.folder / "judgements"
    ask, providers = bench.grading.ask, bench.engines.providers
    return RewardJudge(grader, own, folder, ask, providers, progress=context.progress)


def questions(context: Context, examples: Sequence[Example], template: Template) -> list[Question]:
    """The prompts of some examples, each as the version will be asked it.

    Raises:
        DataError: one has a prompt that the chat template refuses.
    """
    agent = context.chat_agent(system_prompt=context.training_prompt)
    requests = context.bench.assemble(agent, examples)
    rows = answered_rows(examples, template, context.training_prompt)
    return [
        Question((row,), example=example, request=request)
        for row, example, request in zip(rows, examples, requests, strict=True)
    ]


def checks_of(context: Context) -> list[Example]:
    """The validation rows that are answered now and then: drawn with the training's seed."""
    settings = context.config.fine_tune
    count = min(settings.reinforcement.validation_rows, len(context.judged))
    return random.Random(settings.seed).sample(context.judged, count)


def supervised(context: Context) -> Context:
    """The training that comes before, the same as that of the candidate `fine-tune`."""
    return context.with_training(method="sft", graded_rows=0)


def _by_grader(
    spec: GraderSpec, known: GradingContext, examples: Sequence[Example], texts: Sequence[str]
) -> list[float]:
    return grade(spec, texts, examples, known).scores


def _by_recipe(
    grader: rewards.Grader,
    named: Mapping[str, Reward],
    judge: RewardJudge | None,
    examples: Sequence[Example],
    texts: Sequence[str],
) -> list[float]:
    names = [
        {"item": _item_of(example), "sample": describe_sample(text, example.tools)}
        for example, text in zip(examples, texts, strict=True)
    ]
    if judge is not None:
        judge.ask(names)
    scores = {key: reward(examples, texts) for key, reward in named.items()}
    found = [
        rewards.run_on_drawn(
            grader, one, judge=judge, given={key: each[n] for key, each in scores.items()}
        )
        for n, one in enumerate(names)
    ]
    if any("invalid_variable_error" in one.errors for one in found):
        raise ConfigError(
            "a variable of the reward names what is not there, so that every answer is worth 0.",
            where=f"{WHERE}.reward",
            fix="Use {{item.reference}}, {{item.input}}, {{item.id}}, {{sample.output_text}} or "
            "{{sample.output_json...}}.",
        )
    return [one.reward for one in found]


def _item_of(example: Example) -> dict[str, Any]:
    """What `{{item...}}` stands for: the row's input, and its answer as `reference`."""
    return {"input": example.input, "reference": example.output, "id": example.id}


def _is_asked(spec: GraderSpec, config: Config, known: GradingContext) -> bool:
    """Whether a grader that is no reward is asked beside it."""
    if spec.name == "python":
        return known.trust_code or spec.label == config.primary
    return spec.name != "judge"


def _refuse(model: str, requests: Sequence[Request]) -> Sequence[Answer]:
    raise _asks_a_model()


def _asks_a_model() -> ConfigError:
    return ConfigError(
        "the grader judge compares two answers, in both orders; it cannot be the reward.",
        where=f"{WHERE}.reward",
        fix="Name another grader, or write a grader of type score_model or label_model, which "
        "asks a model about one answer.",
    )
