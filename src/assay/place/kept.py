"""What a worker keeps from one piece of work to the next: a loaded model, which takes a while."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
_kept: dict[Hashable, Any] = {}


def keep(key: Hashable, make: Callable[[], T]) -> T:
    """What was made for this key at the last call, else what is made now; one thing is kept."""
    if key not in _kept:
        _kept.clear()
        _kept[key] = make()
    kept: T = _kept[key]
    return kept
