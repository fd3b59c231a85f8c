"""Asking at a terminal before something leaves this machine; elsewhere the error says how."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import typer

from assay.agent.consent import ConsentError

T = TypeVar("T")


def asking(act: Callable[[list[str]], T], given: Sequence[str] | None) -> T:
    """Do something with the providers that are agreed to; ask about each further one.

    Raises:
        ConsentError: nobody was there to ask, or the answer was no.
    """
    agreed = list(given or ())
    while True:
        try:
            return act(agreed)
        except ConsentError as error:
            if not sys.stdin.isatty():
                raise
            print(f"assay: {error.what}", file=sys.stderr)
            if not typer.confirm(f"May they go to {error.provider}?", default=False, err=True):
                raise
            agreed.append(error.provider)
