"""The one answer path: an agent and examples in, answers and scores out.

Validation while building a candidate, the holdout in a comparison and the points of a learning
curve all go through `measure`, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import compress
from pathlib import Path
from statistics import fmean

from assay.agent import routing
from assay.agent.agent import Agent, Knowledge
from assay.agent.engines import BatchEngines
from assay.agent.passages import find_passages, knowledge_base
from assay.agent.routing import Step, follow, paths
from assay.agent.runtime import assemble
from assay.config import Config, is_remote
from assay.errors import OutageError, ProviderError
from assay.evaluate.graders import GradingContext, grade
from assay.evaluate.provider_answers import answer_by_provider
from assay.evaluate.run import AnswerBatches, incomplete, run
from assay.example import Example
from assay.generate.batch import Answer, BatchEngine, Request
from assay.generate.stream_batch import StreamBatchEngine
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.search import Passage
from assay.knowledge.sources import SourceFile
from assay.place.opening import LazyWorkers
from assay.progress import SILENT, Progress
from assay.quantities import say_count
from assay.store.store import Store, owner_of


class RefusalError(ProviderError):
    """A model refuses every request that it is sent, so that nothing can be measured."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Answers of one agent to some examples, and what every grader says of each.

    Attributes:
        scores: by grader label, one score in [0, 1] for each example.
        counted: by grader label, False where the grader can say nothing about the example (no
            glossary term in the reference); the same examples for every agent.
        parsed: whether the primary grader could read the answer.
        asked: of an agent with a route, the ids of the agents each example was put to; the last
            one answered.
        notes: by grader label, what it says of an example beside its score, such as the rules that
            were broken; None where it says nothing.
    """

    answers: list[Answer]
    scores: dict[str, list[float]]
    counted: dict[str, list[bool]]
    parsed: list[bool]
    primary: str
    asked: tuple[tuple[str, ...], ...] | None = None
    notes: dict[str, list[str | None]] = field(default_factory=dict)

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
        """Requests that were refused, and answers that could not be read."""
        pairs = zip(self.parsed, self.answers, strict=True)
        return sum(not parsed and answer.finish != "error" for parsed, answer in pairs)

    @property
    def refused(self) -> int:
        """Requests that the model does not take: too long, or held back by a filter."""
        return sum(answer.finish == "refused" for answer in self.answers)

    @property
    def missing(self) -> int:
        """Requests that an outage left without an answer."""
        return incomplete(self.answers)

    @property
    def incomplete(self) -> bool:
        """True when an outage left an answer missing, or when every request was refused: a model
        that answers nothing cannot be told from one that is asked in a wrong way."""
        return self.missing > 0 or self.refused == len(self.answers) > 0


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measuring happens: the project's configuration, state, engines and trust.

    Attributes:
        workers: that train and answer; None: this process does.
        pin: of a comparison: documents are searched as it keeps them (`assay.knowledge.pins`);
            None: as they are.
        document_files: the files of `knowledge.paths` as they were when the comparison was
            requested; None: as they are.
    """

    config: Config
    root: Path
    store: Store
    engines: BatchEngines
    progress: Progress = SILENT
    trust_code: bool = False
    workers: LazyWorkers | None = None
    pin: str | None = None
    document_files: tuple[SourceFile, ...] | None = None

    @property
    def owner(self) -> str:
        """The project that asks, by the name that what it owns is kept under."""
        return owner_of(self.store, self.root)

    @property
    def here(self) -> Bench:
        """The same, with every model of this machine answered by this process."""
        return replace(self, engines=self.engines.here)

    @property
    def grading(self) -> GradingContext:
        """What graders may know of the project, and the models that they may ask."""
        return GradingContext(
            labels=self.config.labels,
            output_schema=self.config.output_schema,
            task=self.config.task,
            root=self.root,
            trust_code=self.trust_code,
            ask=self._ask,
        )

    def knowledge_base(self, name: str) -> KnowledgeBase:
        """A knowledge base of the project, as it is searched here."""
        return knowledge_base(self.store, self.owner, name, pin=self.pin)

    def find_passages(
        self, knowledge: Knowledge, examples: Sequence[Example]
    ) -> list[list[Passage]]:
        """The passages for each example, best first, see `assay.agent.passages.find_passages`."""
        return find_passages(knowledge, examples, self.store, self.owner, pin=self.pin)

    def assemble(self, agent: Agent, examples: Sequence[Example]) -> list[Request]:
        """One request for the input of each example, see `assay.agent.runtime.assemble`."""
        return assemble(agent, examples, self.store, self.owner, pin=self.pin)

    def measure(
        self,
        agent: Agent,
        examples: Sequence[Example],
        *,
        with_confidence: bool = False,
        in_part: bool = False,
        in_batches: bool = True,
    ) -> Measurement:
        """Let an agent answer examples (finished batches are kept and reused), and grade.

        Of a route, each arm that is asked answers every example, in a run of its own: a routed
        answer is that run's to the token, and what an arm has answered is not generated again.

        Args:
            with_confidence: of an engine that tells log-probabilities only when asked.
            in_part: what an outage leaves unanswered is left missing. Nothing may be chosen by
                such a measurement, for it would be chosen otherwise when all is answered.
            in_batches: a provider's batches are waited for where its settings ask for them; a
                search, which has many steps, does not.

        Raises:
            OutageError: requests were left unanswered, and not `in_part`.
            RefusalError: every request was refused, and not `in_part`.
        """
        answers, asked = self.answer(
            agent, examples, with_confidence=with_confidence, in_batches=in_batches
        )
        measured = replace(self.grade(answers, examples, in_batches=in_batches), asked=asked)
        if not in_part:
            _check_answered(agent, measured)
        return measured

    def answer(
        self,
        agent: Agent,
        examples: Sequence[Example],
        *,
        with_confidence: bool = False,
        in_batches: bool = True,
    ) -> tuple[list[Answer], tuple[tuple[str, ...], ...] | None]:
        """The answers of an agent, ungraded, and whom its route asked (`Measurement.asked`)."""
        if agent.route is None:
            found = self._answers(agent, examples, with_confidence, in_batches)
            return found, None
        runs: dict[tuple[str, bool], list[Answer]] = {}

        def ask(step: Step, places: list[int]) -> list[Answer]:
            key = (step.id, step.sure is not None)
            if key not in runs:
                runs[key] = self._answers(step.agent, examples, key[1], in_batches)
            return [runs[key][place] for place in places]

        walks = follow(paths(agent, examples, self.store), ask)
        asked = tuple(tuple(step.id for step in walk.calls) for walk in walks)
        return [walk.answer for walk in walks], asked

    def _answers(
        self, agent: Agent, examples: Sequence[Example], with_confidence: bool, in_batches: bool
    ) -> list[Answer]:
        requests = self.assemble(agent, examples)
        if with_confidence:
            requests = [routing.with_confidence(request, agent) for request in requests]
        self.engines.check_sending(agent.model, requests, self.progress)
        engine = self.engines.for_agent(agent)
        return run(
            requests,
            engine,
            agent_id=agent.id,
            folder=self.store.folder / "runs",
            store=self.store,
            together=self._together(agent.model, engine, in_batches=in_batches),
            progress=self.progress,
        )

    def _together(
        self, model: str, engine: BatchEngine, *, in_batches: bool
    ) -> AnswerBatches | None:
        if is_remote(model):
            return answer_by_provider(engine, self.store, self.progress) if in_batches else None
        if self.engines.is_served(model):
            from assay.evaluate.server_answers import answer_by_server

            assert isinstance(engine, StreamBatchEngine)
            return answer_by_server(engine, self.progress)
        if self.workers is None:
            return None
        from assay.evaluate.worker_answers import answer_by_workers  # loads torch

        return answer_by_workers(self.workers, model, engine, self.store)

    def grade(
        self, answers: list[Answer], examples: Sequence[Example], *, in_batches: bool = True
    ) -> Measurement:
        """Score answers that are there already; what was refused scores 0 by every grader.

        Args:
            in_batches: see `measure`; of graders that are models.
        """
        context = replace(self.grading, ask=partial(self._ask, in_batches=in_batches))
        texts = [answer.text for answer in answers]
        scores: dict[str, list[float]] = {}
        counted: dict[str, list[bool]] = {}
        notes: dict[str, list[str | None]] = {}
        parsed = [True] * len(texts)
        for spec in self.config.graders:
            graded = grade(spec, texts, examples, context)
            scores[spec.label], counted[spec.label] = graded.scores, graded.counted
            notes[spec.label] = graded.notes
            if spec.label == self.config.primary:
                parsed = graded.parsed
        for place, answer in enumerate(answers):
            if answer.finish == "refused":
                parsed[place] = False
                for of_grader in scores.values():
                    of_grader[place] = 0.0
        return Measurement(answers, scores, counted, parsed, self.config.primary, notes=notes)

    def _ask(
        self, model: str, requests: Sequence[Request], *, in_batches: bool = False
    ) -> list[Answer]:
        """A grader's questions; answers are kept, so that the same ones are asked once.

        They hold expected answers, of the holdout as well: no vLLM server is asked.
        """
        engines = self.engines.here
        engines.check_sending(model, requests, self.progress)
        engine = engines.for_agent(Agent(model=model))
        return run(
            requests,
            engine,
            agent_id=f"grader {model}",
            folder=self.store.folder / "runs",
            store=self.store,
            together=answer_by_provider(engine, self.store, self.progress) if in_batches else None,
            progress=self.progress,
        )


def _check_answered(agent: Agent, measured: Measurement) -> None:
    reasons = {answer.finish: answer.error for answer in measured.answers}
    count = len(measured.answers)
    if measured.missing:
        left = f"{agent.model} left {measured.missing} of {say_count(count, 'request')} unanswered"
        raise OutageError(
            f"{left} ({reasons['error']}).",
            plain=f"{left}.",
            fix="Run the same command again to request only these.",
        )
    if measured.incomplete:
        refuses = f"{agent.model} refuses every request"
        raise RefusalError(f"{refuses} ({reasons['refused']}).", plain=f"{refuses}.")
