"""The proposed project on Start, without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nicegui import Client, ui
from nicegui.elements.mixins.text_element import TextElement
from nicegui.page import page

from assay.data.propose import Proposal
from assay.errors import DataError
from assay.project.start import example_file, from_file
from assay.project.start.from_file import FileProjectOptions
from assay.project.workspace import Workspace
from assay.studio.pages.start import new_project
from assay.studio.pages.start.new_project import ProposalStep
from assay.studio.pages.start.proposal_form import list_gone
from assay.studio.session import PageContext
from tests.small import write_csv


def propose(workspace: Workspace, file: Path, options: FileProjectOptions) -> Proposal:
    found = from_file.look(workspace, file, options).draft
    assert found is not None
    return found.proposal


@pytest.mark.parametrize("error", [None, DataError("the disk is full.")])
def test_the_page_that_was_clicked_follows_the_creation(
    tmp_path: Path, error: DataError | None
) -> None:
    workspace, refreshed, told = Workspace(tmp_path), [], []
    example_file.keep_file(workspace, "pets.csv", write_csv(tmp_path / "pets.csv"))

    def shown(client: Client) -> list[str]:
        found = client.elements.values()
        texts = [one for one in found if isinstance(one, TextElement)]
        return [one.text for one in texts if all(a.visible for a in [one, *one.ancestors()])]

    async def click() -> None:
        async def do(act: Callable[..., Any], *_: Any) -> None:
            assert act is new_project.create_project
            told.extend(shown(client))
            if error is not None:
                raise error

        async def read(*_: Any) -> list[str]:
            return []

        async def refresh() -> None:
            refreshed.append(True)

        with Client(page("/")) as client:
            context = SimpleNamespace(workspace=workspace, do=do, read=read, may=lambda _: False)
            step = ProposalStep(cast(PageContext, context), refresh, "The last try failed.")
            await step.show()
            with step._proposed:
                ui.label("the form")
            assert shown(client)[0] == "The last try failed."
            with suppress(DataError):
                await step._create(FileProjectOptions())
            assert error is None or shown(client) == ["the form"]  # with what was typed into it

    asyncio.run(click())
    assert "Creating the project" in told
    assert "Reading the file …" in told
    assert not {"the form", "The last try failed."} & set(told)
    assert bool(refreshed) == (error is None)


async def _act(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[ProposalStep], Awaitable[None]],
) -> tuple[FileProjectOptions, list[str]]:
    """What is wanted after an act on the page, and all texts that it shows."""
    monkeypatch.setattr("nicegui.core.loop", asyncio.get_running_loop())

    async def do(act: Callable[..., Any], *args: Any) -> int:
        assert act is new_project.rename_labels
        return example_file.rename_labels(workspace, *args)

    async def read(act: Callable[..., Any], *args: Any) -> Any:
        return act(workspace, *args)

    async def refresh() -> None: ...

    with Client(page("/")) as client:
        context = SimpleNamespace(
            workspace=workspace, do=do, read=read, may=lambda _: False, title="Start"
        )
        step = ProposalStep(cast(PageContext, context), refresh)
        step._shown, step._proposed = ui.element(), ui.element()
        await act(step)
        texts = [one for one in client.elements.values() if isinstance(one, TextElement)]
        return step._wanted, [one.text for one in texts]


def test_why_there_is_no_project_is_said_in_words_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, source = Workspace(tmp_path), tmp_path / "same.csv"
    source.write_text("text,label\n" + "".join(f"message {n},same\n" for n in range(12)))
    example_file.keep_file(workspace, "same.csv", source)
    _, told = asyncio.run(_act(workspace, monkeypatch, ProposalStep._inspect))
    assert "Add rows with other outputs, or press “Choose other columns”." in told
    assert not any("--" in text for text in told)


def test_a_new_name_of_a_label_does_not_change_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    file = example_file.keep_file(workspace, "pets.csv", write_csv(tmp_path / "pets.csv"))
    before = propose(workspace, file, FileProjectOptions())
    assert before.labels is not None
    label = before.labels[0]
    name = "x" * 500

    def rename(step: ProposalStep) -> Awaitable[None]:
        return step._rename({label: name})

    wanted, told = asyncio.run(_act(workspace, monkeypatch, rename))
    assert propose(workspace, file, FileProjectOptions()).task == "text"
    assert propose(workspace, file, wanted).task == "label"
    assert any("The task seems to be: sort messages into labels." in text for text in told)
    found = from_file.look(workspace, file, FileProjectOptions(kept_task="label", task="text"))
    assert found.draft is not None
    assert found.draft.proposal.task == "text"  # which was chosen since


def test_a_name_that_still_looks_like_a_label_leaves_the_reason_of_the_task(
    tmp_path: Path,
) -> None:
    workspace = Workspace(tmp_path)
    file = example_file.keep_file(workspace, "pets.csv", write_csv(tmp_path / "pets.csv"))
    proposed = propose(workspace, file, FileProjectOptions())
    assert "sorting into labels" in proposed.reasons[0]
    kept = propose(workspace, file, FileProjectOptions(kept_task="label"))
    assert kept.reasons == proposed.reasons


def test_a_label_that_a_prompt_still_names_is_found_without_its_spaces() -> None:
    prompt = "Name the desk:\n- repairs\n- reparis\n- bill"
    labels = ["repairs ", "repairs", "reparis ", "billing"]
    assert list_gone(prompt, labels, ["repairs", "billing "]) == ["reparis"]
