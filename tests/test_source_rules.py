"""The rules of the source: what each refuses and what it lets be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.import_circles import faults
from tests.source_rules import INTERPRETER, broken

STUDIO = "src/assay/studio/page.py"
REFUSED = [
    "made.props(f'aria-label=\"{label}\"')",
    "made.props('aria-label=%s' % label)",
    "made.props('aria-label=' + label)",
    "made.props('aria-label={}'.format(label))",
    "made.props(add=text)",
    "made.props(f'autogrow {TYPING}')",
    "made.props('autogrow ' + TYPING)",
    "made.props(f'autogrow {TYPING}' if long else TYPING)",
    "made.props(made_up(label))",
    "made.classes(f'card {kind}')",
    "made.classes('card ' + kind if kind else 'card')",
    "made.classes(remove='a %s' % kind)",
    "made.style(f'width: {share}')",
    "ui.html(f'<b>{name}</b>', sanitize=False)",
    "ui.html(str(markup))",
    "ui.add_head_html(text)",
    "ui.add_body_html('<p>' + name)",
    "ui.run_javascript(f'open({name})')",
    "ui.context.client.run_javascript('open(%s)' % name)",
    "ui.run_javascript(call_expression(f'() => {name}', 1))",
    "made.on('click', js_handler=f'() => {name}')",
    "made.add_slot('body', f'<b>{name}</b>')",
    "ui.aggrid({':onCellClicked': f'() => {name}'})",
    "made.props[':rules'] = handler",
    "ui.markdown(text)",
    "ui.echart(options)",
    "ui.notify(text, html=True)",
    "ui.select(names).props('x', options_html=1)",
    "session.execute(f'SELECT {name}')",
    "from sqlalchemy.exc import IntegrityError, OperationalError",
    "connection.exec_driver_sql('SELECT ' + name)",
    "table.search().where(f\"document = '{name}'\")",
    "from sqlalchemy import text\ntext('SELECT %s' % name)",
    "import sqlalchemy as sa\nsa.text('SELECT {}'.format(name))",
    "subprocess.run(command, shell=True)",
    "subprocess.run(command, shell=wanted)",
    "import os\nos.system(name)",
    "import sys\n[sys.executable, '-m', 'pip']",
    "import sys\nsubprocess.run([sys.executable, '-P', '-m', 'pip'])",
    "from sys import executable\n[executable, 'x.py']",
    "['python3', '-m', 'pip']",
    "import json\njson.loads(text)",
    "import regex as engine",
    "from regex import compile",
    "from jsonschema import Draft202012Validator",
    "from jsonschema import validators",
    "import jsonschema",
    "from ruamel.yaml import YAML\nYAML().load(text)",
    "from json import load\nload(file)",
    "import multiprocessing\nmultiprocessing.get_context('spawn')",
    "from concurrent.futures import ProcessPoolExecutor\nProcessPoolExecutor()",
]
LET_BE = [
    "made.props('role=status').props['aria-label'] = label",
    "made.props('autogrow').props(TYPING if wanted else 'debounce=100')",
    "made.classes('card').classes(kind)",
    "made.classes('page wide' if wide else 'page')",
    "made.style['--done'] = f'{share}%'",
    "ui.html(_MARK, sanitize=False)",
    "ui.html(markup.__html__(), sanitize=False)",
    "ui.run_javascript(call_expression(_CODE, element.id, name))",
    "ui.aggrid({':datasource': call_expression(_SOURCE, address), 'rowHeight': f'{n}'})",
    "text(f'{name}: {value}')",
    "from assay import patterns\npatterns.compile_pattern(text)",
    "session.execute(select(Row).where(Row.name == f'{name}'))",
    "connection.execute(_SELECT, {'name': name})",
    "subprocess.Popen(python('-m', 'pip'))",
    "import sys\nfix = f'Run `{sys.executable} -m ensurepip`.'",
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_becomes_code_is_refused(text: str) -> None:
    assert list(broken(text, STUDIO)), text


@pytest.mark.parametrize("text", LET_BE)
def test_values_are_let_be(text: str) -> None:
    assert not list(broken(text, STUDIO)), text


def test_a_python_is_started_by_path_where_its_folder_is_ours() -> None:
    text = "import sys\n[sys.executable, str(script)]"
    assert not list(broken(text, "bench/train.py"))
    assert list(broken(text, STUDIO))
    assert list(broken("import sys\n[sys.executable, '-m', 'x']", "bench/train.py"))
    assert not list(broken("import sys\n[sys.executable, '-P']", INTERPRETER))


def test_docstrings_of_public_functions_have_words() -> None:
    path = "src/assay/data/read.py"
    terse = "class Row:\n    def add(self):\n        'Adds.'"
    assert list(broken(terse, path))
    for text in (terse.replace("add", "_add"), terse.replace("Row", "_Row"), "def add(): pass"):
        assert not list(broken(text, path)), text


def test_import_circles_are_found_late_ones_too(tmp_path: Path) -> None:
    texts = {
        "__init__": "",
        "a": "from p import b",
        "b": "from __future__ import annotations\n\ndef f():\n    from .c import made",
        "c/__init__": "from p.c.d import made",
        "c/d": "if TYPE_CHECKING:\n    from p import a\nmade = 1",
    }
    (tmp_path / "p" / "c").mkdir(parents=True)
    for name, text in texts.items():
        (tmp_path / "p" / f"{name}.py").write_text(text)
    assert not list(faults(tmp_path, frozenset()))
    (tmp_path / "p" / "c" / "d.py").write_text("import p.a")
    (wrong,) = faults(tmp_path, frozenset())
    assert all(name in wrong for name in ("p.a", "p.b", "p.c", "p.c.d"))
    assert not list(faults(tmp_path, frozenset({("p.b", "p.c")})))
    assert len(list(faults(tmp_path, frozenset({("p.b", "p.c"), ("p.a", "p.x")})))) == 1
