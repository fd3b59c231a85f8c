"""When models end, as far as OpenAI has announced it.

A date that the account's own list of models names counts before these.
"""

from __future__ import annotations

EVALS_END = "2026-11-30"
"""The Evals API and its data."""
SOURCE = "OpenAI's Python client 3.57, for its base"
PAGE = "https://developers.openai.com/api/docs/deprecations"

_ANNOUNCED = {
    "2024-09-13": ("gpt-3.5-turbo-0613",),
    "2026-09-28": ("gpt-3.5-turbo-1106",),
    "2026-10-23": (
        *("gpt-4.1-nano", "gpt-4.1-nano-2025-04-14", "o4-mini", "o4-mini-2025-04-16"),
        *("gpt-4", "gpt-4-0613", "gpt-3.5-turbo", "gpt-3.5-turbo-0125"),
    ),
    "2027-01-14": (
        *("gpt-4.1", "gpt-4.1-2025-04-14", "gpt-4.1-mini", "gpt-4.1-mini-2025-04-14"),
        *("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-2024-11-20"),
        *("gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ),
}
_ENDS = {model: date for date, models in _ANNOUNCED.items() for model in models}


def announced_end(base: str) -> str | None:
    """The day on which a base model, and what was fine-tuned on it, ends; None: not known here."""
    return _ENDS.get(base)
