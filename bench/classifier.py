"""What an answer of `classifier` takes beyond the embedding: median of single requests, beside it.

    python bench/classifier.py [--labels 77] [--rows 2000] [--requests 300]

Rows are made of words at random, so the figures say nothing about how right the answers are. Time
is that of the thread (CPU), which other work on the machine does not lengthen.
"""

from __future__ import annotations

import argparse
import random
import time
from statistics import median

from assay.example import Example, Message
from assay.generate.batch import Request
from assay.generate.embedding_classifier import EmbeddingEngine, HeadSettings, fit_head
from assay.models.embed import load_embedder

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("ck", "nd", "st", "ll")]
SETTINGS = (HeadSettings(10.0), HeadSettings(10.0, in_pieces=True), HeadSettings(10.0, words=0.5))


def main() -> None:
    """Fit, answer one request at a time, print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--labels", type=int, default=77)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=300)
    arguments = parser.parse_args()
    draw = random.Random(0)

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=12))

    rows = [Example.of(text(), f"label {n % arguments.labels}") for n in range(arguments.rows)]
    embedder = load_embedder()
    vectors = embedder.encode([row.input for row in rows])
    print("| settings | answer, ms | of it the embedding, ms |\n|---|---|---|")
    for settings in SETTINGS:
        engine = EmbeddingEngine(fit_head(rows, vectors, settings, embedder), embedder)
        whole, embedding = [], []
        for _ in range(arguments.requests):
            first, second = text(), text()  # what was embedded is remembered: never the same
            start = time.thread_time()
            engine.answer([Request((Message("user", first),))])
            after = time.thread_time()
            settings.embed(embedder, [second])
            embedding.append(time.thread_time() - after)
            whole.append(after - start)
        print(f"| {settings} | {1e3 * median(whole):.2f} | {1e3 * median(embedding):.2f} |")


if __name__ == "__main__":
    main()
