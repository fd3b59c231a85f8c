"""Putting an agent to work under a name: the form, and the gate's answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from assay.agent.consent import ConsentError
from assay.errors import UsageError
from assay.project import releases
from assay.release.evidence import UnprovenError
from assay.release.releases import Release
from assay.studio.dialogs import say, sure, telling
from assay.studio.session import Visit, action
from assay.studio.widgets import button, field, named, row, text


@action("admin")
def allow(visit: Visit, provider: str) -> None:
    """What users ask, and the project's rows, may go to a provider."""
    visit.workspace.providers.by(visit.workspace.who).agree(provider)


@action("editor")
def promote(visit: Visit, name: str, label: str, force: str | None) -> Release:
    """Point a release at an agent."""
    return releases.promote(visit.workspace, name, label, force=force)


@action("editor")
def canary(visit: Visit, name: str, share: float, label: str | None, force: str | None) -> Release:
    """Give an agent a share of a release's callers."""
    return releases.canary(visit.workspace, name, share, label, force=force)


async def agreed_first(visit: Visit, act: Callable[[], Awaitable[Release]]) -> Release | None:
    """Do it; where requests would leave this machine, ask first. None: the answer was no.

    Raises:
        ConsentError: nobody has agreed, and an admin must.
    """
    while True:
        try:
            return await act()
        except ConsentError as error:
            if not visit.may("admin"):
                raise UsageError(
                    error.what,
                    fix="An admin can allow it: Keys and people, Providers, Allow rows.",
                ) from None
            why = f"{error.what} Who runs it can read that, and this project's rows."
            if not await sure(f"May requests go to {error.provider}?", why, "They may"):
                return None
            await visit.do(allow, error.provider)


def promotion(
    visit: Visit,
    label: str,
    name: str,
    done: Callable[[Release], Awaitable[None] | None],
    *,
    fixed: bool = False,
) -> None:
    """A form that promotes `label`; where no comparison speaks for it, it asks for a reason.

    Args:
        name: of the release, to begin with.
        fixed: the name cannot be changed.
    """
    hint = "Programs ask for this name; what answers can change."
    with row("top-aligned"), field("Name to call it by", hint):
        asked = ui.input(value=name)
        named(asked, "Name to call it by")
        asked.set_enabled(not fixed)
    why = ui.element("div").classes("stack")
    why.set_visibility(False)
    with why:
        refused = text("", "warn")
        with field("Promote it all the same, because", "Your reason is kept in the history."):
            reason = ui.input()
            named(reason, "Reason")

    async def click() -> None:
        go.props("loading")
        try:
            with telling():
                force = (reason.value or "").strip() or None
                try:
                    release = await agreed_first(
                        visit, lambda: visit.do(promote, asked.value.strip(), label, force)
                    )
                except UnprovenError as error:
                    refused.text = error.what
                    why.set_visibility(True)
                    return
                if release is None:
                    return
                say(f"{release.name} is answered by {release.label} now.")
                again = done(release)
                if again is not None:
                    await again
        finally:
            go.props(remove="loading")

    with row():
        go = button(f"Put {label} to work", click, kind="primary", icon="rocket_launch")
        text("Before the change, the engine that will serve is asked to prove that it answers as "
             "measured.", "soft note")  # fmt: skip
