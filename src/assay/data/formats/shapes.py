"""The shapes of JSON records, in the order in which a record is compared with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from assay.data.formats import (
    alpaca,
    kto,
    openai_chat,
    openai_turns,
    preferences,
    prompt_completion,
    self_instruct,
    sharegpt,
)
from assay.data.formats.record import Shape

SHAPES: tuple[Shape, ...] = (
    preferences.OPENAI,
    kto.SHAPE,
    sharegpt.SHAPE,
    openai_chat.SHAPE,
    openai_turns.SHAPE,
    preferences.PLAIN,
    self_instruct.SHAPE,
    alpaca.SHAPE,
    prompt_completion.SHAPE,
)

BY_NAME = {shape.name: shape for shape in SHAPES}


def recognise(records: Sequence[Any]) -> Shape | None:
    """The shape that most of the records have; None when most have none of them."""
    counts: Counter[str | None] = Counter(
        next((s.name for s in SHAPES if isinstance(r, dict) and s.matches(r)), None)
        for r in records
    )
    best = counts.most_common(1)[0][0] if counts else None
    return BY_NAME[best] if best else None
