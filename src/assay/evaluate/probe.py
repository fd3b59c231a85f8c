"""The probe of general ability: short texts to predict and instructions to follow, built in.

    forgetting_of(version_id, engines)

puts it to a version and to its base. Nothing of the project enters: no system prompt, no data, and
the base's own chat template. What a model scored is kept in the project's state by its weights, so
that the base is probed once, however many versions are trained from it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version as installed
from typing import Any

from pydantic import ValidationError

from assay import builtin, json_reader
from assay.agent.agent import Agent
from assay.agent.engines import BatchEngines
from assay.chat.template import Template
from assay.config import GraderSpec
from assay.config.strict import Strict
from assay.errors import ModelError
from assay.evaluate.forgetting import (
    Forgetting,
    GeneralAbility,
    InstructionAnswer,
    ParagraphLoss,
    forgetting,
)
from assay.evaluate.graders import GradingContext, grade
from assay.example import Example, Message, json_sha256
from assay.generate.batch import Request
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.models.device import best_device
from assay.models.versions import load_version
from assay.progress import SILENT, Progress
from assay.store.files import write_atomic

SCORING = 1
"""Raised when the same model would get another account of the same probe."""
ANSWER_TOKENS = 40


class Paragraph(Strict):
    """A short text to predict."""

    id: str
    kind: str
    text: str


class Instruction(Strict):
    """An instruction whose answer a grader checks by rule.

    Attributes:
        expected: for graders that compare with a reference.
        labels, output_schema: for graders that need them.
    """

    id: str
    kind: str
    prompt: str
    grader: GraderSpec
    expected: str = ""
    labels: list[str] | None = None
    output_schema: dict[str, Any] | None = None

    def followed(self, answer: str) -> bool:
        """Whether the answer is wholly what was asked for."""
        context = GradingContext(labels=self.labels, output_schema=self.output_schema)
        example = Example.of(self.prompt, self.expected)
        return grade(self.grader, [answer], [example], context).scores == [1.0]


class Probe(Strict):
    """All that is asked; `digest` changes with it and with how it is scored."""

    digest: str
    paragraphs: tuple[Paragraph, ...]
    instructions: tuple[Instruction, ...]


@cache
def read_probe() -> Probe:
    """The built-in paragraphs and instructions, and the hash of both."""
    data = builtin.general().read_bytes()
    rows = [json_reader.read(line) for line in data.decode().splitlines()]
    return Probe(
        digest=hashlib.sha256(b"%d %d\n" % (SCORING, ANSWER_TOKENS) + data).hexdigest(),
        paragraphs=tuple(Paragraph(**row) for row in rows if "text" in row),
        instructions=tuple(Instruction(**row) for row in rows if "prompt" in row),
    )


def forgetting_of(version: str, engines: BatchEngines, progress: Progress = SILENT) -> Forgetting:
    """What a version lost of its base's general ability.

    Args:
        version: its id in the state folder of `engines`.

    Raises:
        ModelError: the version or its base cannot be loaded, or a loss is not a number.
    """
    found = load_version(engines.store, version)
    progress.say("Looking for what the tuned model forgot")
    tuned = _kept_account(f"version:{found.id}", found.id, engines, progress)
    base = _kept_account(found.record.base, found.record.base_sha256, engines, progress)
    return forgetting(base, tuned)


def take_account(engine: TransformersBatchEngine, progress: Progress = SILENT) -> GeneralAbility:
    """Put the probe to a model.

    Raises:
        ModelError: its loss on a paragraph is not a number.
    """
    probe = read_probe()
    return GeneralAbility(
        probe=probe.digest,
        paragraphs=_predict(engine, probe.paragraphs),
        instructions=_answer(engine, probe.instructions, progress),
    )


def _kept_account(
    model: str, weights: str, engines: BatchEngines, progress: Progress
) -> GeneralAbility:
    """The account of `model`, taken once for these weights on this kind of machine."""
    key = {
        "probe": read_probe().digest,
        "weights": weights,
        "dtype": engines.dtype,
        "device": best_device(),
        "torch": installed("torch"),
        "transformers": installed("transformers"),
    }
    name = json_sha256(key)
    path = engines.store.folder / "cache" / "general" / f"{name}.json"
    try:
        return GeneralAbility.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        account = take_account(_plain(engines, model), progress)
    write_atomic(path, account.model_dump_json(indent=2) + "\n")
    return account


def _plain(engines: BatchEngines, model: str) -> TransformersBatchEngine:
    """The model with the chat template that its base came with, whatever a version froze."""
    engine = engines.here.for_agent(Agent(model=model))
    if not isinstance(engine, TransformersBatchEngine):
        raise ModelError("only a model on this machine can be probed.", where=model)
    template = Template.of(engine.loaded.tokenizer)
    if template.sha256 == engine.template.sha256:
        return engine
    return TransformersBatchEngine(engine.loaded, template, device=engine.device)


def _predict(
    engine: TransformersBatchEngine, paragraphs: Sequence[Paragraph]
) -> tuple[ParagraphLoss, ...]:
    """Every token of a paragraph but the first, from those before it; no chat template."""
    from assay.train.sequences import TrainingSequence
    from assay.train.step import sequence_logps

    limit = engine.loaded.context_length
    tokenizer = engine.loaded.tokenizer
    spelled = [tokenizer(one.text, verbose=False)["input_ids"][:limit] for one in paragraphs]
    rows = [TrainingSequence(ids, [True] * len(ids)) for ids in spelled]
    losses = (-sequence_logps(engine.model, rows)).tolist()
    if not all(map(math.isfinite, losses)):
        raise ModelError(
            "its loss on plain text is not a number.",
            where=engine.loaded.ref,
            fix="Train again with a lower learning rate.",
        )
    return tuple(
        ParagraphLoss(kind=paragraph.kind, tokens=row.trained_tokens, nats=loss)
        for paragraph, row, loss in zip(paragraphs, rows, losses, strict=True)
    )


def _answer(
    engine: TransformersBatchEngine, instructions: Sequence[Instruction], progress: Progress
) -> tuple[InstructionAnswer, ...]:
    requests = [
        Request((Message("user", instruction.prompt),), max_new_tokens=ANSWER_TOKENS)
        for instruction in instructions
    ]
    answers = engine.answer(requests, progress)
    return tuple(
        InstructionAnswer(
            kind=instruction.kind,
            instruction=instruction.prompt,
            answer=answer.text,
            followed=instruction.followed(answer.text),
        )
        for instruction, answer in zip(instructions, answers, strict=True)
    )
