"""Files of fine-tuned models that somebody has already, beside an account or without one.

They are named on the command line, or brought to a server (`uploads.py`), and kept in `jobs.jsonl`
of the folder of the projects, beside the account, so that the next call, for another model, leaves
none out.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.data.read import detect, read
from assay.errors import DataError, Step, StoreError, UsageError
from assay.rescue import dates
from assay.rescue.recording import short_digest, spell
from assay.store.files import write_atomic

FILE = "jobs.jsonl"
JOB = "job.json"
"""In a project: of which model it is, and of which training file."""
FORMATS = ("openai-chat", "openai-preference")
"""That OpenAI takes for fine-tuning."""
LONGEST_MODEL = 300
"""Characters of a model's name."""
_LONGEST_FOLDER = 40
_MOST, _MOST_BYTES = 1000, 4_000_000


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
    def entry(self) -> dict[str, Any]:
        """As `fine_tuned_models` lists a model of an account."""
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
    check_model(model)
    for file in (training, validation):
        if file is not None:
            check_file(file)
    held = None if validation is None else str(validation.absolute())
    return TuningFiles(model, str(training.absolute()), held)


def check_model(model: str) -> None:
    """Raises UsageError where a text is no name of a model."""
    if not model.strip() or len(model) > LONGEST_MODEL or not model.isprintable():
        raise UsageError(
            "this is no name of a model.", fix="Give it as OpenAI shows it: ft:BASE:ORG::ID."
        )


def check_file(file: Path) -> None:
    """See that a file is of a form that OpenAI takes; raises as `name_files`."""
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
        fix=f'Give JSONL with "messages" in each line. {Step.OTHER_EXAMPLES}.',
    )


@dataclass(slots=True)
class Sources:
    """What the projects of a folder are made from, as named in this call and earlier ones.

    Attributes:
        account: folder of the account that was fetched; None: there is none.
        files: by model.
    """

    account: Path | None
    files: dict[str, TuningFiles]


def read_sources(to: Path) -> Sources:
    """The sources that were named before.

    Raises:
        StoreError: its list is damaged.
    """
    file, found = to / FILE, Sources(None, {})
    if not file.exists():
        return found
    try:
        for line in _read(file).splitlines():
            fields = json_reader.read(line)
            if any(not isinstance(one, str | None) for one in fields.values()):
                raise TypeError("a name is no text")
            if "account" in fields:
                found.account = Path(fields["account"])
            else:
                one = TuningFiles(**fields)
                found.files[one.model] = one
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise _damaged(file, error, "Remove it, and name the files again.") from None
    return found


def keep_sources(to: Path, sources: Sources) -> None:
    """Keep them for the next call.

    Raises:
        UsageError: they are more than may be named.
    """
    rows = [] if sources.account is None else [{"account": str(sources.account)}]
    rows += [asdict(one) for one in sources.files.values()]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if len(sources.files) > _MOST or len(text) > _MOST_BYTES:
        raise UsageError(
            f"more than {_MOST} models, or too long paths, are named for this folder.",
            where=str(to),
            fix="Name another folder with --to.",
        )
    write_atomic(to / FILE, text, private=True)


@dataclass(frozen=True, slots=True)
class ProjectJob:
    """Whose project a folder is, and the sha256 (hex) of the file that its examples are."""

    model: str
    training_sha256: str


def read_job(folder: Path) -> ProjectJob | None:
    """Whose project a folder is; None where nothing says it.

    Raises:
        StoreError: what says it is damaged.
    """
    file = folder / JOB
    if not file.exists():
        return None
    try:
        found = ProjectJob(**json_reader.read(_read(file)))
        if not (isinstance(found.model, str) and isinstance(found.training_sha256, str)):
            raise TypeError("a name is no text")
    except (ValueError, TypeError, OSError) as error:
        raise _damaged(file, error, "Move its project away; it is made anew.") from None
    return found


def keep_job(folder: Path, job: ProjectJob) -> None:
    """Say in a folder whose project it is."""
    write_atomic(folder / JOB, json.dumps(asdict(job)) + "\n", private=True)


def name_project(model: str, to: Path, taken: set[str]) -> str:
    """A folder's name for a model: its suffix and id, or all of it, and a number if need be, where
    a project of that name is another model's.

    A name that is cut ends with a digest, so that it is the same whatever other models there are.
    """
    parts = [part for part in model.split(":")[3:] if part] or [model]
    name = spell("-".join(parts))
    if len(name) > _LONGEST_FOLDER:
        digest = short_digest(model)
        name = f"{name[: _LONGEST_FOLDER - len(digest) - 1].strip('-')}-{digest}"
    number, chosen = 1, name
    while chosen in taken or ((job := read_job(to / chosen)) is not None and job.model != model):
        number += 1
        chosen = f"{name}-{number}"
    taken.add(chosen)
    return chosen


def _read(file: Path) -> str:
    with file.open("rb") as lines:
        found = lines.read(_MOST_BYTES + 1)
    if len(found) > _MOST_BYTES:
        raise ValueError(f"it is longer than {_MOST_BYTES} bytes")
    return found.decode()


def _damaged(file: Path, error: Exception, fix: str) -> StoreError:
    return StoreError(
        f"what is said of fine-tuning jobs is damaged ({error}).", where=str(file), fix=fix
    )
