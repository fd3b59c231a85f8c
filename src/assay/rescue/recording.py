"""The answers of one model that are kept so far: a line is on disk before it is relied on.

    with opened_recording(to, "ft:gpt-4o-mini:acme::abc", "https://api.openai.com/v1") as recording:
        if not recording.has(asked):
            recording.add(answer)

What a line is, `assay.generate.recorded` says. A line that a killed process has cut is dropped.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from assay.errors import DataError, StateError, StoreError, UsageError
from assay.generate.recorded import RecordedAnswer, read_recording
from assay.rescue.folder import RECORDINGS
from assay.store.files import (
    append_durable,
    drop_cut_line,
    one_at_a_time,
    said_when_full,
    write_atomic,
)

_UNSPELLED = re.compile(r"[^a-z0-9]+")
_LONGEST = 60
_PAUSE_S = 60.0
"""Without an answer for so long nobody was recording."""
_LEAST_TIMED = 20


class Recording:
    """A file of recorded answers. One process writes to it, see `opened_recording`.

    Attributes:
        answers: by the hash of their input; their log-probabilities are in the file alone.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.answers: dict[str, RecordedAnswer] = {}
        if file.exists():
            try:
                self.answers = read_recording(file)
            except DataError as error:
                raise StoreError(
                    f"a recorded answer is damaged: {error.what}", where=error.where, fix=error.fix
                ) from None

    def has(self, input_sha256: str) -> bool:
        """Whether the model has answered this input."""
        return input_sha256 in self.answers

    def add(self, answer: RecordedAnswer) -> None:
        """Keep an answer; it is on disk afterwards."""
        append_durable(self.file, json.dumps(answer.to_dict()).encode() + b"\n")
        answer = replace(answer, answer=replace(answer.answer, tokens=None), turns=(), tools=())
        self.answers[answer.input_sha256] = answer

    def check_address(self, base_url: str) -> None:
        """Refuse to mix answers from two addresses.

        Raises:
            UsageError: the recording is of another one.
        """
        known = {one.base_url for one in self.answers.values()} - {base_url}
        if known:
            raise UsageError(
                f"these answers were recorded from {min(known)}, not from {base_url}.",
                where=str(self.file),
                fix="Name another folder.",
            )

    def seconds_per_answer(self) -> float | None:
        """As the last answers came, several requests at a time; None: too few have."""
        times = sorted(one.at for one in self.answers.values())[-200:]
        gaps = [b - a for a, b in pairwise(times) if b - a < _PAUSE_S]
        return sum(gaps) / len(gaps) if len(gaps) >= _LEAST_TIMED else None


def recording_file(folder: Path, model: str) -> Path:
    """Where the answers of a model are kept in a folder: absolute, links resolved."""
    spelled = spell(model)[:_LONGEST].strip("-")
    return folder.resolve() / RECORDINGS / f"{spelled}-{short_digest(model)}.jsonl"


def folder_of(file: Path) -> Path:
    """The folder that a recording's file is kept in, which `recording_file` takes."""
    return file.parent.parent


def spell(text: str) -> str:
    """A text as part of a file's name: lower-case letters, digits, single hyphens; never empty."""
    return _UNSPELLED.sub("-", text.lower()).strip("-") or "model"


def short_digest(text: str) -> str:
    """Eight hex digits that tell apart texts which are spelled, or cut, alike."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


@contextmanager
def opened_recording(folder: Path, model: str, base_url: str) -> Iterator[Recording]:
    """The recording of a model, to be added to by one process at a time.

    Raises:
        StateError: another process adds to it.
        StoreError: a line is damaged.
        UsageError: it was made from another address.
    """
    file = recording_file(folder, model)

    def occupied() -> None:
        raise StateError("another process is recording this model.", where=str(file))

    with said_when_full(file):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.parent.mkdir(exist_ok=True, mode=0o700)
    os.chmod(file.parent, 0o700)
    with one_at_a_time(file.with_suffix(".lock"), occupied):
        if not (file.parent / ".gitignore").exists():
            write_atomic(file.parent / ".gitignore", "*\n", private=True)
        drop_cut_line(file)
        recording = Recording(file)
        recording.check_address(base_url)
        yield recording
