"""No module of `src` imports itself by way of others, late imports counted.

An import inside a function counts like one at the top; one under `if TYPE_CHECKING` does not, since
it never runs. A package that is imported by name counts as the modules its `__init__` imports.
`tests/source_rules.py` runs this for `make check`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

KNOWN: frozenset[tuple[str, str]] = frozenset()
"""Imports that close a circle and wait to be taken out; none is to be added."""

Graph = Mapping[str, Mapping[str, int]]
"""For each module the modules it imports, with the line of the first such import."""


def faults(sources: Path, known: frozenset[tuple[str, str]] = KNOWN) -> Iterator[str]:
    """What is wrong with the imports below a folder of packages: every circle that is not known,
    and every known import that closes none."""
    graph = imports(sources)
    without = {
        module: {name: line for name, line in found.items() if (module, name) not in known}
        for module, found in graph.items()
    }
    for importer, imported in sorted(known):
        if imported not in graph.get(importer, {}) or not _reaches(without, imported, importer):
            yield f"{importer} -> {imported} closes no import circle: take it off the list."
    while circle := _circle(without):
        importer, imported = circle[:2]
        line = without[importer].pop(imported)  # so that the next one is found too
        yield f"{importer}, line {line}: import circle {' -> '.join(circle)}"


def imports(sources: Path) -> dict[str, dict[str, int]]:
    """The graph of all modules below a folder."""
    files = {}
    for file in sorted(sources.rglob("*.py")):
        parts = file.relative_to(sources).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    graph: dict[str, dict[str, int]] = {}
    for module, file in files.items():
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        found: dict[str, int] = {}
        for node in _run(ast.parse(file.read_text("utf-8"))):
            for name in _named(node, package, files):
                found.setdefault(name, node.lineno)  # type: ignore[attr-defined]
        found.pop(module, None)
        graph[module] = found
    return graph


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but what stands under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield other
                yield from _run(other)
            continue
        yield child
        yield from _run(child)


def _named(node: ast.AST, package: str, files: Mapping[str, Path]) -> Iterator[str]:
    """The modules that one statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in files)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            name = f"{base}.{alias.name}"
            if name in files or base in files:
                yield name if name in files else base


def _circle(graph: Graph) -> list[str]:
    """Modules that import each other in turn, the last importing the first again; [] if none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        backwards: list[str] = error.args[1]
        return backwards[::-1]
    return []


def _reaches(graph: Graph, start: str, end: str) -> bool:
    seen, waiting = {start}, [start]
    while waiting:
        for name in graph.get(waiting.pop(), {}):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return end in seen
