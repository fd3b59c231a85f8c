"""How much of a file should be the holdout: what less training costs, what more rows decide.

    python bench/split_share.py [--draws 30] [--sets banking77 snips-intent mts-header]

From each public data set files of N rows are drawn. A share is held out, 0.15 of the rest is
validation, and three classifiers that need seconds are fitted to what is left: logistic regression
on vectors of the starter embedder, the same on TF-IDF, and the label of the nearest row. The real
`decide` sees their answers on the holdout, with the winner on validation tested first. What a
candidate is truly worth is its accuracy on the test file, which nothing else reads.

Columns: the accuracy of the classifier on vectors (what less training costs), how often the
verdict recommends, how often the recommended one is truly worse than the best by more than the
margin, and the accuracy of what is used after the verdict.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from assay.compare.verdict import Entry, Terms, decide
from assay.models.embed import load_embedder
from public_jobs import banking77, mts_header, snips_intent

SETS = {"banking77": banking77, "snips-intent": snips_intent, "mts-header": mts_header}
ROWS = (200, 500, 1000)
SHARES = (0.2, 0.3, 0.4)
VALIDATION = 0.15
MARGIN = 0.02

Array = np.ndarray


@dataclass(frozen=True)
class Texts:
    """Inputs, labels and vectors [N, D] of one file."""

    inputs: list[str]
    labels: Array
    vectors: Array

    def take(self, index: Sequence[int]) -> Texts:
        """Some of the rows, in the order of the index."""
        return Texts([self.inputs[i] for i in index], self.labels[index], self.vectors[index])


def load(name: str, part: str) -> Texts:
    """The whole of a public file, embedded once."""
    rows = list(SETS[name](part))
    inputs = [row["input"] for row in rows]
    return Texts(inputs, np.array([row["output"] for row in rows]), load_embedder().encode(inputs))


def fit(train: Texts) -> Iterator[tuple[str, Callable[[Texts], Array]]]:
    """The classifiers by name, each as a function from texts to labels."""
    on_vectors = LogisticRegression(C=10.0, max_iter=300).fit(train.vectors, train.labels)
    yield "vectors", lambda texts: on_vectors.predict(texts.vectors)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(train.inputs)
    on_words = LogisticRegression(C=10.0, max_iter=300).fit(
        words.transform(train.inputs), train.labels
    )
    yield "words", lambda texts: on_words.predict(words.transform(texts.inputs))
    yield (
        "nearest",
        lambda texts: train.labels[(texts.vectors @ train.vectors.T).argmax(axis=1)],
    )


@dataclass(frozen=True)
class Outcome:
    """What one draw led to: accuracies from 0 to 1 on the test file."""

    classifier: float
    used: float
    recommended: bool
    wrong: bool


def one_draw(rows: Texts, test: Texts, count: int, share: float, seed: int) -> Outcome:
    """Draw `count` rows, hold a share out, fit, decide, and look what the choice is worth."""
    order = random.Random(seed).sample(range(len(rows.inputs)), count)
    held = round(share * count)
    validated = round(VALIDATION * (count - held))
    # The rows that a larger share trains on are some of those of a smaller one.
    holdout, rest = rows.take(order[:held]), order[held:]
    validation, train = rows.take(rest[:validated]), rows.take(rest[validated:])
    classifiers = dict(fit(train))

    def right(on: Texts) -> dict[str, Array]:
        return {n: (answer(on) == on.labels).astype(float) for n, answer in classifiers.items()}

    worth = {name: scores.mean() for name, scores in right(test).items()}
    tried = {name: scores.mean() for name, scores in right(validation).items()}
    first = max(tried, key=lambda name: tried[name])
    verdict = decide(
        [
            # What they cost is the same to the cent; the known cost makes ties go to the score.
            Entry(name, scores, setup_cost=0.0, running_cost=0.0)
            for name, scores in right(holdout).items()
        ],
        None,
        Terms(margin=MARGIN, tested_first=first),
    ).verdict
    used = verdict.named or first
    return Outcome(
        classifier=worth["vectors"],
        used=worth[used],
        recommended=verdict.recommend is not None,
        wrong=verdict.recommend is not None and worth[used] < max(worth.values()) - MARGIN,
    )


def main() -> None:
    """Print one table a data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    arguments = parser.parse_args()
    for name in arguments.sets:
        rows, test = load(name, "train"), load(name, "test")
        print(f"\n{name}, {len(test.inputs)} test rows, {arguments.draws} draws\n")
        print(
            "| rows | holdout | classifier | recommends | wrong | used |\n|---|---|---|---|---|---|"
        )
        for count in (n for n in ROWS if n <= len(rows.inputs)):
            for share in SHARES:
                draws = [one_draw(rows, test, count, share, s) for s in range(arguments.draws)]
                print(
                    f"| {count} | {share} | {100 * fmean(d.classifier for d in draws):.1f} | "
                    f"{100 * fmean(d.recommended for d in draws):.0f} % | "
                    f"{100 * fmean(d.wrong for d in draws):.0f} % | "
                    f"{100 * fmean(d.used for d in draws):.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
