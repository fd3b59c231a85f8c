"""The one answer path: an agent and examples in, answers and scores out.

Validation while building a candidate, the holdout in a comparison and the points of a learning
curve all go through `measure`, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from statistics import fmean

from assay.agent.agent import Agent
from assay.agent.consent import check_consent
from assay.agent.engines import Engines
from assay.agent.runtime import assemble
from assay.config import Config
from assay.evaluate.graders import GradingContext, grade
from assay.evaluate.run import run
from assay.example import Example
from assay.generate.engine import Answer
from assay.progress import SILENT, Progress
from assay.store.store import Store


@dataclass(frozen=True, slots=True)
class Measurement:
    """Answers of one agent to some examples, and what every grader says of each.

    Attributes:
        scores: by grader label, one score in [0, 1] for each example.
        counted: by grader label, False where the grader can say nothing about the example (no
            glossary term in the reference); the same examples for every agent.
        parsed: whether the primary grader could read the answer.
    """

    answers: list[Answer]
    scores: dict[str, list[float]]
    counted: dict[str, list[bool]]
    parsed: list[bool]
    primary: str

    @property
    def primary_scores(self) -> list[float]:
        """The scores that decide, of the examples that count."""
        return list(compress(self.scores[self.primary], self.counted[self.primary]))

    @property
    def score(self) -> float:
        """Mean of the scores that decide; 0 when no example counts."""
        scores = self.primary_scores
        return fmean(scores) if scores else 0.0

    @property
    def failed(self) -> int:
        """Answers that were given and could not be read."""
        pairs = zip(self.parsed, self.answers, strict=True)
        return sum(not parsed and answer.finish != "error" for parsed, answer in pairs)

    @property
    def incomplete(self) -> bool:
        """True when an outage left an answer missing."""
        return any(answer.finish == "error" for answer in self.answers)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measuring happens: the project's configuration, state, engines and trust."""

    config: Config
    root: Path
    store: Store
    engines: Engines
    progress: Progress = SILENT
    trust_code: bool = False

    def measure(self, agent: Agent, examples: Sequence[Example]) -> Measurement:
        """Let an agent answer examples (finished batches are kept and reused), and grade."""
        requests = assemble(agent, examples, self.store)
        check_consent(agent.model, self.engines.providers, requests, self.progress)
        answers = run(
            requests,
            self.engines.for_agent(agent),
            agent_id=agent.id,
            folder=self.store.folder / "runs",
            progress=self.progress,
        )
        return self.grade(answers, examples)

    def grade(self, answers: list[Answer], examples: Sequence[Example]) -> Measurement:
        """Score answers that are there already."""
        context = GradingContext(
            labels=self.config.labels,
            output_schema=self.config.output_schema,
            root=self.root,
            trust_code=self.trust_code,
        )
        texts = [answer.text for answer in answers]
        scores: dict[str, list[float]] = {}
        counted: dict[str, list[bool]] = {}
        parsed = [True] * len(texts)
        for spec in self.config.graders:
            graded = grade(spec, texts, examples, context)
            scores[spec.label], counted[spec.label] = graded.scores, graded.counted
            if spec.label == self.config.primary:
                parsed = graded.parsed
        return Measurement(answers, scores, counted, parsed, self.config.primary)
