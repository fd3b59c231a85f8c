"""What a promptfooconfig.yaml says: its prompts, its tests with their assertions, its providers.

suite = read_suite(Path("promptfooconfig.yaml"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assay.data.assertions import SET, find_fault
from assay.errors import DataError
from assay.project.promptfoo.files import (
    PREFIX,
    PROGRAMS,
    TREES,
    Node,
    SuiteFolder,
    Unsupported,
    suffix_of,
)
from assay.project.promptfoo.prompts import SuitePrompt, read_prompts
from assay.project.promptfoo.templates import fault_of, fill
from assay.project.promptfoo.translation import LESS, Translator, of_cell
from assay.project.promptfoo.variables import MOST_TESTS, VariableReader

_RECORDS = (".jsonl", ".csv")
_NOT_READ = {
    "extensions": "programs of a configuration are not run",
    "nunjucksFilters": "programs of a configuration are not run",
    "derivedMetrics": "graders are not combined by formulas here",
    "redteam": "attacks are not generated",
    "env": "variables of the environment are not read",
}
_READ = frozenset(
    (
        *("prompts", "providers", "targets", "tests", "scenarios", "defaultTest"),
        *("assertionTemplates", "evaluateOptions"),
        # which say nothing of what is asked and how it is graded
        *("$schema", "description", "tags", "metadata", "outputPath", "sharing"),
        *("writeLatestResults", "commandLineOptions", "tracing"),
    )
)
_UNKNOWN = "it is not read"
_OPTIONS = {
    "transform": "answers are graded as they are given",
    "transformVars": "programs of a configuration are not run",
    "postprocess": "answers are graded as they are given",
    "rubricPrompt": "a judge is asked in one way",
    "provider": "one judge is asked for all rows",
    "storeOutputAs": "a row does not see the answers to others",
}
_OPTIONS_READ = frozenset(("prefix", "suffix", "disableVarExpansion", "disableDefaultAsserts"))
TRIM = "output.trim()"
"""The one transformation that is done here too: white space around an answer is not counted."""
_CHANGES_ROWS = ("transform", "transformVars", "postprocess", "storeOutputAs")
_TEST_KEYS = {
    "assertScoringFunction": "programs of a configuration are not run",
    "provider": "every candidate answers every row",
    "providers": "every candidate answers every row",
    "prompts": "every prompt is compared on every row",
    "providerOutput": "recorded answers take part by `assay compare --predictions`",
}
_TEST_READ = frozenset(
    ("vars", "assert", "options", "threshold", "description", "metadata", "path", "tests")
)


@dataclass(frozen=True, slots=True)
class SuiteTest:
    """One test.

    Attributes:
        assertions: with the variables put in; those without an equal are left out, and listed.
    """

    variables: Mapping[str, Any]
    assertions: tuple[dict[str, Any], ...]
    prefix: str
    suffix: str
    node: Node


@dataclass(slots=True)
class Suite:
    """A configuration as it was read.

    Attributes:
        unsupported: everything that has no equal here, in the order of the files, once each.
    """

    folder: SuiteFolder
    prompts: list[SuitePrompt] = field(default_factory=list)
    tests: list[SuiteTest] = field(default_factory=list)
    providers: list[Node] = field(default_factory=list)
    unsupported: list[Unsupported] = field(default_factory=list)
    _known: set[Unsupported] = field(default_factory=set)

    def note(self, found: Unsupported) -> None:
        """Add what has no equal; the same place is listed once, however many tests come to it."""
        if found not in self._known:
            self._known.add(found)
            self.unsupported.append(found)


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What every test begins with: `defaultTest`, and the data of a scenario behind it."""

    nodes: tuple[Node, ...]

    def merged(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for node in self.nodes:
            value = node.child(key).value
            found |= value if isinstance(value, dict) else {}
        return found


def read_suite(config: Path) -> Suite:
    """Read a configuration with all that it names in its folder.

    Raises:
        DataError: it cannot be read; names file and line.
        UsageError: it names a file outside of its folder.
    """
    if not config.is_file():
        raise DataError("there is no such file.", where=str(config))
    folder = SuiteFolder(config)
    top = folder.tree(config.resolve())
    if not isinstance(top.value, dict):
        raise top.error("the file is no promptfoo configuration (it has no `key: value` lines).")
    suite = Suite(folder)
    for key, value in top.value.items():
        if key not in _READ and value:
            suite.note(top.child(key).unsupported(str(key), _NOT_READ.get(key, _UNKNOWN)))
    if (repeat := top.child("evaluateOptions").child("repeat")).value not in (None, 1):
        suite.note(repeat.unsupported("repeat", "every row is answered once"))
    suite.prompts = read_prompts(top.child("prompts"), folder, suite.note)
    providers = top.child("providers" if "providers" in top.value else "targets")
    suite.providers = list(providers.children())
    default = _with_vars(_loaded(top.child("defaultTest"), folder), folder)
    reader = _Reader(suite, top.child("assertionTemplates"))
    for node in _entries(top.child("tests"), suite):
        reader.add(node, _Defaults((default,)))
    for scenario in _entries(top.child("scenarios"), suite):
        tests = scenario.child("tests")
        if tests.value is None:  # its data are tests by themselves
            tests = replace(tests, value={})
        for data in _entries(scenario.child("config"), suite):
            shared = _Defaults((default, _with_vars(data, folder)))
            for node in _entries(tests, suite):
                reader.add(node, shared)
    return suite


def _loaded(node: Node, folder: SuiteFolder) -> Node:
    """The value, or that of the file which it names."""
    if isinstance(node.value, str):
        return folder.tree(folder.find(node, node.value)[0])
    return node


def _entries(node: Node, suite: Suite) -> Iterator[Node]:
    """The tests of a list, and of the files that it names."""
    for entry in node.children():
        value = entry.value
        if isinstance(value, dict) and isinstance(value.get("path"), str):
            entry = entry.child("path")
            value = entry.value
        if isinstance(value, dict):
            yield entry
        elif isinstance(value, str):
            yield from _of_file(entry, value, suite)
        else:
            suite.note(entry.unsupported(str(value), "it is no test"))


def _of_file(entry: Node, name: str, suite: Suite) -> Iterator[Node]:
    bare = name.removeprefix(PREFIX)
    if "://" in bare:
        suite.note(entry.unsupported(name, "tests are not fetched; save them in a file"))
        return
    if suffix_of(bare) in PROGRAMS:
        suite.note(entry.unsupported(name, "code of a configuration is never run"))
        return
    for path in suite.folder.find(entry, bare):
        if path.suffix in _RECORDS:
            for record in suite.folder.records(path):
                yield record if path.suffix == ".jsonl" else _of_row(record, suite)
        elif path.suffix in TREES:
            for one in suite.folder.tree(path).children():
                if isinstance(one.value, dict):
                    yield one
                else:
                    suite.note(one.unsupported(str(one.value), "it is no test"))
        else:
            why = f"files of the kind {path.suffix or 'without an ending'} are not read"
            suite.note(entry.unsupported(name, f"{why}; save it as CSV or JSONL"))


def _of_row(record: Node, suite: Suite) -> Node:
    """The test that a row of a table is."""
    test: dict[str, Any] = {"vars": {}, "assert": [], "options": {}}
    for name, cell in record.value.items():
        if name.startswith("__expected"):
            if cell.strip():
                test["assert"].append(of_cell(cell.strip()))
        elif name in ("__prefix", "__suffix"):
            test["options"][name.removeprefix("__")] = cell
        elif name == "__threshold":
            if cell.strip():
                test["threshold"] = _number(cell, record)
        elif name.startswith("__config:"):
            if cell.strip():
                suite.note(record.unsupported(name, "settings of a column are not read"))
        elif not name.startswith("__"):
            test["vars"][name] = cell
    return Node(test, record.file, row=record.row)


def _number(cell: str, record: Node) -> float:
    try:
        return float(cell)
    except ValueError:
        raise record.error(f"__threshold is {cell[:40]!r}, not a number.") from None


class _Reader:
    """Tests one after the other, with what they all begin with."""

    def __init__(self, suite: Suite, templates: Node) -> None:
        self.suite, self.templates = suite, templates

    def add(self, node: Node, defaults: _Defaults) -> None:
        """Read a test; of variables with several values each combination is one."""
        test = node.value
        for each in (*defaults.nodes, node):
            for key, value in each.value.items() if isinstance(each.value, dict) else ():
                if key not in _TEST_READ and value:
                    why = _TEST_KEYS.get(key, _UNKNOWN)
                    self.suite.note(each.child(key).unsupported(str(key), why))
        own = test.get("options")
        options = defaults.merged("options") | (own if isinstance(own, dict) else {})
        left_out = False
        for key, value in options.items():
            if key not in _OPTIONS_READ and value and (key, value) != ("transform", TRIM):
                why = _OPTIONS.get(key, _UNKNOWN)
                self.suite.note(node.child("options").unsupported(f"options.{key}", why))
                left_out |= key in _CHANGES_ROWS
        for key in ("prefix", "suffix"):
            if fault := fault_of(str(options.get(key) or "")):
                self.suite.note(node.child("options").unsupported(f"options.{key}", fault))
                left_out = True
        if left_out:
            return
        given = defaults.merged("vars") | _mapping(_with_vars(node, self.suite.folder))
        reader = VariableReader(node, self.suite.folder, self.suite.note)
        for one in reader.combine(given, expand=not options.get("disableVarExpansion")):
            if len(self.suite.tests) >= MOST_TESTS:
                raise node.error(f"there are more than {MOST_TESTS:,} tests.")
            self.suite.tests.append(self._test(node, defaults, options, one))

    def _test(
        self, node: Node, defaults: _Defaults, options: dict[str, Any], variables: dict[str, Any]
    ) -> SuiteTest:
        # Those of a scenario's data are the test's own by then.
        shared = defaults.nodes[1:] if options.get("disableDefaultAsserts") else defaults.nodes
        nodes = (*shared, node)
        asserted = [one for each in nodes for one in each.child("assert").children()]
        translator = Translator(variables, self.suite.folder, self.templates, self.suite.note)
        assertions = translator.translate_all(asserted)
        limits = [each.child("threshold").value for each in (*defaults.nodes, node)]
        threshold = next((limit for limit in reversed(limits) if limit is not None), None)
        if threshold is not None and assertions:
            if len(assertions) < len(asserted):
                self.suite.note(node.unsupported(f"threshold {threshold}", LESS))
            assertions = [{"type": SET, "threshold": threshold, "assert": assertions}]
            if find_fault(assertions):  # of the threshold: the others are checked
                raise node.child("threshold").error("it is not a number of at least 0.")
        return SuiteTest(
            variables,
            tuple(assertions),
            fill(str(options.get("prefix") or ""), variables),
            fill(str(options.get("suffix") or ""), variables),
            node,
        )


def _with_vars(node: Node, folder: SuiteFolder) -> Node:
    """The test, or what tests begin with, with the variables of the file that its `vars` names."""
    if not isinstance(node.value, dict) or not isinstance(node.value.get("vars"), str):
        return node
    return replace(node, value=node.value | {"vars": _loaded(node.child("vars"), folder).value})


def _mapping(test: Node) -> dict[str, Any]:
    node = test.child("vars")
    if node.value is not None and not isinstance(node.value, dict):
        raise node.error("`vars` holds no names with values.")
    return node.value or {}
