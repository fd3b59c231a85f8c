"""The forms in which versions and classifiers are exported for other programs."""

from __future__ import annotations

from typing import Final, Literal, get_args

from assay.errors import UsageError

VersionForm = Literal["adapter", "merged", "gguf", "gguf-8bit", "gguf-4bit", "ollama", "vllm"]
Form = Literal[VersionForm, "onnx"]
FORMS: tuple[Form, ...] = get_args(Form)
ONNX: Final = "onnx"
"""The form of a classifier over an embedder; the others are forms of a version."""


def check_form(to: str) -> Form:
    """The form of that name.

    Raises:
        UsageError: there is none.
    """
    if to not in FORMS:
        raise UsageError(f"{to!r} is not an export format.", fix=f"Use one of: {', '.join(FORMS)}.")
    return to
