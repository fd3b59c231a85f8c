"""Which inputs a model is asked, in the order of what its answers are worth once it is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from assay.accounts.keys import local_user
from assay.compare.holdout import holdout_inputs, holdout_keys
from assay.config import Columns
from assay.data.gather import address_of
from assay.data.read import detect
from assay.data.split import load_train, load_validation
from assay.data.unlabelled import read_inputs
from assay.errors import UsageError
from assay.example import Example
from assay.generate.recorded import input_sha256
from assay.generate.remote.batch_endpoint import PRICE_SHARE
from assay.progress import SILENT, Progress
from assay.project.project import Project
from assay.rescue.client import Access

Part = Literal["holdout", "validation", "train", "data"]
PARTS: tuple[Part, ...] = get_args(Part)
_SAMPLE = 1000
BEST_FOR: dict[Part, str] = {
    "holdout": "a comparison cannot do without them",
    "validation": "to see where a replacement differs, before the holdout is opened",
    "train": "a teacher's answers, in the place of the rows' own",
    "data": "a teacher's answers to further inputs",
}


@dataclass(frozen=True, slots=True)
class RecordingChoices:
    """What is to be recorded, and how the model is asked.

    Attributes:
        project: whose rows are recorded; None: no project's.
        data: files of further inputs.
        parts: of `PARTS`; the others are left out.
        columns: with the input of a file that has no conversations; None: the project's.
        prompt: the system prompt of rows that bring none; None: the project's, and of a fine-tuned
            model none, which was trained on rows as they are.
        max_new_tokens: None: the project's, else `MAX_NEW_TOKENS`.
        logprobs: whether the tokens' log-probabilities are kept, where they are told.
        batch: whether the provider is given batches, which take up to a day at half the price.
    """

    project: Project | None = None
    data: Sequence[Path] = ()
    parts: Sequence[str] = PARTS
    columns: Columns | None = None
    prompt: str | None = None
    max_new_tokens: int | None = None
    logprobs: bool = True
    batch: bool = False

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in PARTS:
                raise UsageError(
                    f"there is no part {part!r}.", fix=f"Use one of: {', '.join(PARTS)}."
                )
        if self.project is None and not self.data:
            raise UsageError(
                "there is nothing to record.",
                fix="Run it in a project's folder, name one with --project, or files of inputs "
                "with --data.",
            )

    @property
    def price_share(self) -> float:
        """Of the price of single requests that is paid."""
        return PRICE_SHARE if self.batch else 1.0


@dataclass(frozen=True, slots=True)
class PartInputs:
    """The inputs of one part.

    Attributes:
        rows: however often the same is asked.
        hashes: of its inputs, in their order (`input_sha256`); rows that ask the same, in this or
            an earlier part, are one.
        examples: by hash; of the holdout, which stays closed, none.
    """

    part: Part
    rows: int
    hashes: list[str]
    examples: dict[str, Example] = field(default_factory=dict)


def read_parts(choices: RecordingChoices, progress: Progress = SILENT) -> list[PartInputs]:
    """The inputs of each chosen part that has any; the holdout stays closed.

    Raises:
        DataError: a file cannot be read, or the project's rows cannot be divided.
        HoldoutError: the holdout is not the one that was locked.
    """
    found: list[PartInputs] = []
    seen: set[str] = set()

    def fresh(keys: Iterable[str]) -> list[str]:
        new = [one for one in dict.fromkeys(keys) if one not in seen]
        seen.update(new)
        return new

    def add(part: Part, examples: Sequence[Example]) -> None:
        known = {input_sha256(one): one for one in examples}
        hashes = fresh(known)
        shown = {asked: known[asked] for asked in hashes}
        found.append(PartInputs(part, len(examples), hashes, shown))

    project = choices.project
    if project is not None:  # whose rows tell of a file's answers, too
        manifest = project.split(progress)
        folder = project.split_folder
        if "holdout" in choices.parts:
            keys = holdout_keys(folder, manifest.holdout_sha256)
            found.append(PartInputs("holdout", len(keys), fresh(asked for _, asked in keys)))
        loads: tuple[tuple[Part, Callable[[Path], list[Example]]], ...] = (
            ("validation", load_validation),
            ("train", load_train),
        )
        for part, load in loads:
            if part in choices.parts:
                add(part, load(folder))
    if "data" in choices.parts and choices.data:
        columns = choices.columns or _columns(project)
        add("data", [e for file in choices.data for e in read_inputs(file, columns, progress)])
    return found


def typical_rows(choices: RecordingChoices, parts: Sequence[PartInputs]) -> list[Example]:
    """Rows that may be looked at, to tell how long those are that may not."""
    if choices.project is not None:
        return load_validation(choices.project.split_folder)[:_SAMPLE]
    return [example for part in parts for example in part.examples.values()][:_SAMPLE]


def open_holdout_inputs(project: Project, access: Access, model: str) -> dict[str, Example]:
    """The holdout's inputs, by hash, to be sent to a model; it is logged (`holdout_inputs`).

    Raises:
        HoldoutError: it is not the one that was locked.
    """
    manifest = project.split()
    examples = holdout_inputs(
        project.store,
        project.split_folder,
        manifest.holdout_sha256,
        project=project.owner,
        who=local_user(),
        model=model,
        origin=access.provider.origin,
    )
    return {input_sha256(one): one for one in examples}


def _columns(project: Project | None) -> Columns | None:
    if project is None:
        return None
    data = project.config.data
    return data.columns or detect(address_of(project.root, data.file)).columns
