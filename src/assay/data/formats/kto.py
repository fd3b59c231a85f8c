"""`kto`: an answer with a thumb up or down, {"messages" or "prompt" + "completion", "label": bool}.

Ethayarajh et al. 2024, KTO: Model Alignment as Prospect Theoretic Optimization.
"""

from __future__ import annotations

from dataclasses import replace

from assay.data.formats import openai_chat, prompt_completion
from assay.data.formats.record import Record, RecordProblems, Shape, shorten
from assay.example import Example


def matches(record: Record) -> bool:
    """A conversation or a prompt with its completion, and a label that is true or false."""
    return isinstance(record.get("label"), bool) and (
        openai_chat.matches(record) or prompt_completion.matches(record)
    )


def example(record: Record, default_id: str, found: RecordProblems) -> Example | None:
    """One example; `desirable` is the label."""
    label = record.get("label")
    if not isinstance(label, bool):
        found.add(
            "missing-field" if "label" not in record else "wrong-type",
            f"the label is {shorten(label)}, not true or false.",
            "Write true for a good answer and false for a bad one.",
            "label",
        )
    inner = openai_chat if "messages" in record else prompt_completion
    read = inner.example(record, default_id, found)
    return None if read is None or not isinstance(label, bool) else replace(read, desirable=label)


SHAPE = Shape("kto", "messages (or prompt, completion) and label", matches, example)
