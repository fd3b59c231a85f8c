"""`baseline-tfidf`: TF-IDF and logistic regression, a classifier that is trained in seconds."""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context, Stopwatch, Trial
from assay.candidates.spec import LABELS, CandidateSpec, prompted
from assay.generate.classical import TFIDF_GRID, dump_classical, fit_tfidf
from assay.models.lineage import keep_rows
from assay.store import blobs

SPEC = CandidateSpec(
    title="word-count classifier",
    explanation="A classical classifier that counts words. Trained in seconds, answers at once.",
    family="fitted",
    answers_from_rows=True,
    estimate=lambda config, sizes: replace(prompted(config, sizes), answered_by="classifier"),
    needs=(LABELS,),
    baseline=True,
)


def build(context: Context) -> Candidate:
    """Choose the best of `TFIDF_GRID` on validation; a tie goes to the first."""
    watch = Stopwatch()
    results = []
    rows = keep_rows(context.store, context.answered)
    with context.progress.task("baseline-tfidf", len(TFIDF_GRID), "settings") as task:
        for settings in TFIDF_GRID:
            model = replace(fit_tfidf(context.answered, settings), rows=rows)
            blob = blobs.put(context.store, dump_classical(model))
            agent = Agent(kind="classical", model=f"classical:{blob}")
            results.append((settings, agent, context.measure(agent)))
            task.advance()
    best = max(results, key=lambda row: row[2].score)
    return Candidate(
        agent=best[1],
        tried=tuple(Trial(str(s), m.score, a is best[1]) for s, a, m in results),
        scores=tuple(best[2].primary_scores),
        setup_seconds=watch.seconds() / len(TFIDF_GRID),
        retrained=True,
    )
