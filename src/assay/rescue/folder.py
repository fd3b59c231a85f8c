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
fine-tuning-jobs.jsonl       one job a line
fine-tuning-jobs/ID/         job.json, events.jsonl, checkpoints.jsonl
evals.jsonl                  one eval a line
evals/ID/                    runs.jsonl, and RUN.output-items.jsonl for each run
chat-completions.jsonl       one stored completion a line
chat-completions/ID.messages.jsonl
                             the messages that it answered

Every line is the JSON that the server sent, no field left out.
A name that ends with .part is a list that is not whole yet.
"""


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

    Raises:
        UsageError: it holds other files.
        StateError: another process writes to it.
    """
    folder = folder.absolute()
    if folder.exists():
        if not folder.is_dir():
            raise UsageError("this is a file.", where=str(folder), fix="Name a new folder.")
        others = {one.name for one in folder.iterdir()} - {".lock", ".gitignore", "README.txt"}
        if others and MANIFEST not in others and not all(one.startswith(".") for one in others):
            raise UsageError(
                "the folder holds other files.",
                where=str(folder),
                fix="Name a new folder, or one that this command has written.",
            )

    def occupied() -> None:
        raise StateError("another process is writing to this folder.", where=str(folder))

    with said_when_full(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chmod(folder, 0o700)
    with one_at_a_time(folder / ".lock", occupied):
        for left in folder.rglob(".*" + PART):  # of a process that was killed
            if left.is_file() or left.is_symlink():
                left.unlink()
        write_atomic(folder / ".gitignore", "*\n", private=True)
        write_atomic(folder / "README.txt", _ABOUT, private=True)
        yield folder


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
