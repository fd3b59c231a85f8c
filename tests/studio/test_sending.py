"""Files on their way: what is said, and what a browser tells while a line is slow."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nicegui import Client, ui
from nicegui.elements.mixins.text_element import TextElement
from nicegui.page import page
from playwright.sync_api import Browser, expect

from assay.errors import UsageError
from assay.knowledge.failures import FailedDocument
from assay.project.knowledge import documents
from assay.project.workspace import Workspace
from assay.studio import widgets as w
from assay.studio.session import PageContext
from assay.studio.shared import upload
from assay.studio.shared.files import explain_refusal
from assay.studio.shared.sending import UploadProgress
from assay.studio.shared.upload import DocumentUpload
from tests.studio.browsing import Studio
from tests.studio.signing_in import signed_in


def test_what_is_sent_and_how_much_of_it_has_come() -> None:
    told: list[str] = []
    with Client(page("/sending")):
        sending = UploadProgress(
            ui.upload(),
            lambda: told.append("begun"),
            lambda: told.append(sending.describe() if sending else ""),
        )
    assert (bool(sending), sending.share) == (False, None)
    sending.add([("1", "a.pdf", 3_000_000), ("2", "b.pdf", 1_000_000), ("3", "c.pdf", 0)])
    sending.note("1", 0.5)
    assert sending.share == pytest.approx(1.5 / 4)
    sending.note("1", 1.0)
    sending.note("gone", 0.5)
    sending.end()
    assert told == [
        "begun",
        "Uploading “a.pdf” and 2 other documents: 0 bytes of 4.0 MB.",
        "Uploading “a.pdf” and 2 other documents: 1.5 MB of 4.0 MB.",
        "Uploading “b.pdf” and 2 other documents: 3.0 MB of 4.0 MB.",
        "",
    ]


def test_what_could_not_be_read_stays_until_it_is_dismissed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(UsageError, match=r"\.png files cannot be read"):
        documents.keep(workspace, "documents", "photo.png", tmp_path)
    failed = documents.failures(workspace, "documents")

    async def reload() -> list[list[str]]:
        monkeypatch.setattr("nicegui.core.loop", asyncio.get_running_loop())

        async def changed() -> None: ...

        with Client(page("/reloaded")) as client:
            upload = DocumentUpload(cast(PageContext, None), "documents", changed)
            told = []
            for now in (failed, failed, []):  # also when others have been read meanwhile
                upload.show_failed(now)
                texts = [one for one in client.elements.values() if isinstance(one, TextElement)]
                told.append([one.text for one in texts if "photo.png: " in one.text])
            return told

    once, again, dismissed = asyncio.run(reload())
    assert once == again == [f"photo.png: {failed[0].reason}"]
    assert dismissed == []
    documents.dismiss_failure(workspace, "documents", "photo.png")
    assert documents.failures(workspace, "documents") == []


def test_documents_that_wait_are_read_when_showing_those_before_has_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    indexed: list[list[str]] = []
    told: list[str] = []
    monkeypatch.setattr(upload, "QUIET_S", 0)
    monkeypatch.setattr(upload, "show_error", lambda error: told.append(str(error)))

    async def bring() -> None:
        monkeypatch.setattr("nicegui.core.loop", asyncio.get_running_loop())

        async def changed() -> None:
            raise UsageError("the list cannot be read.")

        async def index(sources: list[Any]) -> None:
            indexed.append(sources)
            if len(indexed) == 1:
                place._waiting.append(cast(Any, "second"))

        with Client(page("/waiting")):
            place = DocumentUpload(cast(PageContext, None), "documents", changed)
            monkeypatch.setattr(place, "_index", index)
            place._waiting.append(cast(Any, "first"))
            await place._work()

    asyncio.run(bring())
    assert indexed == [["first"], ["second"]]
    assert told == ["the list cannot be read."] * 2


def test_what_was_read_only_in_part_is_counted_until_it_is_dismissed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("whole.pdf", "partly.pdf", "broken.pdf")
    reasons = {"partly.pdf": "page 2 has no text.", "broken.pdf": "it is damaged."}
    added = [FailedDocument(name, reason) for name, reason in reasons.items()]
    hashes = iter(({}, {"whole.pdf": "1", "partly.pdf": "2"}))
    dismissals: list[Callable[[], Awaitable[None]]] = []
    button = w.button

    def note(label: str, click: Any = None, **given: Any) -> ui.button:
        dismissals.extend([click] if label == "Dismiss" else [])
        return button(label, click, **given)

    async def read(*_: Any) -> Any:
        return next(hashes)

    async def do(*_: Any) -> Any:
        return SimpleNamespace(failed=added)

    async def changed() -> None: ...

    async def bring() -> list[str]:
        monkeypatch.setattr("nicegui.core.loop", asyncio.get_running_loop())
        monkeypatch.setattr(w, "button", note)
        context = cast(PageContext, SimpleNamespace(read=read, do=do))
        with Client(page("/brought")):
            upload = DocumentUpload(context, "documents", changed)
            upload._begin_batch()
            for name in names:
                upload._replace(name, upload._line(name, "uploaded", upload._batch))
            upload._brought = upload._done = len(names)
            await upload._index([cast(Any, SimpleNamespace(document=name)) for name in names])
            upload._show()
            told = [upload._head.text]
            await dismissals[0]()
            told.append(upload._head.text)
            for name in ("whole.pdf", "broken.pdf"):  # elsewhere on the page, only what failed
                upload.forget_failure(name)
            assert list(upload._lines) == ["whole.pdf"]
            return [*told, upload._head.text]

    assert asyncio.run(bring()) == [
        "2 of 3 files could not be read, or only in part.",
        "1 of 2 files could not be read, or only in part.",
        "All files processed.",
    ]


def test_a_file_that_the_browser_does_not_take_is_named() -> None:
    refused = explain_refusal(["accept"], ["photo.png"], "Examples have to be CSV.")
    assert str(refused) == "photo.png: Examples have to be CSV."
    refused = explain_refusal(["duplicate"], [f"{n}.csv" for n in range(7)], "")
    assert str(refused).startswith("0.csv, 1.csv, 2.csv, 3.csv, 4.csv and 2 more: This file is")


@pytest.mark.slow
def test_a_bar_shows_how_far_documents_are_uploaded(
    browser: Browser, up: Studio, tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("one.bmp", "two.bmp")]
    for file in files:
        file.write_bytes(b"BM" + bytes(1_500_000))
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.open("/knowledge")
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_text("Drop documents here")).to_be_visible()
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 3e5}
        line = page.context.new_cdp_session(page)
        line.send("Network.emulateNetworkConditions", slow)
        page.locator("input[type=file]").set_input_files(files)
        said = page.get_by_text(
            re.compile(r"^Uploading “\w+.bmp” and 1 other document: .* of 3.0 MB")
        )
        expect(said).to_be_visible(timeout=60_000)
        bar = page.get_by_role("progressbar", name="Uploading documents")
        expect(bar).to_have_attribute("aria-valuenow", re.compile(r"^[1-9]\d$"))
        visitor.axe()
        failed = page.get_by_text("2 of 2 files could not be read, or only in part.")
        expect(failed).to_be_visible(timeout=120_000)
        expect(bar).to_be_hidden()
        line.detach()
