"""`fine-tune-rag`: an adapter trained on requests that carry passages, as they will be answered.

Every training and validation row gets the passages that are found for it, in the form that requests
have. Those that do not answer it are the distractors that the model learns to pass over. In a share
of the training rows that name their document (`knowledge.distractors`) that document's passages are
taken away, so that the model is not taught that the answer always stands there (RAFT, Zhang et al.
2024, arXiv:2403.10131). Rows whose target is to abstain keep theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from assay.agent.agent import Agent, Knowledge
from assay.agent.passages import fitting, query_of, with_passages
from assay.candidates.building import Candidate, Context, as_trials
from assay.candidates.shared.documents import available_characters, choose_search, knowledge_section
from assay.candidates.spec import DOCUMENTS, METHOD, CandidateSpec, Sizes, Workload, passage_runs
from assay.chat.template import Template
from assay.config import Config
from assay.errors import ConfigError, DataError
from assay.evaluate.documents import same_document
from assay.example import Example
from assay.knowledge.search import Passage
from assay.models.load import load_tokenizer

_SMALLER = 0.85
_MOST_TRIES = 25


def estimate(config: Config, sizes: Sizes) -> Workload:
    """The work of `fine-tune-rag`: rows that are trained on are longer by their passages."""
    runs = passage_runs(config, sizes)
    row = sizes.input_tokens + sizes.output_tokens
    trained = 1 + runs[-1] * row / (sizes.system_tokens + row + 1)
    return Workload(runs, sizes.output_tokens + 1, trained=trained)


SPEC = CandidateSpec(
    title="fine-tuned with passages",
    explanation="The model's weights are trained to answer from passages.",
    family="training",
    answers_from_rows=True,
    estimate=estimate,
    needs=(DOCUMENTS, METHOD),
    combines=("prompt", "fine-tune", "rag"),
)


def build(context: Context) -> Candidate:
    """Choose the search as `rag` does, train with its passages, measure with them."""
    tuning = context.config.fine_tune
    if tuning.teacher or tuning.recorded or context.method.learns_from != "answers":
        raise ConfigError(
            "it learns the answers in the rows, so it cannot use a teacher or a method that learns "
            "from anything else.",
            where="assay.yaml, candidates: fine-tune-rag",
            fix="Remove it from the candidates, or teacher, recorded and method from fine_tune.",
        )

    def searching(knowledge: Knowledge) -> Agent:
        return context.chat_agent(knowledge=knowledge)

    found = choose_search(context, searching, available_characters(context))
    knowledge, taught, warnings = _fit_passages(context, found.knowledge)
    from assay.candidates.shared.tuning import tune  # loads torch

    def agent_of(version: str) -> Agent:
        return context.chat_agent(
            model=f"version:{version}", system_prompt=context.training_prompt, knowledge=knowledge
        )

    made = tune(context, agent_of, taught)
    return replace(
        made,
        tried=as_trials(found.tried, "before training: ") + made.tried,
        warnings=(*found.warnings, *warnings, *made.warnings),
    )


def _fit_passages(
    context: Context, knowledge: Knowledge
) -> tuple[Knowledge, Context, tuple[str, ...]]:
    """Reduce `knowledge.characters` until every row with passages fits a training.

    Returns:
        the knowledge with that room, the rows, and what a reader must know of it.

    Raises:
        DataError: there is no room for any passage, or the rows do not fit even without.
    """
    from assay.train.units import sequences

    tokenizer, limit = load_tokenizer(context.config.model)
    template = Template.of(tokenizer)
    limit = min(limit, context.config.fine_tune.max_tokens)
    found = [
        context.bench.find_passages(knowledge, examples)
        for examples in (context.train, context.validation)
    ]
    for _ in range(_MOST_TRIES):
        train = with_found_passages(context, context.train, found[0], knowledge, hide=True)
        validation = with_found_passages(
            context, context.validation, found[1], knowledge, hide=False
        )
        rows = sequences([*train, *validation], template, context.training_prompt)
        if max((len(row.ids) for row in rows), default=0) <= limit:
            warnings = _missing_passages_warning(context, found[0], knowledge, limit)
            return knowledge, replace(context, train=train, validation=validation), warnings
        smaller = max(1, int(_SMALLER * knowledge.characters))
        knowledge = knowledge.model_copy(update={"characters": smaller})
    raise DataError(
        f"rows with passages do not fit within the limit of {limit} tokens for training.",
        fix="Raise fine_tune.max_tokens.",
    )


def _missing_passages_warning(
    context: Context, found: Sequence[Sequence[Passage]], knowledge: Knowledge, limit: int
) -> tuple[str, ...]:
    """A warning on training rows beside which no passage fits.

    Raises:
        DataError: none has room for any.
    """
    asked = [example.with_system(context.training_prompt).prompt for example in context.train]
    with_some = [(turns, row) for turns, row in zip(asked, found, strict=True) if row]
    bare = sum(not fitting(turns, row, knowledge) for turns, row in with_some)
    if bare and bare == len(with_some):
        raise DataError(
            f"no passage fits next to a row within the limit of {limit} tokens for training.",
            where="assay.yaml, fine_tune.max_tokens",
            fix="Raise it, or try smaller passages (knowledge.chunk_tokens).",
        )
    if not bare:
        return ()
    return (
        f"{bare} of {len(with_some)} training rows have no room for a passage in the {limit} "
        "tokens of fine_tune.max_tokens.",
    )


def with_found_passages(
    context: Context,
    examples: Sequence[Example],
    found: Sequence[Sequence[Passage]],
    knowledge: Knowledge,
    *,
    hide: bool,
) -> tuple[Example, ...]:
    """Examples with the prompt that the agent is asked: with passages.

    Args:
        found: the passages for each.
        hide: take its own document away from a share of the rows, chosen by what they ask.
    """
    share = knowledge_section(context).distractors if hide else 0.0
    taught = []
    for example, passages in zip(examples, found, strict=True):
        named = example.document
        if named and _drawn(example, context.config.fine_tune.seed) < share:
            passages = [p for p in passages if not same_document(named, p.document)]
        prompt = example.with_system(context.training_prompt).prompt
        if query_of(example):
            prompt = with_passages(prompt, passages, knowledge)
        taught.append(replace(example, messages=(*prompt, example.target)))
    return tuple(taught)


def _drawn(example: Example, seed: int) -> float:
    """A number from 0 to 1 that depends on the question and the seed alone."""
    digest = hashlib.sha256(f"{seed} {query_of(example)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
