"""What tables of candidates say of the size and speed of language models of this machine."""

from __future__ import annotations

from assay.compare.result import Result


def columns(result: Result) -> dict[str, dict[str, str]]:
    """A figure for each column, by the candidate's name; empty where no model of this machine takes
    part."""
    if not any(c.model_bytes for c in result.candidates):
        return {}
    return {
        c.name: {"weights": _megabytes(c.model_bytes), "tokens/s": _rate(c.tokens_per_s)}
        for c in result.candidates
    }


def meaning(result: Result) -> str:
    """What these columns count; empty where there are none."""
    if not columns(result):
        return ""
    return (
        "Weights: what they take in memory as they are served. Tokens/s: at full load; a token is "
        "a word or a part of one."
    )


def _megabytes(value: int | None) -> str:
    """A size in MB, or in GB from a thousand on."""
    if value is None:
        return "–"
    return f"{value / 1e6:.0f} MB" if value < 1e9 else f"{value / 1e9:.1f} GB"


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.1f}"
