"""What Releases offers to add to the examples, without a browser."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from nicegui import Client, ui
from nicegui.elements.mixins.text_element import TextElement
from nicegui.page import page

from assay.project.addition import Addition
from assay.project.releases.corrections import UnaddedCorrections
from assay.studio.pages.releases.correction_additions import CorrectionAdditions, add_examples
from assay.studio.session import PageContext


def offer(name: str) -> UnaddedCorrections:
    return UnaddedCorrections(f"data/{name}", 1, 0, 0, 0)


def test_of_looks_at_once_the_first_and_the_latest_read_and_the_latest_is_shown() -> None:
    """And the file is added that the offer speaks of, unless its corrections have changed since."""
    done: list[Any] = []

    async def use() -> list[str]:
        readings = [asyncio.Future[UnaddedCorrections | None]() for _ in range(6)]
        coming = iter(readings)

        async def read(*_: object) -> UnaddedCorrections | None:
            return await next(coming)

        async def do(act: object, file: Path, *_: object) -> Addition:
            done.append((act, file.name))
            return Addition("data/q.csv", 1, 0, 0, 0, ())

        config = SimpleNamespace(data=SimpleNamespace(file="data/q.csv"))
        workspace = SimpleNamespace(config=config, root=Path("/folder"))
        context = SimpleNamespace(may=lambda _: True, read=read, do=do, workspace=workspace)
        with Client(page("/")) as client:
            additions = CorrectionAdditions(cast("PageContext", context), "desk")

            def said() -> list[str]:
                shown = client.elements.values()
                return [one.text for one in shown if isinstance(one, TextElement)]

            looks = []
            for _ in range(3):
                looks.append(asyncio.create_task(additions.look()))
                await asyncio.sleep(0)
            readings[0].set_result(offer("old.jsonl"))
            readings[1].set_result(offer("new.jsonl"))  # the second look is not the latest either
            await asyncio.wait_for(asyncio.gather(*looks), timeout=60)
            assert any("new.jsonl" in text for text in said())
            assert not any("old.jsonl" in text for text in said())
            [button] = [one for one in client.elements.values() if isinstance(one, ui.button)]
            assert button.parent_slot is not None
            assert "flow" in button.parent_slot.parent.classes, "else it is as wide as the card"
            for reading, found in enumerate(("later.jsonl", "last.jsonl", "last.jsonl"), 2):
                readings[reading].set_result(offer(found))
            readings[5].set_result(None)
            await additions._add(offer("new.jsonl"))
            assert any("last.jsonl" in text for text in said())
            await additions._add(offer("last.jsonl"))
            assert not any("can become training data" in text for text in said())
            return said()

    said = asyncio.run(use())
    assert done == [(add_examples, "last.jsonl")]
    assert any("It is in data/q.csv, the examples of this project." in text for text in said)
