"""Which language a text is in, for the rules of a route."""

from __future__ import annotations

from functools import cache
from typing import Any

CERTAIN = 0.5
"""Probability from which a guess counts."""


def language(text: str) -> str | None:
    """The ISO 639-1 code of a text's language; None where it is not certain (a single word)."""
    if not any(character.isalpha() for character in text):
        return None
    code, probability = _identifier().classify(text)
    return str(code) if probability >= CERTAIN else None


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
