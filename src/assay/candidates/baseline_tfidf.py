"""`baseline-tfidf`: TF-IDF and logistic regression, a classifier that costs next to nothing."""

from __future__ import annotations

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context, Stopwatch, Tried
from assay.generate.classical import TFIDF_GRID, dump_classical, fit_tfidf


def build(context: Context) -> Candidate:
    """The settings of a small grid that do best on validation; a tie goes to the first."""
    watch = Stopwatch()
    results = []
    with context.progress.task("baseline-tfidf", len(TFIDF_GRID), "settings") as task:
        for settings in TFIDF_GRID:
            model = fit_tfidf(context.answered, settings)
            blob = context.store.put(dump_classical(model))
            agent = Agent(kind="classical", model=f"classical:{blob}")
            results.append((settings, agent, context.measure(agent)))
            task.advance()
    best = max(results, key=lambda row: row[2].score)
    return Candidate(
        name="baseline-tfidf",
        kind="baseline-tfidf",
        agent=best[1],
        tried=tuple(Tried(str(s), m.score, a is best[1]) for s, a, m in results),
        scores=tuple(best[2].primary_scores),
        setup_seconds=watch.seconds() / len(TFIDF_GRID),
        baseline=True,
        curated=True,
        retrained=True,
    )
