"""The unlabelled inputs that assay.yaml names: a file, or the kept traces of a release."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from assay.config import CONFIG_FILE, Unlabelled
from assay.data.gather import address_of
from assay.data.normal import normalise
from assay.data.read import detect
from assay.data.split import load_train, load_validation
from assay.data.unlabelled import UnlabelledInputs, choose_inputs, conversation, read_inputs
from assay.errors import DataError
from assay.example import Example, Message
from assay.progress import SILENT, Progress
from assay.release.traces import traces

if TYPE_CHECKING:
    from assay.project.project import Project


def read_unlabelled(project: Project, progress: Progress = SILENT) -> UnlabelledInputs | None:
    """The inputs, drawn and without twins of train and validation; None where none are named.

    Raises:
        DataError: none are left, or the file cannot be read.
    """
    settings = project.config.unlabelled
    if settings is None:
        return None
    known = load_train(project.split_folder) + load_validation(project.split_folder)
    found = choose_inputs(_inputs(project, settings, progress), known, settings.most, progress)
    if not found.examples:
        raise DataError(
            "no unlabelled inputs are left: there are none, or all are in the training rows.",
            where=f"{CONFIG_FILE}, unlabelled",
            fix="Use other inputs (a file, or a release that keeps traces), or remove "
            "`unlabelled`.",
        )
    return found


def _inputs(project: Project, settings: Unlabelled, progress: Progress) -> Iterator[Example]:
    data = project.config.data
    if settings.file is not None:
        address = address_of(project.root, settings.file)
        columns = data.columns or detect(address_of(project.root, data.file)).columns
        yield from read_inputs(address, columns, progress)
        return
    kept = traces(project.store, project.owner, settings.release, count=settings.most)
    for trace in kept:
        messages = [Message.from_dict(turn) for turn in trace.messages]
        # Requests of one conversation share how it began, and say little more than one of them.
        begun = next((normalise(m.content) for m in messages if m.role == "user"), "")
        example = conversation(messages, trace.id, tools=tuple(trace.tools), group=begun or None)
        if example is not None:
            yield example
