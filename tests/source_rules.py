"""Rules of the source that no type and no linter holds; `make check` runs them.

    python -m tests.source_rules            # src and bench

A rule looks at one node of a file's syntax tree and says what is wrong with it, or None. What a
browser, a shell or a database reads as code is written in the source, never put together from
values: a value has a way of its own to get there.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import import_circles

ROOT = Path(__file__).parent.parent
CHECKED = ("src", "bench")

FIXED = {"add_head_html", "add_body_html", "add_css", "add_slot", "run_javascript"}
"""Calls whose texts must be fixed."""
NOT_FORMATTED = {"classes", "style"}
"""Calls that may be given a text, but not one that is put together there."""
SQL = {"execute", "executemany", "executescript", "exec_driver_sql", "literal_column", "where"}
SQL_TEXT = {"sqlalchemy.text", "sqlalchemy.literal_column", "sqlalchemy.sql.text"}
MARKUP = {
    "markdown",
    "restructured_text",
    "mermaid",
    "echart",
    "plotly",
    "highchart",
    "json_editor",
}
"""Elements of NiceGUI that make markup or code of what they are given."""
STARTERS = {
    *("os.system", "os.popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.posix_spawnp"),
    *("os.execl", "os.execle", "os.execlp", "os.execv", "os.execve", "os.execvp", "os.execvpe"),
    *("os.spawnl", "os.spawnle", "os.spawnv", "os.spawnve", "os.spawnvp", "os.spawnvpe"),
    *("asyncio.create_subprocess_shell", "asyncio.create_subprocess_exec"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn", "runpy.run_path"),
    *("runpy.run_module", "concurrent.futures.ProcessPoolExecutor", "multiprocessing.Process"),
    *("multiprocessing.Pool", "multiprocessing.get_context", "multiprocessing.Manager"),
}
LONGEST = 400
"""Lines of a module of src: what can be read in one sitting."""
INTERPRETER = "src/assay/interpreter.py"
STORE = "src/assay/store/store.py"


@dataclass(frozen=True)
class Source:
    """A file.

    Attributes:
        path: from the root, with slashes.
        parents: of each node.
        names: what a name means that was imported: `text` is `sqlalchemy.text`.
    """

    path: str
    tree: ast.Module
    parents: dict[ast.AST, ast.AST]
    names: dict[str, str]

    def full_name(self, node: ast.AST) -> str:
        """Of a name or attribute, as imported: `os.system`; "" for everything else."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            before = self.full_name(node.value)
            return f"{before}.{node.attr}" if before else ""
        return ""


Rule = Callable[[ast.AST, Source], str | None]


def texts_for_the_browser_are_fixed(node: ast.AST, source: Source) -> str | None:
    """Props, markup and scripts: NiceGUI parses them, and evaluates some."""
    if not isinstance(node, ast.Call):
        return None
    name, given = _called(node), [*node.args, *(k.value for k in node.keywords)]
    is_method = isinstance(node.func, ast.Attribute)
    if name == "props" and is_method and not all(map(_whole, given)):
        return (
            "props() is given a text that is put together, or not fixed: set a prop as a value "
            '(`element.props["href"] = path`, `set_label(element, label)`).'
        )
    if name in FIXED and is_method and not all(map(_fixed, given)):
        return (
            f"{name}() is given a text that is not fixed: give a script its values with "
            "`assay.studio.browser.call_expression`."
        )
    if source.full_name(node.func).endswith("ui.html") and not all(map(_fixed, given)):
        return "ui.html() is given a text that is not fixed: `widgets.picture` shows charts."
    if name in NOT_FORMATTED and is_method and any(map(_built, given)):
        return f"{name}() is given a text that is put together: give it one after the other."
    for keyword in node.keywords:
        if keyword.arg == "js_handler" and not _fixed(keyword.value):
            return "js_handler is not fixed."
        off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
        if keyword.arg in ("html", "text_html", "html_columns", "options_html") and not off:
            return f"{keyword.arg} makes markup of what is shown."
    return None


def dynamic_props_are_fixed(node: ast.AST, source: Source) -> str | None:
    """What is kept under a key that begins with a colon, NiceGUI's scripts evaluate."""
    if isinstance(node, ast.Dict):
        pairs = list(zip(node.keys, node.values, strict=True))
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        pairs = [(node.targets[0].slice, node.value)]
    else:
        return None
    for key, value in pairs:
        text = key.value if isinstance(key, ast.Constant) else None
        if isinstance(text, str) and text.startswith(":") and not _fixed(value):
            return f"{text!r} is evaluated by the browser, and is not fixed."
    return None


