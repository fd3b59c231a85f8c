"""`alpaca`: {"instruction", "input", "output"}, with `system`, `history` and preference answers.

As LLaMA-Factory reads it: the question is instruction and input, a line end between them; `history`
is a list of [question, answer]; `chosen` and `rejected` make a preference, `kto_tag` a thumb.
"""

from __future__ import annotations

from assay.data.formats.openai_chat import refuse_media
from assay.data.formats.record import (
    Record,
    RecordProblems,
    Shape,
    group_of,
    identity,
    shorten,
    text_field,
)
from assay.example import Example, Message


def matches(record: Record) -> bool:
    """An instruction and an answer."""
    return "instruction" in record and (
        "output" in record or ("chosen" in record and "rejected" in record)
    )


def example(record: Record, default_id: str, found: RecordProblems) -> Example | None:
    """One example; system and history stand before the question."""
    refuse_media(record, found)
    question = text_field(record, "instruction", found)
    more = text_field(record, "input", found, needed=False)
    system = text_field(record, "system", found, needed=False)
    preference = "chosen" in record and "rejected" in record
    answer = text_field(record, "chosen" if preference else "output", found)
    rejected = text_field(record, "rejected", found) if preference else None
    history = _history(record, found)
    thumb = record.get("kto_tag")
    if thumb is not None and not isinstance(thumb, bool):
        found.add(
            "wrong-type",
            f"kto_tag is {shorten(thumb)}, not true or false.",
            "Write true or false.",
            "kto_tag",
        )
    if found.failed:
        return None
    asked = "\n".join(part for part in (question, more) if part)
    return Example(
        id=identity(record, default_id),
        messages=(
            *((Message("system", system),) if system else ()),
            *history,
            Message("user", asked),
            Message("assistant", answer),
        ),
        group=group_of(record),
        rejected=() if rejected is None else (Message("assistant", rejected),),
        desirable=thumb,
        line=found.line,
    )


def _history(record: Record, found: RecordProblems) -> list[Message]:
    history = record.get("history") or []
    turns: list[Message] = []
    for pair in history if isinstance(history, list) else [history]:
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(t, str) for t in pair):
            turns += [Message("user", pair[0]), Message("assistant", pair[1])]
        else:
            found.add(
                "wrong-type",
                f"history contains {shorten(pair)}, not a list of two texts.",
                "Write each entry as [question, answer], both strings.",
                "history",
            )
    return turns


SHAPE = Shape("alpaca", "instruction, output", matches, example)
