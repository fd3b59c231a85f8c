"""`baseline-majority`: one answer to everything. What every other candidate must beat."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from assay.agent.agent import Agent
from assay.candidates.building import Candidate, Context, Trial
from assay.candidates.spec import CandidateSpec, prompted
from assay.generate.classical import dump_classical, fit_constant
from assay.store import blobs

SPEC = CandidateSpec(
    title="most frequent answer",
    explanation="Always gives the most frequent answer. What everything must beat.",
    family="fitted",
    answers_from_rows=True,
    estimate=lambda config, sizes: replace(prompted(config, sizes), answered_by="rows"),
    baseline=True,
    floor=True,
    learns_from_rows=lambda config: False,  # more rows make it no better
)


def build(context: Context) -> Candidate:
    """Answer everything with the most frequent answer of train.

    Where no answer stands there twice, the one of median length and the empty one are tried on
    validation, and the better one is given; without any, the empty one. In a tools task the empty
    one, which calls nothing, is always tried.
    """
    liked = [example.output for example in context.train if example.liked]
    constants = _constants(liked)
    if context.config.task == "tools":
        constants.setdefault("empty answer", "")
    results = []
    for words, answer in constants.items():
        blob = blobs.put(context.store, dump_classical(fit_constant(liked, answer)))
        agent = Agent(kind="classical", model=f"classical:{blob}")
        results.append((words, agent, context.measure(agent)))
    best = max(results, key=lambda row: row[2].score)
    return Candidate(
        agent=best[1],
        tried=tuple(Trial(words, m.score, a is best[1]) for words, a, m in results),
        scores=tuple(best[2].primary_scores),
    )


def _constants(outputs: list[str]) -> dict[str, str]:
    """Answers to choose from, by what they are; a tie goes by name."""
    if not outputs:
        return {"empty answer": ""}
    counts = Counter(outputs)
    frequent = min(counts, key=lambda answer: (-counts[answer], answer))
    if counts[frequent] > 1:
        return {"most frequent answer": frequent}
    ordered = sorted(counts, key=lambda answer: (len(answer), answer))
    return {"answer of median length": ordered[len(ordered) // 2], "empty answer": ""}
