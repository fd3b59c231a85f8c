"""General rows that a version learns beside those of the job, so that less is forgotten."""

from __future__ import annotations

import random
from functools import cache

from assay import builtin, json_reader
from assay.config import TrainingSettings
from assay.errors import ConfigError
from assay.example import Example
from assay.train.methods.spec import MethodSpec


@cache
def general_rows() -> tuple[Example, ...]:
    """All built-in general rows, which a version learns beside those of the job to forget less.

    Old tasks practised beside the new one are the oldest remedy there is (Robins 1995,
    Catastrophic Forgetting, Rehearsal and Pseudorehearsal). The rows are no part of the probe that
    measures forgetting.
    """
    lines = builtin.rehearsal().read_text("utf-8").splitlines()
    rows = [json_reader.read(line) for line in lines]
    return tuple(
        Example.of(row["prompt"], row["answer"], id=f"general-{number}")
        for number, row in enumerate(rows, start=1)
    )


def sample_general_rows(
    settings: TrainingSettings, method: MethodSpec, rows: int
) -> tuple[Example, ...]:
    """The general rows that are trained on beside `rows` rows of the job, or parts of documents.

    They make up the share `fine_tune.rehearsal` of all rows, drawn with the training's seed, each
    as often as the others; without one of them there is none.

    Raises:
        ConfigError: a method that learns from preferences.
    """
    share = settings.rehearsal
    if not share:
        return ()
    if not method.learns_tokens:
        raise ConfigError(
            f"general rows contain answers, but the method {method.name} learns from judgements.",
            where="assay.yaml, fine_tune.rehearsal",
            fix="Use method: sft, or remove rehearsal.",
        )
    every = list(general_rows())
    random.Random(settings.seed).shuffle(every)
    count = max(1, round(rows * share / (1 - share)))
    return tuple((every * (count // len(every) + 1))[:count])
