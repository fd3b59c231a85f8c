"""`openai-preference` and `preference`: a prompt with a better and a worse answer.

OpenAI (direct preference optimisation): {"input": {"messages": [...]}, "preferred_output": [...],
"non_preferred_output": [...]}. TRL: {"prompt", "chosen", "rejected"}, each text or turns.
"""

from __future__ import annotations

from typing import Any

from assay.data.formats.messages import tools, turns
from assay.data.formats.openai_chat import declared_tools
from assay.data.formats.order import ordered_example
from assay.data.formats.record import (
    Record,
    RecordProblems,
    Shape,
    missing_field,
)
from assay.example import Example, Message
from assay.quantities import say_count


def pair(
    prompt: tuple[Message, ...],
    chosen: tuple[Message, ...],
    rejected: tuple[Message, ...],
    declared: tuple[dict[str, Any], ...],
    record: Record,
    default_id: str,
    found: RecordProblems,
    names: tuple[str, str],
) -> Example | None:
    """The example of a preference; each answer must be one turn of the assistant.

    `names` is what the format calls the chosen and the rejected answer.
    """
    for name, answer in zip(names, (chosen, rejected), strict=True):
        if not found.failed and (len(answer) != 1 or answer[0].role != "assistant"):
            found.add(
                "wrong-type",
                f"{name} has {say_count(len(answer), 'turn')} "
                f"({', '.join(m.role for m in answer)}).",
                "It must be a single assistant turn; move the turns before it into the prompt.",
                name,
            )
    conversation = (*prompt, *chosen)
    made = ordered_example(record, default_id, found, conversation, declared, rejected=rejected)
    if made is not None and chosen == rejected:
        found.add(
            "same-answers",
            f"{names[0]} and {names[1]} are the same.",
            "Remove the row; nothing can be learned from it.",
            names[1],
        )
    return made


def _openai_matches(record: Record) -> bool:
    return "preferred_output" in record or "non_preferred_output" in record


def _openai_example(record: Record, default_id: str, found: RecordProblems) -> Example | None:
    asked = record.get("input")
    if not isinstance(asked, dict):
        found.add(
            "missing-field",
            "the record has no object `input` with the messages of the prompt.",
            'Write "input": {"messages": [...]}.',
            "input",
        )
        return None
    prompt = turns(asked.get("messages"), found, "input.messages")
    declared = declared_tools(asked, found)
    names = ("preferred_output", "non_preferred_output")
    chosen, rejected = (as_turns(record, name, "assistant", found) for name in names)
    return pair(prompt, chosen, rejected, declared, record, default_id, found, names)


def _plain_matches(record: Record) -> bool:
    return all(key in record for key in ("prompt", "chosen", "rejected"))


def _plain_example(record: Record, default_id: str, found: RecordProblems) -> Example | None:
    prompt = as_turns(record, "prompt", "user", found)
    chosen = as_turns(record, "chosen", "assistant", found)
    rejected = as_turns(record, "rejected", "assistant", found)
    declared = tools(record.get("tools"), found)
    names = ("chosen", "rejected")
    if len(chosen) > 1 and chosen[: len(prompt)] == prompt:  # answers that repeat the prompt
        chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    return pair(prompt, chosen, rejected, declared, record, default_id, found, names)


def as_turns(record: Record, key: str, role: str, found: RecordProblems) -> tuple[Message, ...]:
    """A field that holds text (one turn of `role`) or a list of turns."""
    if key not in record:
        missing_field(record, key, found)
        return ()
    value = record[key]
    if isinstance(value, str):
        value = [{"role": role, "content": value}]
    return turns(value, found, key)


OPENAI = Shape(
    "openai-preference",
    "input.messages, preferred_output, non_preferred_output",
    _openai_matches,
    _openai_example,
)
PLAIN = Shape("preference", "prompt, chosen, rejected", _plain_matches, _plain_example)
