"""Settings: assay.yaml as a form and as text, checked as the command line checks it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nicegui import ui

from assay.config import CONFIG_FILE, Config, config_schema
from assay.errors import AssayError
from assay.project import settings
from assay.project.answer import names as served
from assay.project.settings import SettingsDraft, StaleSettingsError, Validation
from assay.project.settings.redaction import without_secrets
from assay.studio.frame import Page
from assay.studio.pages.settings.form import SettingsForm
from assay.studio.session import Visit, action, is_admin
from assay.studio.shared.form_and_text import FormAndText, Reopen, Seen
from assay.studio.widgets import (
    button,
    card,
    empty,
    failure,
    heading,
    link,
    moment,
    row,
    somebody,
    text,
    title,
    waiting,
)


@action("viewer")
def newest(visit: Visit) -> SettingsDraft:
    """assay.yaml as it is now; to who may only look, without what could be a key."""
    draft = settings.read(visit.workspace)
    return draft if visit.may("editor") else replace(draft, text=without_secrets(draft.text))


@action("viewer")
def validate(visit: Visit, content: str) -> Validation:
    """What a text says, and what would follow from it."""
    return settings.validate(visit.workspace, content, admin=is_admin(visit))


@action("viewer")
def models(visit: Visit) -> list[str]:
    """Models that can be specialised."""
    return served.base_models(visit.workspace, visit.workspace.name)


@action("editor")
def save(visit: Visit, content: str, based_on: str, message: str) -> tuple[str, ...]:
    """Write assay.yaml; what follows from it."""
    admin = is_admin(visit)
    found = settings.validate(visit.workspace, content, admin=admin)
    settings.save(visit.workspace, content, based_on=based_on, message=message, admin=admin)
    return found.follows


class Editing(FormAndText[Config, SettingsDraft]):
    """The settings in one browser tab.

    Args:
        follows: filled with what follows from a save.
    """

    WHAT = "The settings as text"
    UNDER = "assay.yaml, all of it. Ctrl-Space offers settings and values."
    STALE = StaleSettingsError

    def __init__(
        self,
        visit: Visit,
        draft: SettingsDraft,
        models: list[str],
        follows: list[str],
        reopen: Reopen,
    ) -> None:
        self._models, self._followed = models, follows
        super().__init__(visit, draft, reopen)

    def _build_form(self) -> SettingsForm:
        return SettingsForm(self._put, self._models, open=self._open)

    def _build_more(self) -> None:
        with card("follows") as self._effects:
            heading("What a save would mean")
            self._sentences = ui.element("div").classes("stack").props("role=status")
        self._effects.set_visibility(False)
        self._notes = ui.element("div").classes("stack")

    def _completions(self) -> Mapping[str, Any]:
        return settings.completions()

    async def _look_at(self, content: str) -> Seen[Config]:
        found = await self._visit.do(validate, content)
        return Seen(found.config, found.problems, found)

    async def _saw(self, seen: Seen[Config]) -> None:
        found: Validation = seen.more
        self._effects.set_visibility(self.changed and bool(found.follows))
        self._sentences.clear()
        with self._sentences:
            for sentence in found.follows:
                text(sentence, "note")
        self._notes.clear()
        with self._notes:
            for note in found.notes:
                text(note, "warn note")

    def _edited(self, content: str, values: dict[str, Any]) -> str:
        return settings.edited(content, values)

    async def _newest(self) -> SettingsDraft:
        return await self._visit.do(newest)

    async def _keep_text(self, content: str, based_on: str, message: str) -> str:
        self._followed[:] = await self._visit.do(save, content, based_on, message)
        return "Saved."

    def _who_saved(self, now: SettingsDraft) -> str:
        if now.change is None:
            return "Somebody has changed assay.yaml outside of the studio"
        return f"{somebody(now.change.who)} has saved assay.yaml"

    def _why(self, now: SettingsDraft) -> str:
        return now.change.message if now.change is not None else ""


async def build(visit: Visit) -> None:
    """The editor, where the folder is a project."""
    title(
        "Settings",
        "Everything the project does follows from one file, assay.yaml. Change it here, as a form "
        "or as text; what cannot be used cannot be saved.",
    )
    if visit.workspace.project is None:
        empty(
            "tune",
            "No settings yet",
            "A project has them. It begins with a file of examples.",
            act=("Bring examples", "/"),
        )
        return
    shown = ui.element("div").classes("stack gap")
    followed: list[str] = []

    async def reopen() -> None:
        shown.clear()
        with shown:
            await _editor(visit, followed, reopen)

    with shown:
        waiting("Reading the settings")
    ui.timer(0.05, reopen, once=True)  # the editor is large; the page is there before it


async def _editor(visit: Visit, followed: list[str], reopen: Reopen) -> None:
    loading = waiting("Reading the settings")
    try:
        draft = await visit.do(newest)
        names = await visit.do(models)
    except AssayError as error:
        loading.delete()
        failure(error)
        return
    loading.delete()
    if followed:
        with card("accent"):
            heading("Saved. What follows from it")
            for sentence in followed:
                text(sentence)
            with row():
                link("Data", "/data")
                link("Compare", "/compare")
        followed.clear()
    with row("spread"):
        text(_last_change(draft), "soft")

        def schema() -> None:
            content = json.dumps(config_schema(), indent=2)
            ui.download(content.encode(), "assay.schema.json")

        button("JSON Schema for other editors", schema, kind="link", icon="download")
    Editing(visit, draft, names, followed, reopen)


def _last_change(draft: SettingsDraft) -> str:
    change = draft.change
    if change is None:
        return f"{CONFIG_FILE}, as it is in the folder."
    why = f": {change.message}" if change.message else ""
    return f"{CONFIG_FILE}, by {somebody(change.who)}, {moment(change.at)}{why}"


PAGE = Page("/settings", "Settings", "tune", "Build", "viewer", build, wide=True)
