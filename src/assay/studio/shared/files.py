"""Files that a browser sends, and why one of them was not taken."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from nicegui import events, ui
from nicegui.element import Element
from nicegui.elements.upload_files import FileUpload

from assay.accounts.people import NotAllowedError, SignedOutError
from assay.errors import AssayError, UsageError
from assay.studio import widgets as w
from assay.studio.dialogs import ToldError, advise, close_notices

LARGEST_MIB = 512
"""Of a file: with the form around it, it fits into what `access` lets in."""
NAMED = 5
"""Files that are named where the browser does not take them."""


def file_picker(
    label: str,
    on_file: Callable[[events.UploadEventArguments], Any] | None = None,
    *,
    on_files: Callable[[events.MultiUploadEventArguments], Any] | None = None,
    style: str = "picked-only",
    kind: str = "",
    icon: str = "folder_open",
    accept: str = "",
    multiple: bool = False,
    most: int | None = None,
    refusal: str = "This file cannot be added.",
    on_refused: Callable[[AssayError], object] = lambda error: advise(str(error)),
) -> ui.upload:
    """A button that opens the browser's dialog for files, and a place to drop them on.

    A file that has come in, or could not, leaves the browser's queue: the queue refuses a file that
    is in it, and the same file may be brought again, changed or after a removal.

    Args:
        on_files: takes several files at once.
        style: `drop-target` where files can be dropped; else only the button is seen.
        accept: endings that may be chosen, with commas between them; empty: any.
        most: files at a time.
        refusal: why a file is not accepted, where it is not because it is being sent already.
        on_refused: called with that, and the file's name, when the browser does not take it.
    """
    upload = ui.upload(
        on_upload=on_file,
        on_multi_upload=on_files,
        auto_upload=True,
        multiple=multiple,
        max_files=most,
        max_file_size=LARGEST_MIB * 2**20,
    ).classes(style)
    if accept:
        upload.props["accept"] = accept

    def refuse(event: events.GenericEventArguments) -> None:
        reasons, names = event.args
        on_refused(explain_refusal(reasons, names, refusal))

    upload.on("rejected", refuse, js_handler=_REJECTED)
    upload.on("uploaded", lambda: upload.run_method("removeUploadedFiles"), args=[])
    upload.on("failed", lambda: upload.run_method("removeQueuedFiles"), args=[])
    with w.row():
        w.button(label, lambda: upload.run_method("pickFiles"), kind=kind, icon=icon)
    return upload


def explain_refusal(reasons: Any, names: Sequence[str], refusal: str) -> AssayError:
    """Why the browser did not take files.

    Args:
        reasons: names of the limits that files do not keep to, as Quasar's uploader names them.
        names: of the files.
        refusal: why, where they are not being uploaded already.
    """
    several = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    told = {
        "duplicate": "This file is being uploaded already.",
        "max-file-size": f"This file is larger than {LARGEST_MIB} MiB, the most that can be "
        "uploaded.",
    }
    said = told.get(reasons[0], refusal) if len(reasons) == 1 else refusal
    return UsageError(said, where=f"{', '.join(names[:NAMED])}{several}")


_REJECTED = """(files) => emit(
    [...new Set(files.map((one) => one.failedPropValidation))], files.map((one) => one.file.name)
)"""


@asynccontextmanager
async def save_files(files: Sequence[FileUpload]) -> AsyncIterator[list[Path]]:
    """Files of a browser on disk, with their endings, while they are used; errors name them as the
    browser does."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            Path(folder) / f"{number}{Path(file.name).suffix}" for number, file in enumerate(files)
        ]
        for file, path in zip(files, paths, strict=True):
            await file.save(path)
        try:
            yield paths
        except AssayError as error:
            for file, path in zip(files, paths, strict=True):
                error.calling(str(path), file.name)
            raise


def tell_failure(box: Element, title: str, error: AssayError) -> None:
    """Says in a box why a file was not taken, in the place of what went wrong before it."""
    close_notices()
    with w.refill(box):
        w.failure(error, title)


@contextmanager
def failures_in(box: Element, title: str) -> Iterator[None]:
    """Says in a box, which is emptied, why a file was not taken: it stays while the file is being
    mended.

    Raises:
        ToldError: in the place of an error that is said there.
    """
    box.clear()
    try:
        yield
    except (SignedOutError, NotAllowedError, ToldError):
        raise
    except AssayError as error:
        if not box.is_deleted:
            with w.refill(box):
                w.failure(error, title)
        raise ToldError(error.what) from error
