"""How far a download is, told by the folder that it fills, whoever fills it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from assay.progress import Progress
from assay.store.files import folder_bytes

_EVERY_S = 0.1
_MB = 1e6


@contextmanager
def show_growth(folder: Path, label: str, total_bytes: int, progress: Progress) -> Iterator[None]:
    """A task in MB that is as far as the files of `folder` have bytes while the block runs.

    Files that are there at the start count: a download that goes on begins where it was. A block
    that ends without an error ends the task at its total.
    """
    ended, failed = Event(), Event()
    with progress.task(label, total_bytes / _MB, "MB") as task:

        def follow() -> None:
            shown, pause = 0, 0.0  # the first look is at once
            while True:
                is_last = ended.wait(pause)
                pause = _EVERY_S
                has_all = is_last and not failed.is_set()
                now = total_bytes if has_all else min(folder_bytes(folder), total_bytes)
                if now > shown:
                    task.advance((now - shown) / _MB)
                    shown = now
                if is_last:
                    return

        follower = Thread(target=follow, name="download progress", daemon=True)
        follower.start()
        try:
            yield
        except BaseException:
            failed.set()
            raise
        finally:
            ended.set()
            follower.join()
