"""All of an account that will be lost, in the order in which it will be.

    Rescue(client, manifest, progress).run()

What cannot be had is written down with its reason, and everything else goes on.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from assay import json_reader
from assay.progress import Progress
from assay.rescue.client import AccountClient, RefusedError
from assay.rescue.downloads import FILE, WantedFile, fetch_file
from assay.rescue.folder import as_json, is_usable, rows
from assay.rescue.lists import AccountList, fetch_list
from assay.rescue.manifest import Entry, Manifest
from assay.rescue.patience import Patience
from assay.store.files import write_atomic

T = TypeVar("T")

AT_ONCE = 4
"""Requests under way at the same time."""
PURPOSES = ("fine-tune", "fine-tune-results", "evals")
"""Of files that are fetched; others only where a job or a run names them."""
UNUSABLE_ID = "its id is not one that may be part of a path, so it was not asked for."
_OLDEST_FIRST = {"order": "asc"}  # what comes into being meanwhile is at the end

MODELS = AccountList("models", "", "models.jsonl", "/models", is_paged=False)
FILES = AccountList("files", "", "files.jsonl", "/files", parameters=_OLDEST_FIRST)
EVALS = AccountList("evals", "", "evals.jsonl", "/evals", parameters=_OLDEST_FIRST)
JOBS = AccountList("fine-tuning jobs", "", "fine-tuning-jobs.jsonl", "/fine_tuning/jobs")
COMPLETIONS = AccountList(
    *("chat completions", "", "chat-completions.jsonl", "/chat/completions"),
    parameters=_OLDEST_FIRST,
)
JOB, RECORD = "fine-tuning job", "file record"
EVENTS, CHECKPOINTS = "events", "checkpoints"
RUNS, OUTPUT_ITEMS, MESSAGES = "eval runs", "output items", "messages"
PARTS = {
    "models": (MODELS.kind,),
    "evals": (EVALS.kind, RUNS, OUTPUT_ITEMS),
    "files": (FILES.kind, FILE, RECORD),
    "fine-tuning": (JOBS.kind, JOB, EVENTS, CHECKPOINTS),
    "chat completions": (COMPLETIONS.kind, MESSAGES),
}
"""Kinds by the part of the account that they belong to."""


def events_of(job: str) -> AccountList:
    """The events of a fine-tuning job, the newest first."""
    at = f"/fine_tuning/jobs/{job}/events"
    return AccountList(EVENTS, job, f"fine-tuning-jobs/{job}/events.jsonl", at)


def checkpoints_of(job: str) -> AccountList:
    """The checkpoints of a fine-tuning job."""
    at = f"/fine_tuning/jobs/{job}/checkpoints"
    return AccountList(CHECKPOINTS, job, f"fine-tuning-jobs/{job}/checkpoints.jsonl", at)


def runs_of(eval_id: str) -> AccountList:
    """The runs of an eval."""
    at = f"/evals/{eval_id}/runs"
    return AccountList(RUNS, eval_id, f"evals/{eval_id}/runs.jsonl", at, parameters=_OLDEST_FIRST)


def items_of(eval_id: str, run: str) -> AccountList:
    """The output items of a run."""
    path = f"evals/{eval_id}/{run}.output-items.jsonl"
    at = f"/evals/{eval_id}/runs/{run}/output_items"
    return AccountList(OUTPUT_ITEMS, f"{eval_id}/{run}", path, at, parameters=_OLDEST_FIRST)


def messages_of(completion: str) -> AccountList:
    """The messages that a stored completion answered."""
    path = f"chat-completions/{completion}.messages.jsonl"
    at = f"/chat/completions/{completion}/messages"
    return AccountList(MESSAGES, completion, path, at, parameters=_OLDEST_FIRST)


class Rescue:
    """One run: fetches what the manifest does not have."""

    def __init__(self, client: AccountClient, manifest: Manifest, progress: Progress) -> None:
        self._client, self._manifest, self._progress = client, manifest, progress
        self._patience = Patience({kind: part for part, all_ in PARTS.items() for kind in all_})

    def run(self) -> None:
        """Fetch all; what cannot be had is in the manifest afterwards.

        Raises:
            OutageError: the server cannot be asked any more for now.
            AssayError: as `AccountClient.json`, or the disk is full.
        """
        self._account_list(MODELS)
        self._account_list(EVALS)  # what closes first comes first
        self._lists("evals", (runs_of(id) for id in self._ids(EVALS, RUNS)))
        self._lists("eval runs", (items_of(*pair) for pair in self._runs()))
        self._account_list(FILES)
        self._account_list(JOBS)
        jobs = list(self._ids(JOBS, JOB))
        self._each("fine-tuning jobs", jobs, JOB, str, self._job)
        self._lists("events of jobs", map(events_of, jobs))
        self._lists("checkpoints of jobs", map(checkpoints_of, jobs))
        self._files()
        self._account_list(COMPLETIONS)
        self._lists("messages", map(messages_of, self._ids(COMPLETIONS, MESSAGES)))

    def _account_list(self, wanted: AccountList) -> None:
        self._patience.begin()
        with self._progress.task(f"list of {wanted.kind}", None, "objects") as task:
            self._list(wanted, task.advance)

    def _lists(self, label: str, wanted: Iterator[AccountList]) -> None:
        lists = list(wanted)
        if not lists:
            return
        self._each(label, lists, lists[0].kind, lambda one: one.id, self._list)

    def _each(
        self,
        label: str,
        all_: Sequence[T],
        kind: str,
        id_of: Callable[[T], str],
        fetch: Callable[[T], None],
    ) -> None:
        """Fetch several at the same time; those that are complete are not asked for."""
        with self._progress.task(label, len(all_), "done") as task:
            missing = []
            for one in all_:
                if self._manifest.is_complete(kind, id_of(one)):
                    task.advance()
                else:
                    missing.append(one)
            self._at_once(missing, fetch, lambda: task.advance())

    def _at_once(
        self, all_: Sequence[T], fetch: Callable[[T], None], done: Callable[[], None]
    ) -> None:
        self._patience.begin()
        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="rescue") as pool:
            try:
                for one in all_:
                    waiting.append(pool.submit(fetch, one))
                    if len(waiting) >= 4 * AT_ONCE:
                        waiting.popleft().result()
                        done()
                while waiting:
                    waiting.popleft().result()
                    done()
            except BaseException:
                self._client.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _list(self, wanted: AccountList, on_page: Callable[[int], None] = lambda _: None) -> None:
        if not self._manifest.is_complete(wanted.kind, wanted.id):
            empty = Entry(wanted.kind, wanted.id, wanted.path, "partial")
            fetch = partial(fetch_list, self._client, self._manifest, wanted, on_page)
            self._noting(empty, fetch)

    def _noting(self, entry: Entry, fetch: Callable[[], T]) -> T | None:
        """Do it; what is refused is written down, beside what is known of it already."""
        try:
            self._patience.check()
        except RefusedError as error:
            self._put_refused(entry, error)
            return None
        try:
            found = fetch()
        except RefusedError as error:
            self._put_refused(entry, error)
            if self._patience.refused(entry.kind, error):
                raise self._client.outage(
                    f"one part of it after the other fails: {error.reason}"
                ) from None
            return None
        self._patience.answered()
        return found

    def _put_refused(self, entry: Entry, error: RefusedError) -> None:
        known = self._manifest.get(entry.kind, entry.id) or replace(entry, path=None)
        self._manifest.put(
            replace(known, status="failed", reason=error.reason, http_status=error.status)
        )

    def _ids(self, wanted: AccountList, kind: str) -> Iterator[str]:
        """Ids of a list's objects, each once; one that is no name for a file is written down and
        left out.

        Args:
            kind: of what is asked for by the id.
        """
        seen = set()
        for value in _values(self._manifest, wanted.kind, wanted.id):
            id = value.get("id") if isinstance(value, dict) else None
            if is_usable(id):
                if id not in seen:
                    seen.add(id)
                    yield str(id)
            else:
                self._refuse_id(kind, wanted.id, id)

    def _refuse_id(self, kind: str, within: str, id: Any) -> None:
        shown = f"{within}/{self._client.clean(ascii(id)[:200])}".lstrip("/")
        if self._manifest.get(kind, shown) is None:
            self._manifest.put(Entry(kind, shown, None, "failed", reason=UNUSABLE_ID))

    def _runs(self) -> Iterator[tuple[str, str]]:
        for eval_id in self._ids(EVALS, RUNS):
            for run in self._ids(runs_of(eval_id), OUTPUT_ITEMS):
                yield eval_id, run

    def _job(self, id: str) -> None:
        """The job's own record, which says more than the list where a server leaves parts out."""
        path = f"fine-tuning-jobs/{id}/job.json"
        self._record(Entry(JOB, id, path, "complete"), f"/fine_tuning/jobs/{id}")

    def _record(self, entry: Entry, at: str) -> Any:
        """One object as a file of indented JSON."""

        def fetch() -> Any:
            tree = self._client.json(at)
            if not isinstance(tree, dict):
                raise RefusedError("the reply is no JSON object.", 200)
            file = self._manifest.folder / str(entry.path)
            data = as_json(tree, indent=2)
            write_atomic(file, data, private=True)
            digest = hashlib.sha256(data).hexdigest()
            self._manifest.put(replace(entry, bytes=len(data), sha256=digest, count=1))
            return tree

        return self._noting(entry, fetch)

    def _files(self) -> None:
        wanted = list(self._wanted_files())
        missing = [one for one in wanted if not self._manifest.is_complete(FILE, one.id)]
        left = sum(one.bytes or 0 for one in missing)
        total = sum(one.bytes or 0 for one in wanted)
        lock = Lock()
        with self._progress.task("files", total / 2**20, "MiB") as task:
            task.advance((total - left) / 2**20)

            def advance(size: int) -> None:
                with lock:
                    task.advance(size / 2**20)

            self._at_once(missing, partial(self._file, on_bytes=advance), _nothing)

    def _file(self, wanted: WantedFile, on_bytes: Callable[[int], None]) -> None:
        if not wanted.record:  # named by a job or a run, and on no list
            record = self._file_record(wanted.id)
            if record is None:
                return
            wanted = WantedFile(wanted.id, record)
        fetch = partial(fetch_file, self._client, self._manifest, wanted, on_bytes)
        self._noting(Entry(FILE, wanted.id, wanted.path, "partial"), fetch)

    def _file_record(self, id: str) -> dict[str, Any] | None:
        """Of a file that no list has; None: it cannot be had, which is written down."""
        entry = Entry(RECORD, id, f"files/{id}.record.json", "complete")
        if self._manifest.is_complete(RECORD, id):
            with suppress(ValueError):
                known = json_reader.read((self._manifest.folder / str(entry.path)).read_bytes())
                if isinstance(known, dict):
                    return known
        record: dict[str, Any] | None = self._record(entry, f"/files/{id}")
        refused = self._manifest.get(RECORD, id)
        if record is None and refused is not None:
            why = RefusedError(str(refused.reason), refused.http_status)
            self._put_refused(Entry(FILE, id, None, "failed"), why)
        return record

    def _wanted_files(self) -> Iterator[WantedFile]:
        """Files by purpose, and those that jobs and runs name."""
        named, seen = dict.fromkeys(self._named_files()), set()
        for row in self._rows(FILES):
            id = row.get("id")
            is_named = isinstance(id, str) and id in named
            if not is_named and row.get("purpose") not in PURPOSES:
                continue
            if not is_usable(id):
                self._refuse_id(FILE, "", id)
            elif id not in seen:
                seen.add(id)
                yield WantedFile(str(id), row)
        yield from (WantedFile(id, {}) for id in named if id not in seen)

    def _named_files(self) -> Iterator[str]:
        for job in self._rows(JOBS):
            yield from self._usable(files_of_job(job))
        for eval_id in self._ids(EVALS, RUNS):
            for run in self._rows(runs_of(eval_id)):
                source = run.get("data_source")
                inner = source.get("source") if isinstance(source, dict) else None
                if isinstance(inner, dict) and inner.get("type") == "file_id":
                    yield from self._usable([inner.get("id")])

    def _rows(self, wanted: AccountList) -> Iterator[dict[str, Any]]:
        return read_rows(self._manifest, wanted.kind, wanted.id)

    def _usable(self, ids: Sequence[Any]) -> Iterator[str]:
        for id in ids:
            if is_usable(id):
                yield str(id)
            elif id:
                self._refuse_id(FILE, "", id)


def _nothing() -> None:
    """What is told as it comes is not told again."""


def files_of_job(job: dict[str, Any]) -> list[Any]:
    """Ids of a job's training, validation and result files, as the server says them."""
    results = job.get("result_files")
    return [
        *(job.get("training_file"), job.get("validation_file")),
        *(results if isinstance(results, list) else ()),
    ]


def read_rows(manifest: Manifest, kind: str, id: str) -> Iterator[dict[str, Any]]:
    """The objects of a list of a folder, as far as they have come; other values are left out."""
    return (value for value in _values(manifest, kind, id) if isinstance(value, dict))


def _values(manifest: Manifest, kind: str, id: str) -> Iterator[Any]:
    found = manifest.list_file(kind, id)
    return rows(*found) if found else iter(())
