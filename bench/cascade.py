"""A cascade of `classifier` and a language model: what its log-probabilities send on, and the gain.

    python bench/cascade.py [--each 8] [--tested 100] [--model smollm2-135m-instruct]

The intents of snips. Of each label so many training rows are drawn, as many for validation, and so
many test rows (snips has 100). The classifier answers first; the language model that is shown the
most similar rows (`few-shot-nearest`) answers where the classifier is not sure enough. The table
sends on the least sure answers of the test rows, whatever a threshold would have sent; the last
line is the candidate `cascade` as it is built, with the threshold that validation chose.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
import time
from pathlib import Path

import numpy as np

from assay.agent.engines import BatchEngines
from assay.agent.route import Cascade
from assay.candidates.building import Context
from assay.candidates.registry import build
from assay.config import Config
from assay.evaluate.measure import Bench
from assay.evaluate.stats import mcnemar
from assay.example import Example
from assay.store.store import Store
from public_jobs import snips_intent

SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)
CHEAP, STRONG = "classifier", "few-shot-nearest"


def draw(part: str, each: int) -> list[list[Example]]:
    """So many rows of each label, by label."""
    rows = [Example.of(row["input"], row["output"], id=row["id"]) for row in snips_intent(part)]
    random.Random(0).shuffle(rows)
    labels = sorted({row.output for row in rows})
    return [[row for row in rows if row.output == label][:each] for label in labels]


def open_context(arguments: argparse.Namespace, folder: Path) -> Context:
    """Training and validation rows, and the two arms."""
    drawn = draw("train", 2 * arguments.each)
    train = [row for rows in drawn for row in rows[: arguments.each]]
    validation = [row for rows in drawn for row in rows[arguments.each :]]
    labels = [rows[0].output for rows in drawn]
    config = Config.model_validate(
        {
            "name": "snips",
            "task": "label",
            "labels": labels,
            "model": arguments.model,
            "system_prompt": f"Which of these does the sentence ask for: {', '.join(labels)}?",
            "data": {"file": "snips.jsonl"},
            "graders": [{"name": "label-accuracy"}],
            "primary": "label-accuracy",
            "candidates": [CHEAP, STRONG, "cascade"],
            "few_shot": {"ks": [3]},
            "generate": {"max_new_tokens": 8, "constrained": "on"},
            "route": {"cheap": CHEAP, "strong": STRONG, "most_strong": 0.3},
        }
    )
    store = Store(folder)
    return Context(
        tuple(train), tuple(validation), Bench(config, folder, store, BatchEngines(store))
    )


def main() -> None:
    """Build the cascade, measure it and both arms on test rows, print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--each", type=int, default=8)
    parser.add_argument("--tested", type=int, default=100)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        context = open_context(arguments, Path(folder))
        start = time.process_time()
        made = build("cascade", context)
        route = made.agent.route
        assert isinstance(route, Cascade)
        test = [row for rows in draw("test", arguments.tested) for row in rows]
        agents = {one.name: one.agent for one in made.arms.values()}
        found = {
            name: context.bench.measure(agent, test)
            for name, agent in (*agents.items(), ("cascade", made.agent))
        }
        seconds = time.process_time() - start
    cheap, strong = (np.array(found[name].primary_scores) for name in (CHEAP, STRONG))
    sure = np.array([math.exp(answer.logprob or 0.0) for answer in found[CHEAP].answers])
    order = np.argsort(sure, kind="stable")
    print(f"{len(context.train)} training rows, {len(test)} test rows, {seconds:.0f} s of CPU.")
    print(f"{CHEAP} {cheap.mean():.3f}, {STRONG} {strong.mean():.3f} of the test rows.\n")
    print(f"| sent on | below | {CHEAP}, kept | {CHEAP}, sent on | {STRONG}, sent on | together |")
    print("|---|---|---|---|---|---|")
    for share in SHARES:
        count = round(share * len(test))
        sent, kept = order[:count], order[count:]
        whole = (strong[sent].sum() + cheap[kept].sum()) / len(test)
        print(
            f"| {share:.0%} | {sure[kept].min():.2f} | {cheap[kept].mean():.3f} | "
            f"{cheap[sent].mean():.3f} | {strong[sent].mean():.3f} | {whole:.3f} |"
        )
    together = np.array(found["cascade"].primary_scores)
    asked = [len(path) for path in found["cascade"].asked or ()]
    gained, lost = int((together > cheap).sum()), int((together < cheap).sum())
    print(
        f"\nChosen on validation: {route.confidence} probability below {route.threshold:.3f}: "
        f"{asked.count(2) / len(test):.0%} sent on, {together.mean():.3f} right; {gained} gained, "
        f"{lost} lost (exact McNemar p = {mcnemar(gained, lost):.2g})."
    )


if __name__ == "__main__":
    main()
