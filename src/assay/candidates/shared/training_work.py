"""What training a version takes: rows and answers it learns from, and what a teacher is asked."""

from __future__ import annotations

from dataclasses import replace

from assay.candidates.spec import Sendings, Sizes, Workload, asked_rows, prompted
from assay.config import Config
from assay.train import auto


def of_rows(config: Config, sizes: Sizes) -> Workload:
    """Every row of train is trained on; a teacher is asked all of them first."""
    requests = asked_rows(config.fine_tune.teacher, sizes.train, config, sizes)
    return replace(prompted(config, sizes), trained=1.0, requests=requests)


def of_graders(config: Config, sizes: Sizes) -> Workload:
    """The supervised training where it starts from that, answers drawn, and updates by them."""
    settings = config.fine_tune
    own = settings.reinforcement
    drawn = own.steps * own.prompts_per_step * own.group
    measured = (1 + own.steps // own.evaluate_every) * min(own.validation_rows, sizes.validation)
    epochs = auto.epochs(sizes.train) if settings.epochs == "auto" else settings.epochs
    updates = drawn * own.updates / max(1, sizes.train) / epochs
    if own.start == "base":
        return replace(prompted(config, sizes), trained=updates, drawn=drawn + measured)
    # Graded rows make a training of their own, which is not what comes before.
    kept = settings.method == "sft" and not settings.graded_rows
    before = of_rows(config, sizes)
    return replace(
        before,
        trained=before.trained + updates,
        drawn=drawn + measured,
        start="fine-tune" if kept else "",
        trained_from_start=updates,
    )


def sends_of_rows(config: Config) -> Sendings:
    """What a teacher is asked."""
    teacher = config.fine_tune.teacher
    return () if teacher is None else ((teacher, ("train",)),)


def sends_of_graders(config: Config) -> Sendings:
    """What a teacher is asked for the supervised training, where that comes before."""
    return sends_of_rows(config) if config.fine_tune.reinforcement.start == "supervised" else ()
