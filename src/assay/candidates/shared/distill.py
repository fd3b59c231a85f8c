"""Distillation: a teacher answers the training inputs, and what it says is what is learned.

The teacher is any model an engine answers for: a larger local model, a version, or a model at a
provider. It is asked as the project asks every model, with the agent's own system prompt, greedily,
constrained where that is possible. Its answers are kept like those of an evaluation, so a killed
run asks only for what is missing. Of one that is gone those are read that were recorded while it
was there (`fine_tune.recorded`).

Learned is the teacher's distribution where it can be known (`fine_tune.distill`): of a local
teacher with the student's tokenizer it is read off the model, of a provider's it is what it told,
where its tokens are the student's own, one for one. Else its text alone is learned (sequence-level
distillation, Kim & Rush 2016, arXiv:1606.07947), and an answer weighs by the geometric mean of its
tokens' probabilities: one that the teacher was unsure of, or was forced into by a constraint,
counts less.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from assay import json_reader
from assay.agent.agent import Agent
from assay.agent.consent import check_consent
from assay.agent.engines import BatchEngines
from assay.candidates.building import Context
from assay.candidates.shared.teacher_answers import NOT_RECORDED, usable_answers
from assay.chat.template import Template
from assay.config import is_remote
from assay.config.names import file_of
from assay.data.calls import read_turn
from assay.errors import ConfigError, OutageError
from assay.evaluate.provider_answers import answer_by_provider
from assay.evaluate.run import incomplete, run
from assay.example import Example, Message, canonical_json
from assay.generate.batch import Answer, BatchEngine, Request
from assay.generate.constrained import Grammars
from assay.generate.recorded import input_sha256, read_recording
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.models.load import load_tokenizer
from assay.progress import SILENT, Progress
from assay.quantities import say_count
from assay.store.files import write_json
from assay.train.sequences import TeacherDistribution, TrainingSequence, Unit, alone
from assay.train.teacher import TOP, match_tokens, read_top, spellings
from assay.train.units import sequences


@dataclass(frozen=True, slots=True)
class TrainingTargets:
    """The rows that are trained on, with their targets.

    Attributes:
        examples: with the teacher's answers where there is a teacher.
        taught: for each of them, the teacher's distribution over every sequence that it is rendered
            as; empty where its text is all there is.
        seconds: of machine time that the teacher has taken, in all processes.
    """

    examples: tuple[Example, ...]
    taught: tuple[tuple[TeacherDistribution, ...], ...] = ()
    seconds: float = 0.0

    def units(self, template: Template, prompt: str) -> list[Unit]:
        """The examples as supervised training takes them, each with what the teacher says of it."""
        units: list[Unit] = []
        for example, known in zip(self.examples, self.taught, strict=True):
            rows = sequences([example], template, prompt)
            if known:
                rows = [replace(r, taught=t) for r, t in zip(rows, known, strict=True)]
            units += alone(rows)
        return units

    @property
    def digest(self) -> str | None:
        """Sha256 (hex) of the distributions; None where there are none."""
        if not any(self.taught):
            return None
        digest = hashlib.sha256()
        for known in self.taught:
            digest.update(b"%d\n" % len(known))
            for taught in known:
                digest.update(taught.ids.tobytes() + taught.probs.tobytes())
        return digest.hexdigest()


def targets_of_teacher(context: Context, teacher: str) -> TrainingTargets:
    """Ask the teacher all training inputs; its answers and distributions are the targets.

    Left out are answers that were cut at `generate.max_new_tokens`, are empty, are none that the
    job allows, or call a function otherwise than its tools allow.

    Raises:
        ConfigError: a method that learns from preferences; a provider that is not known or that
            nobody has agreed to; `distill: logprobs` where they cannot be known.
        DataError: no answer is fit to be learned.
        ModelError: the teacher cannot be loaded.
        OutageError: it did not answer everything.
    """
    check_method(context)
    asked = _TeacherRun.of(context, teacher)
    answers = run(
        asked.requests,
        asked.engine,
        agent_id=asked.agent.id,
        folder=context.store.folder / "runs",
        store=context.store,
        together=answer_by_provider(asked.engine.inner, context.store, context.progress),
        progress=context.progress,
    )
    if failed := incomplete(answers):
        reason = next(answer.error for answer in answers if answer.finish == "error")
        count = say_count(len(answers), "input")
        left = f"the teacher {teacher} left {failed} of {count} unanswered"
        raise OutageError(
            f"{left} ({reason}).",
            plain=f"{left}.",
            fix="Run the same command again to request only these.",
        )
    kept = usable_answers(context, asked.agent, answers)
    known, seconds = _distributions(context, teacher, asked, kept, answers)
    examples = _learned(context, kept, answers, known)
    return TrainingTargets(examples, known, asked.engine.seconds + seconds)


def targets_of_recording(context: Context, file: str) -> TrainingTargets:
    """The answers that a teacher has given while it was there, of the training inputs it was asked.

    Left out is what `targets_of_teacher` leaves out, and inputs that it was not asked.

    Args:
        file: of recorded answers (`assay.generate.recorded`).

    Raises:
        ConfigError: a method that learns from preferences; `distill: logprobs` where they were not
            recorded, or of other tokens than the student's.
        DataError: the file cannot be read, or has no answer that is fit to be learned.
    """
    check_method(context)
    inputs = [input_sha256(example) for example in context.train]
    recorded = read_recording(file_of(file, context.bench.root), tokens_of=frozenset(inputs))
    missing = Answer(text="", finish="refused", error=NOT_RECORDED)
    answers = [recorded[one].answer if one in recorded else missing for one in inputs]
    kept = usable_answers(context, context.chat_agent(model=file), answers)
    known, _ = _distributions(context, file, None, kept, answers)
    return TrainingTargets(_learned(context, kept, answers, known), known)


def check_method(context: Context) -> None:
    """Refuse a teacher where the method does not learn its answers.

    Raises:
        ConfigError: it does not.
    """
    settings, method = context.config.fine_tune, context.method
    if method.learns_from == "answers" or not (settings.teacher or settings.recorded):
        return
    setting = "teacher" if settings.teacher else "recorded"
    others = "documents" if method.learns_from == "documents" else "judgements"
    raise ConfigError(
        f"a teacher provides answers, but the method {method.name} learns from {others}.",
        where=f"assay.yaml, fine_tune.{setting}",
        fix=f"Use method: sft, or remove {setting}.",
    )


def _learned(
    context: Context,
    kept: Sequence[int],
    answers: Sequence[Answer],
    known: Sequence[tuple[TeacherDistribution, ...]],
) -> tuple[Example, ...]:
    return tuple(
        with_answer(context.train[place], answers[place], weighed=not taught)
        for place, taught in zip(kept, known, strict=True)
    )


def with_answer(example: Example, answer: Answer, *, weighed: bool = True) -> Example:
    """The example with an answer as its target.

    Args:
        weighed: by how sure the teacher was of it.
    """
    sure = 1.0
    count = answer.completion_tokens if answer.tokens is None else len(answer.tokens)
    if weighed and answer.logprob is not None and count:
        sure = math.exp(answer.logprob / count)
    turn = read_turn(answer.text, example.tools) or Message("assistant", answer.text)
    return replace(
        example,
        messages=(*example.prompt, turn),
        weight=example.weight * sure,
        references=(),
        possible=(),
        rejected=(),
        desirable=None,
    )


class _TimedEngine:
    """An engine that adds up its seconds in a file, so that a killed run is counted too."""

    def __init__(self, engine: BatchEngine, path: Path) -> None:
        self.inner, self._path = engine, path
        self.identity, self.prompt_length = engine.identity, engine.prompt_length
        try:
            self.seconds = float(json_reader.read(path.read_text("utf-8"))["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            self.seconds = 0.0

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        began = time.monotonic()
        answers = self.inner.answer(requests, progress)
        self.seconds += time.monotonic() - began
        write_json(self._path, {"seconds": self.seconds})
        return answers


@dataclass(frozen=True, slots=True)
class _TeacherRun:
    """A teacher with its engine, its requests and the folder of its files."""

    teacher: str
    agent: Agent
    requests: list[Request]
    engine: _TimedEngine
    folder: Path

    @classmethod
    def of(cls, context: Context, teacher: str) -> _TeacherRun:
        config, remote = context.config, is_remote(teacher)
        agent = context.chat_agent(model=teacher)
        held = agent.output_schema is not None or (agent.choices is not None and not remote)
        if held and config.generate.constrained != "off":
            agent = agent.model_copy(update={"constrained": True})
        requests = context.bench.assemble(agent, context.train)
        if remote:
            check_consent(teacher, context.bench.engines.providers, requests, context.progress)
            told = 0 if config.fine_tune.distill == "answers" else TOP
            requests = [replace(request, logprobs=told) for request in requests]
        # BatchEngines of its own: a large teacher is not held in memory while its student trains.
        engines = BatchEngines(
            context.store,
            dtype=config.generate.dtype,
            keep=1,
            providers=context.bench.engines.providers,
        )
        engine = engines.for_agent(agent)
        key = [agent.id, engine.identity, [example.content_hash() for example in context.train]]
        name = hashlib.sha256(canonical_json(key).encode()).hexdigest()[:16]
        folder = context.folder / f"teacher-{name}"
        return cls(
            teacher, agent, requests, _TimedEngine(engine, folder / "answering.json"), folder
        )


def _distributions(
    context: Context,
    teacher: str,
    asked: _TeacherRun | None,
    kept: Sequence[int],
    answers: Sequence[Answer],
) -> tuple[tuple[tuple[TeacherDistribution, ...], ...], float]:
    """The teacher's distributions for each kept answer (empty where unknown), and seconds.

    Args:
        asked: None where its answers were recorded.
    """
    settings, engine = context.config.fine_tune, None if asked is None else asked.engine.inner
    known: list[tuple[TeacherDistribution, ...]] = [() for _ in kept]
    seconds, why = 0.0, "fine_tune.distill is answers"
    if not context.method.learns_distributions:
        why = f"the method {context.method.name} has a loss of its own"
    elif settings.distill != "answers":
        why = "its tokens do not match the student's"
        told = any(answers[place].tokens for place in kept)
        if not (told or isinstance(engine, TransformersBatchEngine)):
            why = "it returned no log-probabilities"
        else:
            tokenizer, _ = load_tokenizer(context.config.model)
            template, prompt = Template.of(tokenizer), context.training_prompt
            learned = [with_answer(context.train[p], answers[p], weighed=False) for p in kept]
            rows = [sequences([example], template, prompt) for example in learned]
            if asked is None or not isinstance(engine, TransformersBatchEngine):
                known = _provider_distributions(
                    rows, [answers[p] for p in kept], spellings(tokenizer)
                )
            elif engine.loaded.tokenizer.get_vocab() == tokenizer.get_vocab():
                requests = [asked.requests[place] for place in kept]
                known, seconds = _local_distributions(
                    context, asked, engine, learned, rows, requests
                )
    found = sum(map(bool, known))
    if settings.distill == "logprobs" and not found:
        raise ConfigError(
            f"the distribution of {teacher} cannot be learned: {why}.",
            where="assay.yaml, fine_tune.distill",
            fix="Use auto or answers, or a teacher with the student's tokenizer.",
        )
    if found:
        rest = len(kept) - found
        context.progress.say(
            f"The student learns the teacher's log-probabilities (of {TOP} tokens at each position)"
            + (f"; for {rest} of {say_count(len(kept), 'row')} only its answer." if rest else ".")
        )
    else:
        context.progress.say(f"The student learns only the teacher's answers: {why}.")
    return tuple(known), seconds


def _provider_distributions(
    rows: Sequence[Sequence[TrainingSequence]], answers: Sequence[Answer], spelled: dict[bytes, int]
) -> list[tuple[TeacherDistribution, ...]]:
    """Distributions from a provider's log-probabilities; empty where tokens differ from ours."""
    known: list[tuple[TeacherDistribution, ...]] = []
    for own, answer in zip(rows, answers, strict=True):
        taught = match_tokens(own[0], answer.tokens or (), spelled) if len(own) == 1 else None
        known.append(() if taught is None else (taught,))
    return known