def no_element_makes_markup_of_texts(node: ast.AST, source: Source) -> str | None:
    """Markdown, diagrams and charts of NiceGUI take texts for markup or code."""
    name = source.full_name(node)
    if name.removeprefix("nicegui.") in {f"ui.{one}" for one in MARKUP}:
        return f"{name} makes markup or code of what it is given: show it as text."
    return None


def sql_is_fixed(node: ast.AST, source: Source) -> str | None:
    """Values reach a database as parameters."""
    if not isinstance(node, ast.Call):
        return None
    named = isinstance(node.func, ast.Attribute) and node.func.attr in SQL
    if (named or source.full_name(node.func) in SQL_TEXT) and any(map(_built, node.args)):
        return "SQL is put together of texts: give values as parameters."
    return None


def no_shell(node: ast.AST, source: Source) -> str | None:
    """A shell reads names as commands."""
    for keyword in node.keywords if isinstance(node, ast.Call) else ():
        if keyword.arg == "shell" and not (
            isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        ):
            return "a shell is started: give the command as a list."
    return None


def pythons_start_in_one_place(node: ast.AST, source: Source) -> str | None:
    """`-m` and `-c` take files of the working directory for modules, unless `-P` says not to."""
    if source.path == INTERPRETER:
        return None
    ours = source.path.startswith("src/")
    if isinstance(node, ast.Attribute | ast.Name) and source.full_name(node) == "sys.executable":
        around = source.parents.get(node)
        if isinstance(around, ast.FormattedValue):  # it is told to a person
            return None
        listed = around.elts if isinstance(around, ast.List | ast.Tuple) else None
        follows = listed[listed.index(node) + 1 :][:1] if listed and node in listed else []  # type: ignore[arg-type]
        by_name = not follows or (
            isinstance(follows[0], ast.Constant) and follows[0].value in ("-m", "-c", "-")
        )
        if ours or by_name:
            return "a Python is started: `assay.interpreter.python` gives the command."
    name = source.full_name(node)
    if ours and name in STARTERS and (source.path, name) not in MAY_START:
        return f"{name} starts a process: use subprocess, with a list."
    words = node.elts[:2] if isinstance(node, ast.List | ast.Tuple) else []
    if len(words) == 2 and _starts_with(words[0], "python") and _starts_with(words[1], "-"):
        return "a Python is started: `assay.interpreter.python` gives the command."
    return None


def json_is_read_in_one_place(node: ast.AST, source: Source) -> str | None:
    """What is read has a limited depth: whatever walks a value calls itself for each level."""
    ours = source.path.startswith("src/") and source.path not in READ_JSON
    if ours and source.full_name(node) in ("json.loads", "json.load"):
        return "JSON is read: `assay.json_reader.read` limits its depth."
    return None


def others_patterns_are_read_in_one_place(node: ast.AST, source: Source) -> str | None:
    """To read one has no clock, and may take gigabytes."""
    ours = source.path.startswith("src/") and source.path != "src/assay/patterns.py"
    names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
    if ours and "regex" in (*names, getattr(node, "module", None)):
        return "regex is used: `assay.patterns.compile_pattern` limits what a pattern comes to."
    return None


def schemas_are_read_in_one_place(node: ast.AST, source: Source) -> str | None:
    """The library's own validators ask addresses and read files that a schema names."""
    if not source.path.startswith("src/") or source.path in READ_SCHEMAS:
        return None
    by_name = isinstance(node, ast.ImportFrom) and node.module in (
        "jsonschema",
        "jsonschema.validators",
    )
    taken = [a.name for a in node.names] if by_name else []  # type: ignore[attr-defined]
    if any("validat" in name or name.endswith("Validator") for name in taken) or (
        isinstance(node, ast.Import) and any(a.name.startswith("jsonschema") for a in node.names)
    ):
        return "a JSON Schema is read: `assay.data.json_schema` fetches nothing for it."
    return None


def that_the_database_is_away_is_one_error(node: ast.AST, source: Source) -> str | None:
    """`store/store.py` raises a StoreError in its place: nobody else would ever catch it."""
    if not isinstance(node, ast.ImportFrom) or node.module != "sqlalchemy.exc":
        return None
    others = {alias.name for alias in node.names} - {"IntegrityError", "DataError"}
    if others and source.path != STORE:
        return f"{', '.join(sorted(others))}: catch assay.errors.StoreError"
    return None


def yaml_is_read_in_one_place(node: ast.AST, source: Source) -> str | None:
    """What is read has a limited length and depth, and no references."""
    ours = source.path.startswith("src/") and source.path not in YAML_FILES
    if ours and source.full_name(node).startswith(("ruamel.yaml.YAML", "yaml.")):
        return "YAML is read: `assay.config.yaml_text.read` limits length and depth."
    return None


