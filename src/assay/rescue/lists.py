"""Lists of an account, page by page, into a file of one JSON value a line.

Each page is on disk, and in the manifest, before the next one is asked for: a killed run goes on
behind the last of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assay.quantities import say_count
from assay.rescue.client import AccountClient, RefusedError, TooLargeError
from assay.rescue.folder import PART, as_json, rows
from assay.rescue.manifest import Entry, Manifest
from assay.store.files import append_durable, replacing, sha256_file, write_atomic

LIMIT = 100
"""Objects of a page; fewer where so many are too large for one reply."""

MOST_OBJECTS = 10_000_000
"""Of a list: a server may invent pages without end."""
SMALL_LIMIT = 20
"""Of a server that refuses the other one."""
OnPage = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class AccountList:
    """A list of an account.

    Attributes:
        id: of what it is about; "" for a list of the account.
        path: of the file, from the folder.
        at: below the base URL.
        is_paged: it comes in pages.
        parameters: of each request, beside those that turn pages.
    """

    kind: str
    id: str
    path: str
    at: str
    is_paged: bool = True
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Page:
    items: list[Any]
    after: str | None


def fetch_list(
    client: AccountClient, manifest: Manifest, wanted: AccountList, on_page: OnPage
) -> None:
    """Bring a list to the folder, or what is missing of it.

    Args:
        on_page: called with the number of objects that have come.

    Raises:
        RefusedError: it cannot be had; what had come of it stays, and is gone on with next time.
        Exception: as `AccountClient.json`.
    """
    entry = manifest.get(wanted.kind, wanted.id)
    file = manifest.folder / wanted.path
    part = file.with_name(file.name + PART)
    if entry is None or entry.after is None or entry.is_read or not part.exists():
        if entry is not None and entry.is_read and (part.exists() or file.exists()):
            _end(manifest, entry, file, part)  # killed between the last page and the end
            return
        entry = Entry(wanted.kind, wanted.id, wanted.path, "partial", count=0)
        part.unlink(missing_ok=True)
    resumed_at = entry.after
    pages = _pages(client, wanted, entry.after, entry.count or 0)
    while True:
        try:
            page = next(pages)
        except RefusedError as error:
            if resumed_at is None or entry.after != resumed_at or error.status not in (400, 404):
                raise
            # Most likely the object behind which the list goes on was deleted meanwhile.
            _fetch_anew(client, manifest, wanted, entry, on_page)
            return
        resumed_at = None
        data = b"".join(map(as_json, page.items))
        count = (entry.count or 0) + len(page.items)
        on_page(len(page.items))
        if not count or (entry.after is None and page.after is None):
            write_atomic(file, data, private=True)
            _put_whole(manifest, entry, file, count)
            return
        size = append_durable(part, data, at=entry.bytes)
        entry = Entry(
            *(wanted.kind, wanted.id, wanted.path, "partial"),
            bytes=size,
            count=count,
            after=page.after or entry.after,
            is_read=page.after is None,
        )
        manifest.put(entry)
        if entry.is_read:
            _end(manifest, entry, file, part)
            return


def _fetch_anew(
    client: AccountClient, manifest: Manifest, wanted: AccountList, entry: Entry, on_page: OnPage
) -> None:
    """A list from its start; what had come of it stays until it is whole, and what of that is gone
    from the account by now comes behind it."""
    file = manifest.folder / wanted.path
    part = file.with_name(file.name + PART)
    seen, count, gone = set(), 0, 0
    with replacing(file, private=True) as written:
        for page in _pages(client, wanted, None, 0):
            for item in page.items:
                seen.add(_key(item))
                written.write(as_json(item))
            count += len(page.items)
            on_page(len(page.items))
        for item in rows(part, entry.bytes):
            if _key(item) not in seen:
                written.write(as_json(item))
                gone += 1
    were = say_count(gone, "of its objects was", "of its objects were")
    note = f"{were} deleted while it was fetched" if gone else None
    _put_whole(manifest, entry, file, count + gone, note)
    part.unlink()


def _key(item: Any) -> str:
    id = item.get("id") if isinstance(item, dict) else None
    return id if isinstance(id, str) else as_json(item).decode()


def _pages(
    client: AccountClient, wanted: AccountList, after: str | None, count: int
) -> Iterator[_Page]:
    """Pages behind an object up to the last one, asked for as the server takes it.

    Args:
        count: of the objects before.
    """
    limit, seen = LIMIT, {after}
    while True:
        try:
            page = _ask(client, wanted, after, limit)
        except TooLargeError as error:
            if not wanted.is_paged or limit == 1:
                raise TooLargeError(f"one object is too large: {error.reason}") from None
            limit //= 2
            continue
        except RefusedError as error:  # of what servers differ in
            if error.status != 400 or error.parameter not in ("limit", "order"):
                raise
            if error.parameter == "order" and wanted.parameters:
                wanted = replace(wanted, parameters={})
            elif error.parameter == "limit" and limit > SMALL_LIMIT:
                limit = SMALL_LIMIT
            else:
                raise
            continue
        if page.after in seen and page.after is not None:
            raise RefusedError("the server gives the same page again and again.", 200)
        count += len(page.items)
        if count > MOST_OBJECTS:
            raise RefusedError(f"it has more than {MOST_OBJECTS} objects; the rest is not here.")
        seen.add(page.after)
        yield page
        if page.after is None:
            return
        after = page.after


def _end(manifest: Manifest, entry: Entry, file: Path, part: Path) -> None:
    """Give a list its name."""
    if part.exists():
        with part.open("rb+") as written:
            written.truncate(entry.bytes)
        os.replace(part, file)
    _put_whole(manifest, entry, file, entry.count)


def _put_whole(
    manifest: Manifest, entry: Entry, file: Path, count: int | None, note: str | None = None
) -> None:
    size = file.stat().st_size
    manifest.put(
        Entry(
            *(entry.kind, entry.id, entry.path, "complete"),
            bytes=size,
            sha256=sha256_file(file),
            count=count,
            note=note,
        )
    )


def _ask(client: AccountClient, wanted: AccountList, after: str | None, limit: int) -> _Page:
    asked: dict[str, Any] = dict(wanted.parameters)
    if wanted.is_paged:
        asked |= {"limit": limit} | ({} if after is None else {"after": after})
    tree = client.json(wanted.at, asked)
    items = tree.get("data") if isinstance(tree, dict) else None
    if not isinstance(items, list):
        raise RefusedError("the reply is no list: it has no `data`.", 200)
    # Without `has_more`, OpenAI's own client asks on until a page is empty.
    if not wanted.is_paged or not items or tree.get("has_more") is False:
        return _Page(items, None)
    last = items[-1]
    cursor = last.get("id") if isinstance(last, dict) else None
    if not isinstance(cursor, str):
        cursor = tree.get("last_id")
    if isinstance(cursor, str) and 0 < len(cursor) <= 1000:
        if cursor == after and tree.get("has_more") is not True:  # it knows no pages
            return _Page([], None)
        return _Page(items, cursor)
    raise RefusedError("the list has more pages, but its last object has no id.", 200)
