"""How well doubtful labels are found: labels are changed on purpose, and those doubted counted.

    pip install cleanlab                     # the peer, for this page alone
    python bench/label_noise.py [--share 0.05] [--data banking77 snips-intent]

Three raters learn from training rows and answer the test rows: a classifier over an embedder's
vectors, one over TF-IDF, and the label of the most similar row. In both files a share of the labels
is changed: to any other one, or to that of the most similar row with another label, as somebody in
a hurry would mistake it. The peer is given the first rater's probabilities. A changed label that is
doubted counts as found. Of those that were not changed some are wrong as published.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
from collections.abc import Sequence

import numpy as np

from assay.evaluate.label_noise import Rater, doubtful_rows
from assay.evaluate.stats import wilson
from assay.example import Example
from assay.generate.classical import TfidfSettings, fit_tfidf
from assay.generate.embedding_classifier import EmbeddingClassifier, HeadSettings, fit_head
from assay.models.embed import STARTER, Vectors, get_embedder
from public_jobs import JOBS

TRAIN_ROWS = 2000
KINDS = ("as published", "any other", "a similar row's")

Rows = Sequence[Example]


def read(name: str, part: str) -> list[Example]:
    """The rows of a part; of the training rows some, drawn at random."""
    rows = [
        Example.of(row["input"], row["output"], id=str(row["id"])) for row in JOBS[name].rows(part)
    ]
    if part == "train" and len(rows) > TRAIN_ROWS:
        rows = random.Random(0).sample(rows, TRAIN_ROWS)
    return rows


def change(rows: Rows, vectors: Vectors, share: float, kind: str) -> list[Example]:
    """The rows, some with another label."""
    draw, changed = random.Random(0), list(rows)
    labels = sorted({row.output for row in rows})
    for place in draw.sample(range(len(rows)), round(share * len(rows))):
        own = rows[place].output
        if kind == "any other":
            others = draw.sample(labels, len(labels))
        else:
            others = [rows[like].output for like in np.argsort(-(vectors @ vectors[place]))]
        label = next(other for other in others if other != own)
        changed[place] = Example.of(rows[place].input, label, id=rows[place].id)
    return changed


def rate(name: str, answers: Sequence[str], rows: Rows) -> Rater:
    """One who answers the rows, scored by their labels as they are."""
    pairs = zip(answers, rows, strict=True)
    return Rater(name, answers, [float(answer == row.output) for answer, row in pairs])


def raters(
    train: Rows, seen: Vectors, test: Rows, vectors: Vectors
) -> tuple[list[Rater], EmbeddingClassifier]:
    """All three, and the model of the first."""
    texts = [row.input for row in test]
    head = fit_head(train, seen, HeadSettings(10.0), get_embedder(STARTER))
    words = fit_tfidf(train, TfidfSettings())
    likely = words.log_probabilities(texts).argmax(axis=1)
    nearest = (vectors @ seen.T).argmax(axis=1)
    found = [
        rate("classifier", [label for label, _ in head.answers(texts, vectors)], test),
        rate("baseline-tfidf", [words.labels[place] for place in likely], test),
        rate("nearest-answer", [train[place].output for place in nearest], test),
    ]
    return [rater for rater in found if rater.knows], head


def peer(head: EmbeddingClassifier, test: Rows, vectors: Vectors) -> list[bool]:
    """Which rows cleanlab doubts, by the rule that it takes by itself."""
    from cleanlab.filter import find_label_issues

    known = [place for place, row in enumerate(test) if row.output in head.labels]
    given = np.array([head.labels.index(test[place].output) for place in known])
    texts = [test[place].input for place in known]
    issues = find_label_issues(given, np.exp(head.log_probabilities(texts, vectors[known])))
    doubted = {place for place, issue in zip(known, issues, strict=True) if issue}
    return [place in doubted for place in range(len(test))]


def line(by: str, doubted: Sequence[bool], changed: Sequence[bool]) -> str:
    """How many are doubted, how many of them were changed, how many of those changed are found."""
    both = sum(d and c for d, c in zip(doubted, changed, strict=True))
    return f"{by} | {sum(doubted)} | {part(both, sum(doubted))} | {part(both, sum(changed))} |"


def part(count: int, of: int) -> str:
    """A share in percent with its 95 % interval."""
    low, high = wilson(count, of)
    return f"{100 * count / of:.0f} % ({100 * low:.0f} to {100 * high:.0f})" if of else "–"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--data", nargs="*", default=["banking77", "snips-intent"])
    arguments = parser.parse_args()
    with_peer = importlib.util.find_spec("cleanlab") is not None
    if not with_peer:
        print("cleanlab: left out, it is not installed: pip install cleanlab", file=sys.stderr)
    print("| data | labels | by | doubted | of these changed | of those changed, found |")
    print("|---|---|---|---|---|---|")
    for name in arguments.data:
        train, test = read(name, "train"), read(name, "test")
        embedder = get_embedder(STARTER)
        seen, vectors = (embedder.encode([row.input for row in rows]) for rows in (train, test))
        for kind in KINDS:
            share = 0.0 if kind == KINDS[0] else arguments.share
            noisy = change(test, vectors, share, kind)
            changed = [new.output != old.output for new, old in zip(noisy, test, strict=True)]
            knowing, head = raters(change(train, seen, share, kind), seen, noisy, vectors)
            start = f"| {name}, {len(test)} rows, {sum(changed)} changed | {kind} | "
            scores = ", ".join(f"{100 * sum(r.scores) / len(test):.1f}" for r in knowing)
            who = f"{len(knowing)} candidates ({scores})"
            print(start + line(who, doubtful_rows(knowing), changed), flush=True)
            if with_peer:
                found = peer(head, noisy, vectors)
                print(start + line("cleanlab", found, changed), flush=True)


if __name__ == "__main__":
    main()
