"""How many rows a project has, and how many tokens they have: what an estimate is made from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from assay.candidates.spec import PASSAGE_TOKENS, Sizes
from assay.config import Config
from assay.config.names import file_of
from assay.data.split import SplitManifest, load_train
from assay.evaluate.dialogues import dialogues_of
from assay.evaluate.graders.judge import read_pairs
from assay.example import Example
from assay.models.show import describe, embedding_parameters
from assay.prefix.tree import common_length
from assay.progress import Progress
from assay.project.embedding import indexed_documents, with_encoders

if TYPE_CHECKING:
    from assay.chat.template import Template, TokenSequence
    from assay.project.project import Project

SAMPLE = 300
"""Rows of train whose tokens are counted."""


def project_sizes(project: Project, progress: Progress) -> Sizes:
    """The sizes of a project with those of its encoders, see `Project.sizes`."""
    config, manifest = project.config, project.split(progress)
    template, context = project.template
    sizes = sizes_of(
        load_train(project.split_folder),
        config,
        template,
        context,
        describe(config.model, progress).parameters,
        manifest=manifest,
        root=project.root,
    )
    documents = indexed_documents(project.store, project.owner, config, project.pin)
    return with_encoders(sizes, config, documents, progress)


def sizes_of(
    train: Sequence[Example],
    config: Config,
    template: Template,
    context: int,
    parameters: float,
    *,
    manifest: SplitManifest,
    root: Path,
) -> Sizes:
    """Rows as they are, tokens by rendering a sample of train.

    Args:
        root: the project's folder, in which judges have their pairs.

    Raises:
        ConfigError, DataError: such pairs cannot be read.
    """
    sample = train[:: max(1, len(train) // SAMPLE)][:SAMPLE]
    rows = [_render(example, template, config.system_prompt) for example in sample]
    lengths = [_lengths(row) for row in rows]
    whole = fmean(one for one, _ in lengths)
    answer = fmean(one for _, one in lengths)
    # Of what all rows begin with: their system prompt, and the definitions of functions.
    ids = [row.ids for row in rows]
    shared = common_length(min(ids), max(ids)) if len(ids) > 1 else 0
    system = min(shared, *(one - trained for one, trained in lengths))
    return Sizes(
        train=len(train),
        validation=manifest.validation,
        holdout=manifest.holdout,
        system_tokens=system,
        input_tokens=max(1.0, whole - answer - system),
        output_tokens=answer,
        parameters=parameters,
        context=context,
        embeddings=_trained_embeddings(config),
        unlabelled=0 if config.unlabelled is None else config.unlabelled.most,
        turns=0 if config.rollout is None else _turns(train, manifest.holdout),
        judged={
            spec.label: len(read_pairs(file_of(pairs, root)))
            for spec in config.graders
            if spec.name == "judge" and (pairs := spec.settings.get("pairs")) is not None
        },
    )


def embedding_copies(sizes: Sizes, optimizer: str) -> int:
    """Numbers that training embeddings and head keeps: weights, gradient, the optimiser's state."""
    if not sizes.embeddings:
        return 0
    from assay.train.optimizer import COPIES  # loads torch, which no other estimate needs

    return COPIES[optimizer] * sizes.embeddings


def _trained_embeddings(config: Config) -> int:
    return embedding_parameters(config.model) if config.fine_tune.embeddings == "train" else 0


def _turns(train: Sequence[Example], rows: int) -> int:
    """Turns of the assistant in the dialogues of so many rows, if these are like those of train."""
    return round(rows * sum(len(one.turns) for one in dialogues_of(train)) / len(train))


def token_lengths(example: Example, template: Template, prompt: str) -> tuple[int, int]:
    """(tokens of the whole, tokens of the answer) of one example; earlier answers are no part."""
    return _lengths(_render(example, template, prompt))


def _render(example: Example, template: Template, prompt: str) -> TokenSequence:
    return template.render(example.with_system(prompt).messages, example.tools)


def _lengths(row: TokenSequence) -> tuple[int, int]:
    return len(row.ids), sum(takewhile(bool, reversed(row.trained)))


def token_limits(
    lengths: Sequence[tuple[int, int]], context: int, passages: int = 0
) -> tuple[int, int]:
    """Limits on new tokens and on training tokens that the examples need, with room.

    Args:
        lengths: (tokens of the whole, tokens of the answer) of each example.
        context: the model's context length.
        passages: that may stand beside an example.
    """
    whole = max((total for total, _ in lengths), default=1024)
    answer = max((trained for _, trained in lengths), default=128)
    new = min(context // 2, -(-(answer + 8) // 16) * 16)
    whole += 16 + passages * PASSAGE_TOKENS
    return new, min(context, max(64, -(-whole // 64) * 64))
