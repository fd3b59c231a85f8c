"""Classifiers over an embedder's vectors: their settings chosen on validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context, Stopwatch, Trial
from assay.candidates.spec import Sizes, listed_labels
from assay.config import Config
from assay.generate.embedding_classifier import (
    SCHEME,
    EmbeddingClassifier,
    HeadSettings,
    dump_embedding_classifier,
    fit_head,
    set_doubt,
    set_temperature,
)
from assay.generate.label_lists import choose_threshold
from assay.models.embed import Embedder
from assay.models.lineage import keep_rows
from assay.store import blobs

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
WITH_WORDS = (0.5, 1.0)
"""Weights of TF-IDF features that are tried beside the vector, as it does best without."""
AT_ONCE = 512
"""Texts embedded between two signs of progress."""
NONE_LIKE = {
    "none",
    "none of these",
    "none of the above",
    "no intent",
    "other",
    "others",
    "unknown",
    "oos",
    "out of scope",
    "not applicable",
    "n/a",
}
"""Labels, spelled alike, that stand for none of the others."""


def head_tokens(sizes: Sizes) -> float:
    """What is embedded for a classifier: every row once; where texts are beyond the embedder's
    limit, in pieces as well."""
    pieces = sizes.input_tokens if sizes.input_tokens > sizes.embedder.limit else 0.0
    return (sizes.train + sizes.validation + sizes.holdout) * (sizes.read_tokens + pieces)


def embed(context: Context, embedder: Embedder) -> None:
    """Embed the inputs of train and validation, told as progress, for `models.embed.remember`."""
    texts = [example.input for example in (*context.answered, *context.judged)]
    with context.progress.task("embedding", len(texts), "rows") as task:
        for start in range(0, len(texts), AT_ONCE):
            some = texts[start : start + AT_ONCE]
            embedder.encode(some)
            task.advance(len(some))


def choose_head(context: Context, embedder: Embedder, name: str) -> Candidate:
    """The classifier with the best score on validation; a tie goes to the one tried first.

    Tried are strengths, texts beyond the embedder's limit in pieces rather than cut where there
    are some, and words beside the vector with what was best without.

    Args:
        name: of the candidate that is built, for the progress.

    Raises:
        DataError: train has fewer than two labels.
    """
    watch = Stopwatch()
    rows = (*context.answered, *context.judged)
    made_of = keep_rows(context.store, context.answered)
    are_long = any(embedder.is_cut(example.input) for example in rows)
    plain = [
        HeadSettings(strength, in_pieces)
        for in_pieces in ((False, True) if are_long else (False,))
        for strength in STRENGTHS
    ]
    found = []
    with context.progress.task(name, len(plain) + 2 * len(WITH_WORDS), "settings") as task:

        def attempt(settings: HeadSettings) -> None:
            model = replace(_fit(context, embedder, settings), rows=made_of)
            agent = _agent(context, model)
            found.append((settings, agent, context.measure(agent)))
            task.advance()

        for settings in plain:
            attempt(settings)
        best = max(found, key=lambda row: row[2].score)[0]
        for words in WITH_WORDS:
            for strength in sorted({best.strength, 10.0}):
                attempt(HeadSettings(strength, best.in_pieces, words))
    _, agent, measured = chosen = max(found, key=lambda row: row[2].score)
    return Candidate(
        agent=agent,
        tried=tuple(Trial(str(row[0]), row[2].score, row is chosen) for row in found),
        scores=tuple(measured.primary_scores),
        setup_seconds=watch.seconds(),
        retrained=True,
    )


def _fit(context: Context, embedder: Embedder, settings: HeadSettings) -> EmbeddingClassifier:
    train, validation = context.answered, context.judged
    vectors = settings.embed(embedder, [example.input for example in train])
    lists = listed_labels(context.config) is not None
    model = fit_head(train, vectors, settings, embedder, lists)
    judged = settings.embed(embedder, [example.input for example in validation])
    model = set_temperature(model, validation, judged)
    if model.several is not None:
        texts = [example.input for example in validation]
        chances = np.exp(model.log_probabilities(texts, judged))
        chosen = choose_threshold(model.several, model.labels, chances, validation)
        return replace(model, several=chosen)
    label = none_label(context.config, model.labels)
    return model if label is None else set_doubt(model, label, validation, judged)


def none_label(config: Config, labels: tuple[str, ...]) -> str | None:
    """The label that stands for none of the others: what is to be said where no document answers,
    or one that is called so; None: there is none."""
    abstain = None if config.knowledge is None else config.knowledge.abstain
    every: list[str] = [*labels, *(config.labels or [])]
    for label in every:
        spelled = " ".join(label.lower().replace("_", " ").replace("-", " ").split())
        if label == abstain or spelled in NONE_LIKE:
            return label
    return None


def _agent(context: Context, model: EmbeddingClassifier) -> Agent:
    blob = blobs.put(context.store, dump_embedding_classifier(model))
    return Agent(kind="classical", model=f"{SCHEME}{blob}")
