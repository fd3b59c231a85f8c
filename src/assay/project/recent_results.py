"""The last few results of what takes a while, each as long as what it follows from is the same.

RESULTS: RecentResults[str, int] = RecentResults(4)
count = RESULTS.find(sha256, lambda: count_rows(workspace, file))
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class RecentResults(Generic[K, V]):
    """Results by their keys. Unlike `lru_cache` it keeps nothing alive of what they were made with,
    such as a workspace.

    Args:
        most: results that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._results: OrderedDict[K, V] = OrderedDict()

    def find(self, key: K, make: Callable[[], V]) -> V:
        """The result of a key, which is made where there is none. What `make` raises is not kept;
        two that ask at once may both make it."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key]
        made = make()
        with self._lock:
            self._results[key] = made
            while len(self._results) > self._most:
                self._results.popitem(last=False)
        return made
