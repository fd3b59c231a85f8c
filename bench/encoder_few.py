"""`encoder` with few rows a label: SetFit's pairs beside cross-entropy and no training at all.

    python bench/encoder_few.py banking77 snips-intent [--each 8 16] [--seeds 0 1]

Of each label so many training rows are drawn, and a quarter as many for validation, which ends a
training early. Pairs are those of `encoder-pairs`. Over the vectors of each stands the same
logistic regression (C = 10).
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from assay.candidates.encoder import epochs
from assay.candidates.encoder_pairs import (
    EVALUATIONS,
    JUDGED_EACH,
    LEARNING_RATE,
    MOST_PAIRS,
    partners,
)
from assay.evaluate.stats import mcnemar
from assay.example import Example
from assay.generate.embedding_classifier import HeadSettings, fit_head
from assay.models.embed import Embedder, load_embedder
from assay.models.tuned_encoder import open_embedder
from assay.store.store import Store
from assay.train.encoder.job import EncoderJob, EncoderSettings
from assay.train.encoder.label_pairs import LabelPairs
from assay.train.encoder.labels import Labels
from assay.train.encoder.objective import Objective
from assay.train.encoder.session import train_encoder
from public_jobs import JOBS

TEST_ROWS = 1000

Rows = Sequence[Example]


def draw(job: str, each: int, seed: int) -> tuple[Rows, Rows]:
    """So many rows of each label to train on, and a quarter as many that choose the epoch."""
    rows = [Example.of(row["input"], row["output"]) for row in JOBS[job].rows("train")]
    random.Random(seed).shuffle(rows)
    train: list[Example] = []
    validation: list[Example] = []
    for label in sorted({row.output for row in rows}):
        own = [row for row in rows if row.output == label]
        train += own[:each]
        validation += own[each : each + each // 4]
    return train, validation


def right(embedder: Embedder, train: Rows, test: Rows) -> list[bool]:
    """Which test rows a classifier over the vectors answers rightly."""
    vectors = embedder.encode([row.input for row in train])
    head = fit_head(train, vectors, HeadSettings(10.0), embedder)
    texts = [row.input for row in test]
    answers = head.answers(texts, embedder.encode(texts))
    return [label == row.output for (label, _), row in zip(answers, test, strict=True)]


def alone(first: Sequence[bool], second: Sequence[bool]) -> str:
    """Rows that only one of them answers rightly, and how likely that is if they are equal."""
    only_first = sum(a > b for a, b in zip(first, second, strict=True))
    only_second = sum(b > a for a, b in zip(first, second, strict=True))
    return f"{only_first} : {only_second} (p {mcnemar(only_first, only_second):.2g})"


def main() -> None:
    """Train and score all on each job, size and seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("jobs", nargs="+", choices=[*JOBS])
    parser.add_argument("--each", nargs="+", type=int, default=[8, 16])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--rates", nargs="+", type=float, default=[LEARNING_RATE])
    parser.add_argument("--most-pairs", type=int, default=MOST_PAIRS)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.mkdtemp()))
    arguments = parser.parse_args()
    print(
        "| job | rows a label | seed | embedder | test | CPU, s "
        "| untrained alone right : it alone | cross-entropy alone right : it alone |"
    )
    print("|---|---|---|---|---|---|---|---|")
    base = load_embedder()
    for job in arguments.jobs:
        test = [Example.of(row["input"], row["output"]) for row in JOBS[job].rows("test")]
        test = random.Random(0).sample(test, min(TEST_ROWS, len(test)))
        for each in arguments.each:
            for seed in arguments.seeds:
                train, validation = draw(job, each, seed)
                found = {"untrained": right(base, train, test)}
                seconds = {"untrained": 0.0}
                beside = partners(len(train), arguments.most_pairs)
                pairs = LabelPairs(train, validation, beside, JUDGED_EACH, seed)
                kinds: dict[str, tuple[Objective[Embedder], EncoderSettings]] = {
                    "cross-entropy": (
                        Labels(train, validation),
                        EncoderSettings(epochs(len(train)), seed=seed),
                    )
                } | {
                    f"pairs, {rate:g}": (
                        pairs,
                        EncoderSettings(1, EVALUATIONS, learning_rate=rate, seed=seed),
                    )
                    for rate in arguments.rates
                }
                for name, (objective, settings) in kinds.items():
                    before = time.process_time()
                    made = EncoderJob(base, objective, settings, arguments.folder / "work")
                    store = Store(arguments.folder / "state")
                    tuned = open_embedder(train_encoder(made, store).name, store)
                    seconds[name] = time.process_time() - before
                    found[name] = right(tuned, train, test)
                for name, answers in found.items():
                    others = [found[other] for other in ("untrained", "cross-entropy")]
                    print(
                        f"| {job} | {each} | {seed} | {name} | {sum(answers) / len(test):.3f} | "
                        f"{seconds[name]:.0f} | {' | '.join(alone(o, answers) for o in others)} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
