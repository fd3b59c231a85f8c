"""How a version learns from graders (docs/reinforcement.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from assay.config.strict import Strict, one_problem

LIMITS = {"judge_calls", "judge_usd"}
"""Settings that decide when a training stops, and nothing of its weights: when they are raised, the
same training goes on."""


class Reinforcement(Strict):
    """Settings of `method: reinforcement` and of the candidate `fine-tune-reinforced`."""

    reward: str | dict[str, Any] | None = Field(
        None,
        description="What an answer is worth: the name of one of `graders`, or a grader in "
        "OpenAI's form (string_check, text_similarity, score_model, label_model, or multi of these "
        "and of names of `graders`); null: the primary grader.",
    )
    judge_calls: int | None = Field(
        20_000,
        ge=1,
        description="Maximum number of questions to a reward's score_model or label_model, over "
        "all trainings by it; what was asked before is not asked again. null: no limit.",
    )
    judge_usd: float | None = Field(
        5.0,
        gt=0,
        description="Maximum cost of these questions in USD, where the model is at a provider; "
        "null: no limit.",
    )
    start: Literal["supervised", "base"] = Field(
        "supervised",
        description="What it starts from: a version trained on the answers first, or the base.",
    )
    steps: int = Field(
        60, ge=1, description="Maximum number of steps; early stopping may end sooner."
    )
    prompts_per_step: int = Field(8, ge=1, description="Training prompts answered in each step.")
    group: int = Field(8, ge=2, le=64, description="Answers drawn to each of these prompts.")
    updates: int = Field(
        2, ge=1, le=16, description="Updates of the weights by the answers of one step."
    )
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        "auto", description="Largest learning rate; fine_tune.learning_rate has no effect here."
    )
    temperature: float = Field(1.0, gt=0, le=2, description="Of the answers that are drawn.")
    clip_low: float = Field(
        0.2, gt=0, lt=1, description="How far below 1 a token's ratio of probabilities counts."
    )
    clip_high: float = Field(0.28, gt=0, description="How far above 1 it does.")
    beta: float = Field(
        0.0, ge=0, description="Weight of the KL divergence from what the training started from."
    )
    evaluate_every: int = Field(
        10, ge=1, description="Steps between two measurements on validation."
    )
    validation_rows: int = Field(
        64, ge=1, description="Maximum number of validation rows that are answered each time."
    )

    _rate = one_problem("learning_rate")
    _reward = one_problem("reward", said="must be the name of a grader, or a grader with its type")
