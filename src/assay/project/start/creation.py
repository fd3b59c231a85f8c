"""Writes a drafted project's folder and opens it."""

from __future__ import annotations

import shutil
from pathlib import Path

from assay.config import KnowledgeSection
from assay.errors import DataError, Step
from assay.progress import SILENT, Progress
from assay.project.project import Project
from assay.project.sizes import token_lengths, token_limits
from assay.project.start.init import KNOWLEDGE, Draft, write_project


def create(drafted: Draft, *, folder: Path | None = None, progress: Progress = SILENT) -> Project:
    """Write a drafted project (its folder is its name, in the current one) and open it."""
    from assay.chat.template import Template

    template, context = Template.load(drafted.choices.model, progress)
    prompt = drafted.proposal.system_prompt
    sample = drafted.examples[:: max(1, len(drafted.examples) // 1000)]
    lengths = [token_lengths(example, template, prompt) for example in sample]
    passages = max(KnowledgeSection(paths=[KNOWLEDGE]).ks) if drafted.choices.documents else 0
    new, most = token_limits(lengths, context, passages)
    target = folder or Path(drafted.name)
    write_project(target, drafted, max_new_tokens=new, max_tokens=most)
    return Project(target)


def create_divided(
    drafted: Draft, folder: Path | None = None, *, progress: Progress = SILENT
) -> Project:
    """As `create`; nothing is left unless the examples can be divided.

    Raises:
        UsageError: the folder is there already.
        DataError: the examples cannot be divided; names the file that was given.
    """
    made = create(drafted, folder=folder, progress=progress)
    try:
        made.split(progress)
    except BaseException as error:
        shutil.rmtree(made.root)
        if isinstance(error, DataError):
            given, data = drafted.choices, made.config.data
            for file, brought in ((data.file, given.data), (data.holdout, given.holdout)):
                if file is not None:
                    error.calling(str(made.root / file), file)
                    error.calling(file, str(brought))
            error.calling(str(Step.CHECK_DATA), str(Step.CHECK_FILE))
        raise
    return made
