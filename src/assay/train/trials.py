"""How many settings a search tries, and what it needs; nothing heavy is loaded to know that."""

from __future__ import annotations

from importlib.util import find_spec

from assay.errors import ConfigError

TRIALS = 12
"""Of a search, where nobody says otherwise."""


def check_installed() -> None:
    """See that a search can be made here.

    Raises:
        ConfigError: Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise ConfigError(
            "a search needs Optuna, which is not installed.",
            fix="Install it with `pip install 'assay[sweep]'`.",
        )
