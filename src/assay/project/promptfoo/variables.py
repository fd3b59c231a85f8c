"""Variables of a test: a list of texts, or files of a pattern, make a test of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

from assay.project.promptfoo.files import PREFIX, TEXTS, TREES, Node, SuiteFolder, suffix_of
from assay.project.promptfoo.templates import fault_of, fill_all, texts_in
from assay.project.promptfoo.translation import Listed

MOST_TESTS = 100_000
_MOST_PASSES = 5
"""Of filling variables into each other, as promptfoo does."""


@dataclass(slots=True)
class VariableReader:
    """Reads the variables of one test.

    Attributes:
        node: the test.
        listed: is told what cannot be read; the test is left out then.
    """

    node: Node
    folder: SuiteFolder
    listed: Listed
    _texts: dict[str, str] = field(default_factory=dict)

    def combine(self, given: Mapping[str, Any], *, expand: bool) -> Iterator[dict[str, Any]]:
        """Each combination of values, with the texts of files and of other variables in them.

        Args:
            expand: False: a list is one value, whatever is in it.

        Raises:
            DataError: a file is missing, or there are too many combinations.
        """
        each: dict[str, list[Any]] = {}
        for name, value in given.items():
            found = self._values(name, value) if expand else [value]
            if found is None:
                return
            each[name] = found
        if prod(map(len, each.values())) > MOST_TESTS:
            where = self.node.child("vars")
            raise where.error(f"its lists make more than {MOST_TESTS:,} tests.")
        for values in product(*each.values()):
            read = self._loaded(dict(zip(each, values, strict=True)))
            if read is not None:
                yield _resolved(read)

    def _values(self, name: str, value: Any) -> list[Any] | None:
        """What each test has of a variable; None: it is a file that is not read."""
        if isinstance(value, str) and value.startswith(PREFIX):
            if not self._is_read(name, value):
                return None
            paths = self.folder.find(self._place(name), value)
            return [PREFIX + self.folder.show(path) for path in paths]
        if isinstance(value, list) and value and isinstance(value[0], str):
            return value
        return [value]

    def _loaded(self, variables: dict[str, Any]) -> dict[str, Any] | None:
        """With the texts of files; None where one of them is not read."""
        for name, value in variables.items():
            if isinstance(value, str) and value.startswith(PREFIX):
                if not self._is_read(name, value):
                    return None
                if value not in self._texts:
                    self._texts[value] = self._text(name, value)
                variables[name] = self._texts[value]
            if why := next(filter(None, map(fault_of, texts_in(variables[name]))), None):
                what = f"{name} of {value}" if isinstance(value, str) else name
                self.listed(self._place(name).unsupported(what, f"{why}; the test is left out"))
                return None
        return variables

    def _is_read(self, name: str, value: str) -> bool:
        if suffix_of(value) in TEXTS | TREES:
            return True
        why = "code is never run, and pictures, sound and PDF are not read; the test is left out"
        self.listed(self._place(name).unsupported(value, why))
        return False

    def _text(self, name: str, value: str) -> str:
        """Of a file: of YAML as JSON, of any other as it stands."""
        path = self.folder.find(self._place(name), value)[0]
        if path.suffix in (".yaml", ".yml"):
            tree = self.folder.tree(path).value
            return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
        return self.folder.text(path).strip()

    def _place(self, name: str) -> Node:
        return self.node.child("vars").child(name)


def _resolved(variables: dict[str, Any]) -> dict[str, Any]:
    """With the variables in each other, and without the line break at their ends."""
    found = {k: v.removesuffix("\n") if isinstance(v, str) else v for k, v in variables.items()}
    for _ in range(_MOST_PASSES):
        filled = {name: fill_all(value, found) for name, value in found.items()}
        if filled == found:
            break
        found = filled
    return found
