"""Promoting an agent under a name: the form, and the gate's answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager

from nicegui import ui

from assay.agent.consent import ConsentError
from assay.errors import UsageError
from assay.project import releases
from assay.release.changes import ReasonError, ReleaseNameError
from assay.release.evidence import UnprovenError
from assay.release.releases import Release
from assay.studio import widgets as w
from assay.studio.browser import lead_to
from assay.studio.dialogs import confirm, errors_at, notify
from assay.studio.session import PageContext, action, workspace_action
from assay.studio.shared.names import exact_label, plain_label, typed_hint
from assay.studio.words import stand_alone


@action("admin")
def allow_provider(context: PageContext, provider: str) -> None:
    """What users ask, and the project's rows, may go to a provider."""
    context.workspace.providers.by(context.workspace.who).agree(provider)


promote = workspace_action("editor", releases.promote)


async def with_consent(
    context: PageContext, act: Callable[[], Awaitable[Release]]
) -> Release | None:
    """Change a release; where requests would go to a provider, ask first. None: the answer was no.

    Raises:
        UsageError: nobody has agreed to the provider, and the person is no admin.
    """
    while True:
        try:
            return await act()
        except ConsentError as error:
            if not context.may("admin"):
                raise UsageError(
                    error.what,
                    fix="An admin can give consent: Keys and people, Providers, Give consent.",
                ) from None
            why = (
                f"{stand_alone(error.what)} Whoever runs it can read them, and this project's rows."
            )
            if not await confirm(f"Allow sending requests to {error.provider}?", why, "Allow"):
                return None
            await context.do(allow_provider, error.provider)


class ReasonField:
    """Why an agent is put to work though no comparison speaks for it; shown where that is so."""

    def __init__(self) -> None:
        self._box = ui.element("div").classes("stack")
        self._box.set_visibility(False)
        with self._box:
            self._doubt = w.text("", "warn")
            self._made = w.field(
                "Reason to use it anyway", ui.input(), "Your reason is recorded in the history."
            )
        self._made.on_value_change(self._forget_error)

    @property
    def text(self) -> str | None:
        """What was given; None: nothing, or nothing is asked."""
        return ((self._made.value or "").strip() or None) if self._box.visible else None

    @property
    def is_missing(self) -> bool:
        """Whether it is asked for and was not given."""
        return self._box.visible and self.text is None

    def ask(self, doubt: str | None) -> None:
        """Ask for a reason in the face of a doubt; None: there is none."""
        self._doubt.text = f"{doubt} Say why you use it anyway." if doubt else ""
        self._box.set_visibility(doubt is not None)

    def refuse(self) -> None:
        """Say at the field that a reason is needed."""
        self._made.error = "A reason is missing."
        lead_to(self._made)

    def errors(self) -> AbstractContextManager[None]:
        """Says at the field why what was given is no reason."""
        return errors_at(self._made, ReasonError)

    async def is_refused(self, find_doubt: Callable[[], Awaitable[str | None]]) -> bool:
        """Whether a reason is missing and the doubt still holds; it is said at the field."""
        if not self.is_missing:
            return False
        doubt = await find_doubt()  # a comparison may have ended since
        self.ask(doubt)
        if doubt:
            self.refuse()
        return bool(doubt)

    def _forget_error(self) -> None:
        self._made.error = None


async def promotion_form(
    context: PageContext,
    label: str,
    name: str,
    done: Callable[[Release], Awaitable[None] | None],
    *,
    fixed: bool = False,
    plain: str = "",
) -> ReasonField:
    """A form that promotes `label`; where no comparison speaks for it, it asks for a reason first.
    Returned is the field of that, for another way to put the agent to work.

    Args:
        plain: what it is called beside others that can be chosen.
        name: of the release, to begin with.
        fixed: the name cannot be changed.
    """
    hint = "Programs request this name; the agent behind it can change."
    with w.row("top-aligned"):
        name_input = w.field("Release name", ui.input(value=name), hint)
        name_input.set_enabled(not fixed)
    reason = ReasonField()

    async def click() -> None:
        go.props("loading")
        name_input.error = None
        try:
            name = (name_input.value or "").strip()
            if await reason.is_refused(lambda: context.read(releases.find_doubt, name, label)):
                return
            try:
                with errors_at(name_input, ReleaseNameError), reason.errors():
                    release = await with_consent(
                        context,
                        lambda: context.do(promote, name, label, force=reason.text),
                    )
            except UnprovenError as error:
                reason.ask(error.in_words)
                return
            if release is None:
                return
            notify(f"{exact_label(release.label)} now answers requests to {release.name}.")
            again = done(release)
            if again is not None:
                await again
        finally:
            if not go.is_deleted:  # `done` may have shown something else in the form's place
                go.props(remove="loading")

    with w.row():
        go = w.button(f"Promote {plain or plain_label(label)}", click, kind="primary",
                      icon="rocket_launch")  # fmt: skip
        with go:
            typed_hint(label)
        w.text("Before the change, the serving engine must pass a check that it answers as "
             "measured.", "soft note")  # fmt: skip
    reason.ask(await context.read(releases.find_doubt, name, label))
    return reason


async def promotion_chooser(
    context: PageContext,
    chosen: ui.select,
    name: str,
    done: Callable[[Release], None],
    *,
    plain: Mapping[str, str],
    more: Callable[[str, ReasonField], None] | None = None,
) -> None:
    """A form that promotes the agent that is chosen, once one is.

    Args:
        chosen: has the agents' labels as values.
        plain: what the agents are called beside one another, by their labels.
        more: adds to the form for a label, with the form's reason; the release is there then, and
            keeps its name.
    """
    form = ui.element("div").classes("stack gap")

    async def show() -> None:
        label = chosen.value
        with w.refill(form):
            if label is None:
                return
            fixed = more is not None
            reason = await promotion_form(
                context, label, name, done, fixed=fixed, plain=plain[label]
            )
            if more is not None and chosen.value == label:
                more(label, reason)

    chosen.on_value_change(show)
    await show()
