"""What training a version takes: rows and answers it learns from, and what a teacher is asked."""

from __future__ import annotations

import math
from dataclasses import replace

from assay.candidates.shared.reward_judge import judges_of_setting
from assay.candidates.spec import (
    CHARACTERS_PER_TOKEN,
    PASSAGE_TOKENS,
    ProviderRequests,
    Sendings,
    Sizes,
    Workload,
    asked_rows,
    in_batches,
    prompted,
)
from assay.config import Config, is_remote
from assay.config.training import SEEDS
from assay.evaluate.model_graders import reply_tokens
from assay.train import auto


def of_rows(config: Config, sizes: Sizes) -> Workload:
    """Every row of train is trained on; a teacher is asked all of them first."""
    rows = sizes.train
    requests = asked_rows(config.fine_tune.teacher, rows, config, sizes, in_batches(rows))
    return replace(prompted(config, sizes), trained=1.0, requests=requests)


def of_documents(config: Config, sizes: Sizes) -> Workload:
    """Every token of the documents is trained on; no row is."""
    return replace(prompted(config, sizes), trained=_documents(config, sizes))


def of_documents_and_rows(config: Config, sizes: Sizes) -> Workload:
    """The documents first, then as `of_rows`."""
    rows = of_rows(config, sizes)
    return replace(rows, trained=rows.trained + _documents(config, sizes))


def _documents(config: Config, sizes: Sizes) -> float:
    """What training on the documents takes, in trainings on the rows, by the tokens of both."""
    settings, tokens = config.fine_tune, float(sizes.passages * PASSAGE_TOKENS)

    def epochs(units: int) -> int:
        return auto.epochs(units) if settings.epochs == "auto" else settings.epochs

    each = settings.rows_per_step
    steps = sizes.train / (auto.rows_per_step(sizes.train) if each == "auto" else each)
    own = (sizes.train + sizes.validation / 3) * (sizes.input_tokens + sizes.output_tokens)
    rows = epochs(sizes.train) * (steps * sizes.system_tokens + own)
    parts = math.ceil(tokens / min(settings.max_tokens, sizes.context))
    return epochs(parts) * tokens / rows


def of_graders(config: Config, sizes: Sizes) -> Workload:
    """The supervised training where it starts from that, answers drawn, and updates by them."""
    settings = config.fine_tune
    own = settings.reinforcement
    drawn = own.steps * own.prompts_per_step * own.group
    measured = (1 + math.ceil(own.steps / own.evaluate_every)) * min(
        own.validation_rows, sizes.validation
    )
    epochs = auto.epochs(sizes.train) if settings.epochs == "auto" else settings.epochs
    updates = drawn * own.updates / max(1, sizes.train) / epochs
    asked = _judging(config, sizes, drawn + measured)
    if own.start == "base":
        plain = prompted(config, sizes)
        return replace(plain, trained=updates, drawn=drawn + measured, requests=asked)
    # Graded rows make a training of their own, which is not what comes before.
    kept = settings.method == "sft" and not settings.graded_rows
    before = of_rows(config, sizes)
    return replace(
        before,
        trained=before.trained + updates,
        drawn=drawn + measured,
        start="fine-tune" if kept else "",
        trained_from_start=updates,
        requests=(*before.requests, *asked),
        requests_from_start=asked,
    )


def _judging(config: Config, sizes: Sizes, answers: int) -> tuple[ProviderRequests, ...]:
    """What a reward's judges at providers are asked: of every answer of every seed, with answers as
    long as the rows' and replies as long as they may be.

    Args:
        answers: of one training.
    """
    own = config.fine_tune.reinforcement
    asked = (config.fine_tune.seeds or SEEDS) * answers
    asked = min(asked, own.judge_calls or asked)
    found = []
    for part in judges_of_setting(own.reward):
        if is_remote(part.model):
            text = sum(len(message.text) for message in part.input) / CHARACTERS_PER_TOKEN
            length = text + sizes.input_tokens + 2 * sizes.output_tokens
            reply = reply_tokens(part)
            found.append(ProviderRequests(part.model, asked, length, reply, own.judge_usd))
    return tuple(found)


def sends_of_rows(config: Config) -> Sendings:
    """What a teacher is asked."""
    teacher = config.fine_tune.teacher
    return () if teacher is None else ((teacher, ("train",)),)


def sends_of_graders(config: Config) -> Sendings:
    """What a teacher is asked for the supervised training, where that comes before, and what
    judges are asked about answers."""
    before = config.fine_tune.reinforcement.start == "supervised"
    found = [*sends_of_rows(config)] if before else []
    for part in judges_of_setting(config.fine_tune.reinforcement.reward):
        found.append((part.model, ("train", "validation")))
    return found
