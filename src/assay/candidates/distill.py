"""Distillation: a teacher answers the training inputs, and its answers are what is learned.

The teacher is any model an engine answers for: a larger local model, or a version. It is asked as
the project asks every model, with the agent's own system prompt, constrained where that is
possible, greedily. Its answers are kept like those of an evaluation, so a killed run asks only for
what is missing.

What is learned is text (sequence-level distillation, Kim & Rush 2016, arXiv:1606.07947). Where the
teacher's log-probabilities are known, an answer weighs by the geometric mean of its tokens'
probabilities: one that the teacher was unsure of, or was forced into by a constraint, counts less.
The teacher's distribution over other tokens is not used.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from assay.agent.engines import Engines
from assay.agent.runtime import assemble
from assay.candidates.building import Context
from assay.errors import ConfigError, DataError, ModelError
from assay.evaluate.run import incomplete, run
from assay.example import Example, Message
from assay.generate.engine import Answer


def taught(context: Context) -> tuple[Example, ...]:
    """The training examples with the teacher's answers as targets; without a teacher, as they are.

    Answers that were cut at `generate.max_new_tokens` or are empty are left out; so are examples
    whose target calls tools, which no answer text can replace.

    Raises:
        ConfigError: a teacher together with a method that learns from preferences.
        DataError: no answer is fit to be learned.
        ModelError: the teacher cannot be loaded, or did not answer everything.
    """
    settings = context.config.fine_tune
    if settings.teacher is None:
        return context.train
    if settings.method != "sft":
        raise ConfigError(
            f"a teacher gives answers, and method {settings.method} learns from judgements.",
            where="assay.yaml, fine_tune.teacher",
            fix="Use method: sft, or remove the teacher.",
        )
    answers = _answers(context, settings.teacher)
    if failed := incomplete(answers):
        reason = next(answer.error for answer in answers if answer.finish == "error")
        raise ModelError(
            f"the teacher {settings.teacher} left {failed} of {len(answers)} inputs unanswered "
            f"({reason}).",
            fix="The same command again asks for these only.",
        )
    reasons: Counter[str] = Counter()
    kept = []
    for example, answer in zip(context.train, answers, strict=True):
        reason = _unfit(example, answer)
        if reason:
            reasons[reason] += 1
        else:
            kept.append(with_answer(example, answer))
    left_out = "; ".join(f"{count} {reason}" for reason, count in reasons.items())
    if not kept:
        raise DataError(
            f"the teacher {settings.teacher} gave no answer fit to be learned: {left_out}.",
            fix="Raise generate.max_new_tokens, or choose another teacher.",
        )
    if left_out:
        context.progress.say(f"Left out of the teacher's {len(answers)} answers: {left_out}.")
    return tuple(kept)


def with_answer(example: Example, answer: Answer) -> Example:
    """The example with an answer as its target, weighed by how sure the teacher was of it."""
    sure = 1.0
    if answer.logprob is not None and answer.completion_tokens:
        sure = math.exp(answer.logprob / answer.completion_tokens)
    return replace(
        example,
        messages=(*example.prompt, Message("assistant", answer.text)),
        weight=example.weight * sure,
        references=(),
        rejected=(),
        desirable=None,
    )


def _unfit(example: Example, answer: Answer) -> str | None:
    """Why an answer must not be learned; None where it may be."""
    if example.target.tool_calls:
        return "whose target calls tools"
    if answer.finish == "length":
        return "cut at generate.max_new_tokens"
    if not answer.text.strip():
        return "empty"
    return None


def _answers(context: Context, teacher: str) -> list[Answer]:
    agent = context.chat_agent(model=teacher)
    possible = agent.output_schema is not None or agent.choices is not None
    if possible and context.config.generate.constrained != "off":
        agent = agent.model_copy(update={"constrained": True})
    # Engines of its own: a large teacher is not held in memory while its student trains.
    engines = Engines(context.store, dtype=context.config.generate.dtype, keep=1)
    return run(
        assemble(agent, context.train, context.store),
        engines.for_agent(agent),
        agent_id=agent.id,
        folder=context.store.folder / "runs",
        progress=context.progress,
    )
