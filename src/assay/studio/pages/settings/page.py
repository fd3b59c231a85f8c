"""Settings: assay.yaml as a form and as text, checked as the command line checks it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from nicegui import ui

from assay.accounts.authors import format_author
from assay.config import CONFIG_FILE, Config, config_schema
from assay.project import settings
from assay.project.agents import drafts
from assay.project.answer import names as served
from assay.project.settings import (
    Change,
    SettingsDraft,
    StaleSettingsError,
    Validation,
    unused_labels,
)
from assay.project.settings.redaction import without_secrets
from assay.studio import widgets as w
from assay.studio.browser import lead_to
from assay.studio.dialogs import confirm
from assay.studio.frame import Page
from assay.studio.pages.settings.form import SettingsForm
from assay.studio.session import PageContext, Refresh, action, is_admin
from assay.studio.shared.another_project import another_project
from assay.studio.shared.form_and_text import FormAndText, ParsedText
from assay.studio.shared.job_progress import show_edits_meanwhile
from assay.studio.shared.opening import open_editor
from assay.studio.shared.unused_labels import advise_of_prompt, tell_unused_labels
from assay.studio.words import format_time


@action("viewer")
def read_settings(context: PageContext) -> SettingsDraft:
    """assay.yaml as it is now; to who may only look, without what could be a key."""
    draft = settings.read(context.workspace)
    return draft if context.may("editor") else replace(draft, text=without_secrets(draft.text))


@action("viewer")
def validate_settings(context: PageContext, content: str) -> Validation:
    """What a text says, and what would follow from it."""
    return settings.validate(context.workspace, content, admin=is_admin(context))


@action("editor")
def save_settings(
    context: PageContext, content: str, based_on: str, message: str
) -> tuple[str, ...]:
    """Write assay.yaml; what follows from it."""
    admin = is_admin(context)
    found = settings.validate(context.workspace, content, admin=admin)
    settings.save(context.workspace, content, based_on=based_on, message=message, admin=admin)
    return found.follows


class SettingsEditor(FormAndText[Config, SettingsDraft]):
    """The settings in one browser tab.

    Args:
        wanted: path of the setting that is brought into view; emptied then.
    """

    WHAT = "Settings as text"
    UNDER = "The complete assay.yaml. Ctrl-Space suggests settings and values."
    STALE = StaleSettingsError

    def __init__(
        self,
        context: PageContext,
        draft: SettingsDraft,
        models: list[str],
        reopen: Refresh,
        saved: Callable[[SettingsDraft], Awaitable[None]],
        wanted: list[str],
    ) -> None:
        self._models, self._wanted = models, wanted
        self._followed: tuple[str, ...] = ()  # from the last save
        super().__init__(context, draft, reopen, saved)

    def _build_form(self) -> SettingsForm:
        self._form = SettingsForm(self._put, self._models, open=self._open)
        return self._form

    def _build_more(self) -> None:
        with w.card("follows") as self._effects:
            self._effects_title = w.text("", tag="h2")
            self._sentences = ui.element("div").classes("stack").props("role=status")
            with w.row() as self._leads:
                w.link("Data", "/data")
                w.link("Compare", "/compare")
        self._effects.set_visibility(False)
        self._notes = ui.element("div").classes("stack")

    def _completions(self) -> Mapping[str, Any]:
        return settings.completions()

    async def _parse(self, content: str) -> ParsedText[Config]:
        found = await self._context.do(validate_settings, content)
        return ParsedText(found.config, found.problems, found)

    async def _show_more(self, parsed: ParsedText[Config]) -> None:
        self._lead()  # first: the rest may load a tokenizer
        found: Validation = parsed.more
        too_long, labels = "", []
        if parsed.value is not None:
            model, prompt = parsed.value.model, parsed.value.system_prompt
            too_long = await self._context.read(drafts.refuse_prompt, model, prompt)
            labels = await self._context.read(unused_labels.find_unused_labels, parsed.value)
        follows = found.follows if self.is_changed else self._followed
        self._effects.set_visibility(bool(follows))
        self._effects_title.text = (
            "What saving would change" if self.is_changed else "Saved. What this changes"
        )
        self._leads.set_visibility(not self.is_changed)
        with w.refill(self._sentences):
            for sentence in follows:
                w.text(sentence, "warn note" if sentence in found.stops else "note")
        with w.refill(self._notes):
            for note in found.notes:
                w.text(note, "warn note")
            if too_long:
                w.text(too_long, "warn note")
            if labels:
                tell_unused_labels(labels, self._remove_labels if self._open else None)

    async def _remove_labels(self) -> None:
        """Take labels that no row has out of what is edited here, to be saved with the rest."""
        config = (await self._parse(self._text)).value
        if config is None:  # what is wrong with the text is told beside it
            return
        labels = await self._context.read(unused_labels.find_unused_labels, config)
        values, mentioned = unused_labels.settings_without(config, labels)
        await self._put(values)
        self._check_later(show=True)
        advise_of_prompt(mentioned, "The system prompt")

    def _lead(self) -> None:
        """Bring the setting that is wanted into view, once the form has its texts and its size;
        nothing, where somebody has begun to change something meanwhile."""
        is_begun = self.is_changed or self._form.is_refused
        for path in self._wanted:
            if not is_begun and (place := self._form.find(path)) is not None:
                lead_to(place)
        self._wanted.clear()

    def _edit(self, content: str, values: dict[str, Any]) -> str:
        return settings.edit(content, values)

    async def _read(self) -> SettingsDraft:
        return await self._context.do(read_settings)

    async def _agree_to_save(self, content: str) -> bool:
        found = await self._context.do(validate_settings, content)
        if self._is_gone():
            return False
        return not found.stops or await confirm(
            "Save settings that the examples do not fit?", " ".join(found.stops), "Save anyway"
        )

    async def _store(self, content: str, based_on: str, message: str) -> str:
        self._followed = await self._context.do(save_settings, content, based_on, message)
        return "Saved."

    def _describe_save(self, now: SettingsDraft) -> str:
        if now.change is None:
            return "Somebody has changed assay.yaml outside the studio"
        return f"{format_author(now.change.who)} has saved assay.yaml"

    def _read_message(self, now: SettingsDraft) -> str:
        return now.change.message if now.change is not None else ""


async def build(context: PageContext) -> None:
    """The editor, where the folder is a project."""
    w.title(
        "Settings",
        "Everything the project does is set in one file, assay.yaml. Edit it here as a form or as "
        "text; invalid settings cannot be saved.",
    )
    if context.workspace.project is None:
        w.empty(
            "tune",
            "No settings yet",
            "Only a project has settings. A project starts with a file of examples.",
            act=("Add examples", "/") if context.may("editor") else None,
        )
        return
    await show_edits_meanwhile(context)
    wanted = ui.context.client.request.query_params.getlist("setting")
    open_editor("Reading the settings", lambda reopen: _show_editor(context, wanted, reopen))
    another_project(context)


async def _show_editor(context: PageContext, wanted: list[str], reopen: Refresh) -> None:
    """The editor.

    Args:
        wanted: path of the setting that a link leads to, once.
    """
    found = await w.load("Reading the settings", _read(context))
    if found is None:
        return
    draft, names, saves = found
    with ui.element("div").classes("stack gap") as head:
        _show_kept(draft, saves)

    async def show_saved(now: SettingsDraft) -> None:
        saves = await context.read(settings.history)
        with w.refill(head):
            _show_kept(now, saves)

    SettingsEditor(context, draft, names, reopen, show_saved, wanted)


def _show_kept(draft: SettingsDraft, saves: list[Change]) -> None:
    """Who has saved the settings as they are, and those of before."""
    with w.row("spread"):
        w.text(_describe_change(draft), "soft")

        def schema() -> None:
            content = json.dumps(config_schema(), indent=2)
            ui.download(content.encode(), "assay.schema.json")

        w.button("Download JSON Schema for editors", schema, kind="link", icon="download")
    _show_saves(saves)


async def _read(context: PageContext) -> tuple[SettingsDraft, list[str], list[Change]]:
    """The settings, the models that may be chosen, and the saves of before."""
    draft = await context.do(read_settings)
    names = await context.read(served.base_models, context.workspace.name)
    return draft, names, await context.read(settings.history)


def _show_saves(saves: list[Change]) -> None:
    """Who has changed which settings, and why."""
    if not saves:
        return
    with w.details("Saves"), w.table("Saved", "By", "Settings", "Change", label="Saves"):
        for one in saves:
            changed = ", ".join(one.settings) or "–"
            w.line(format_time(one.at), format_author(one.who), changed, one.message)


def _describe_change(draft: SettingsDraft) -> str:
    change = draft.change
    if change is None:
        return f"{CONFIG_FILE}, as it is in the project folder."
    why = f": {change.message}" if change.message else ""
    return f"{CONFIG_FILE}, saved by {format_author(change.who)}, {format_time(change.at)}{why}"


PAGE = Page("/settings", "Settings", "tune", "Build", "viewer", build, wide=True)
