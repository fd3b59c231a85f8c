"""Files on their way from a browser: which, and how much of them has come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nicegui import events, ui

from assay.quantities import say_count
from assay.studio.words import format_size

_ADDED = "(files) => emit(files.map((one) => [one.__key, one.name, one.size]))"
_SENDING = """({files, xhr}) => {
  let told = 0;
  xhr.upload.addEventListener("progress", (event) => {
    const now = Date.now();
    if (event.loaded < event.total && now - told < 300) return;
    told = now;
    emit(files[0].__key, event.total ? event.loaded / event.total : 0);
  });
}"""
"""Each file is sent by a request of its own, of which the browser tells several times a second."""


@dataclass(slots=True)
class _File:
    """One that is being sent; `share` of it has left the browser."""

    name: str
    bytes: int
    share: float = 0.0


class UploadProgress:
    """What is being sent by a `ui.upload`, as its browser tells it.

    Args:
        begun: called when files are going to be sent and none was being sent before.
        changed: called whenever more has come, and at the end.
    """

    def __init__(
        self, upload: ui.upload, begun: Callable[[], None], changed: Callable[[], None]
    ) -> None:
        self._files: dict[str, _File] = {}
        self._begun, self._changed = begun, changed
        upload.on("added", lambda event: self.add(event.args), js_handler=_ADDED)
        upload.on("uploading", self._note, js_handler=_SENDING)
        upload.on("finish", self.end, args=[])

    def __bool__(self) -> bool:
        return bool(self._files)

    def add(self, files: Sequence[tuple[str, str, int]]) -> None:
        """Files that are going to be sent.

        Args:
            files: key, name and bytes of each.
        """
        if not self._files:
            self._begun()
        self._files |= {key: _File(name, bytes) for key, name, bytes in files}
        self._changed()

    def note(self, key: str, share: float) -> None:
        """So much of one has been sent."""
        if key in self._files:
            self._files[key].share = share
            self._changed()

    def end(self) -> None:
        """Nothing is being sent any more."""
        self._files = {}
        self._changed()

    def _note(self, event: events.GenericEventArguments) -> None:
        self.note(*event.args)

    @property
    def share(self) -> float | None:
        """Of all that is being sent, from 0 to 1; None where nothing is."""
        total = sum(one.bytes for one in self._files.values())
        return self._sent() / total if total else None

    def describe(self) -> str:
        """What is being sent, and how much of it has come, in a sentence."""
        files = list(self._files.values())
        first = next((one for one in files if one.share < 1), files[-1])
        named = f"“{first.name}”"
        if others := len(files) - 1:
            named += f" and {say_count(others, 'other document')}"
        total = sum(one.bytes for one in files)
        return f"Uploading {named}: {format_size(round(self._sent()))} of {format_size(total)}."

    def _sent(self) -> float:
        return sum(one.share * one.bytes for one in self._files.values())
