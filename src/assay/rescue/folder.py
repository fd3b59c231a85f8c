"""The folder that an account is brought to: private, and with names that no server chooses.

    evals/eval_1/runs.jsonl

An id from a server becomes a part of a path only where it is letters, digits, `-` and `_`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assay import json_reader
from assay.errors import StateError, UsageError
from assay.store.files import one_at_a_time, said_when_full, write_atomic

MANIFEST = "manifest.jsonl"
RECORDINGS = "recordings"
"""Within it: answers of models that will end, one file a model (`rescue/recording.py`)."""
PART = ".part"
"""What the name of a list ends with that is not whole yet."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", re.ASCII)
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}", re.ASCII)
_ABOUT = """\
This folder was written by `assay rescue openai`. It holds a copy of what an account at OpenAI held.

IT HOLDS USER DATA: prompts, answers, training examples and files as your users and colleagues wrote
them. Only the user who fetched it can read it. Do not put it into a repository or a shared folder;
delete it when nobody needs it any more.

report.md                    what was fetched, what was not and why, and what to do next
report.json                  the same for programs
manifest.jsonl               each list and file: size, sha256, when it was fetched
models.jsonl                 one model a line, as OpenAI describes it
files.jsonl                  one file record a line
files/ID.*                   contents of files for fine-tuning and evals
files/ID.record.json         the record of a file that a job or run names and no list has
fine-tuning-jobs.jsonl       one job a line
fine-tuning-jobs/ID/         job.json, events.jsonl, checkpoints.jsonl
evals.jsonl                  one eval a line
evals/ID/                    runs.jsonl, and RUN.output-items.jsonl for each run
chat-completions.jsonl       one stored completion a line
chat-completions/ID.messages.jsonl
                             the messages that it answered
recordings/MODEL.jsonl       answers that `assay rescue record` has kept of a model

Every line, those of recordings/ aside, is the JSON that the server sent, no field left out.
A name that ends with .part is a list that is not whole yet.
"""


VERSION = 1
"""Of what a folder looks like; the first line of its manifest says it."""
_LOCK = ".lock"
_BELOW = ("files/", "fine-tuning-jobs/*/", "evals/*/", "chat-completions/")
_DRAFT = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # as `new_file` names them
_FIRST_DRAFT = re.compile(r"\.manifest\.jsonl\.[a-z0-9_]{8}\.part")
_MOST_FIRST_LINE = 2**16


def is_usable(id: Any) -> bool:
    """Whether an id from a server may be a part of a path and of an address."""
    return isinstance(id, str) and _ID.fullmatch(id) is not None


def suffix_of(name: Any) -> str:
    """The end of a file's name, such as `.jsonl`; "" where it is none that can be used."""
    if not isinstance(name, str) or "." not in name:
        return ""
    end = "." + name.rpartition(".")[2].lower()
    return end if _SUFFIX.fullmatch(end) and end != PART else ""


@contextmanager
def opened(folder: Path) -> Iterator[Path]:
    """A folder to write to, for one process at a time; it is made if there is none.

    Nothing in it is changed: `Manifest.bind` does that, once it has said whose folder it is.

    Raises:
        UsageError: it holds other files.
        StateError: another process writes to it.
    """
    folder = folder.absolute()
    _check_own(folder)

    def occupied() -> None:
        raise StateError("another process is writing to this folder.", where=str(folder))

    with said_when_full(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with one_at_a_time(folder / _LOCK, occupied):
        _check_own(folder)  # once more: now no other process of ours changes it
        os.chmod(folder, 0o700)
        yield folder


def tidy(folder: Path) -> None:
    """Delete what a killed process has left half written, and say what the folder is."""
    for below in ("", *_BELOW):
        for left in folder.glob(f"{below}.*{PART}"):
            if _DRAFT.fullmatch(left.name) and left.is_file() and not left.is_symlink():
                left.unlink()
    write_atomic(folder / ".gitignore", "*\n", private=True)
    write_atomic(folder / "README.txt", _ABOUT, private=True)


def _check_own(folder: Path) -> None:
    """Only what this command has written may be written to: it makes private, replaces, deletes."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError("this is a file.", where=str(folder), fix="Name a new folder.")
    if (folder / MANIFEST).exists():
        version = _version_of(folder / MANIFEST)
        if version is None:
            raise _others(folder, f"its {MANIFEST} was not written by this command.")
        if version > VERSION:
            raise _others(folder, "a newer Assay has written it.")
        return
    for one in folder.iterdir():
        if not _is_before_manifest(one):
            raise _others(folder, "it holds other files.")


def _others(folder: Path, what: str) -> UsageError:
    return UsageError(
        f"this folder cannot be used: {what}",
        where=str(folder),
        fix="Name a new folder, or one that this command has written.",
    )


def _version_of(manifest: Path) -> int | None:
    """Of the folder, by the first line of its manifest; None: that is not ours."""
    try:
        with manifest.open("rb") as lines:
            line = lines.readline(_MOST_FIRST_LINE)
        tree = json_reader.read(line) if line.endswith(b"\n") else None
    except (OSError, ValueError):
        return None
    if not isinstance(tree, dict) or not isinstance(tree.get("base_url"), str):
        return None
    version = tree.get("version")
    return version if type(version) is int and version > 0 else None


def _is_before_manifest(file: Path) -> bool:
    """Whether it is what a process leaves that dies before the manifest has its first line."""
    if file.name == RECORDINGS and file.is_dir() and not file.is_symlink():
        return True
    if file.is_symlink() or not file.is_file():
        return False
    is_lock = file.name == _LOCK and file.stat().st_size == 0
    return is_lock or _FIRST_DRAFT.fullmatch(file.name) is not None


def rows(file: Path, most_bytes: int | None = None) -> Iterator[Any]:
    """The values of a list that was written here; nothing where there is no such file.

    Args:
        most_bytes: only so many from the start of the file.
    """
    if not file.exists():
        return
    read = 0
    with file.open("rb") as lines:
        for line in lines:
            read += len(line)
            if most_bytes is not None and read > most_bytes:
                return
            yield json_reader.read(line)


def as_json(value: Any, *, indent: int | None = None) -> bytes:
    """A value that a server sent, as JSON with a line's end."""
    try:
        return (json.dumps(value, ensure_ascii=False, indent=indent) + "\n").encode()
    except UnicodeEncodeError:  # half a character, which JSON can spell and UTF-8 cannot
        return (json.dumps(value, indent=indent) + "\n").encode()
