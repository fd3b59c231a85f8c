"""Files of fine-tuned models that somebody has already, beside an account or without one.

They are named on the command line and kept in `jobs.jsonl` of the folder of the projects, so that
the next call, for another model, leaves none out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.data.read import detect, read
from assay.errors import DataError, StoreError, UsageError
from assay.rescue import dates
from assay.store.files import write_atomic

FILE = "jobs.jsonl"
FORMATS = ("openai-chat", "openai-preference")
"""That OpenAI takes for fine-tuning."""
_LONGEST = 300
_MOST = 1000


@dataclass(frozen=True, slots=True)
class TuningFiles:
    """What a fine-tuned model was trained on.

    Attributes:
        model: its name: ft:BASE:...
        training, validation: absolute paths; no validation file: None.
    """

    model: str
    training: str
    validation: str | None = None

    @property
    def found(self) -> dict[str, Any]:
        """What an account would say of its job."""
        parts = self.model.split(":")
        base = parts[1] if parts[0] == "ft" and len(parts) > 1 else None
        end = dates.announced_end(base) if base else None
        return {
            "model": self.model,
            "base": base,
            "ends": end,
            "ends_according_to": dates.SOURCE if end else "unknown",
            "job": None,
            "method": None,
        }


def name_files(model: str, training: Path, validation: Path | None = None) -> TuningFiles:
    """The files of a model, looked at.

    Raises:
        UsageError: the name is none, or a file is not there.
        DataError: a file is not of a form that OpenAI takes.
    """
    if not model.strip() or len(model) > _LONGEST or not model.isprintable():
        raise UsageError(
            "this is no name of a model.", fix="Give it as OpenAI shows it: --job ft:BASE:ORG::ID."
        )
    for file in (training, validation):
        if file is not None:
            _check(file)
    held = None if validation is None else str(validation.absolute())
    return TuningFiles(model, str(training.absolute()), held)


def _check(file: Path) -> None:
    if not file.is_file():
        raise UsageError("there is no such file.", where=str(file))
    format = detect(file).format
    if format in FORMATS:
        return
    where, why = str(file), "."
    for row in read(file, FORMATS[0]):
        if row.problems:
            where, why = f"{file}, line {row.line}", f": {row.problems[0].message}"
            break
    raise DataError(
        f"the file is {format}, not one that OpenAI trains on{why}",
        where=where,
        fix='Give JSONL with "messages" in each line. `assay init` makes a project of other files.',
    )


def read_files(to: Path) -> dict[str, TuningFiles]:
    """Those that were named before, by model.

    Raises:
        StoreError: their list is damaged.
    """
    file = to / FILE
    if not file.exists():
        return {}
    try:
        lines = file.read_text("utf-8").splitlines()[:_MOST]
        found = [TuningFiles(**json_reader.read(line)) for line in lines]
    except (ValueError, TypeError, OSError) as error:
        raise StoreError(
            f"the list of training files is damaged ({error}).",
            where=str(file),
            fix="Remove it, and name the files again.",
        ) from None
    return {one.model: one for one in found}


def keep_files(to: Path, files: dict[str, TuningFiles]) -> None:
    """Keep them for the next call."""
    write_atomic(to / FILE, "".join(_lines(files)), private=True)


def _lines(files: dict[str, TuningFiles]) -> Iterator[str]:
    for one in files.values():
        yield json.dumps(asdict(one)) + "\n"
