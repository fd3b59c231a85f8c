"""The provider's model that takes part in the projects that are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nicegui import ui

from assay.studio import widgets as w
from assay.studio.dialogs import errors_at
from assay.studio.pages.rescue.account import ask_to_send
from assay.studio.session import PageContext


class SuccessorField:
    """A field for it, which may stay empty, and the question that it brings.

    Args:
        accounts: whose keys are here: one of these takes part.
        name: of the field for screen readers.
    """

    def __init__(
        self, context: PageContext, accounts: Sequence[dict[str, Any]], name: str = "Successor"
    ) -> None:
        self._context, self._accounts = context, accounts
        self._field = w.field(
            "Successor (may be empty)",
            ui.input(placeholder="openai/gpt-5-mini"),
            name=name,
            meaning="PROVIDER/MODEL. It takes part in each project that is made: with the old "
            "prompt, and with examples of training rows.",
        )

    async def ask_and_start(
        self, start: Callable[[str | None], Awaitable[object]], question: str, yes: str
    ) -> bool:
        """Start the making of projects, once it is agreed who takes part; whether it was started.

        Args:
            start: is given the successor; what is wrong with it is said at the field.
        """
        self._field.error = None
        named = (self._field.value or "").strip()
        if named:
            provider = named.partition("/")[0]
            given = next((one for one in self._accounts if one["name"] == provider), None)
            if given is None:
                self._field.error = f"No key here is of the provider of {named}."
                return False
            line = f"Nothing is sent now. When a project is compared, rows of it go to {named}, at"
            if not await ask_to_send(self._context, given, question, (f"{line} its price.",), yes):
                return False
        with errors_at(self._field):
            await start(named or None)
        return True
