"""Modules of other installed distributions that take part in Assay, named by their entry points.

An entry point of a group is the name of a candidate, of a training method and the like, and its
module. The module is imported with all rights of this process: to install a package is to trust it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from assay.errors import AssayError, ConfigError

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""What a name may be."""
log = logging.getLogger("assay.extensions")


@dataclass(frozen=True, slots=True)
class ExtensionGroup:
    """A group of entry points.

    Attributes:
        name: of the group.
        kind: of what they add, as it stands in messages.
        find_fault: called with an entry point and what it is loaded as: why that cannot be used;
            None: it can.
    """

    name: str
    kind: str
    find_fault: Callable[[metadata.EntryPoint, Any], str | None]

    def load_all(self, taken: Collection[str]) -> dict[str, Any]:
        """All that can be used, by name; of any other a line of the log says why it is left out.

        Args:
            taken: names of Assay's own.
        """
        found: dict[str, Any] = {}
        for point in metadata.entry_points(group=self.name):
            try:
                if point.name in taken or point.name in found:
                    raise self._unusable(point, "the name is taken")
                found[point.name] = self._load(point)
            except ConfigError as error:
                log.warning("%s", error)
        return found

    def check(self, name: str) -> None:
        """Refuse a name whose entry point is there and cannot be used.

        Raises:
            ConfigError: it says why.
        """
        for point in metadata.entry_points(group=self.name, name=name):
            self._load(point)

    def _load(self, point: metadata.EntryPoint) -> Any:
        if not NAME.fullmatch(point.name):
            why = "a name may contain only lowercase letters, digits and hyphens"
            raise self._unusable(point, why)
        try:
            found = point.load()
        except AssayError as error:  # of its SPEC, which says what is wrong
            raise self._unusable(point, error.what.removesuffix(".")) from error
        except Exception as error:  # whatever another's module does when it is imported
            raise self._unusable(point, f"{type(error).__name__}: {error}") from error
        fault = self.find_fault(point, found)
        if fault is not None:
            raise self._unusable(point, fault)
        return found

    def _unusable(self, point: metadata.EntryPoint, why: str) -> ConfigError:
        source = point.dist.name if point.dist is not None else point.value
        return ConfigError(
            f"the {self.kind} {point.name} of {source} cannot be used: {why}.",
            fix=f"Update or uninstall {source}.",
        )