def _local_distributions(
    context: Context,
    asked: _TeacherRun,
    engine: TransformersBatchEngine,
    learned: Sequence[Example],
    rows: Sequence[Sequence[TrainingSequence]],
    requests: Sequence[Request],
) -> tuple[list[tuple[TeacherDistribution, ...]], float]:
    """Distributions of a local teacher, for rows that it tokenises as the student does."""
    spelled = [sequences([e], engine.template, asked.agent.prompt) for e in learned]
    alike = [
        place
        for place, (theirs, ours) in enumerate(zip(spelled, rows, strict=True))
        if [_trained(row) for row in theirs] == [_trained(row) for row in ours]
    ]
    flat = [(place, row) for place in alike for row in spelled[place]]
    last = {place: at for at, (place, _) in enumerate(flat)}
    width = engine.model.get_output_embeddings().weight.shape[0]
    grammars = Grammars(engine.loaded.tokenizer, width, engine.template.stop_ids)

    def allowed(at: int) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
        place, row = flat[at]
        return _allowed(grammars, requests[place], row, width) if last[place] == at else None

    taught, seconds = read_top(
        engine.model,
        [row for _, row in flat],
        asked.folder,
        identity={**engine.identity, "agent": asked.agent.id},
        vocabulary=len(engine.loaded.tokenizer),
        tokens=context.config.fine_tune.tokens_per_pass,
        allowed=allowed,
        progress=context.progress,
    )
    known: list[tuple[TeacherDistribution, ...]] = [() for _ in rows]
    for (place, _), one in zip(flat, taught, strict=True):
        known[place] = (*known[place], one)
    return known, seconds


def _trained(row: TrainingSequence) -> list[int]:
    return [token for token, counts in zip(row.ids[1:], row.trained[1:], strict=True) if counts]


def _allowed(
    grammars: Grammars, request: Request, row: TrainingSequence, width: int
) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """Bool [n, V], what the constraint allowed at each trained token of the last turn.

    None where there was none, and where it would not have let these tokens through.
    """
    constraint = grammars.constraint(request.schema, request.choices)
    if constraint is None:
        return None
    start = len(row.ids)
    while start and row.trained[start - 1]:
        start -= 1
    answer = row.ids[start:]
    masks = np.ones((row.trained_tokens, width), dtype=np.bool_)
    for place, token in enumerate(answer, start=len(masks) - len(answer)):
        mask = grammars.masks([constraint], width)
        if mask is None or not mask[0, token]:
            return None
        masks[place] = mask[0]
        if place < len(masks) - 1:
            constraint.accept(token)
    return masks