def docstrings_say_something(node: ast.AST, source: Source) -> str | None:
    """A public function's docstring says what is true of its arguments and its result."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
        return None
    around = source.parents[node]
    while isinstance(around, ast.ClassDef) and not around.name.startswith("_"):
        around = source.parents[around]
    words = len((ast.get_docstring(node) or "").split())
    ours = source.path.startswith("src/assay/")
    if ours and isinstance(around, ast.Module) and 0 < words < LEAST_WORDS:
        return f"the docstring of {node.name}() has {words} words: what is true of its result?"
    return None


LEAST_WORDS = 5

READ_SCHEMAS = frozenset({"src/assay/data/json_schema.py", "src/assay/chat/tool_text.py"})

YAML_FILES = frozenset({"src/assay/config/yaml_text.py"})
"""The second one writes."""

READ_JSON = frozenset(
    {
        "src/assay/json_reader.py",
        "src/assay/knowledge/parse_worker.py",
        "src/assay/evaluate/confined_worker.py",
        "src/assay/evaluate/trusted_worker.py",
        "src/assay/release/classify.py",
    }
)
"""The last four are programs of their own, and read what Assay writes them."""

MAY_START = frozenset(
    {
        ("src/assay/evaluate/trusted_worker.py", "os.fork"),  # what calls change ends with it
        ("src/assay/knowledge/parse_worker.py", "os.fork"),  # it leaves a child behind that reads
        ("src/assay/jobs/service.py", "os.execv"),  # of a command of `python`, tests see to it
    }
)
"""Files and how they start a process otherwise."""

RULES: tuple[Rule, ...] = (
    texts_for_the_browser_are_fixed,
    dynamic_props_are_fixed,
    no_element_makes_markup_of_texts,
    sql_is_fixed,
    no_shell,
    pythons_start_in_one_place,
    json_is_read_in_one_place,
    yaml_is_read_in_one_place,
    others_patterns_are_read_in_one_place,
    schemas_are_read_in_one_place,
    that_the_database_is_away_is_one_error,
    docstrings_say_something,
)


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _whole(node: ast.AST) -> bool:
    """Whether a value stands in the source as one piece: a literal, or a constant by name."""
    if isinstance(node, ast.IfExp):
        return _whole(node.body) and _whole(node.orelse)
    return isinstance(node, ast.Constant | ast.Name | ast.Attribute) and _fixed(node)


def _fixed(node: ast.AST) -> bool:
    """Whether a value stands in the source: a literal, a constant by name, a text of these; or is
    code with values beside it, or markup that has escaped its own."""
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.Name | ast.Attribute):
        return (node.id if isinstance(node, ast.Name) else node.attr).isupper()
    if isinstance(node, ast.JoinedStr):
        return all(map(_fixed, node.values))
    if isinstance(node, ast.FormattedValue):
        return _fixed(node.value)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add) and _fixed(node.left) and _fixed(node.right)
    if isinstance(node, ast.IfExp):
        return _fixed(node.body) and _fixed(node.orelse)
    if not isinstance(node, ast.Call):
        return False
    escaped = _called(node) == "__html__"  # of markupsafe, which escapes what is put into it
    return escaped or (_called(node) == "call_expression" and _fixed(node.args[0]))


def _built(node: ast.AST) -> bool:
    """Whether a text is put together there of more than what is fixed."""
    if isinstance(node, ast.JoinedStr):
        return not _fixed(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        texts = [n for n in (node.left, node.right) if _is_text(n) or _built(n)]
        return bool(texts) and not _fixed(node)
    if isinstance(node, ast.IfExp):
        return _built(node.body) or _built(node.orelse)
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("format", "format_map")
    )


def _starts_with(node: ast.AST, text: str) -> bool:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_text and node.value.startswith(text)  # type: ignore[attr-defined]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def broken(text: str, path: str, rules: Sequence[Rule] = RULES) -> Iterator[tuple[int, str]]:
    """Line and fault of everything in a file's text that a rule refuses."""
    tree = ast.parse(text)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.asname: a.name for a in node.names if a.asname}
    source = Source(path, tree, parents, names)
    for node in ast.walk(tree):
        for rule in rules:
            if wrong := rule(node, source):
                yield getattr(node, "lineno", 0), wrong


def main() -> int:
    """Tells every fault; the exit code."""
    faults = 0
    for folder in CHECKED:
        for file in sorted((ROOT / folder).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            lines = file.read_text("utf-8").count("\n")
            if folder == "src" and lines > LONGEST:
                print(f"{path}:{LONGEST}: {lines} lines, more than one sitting: move a wall")
                faults += 1
            for line, wrong in broken(file.read_text("utf-8"), path):
                print(f"{path}:{line}: {wrong}")
                faults += 1
    for wrong in import_circles.faults(ROOT / "src"):
        print(wrong)
        faults += 1
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())
