"""Whatever is typed into a field is taken as it stands, or refused at that field in plain words."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nicegui import Client, ui
from nicegui.elements.mixins.validation_element import ValidationElement
from nicegui.page import page

from assay.accounts import keys, people
from assay.accounts.people import NotAllowedError
from assay.config import Columns
from assay.config.yaml_text import Problem
from assay.errors import AssayError, StoreError, UsageError
from assay.project import agents, questions, settings
from assay.project.agents import drafts
from assay.project.knowledge import documents
from assay.project.start.example_file import check_label
from assay.project.workspace import Workspace, project_of
from assay.release import changes
from assay.studio import dialogs
from assay.studio.dialogs import KEPT, ToldError, errors_at, say_at
from assay.studio.pages.agent.form import AgentForm
from assay.studio.pages.data.row_filter import refuse_long
from assay.studio.pages.settings.form import SettingsForm
from assay.studio.shared.controls import Control, Controls
from assay.studio.shared.numbers import NumberInput
from tests.many_rows import project

STUDIO = Path(__file__).parents[2] / "src" / "assay" / "studio"
LONG = "x" * 100_000
TEXTS = ("", "   ", LONG[:5000], "a\tb\0c", "\ud800", "  padded  ")
NO_NUMBERS = ("1e400", "nan", "1,5", "many", LONG, "1_000", "２", "1e300")
NUMBERS = ("", "0", "-1", "1e9", "2.5", "1e-9", "9007199254740993")
MACHINE = re.compile(r"\b(Input|String|List|Value) should|[0-9]e[+-]?[0-9]|Errno|Error\b|`assay ")
"""Words of libraries and of the command line, and numbers as programs write them."""
AGENT = """model: smollm2-135m-instruct
system_prompt: "Of the shop {{shop}}."
variables: {shop: Aal}
knowledge: {name: documents, k: 3, characters: 4000}
choices: [yes, no]
constrained: true
"""


def is_plain(said: str) -> bool:
    """Whether a sentence can stand at a field."""
    return said[-1] in ".?" and len(said) < 3 * KEPT and not MACHINE.search(said)


@dataclass
class Form:
    """A form without a browser: what is typed into a field is put, and checked as the page does."""

    controls: Controls[Any]
    text: str
    edit: Callable[[str, dict[str, Any]], str]
    check: Callable[[str], tuple[Any, tuple[Problem, ...]]]

    def __post_init__(self) -> None:
        self.value, before = self.check(self.text)
        assert not before
        self.controls.show(self.value)
        self.fields = [
            one
            for one in self.controls._controls
            if isinstance(one.made, ui.input | ui.textarea | NumberInput)
            or (isinstance(one.made, ui.select) and "use-input" in one.made.props)
        ]

    def type(self, field: Control[Any], typed: str) -> str | None:
        """What is said at the field; None: it is taken."""
        made, put = field.made, dict[str, Any]()

        async def write(values: dict[str, Any]) -> None:
            put.update(values)

        self.controls._put = write
        value: Any = typed
        if isinstance(made, NumberInput):
            value = made._event_args_to_value(SimpleNamespace(args=typed))  # type: ignore[arg-type]
        made._handle_value_change = lambda value: None  # type: ignore[method-assign]
        made.value = value
        asyncio.run(self.controls._changed(field))
        untold: list[Problem] = []
        if put:
            text = self.edit(self.text, put)
            untold = self.controls.freeze(False, self.check(text)[1])
        said = getattr(made, "error", None)
        elsewhere = [one.made.error for one in self.fields if one is not field and one.made.error]  # type: ignore[attr-defined]
        self.controls._refused.clear()
        self.controls.freeze(False)
        self.controls.accept(self.value)
        assert not untold, untold
        return said or next(iter(elsewhere), None)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("fields") / "tickets"
    folder.mkdir()
    project(folder, 60)
    made = Workspace(folder)
    documents.create(made, "documents")
    return made.act_as("user:ann")


@pytest.fixture(scope="module")
def forms(workspace: Workspace) -> Iterator[dict[str, Form]]:
    async def nothing(values: dict[str, Any]) -> None: ...

    def check_settings(text: str) -> tuple[Any, tuple[Problem, ...]]:
        found = settings.validate(workspace, text, admin=True)
        return found.config, found.problems

    def check_agent(text: str) -> tuple[Any, tuple[Problem, ...]]:
        found = drafts.validate(workspace, text)
        return found.agent, found.problems

    with Client(page("/fields")):
        models = ["smollm2-135m-instruct"]
        agent = AgentForm(nothing, models, ["documents"], {}, workspace.config, open=True)
        config = SettingsForm(nothing, models, open=True)
        before = settings.read(workspace).text
        yield {
            "agent": Form(agent, AGENT, drafts.edit, check_agent),
            "settings": Form(config, before, settings.edit, check_settings),
        }


@pytest.mark.parametrize("name", ["agent", "settings"])
def test_a_number_is_taken_or_refused_at_its_field(forms: dict[str, Form], name: str) -> None:
    form = forms[name]
    numbers = [one for one in form.fields if isinstance(one.made, NumberInput)]
    numbers += [one for one in form.fields if one.path in AUTO]
    assert len(numbers) > 3
    for field in numbers:
        label = field.made.props["aria-label"]
        for typed in (*NO_NUMBERS, *NUMBERS):
            said = form.type(field, typed)
            assert said is None or is_plain(said), (label, typed, said)
            assert said is not None or typed not in NO_NUMBERS, (label, typed)


AUTO = ("fine_tune.epochs", "fine_tune.learning_rate", "fine_tune.rank")


@pytest.mark.parametrize("name", ["agent", "settings"])
def test_a_text_is_taken_or_refused_at_its_field(forms: dict[str, Form], name: str) -> None:
    form = forms[name]
    texts = [one for one in form.fields if not isinstance(one.made, NumberInput)]
    assert len(texts) > 3
    for field in texts:
        label = field.made.props["aria-label"]
        for typed in TEXTS:
            said = form.type(field, typed)
            assert said is None or is_plain(said), (label, typed[:20], said)
            if field.path in ("model", "data.file"):
                assert said is not None, (label, typed[:20])


def test_what_two_fields_contradict_each_other_in_is_told_at_one(forms: dict[str, Form]) -> None:
    form = forms["settings"]
    margin = next(one for one in form.fields if one.path == "margin")
    assert form.edit(form.text, {"margin_for_cheaper": 0.03})
    form.text, before = form.edit(form.text, {"margin_for_cheaper": 0.03}), form.text
    try:
        assert form.type(margin, "5") == (
            "It must not be smaller than the margin: make it larger or leave it out."
        )
    finally:
        form.text = before


def test_columns_of_numbers_are_named_where_a_table_has_records(forms: dict[str, Form]) -> None:
    form = forms["settings"]
    assert isinstance(form.controls, SettingsForm)
    field = next(one for one in form.fields if one.path == "data.columns.numbers")
    assert field.write("seats, deck") == {field.path: ["seats", "deck"]}
    assert field.write("") == {field.path: []}
    assert not form.controls._numbers.visible  # of one column, a label
    columns = Columns(input=["text"], output=["seats", "deck"], numbers=["seats"])
    data = form.value.data.model_copy(update={"columns": columns})
    form.controls.accept(form.value.model_copy(update={"data": data}))
    assert form.controls._numbers.visible
    form.controls.accept(form.value)


LINES: dict[str, Callable[[Workspace, str], object]] = {
    "name of a key": lambda of, text: keys.create_key(of.store, of.name, text, ["chat"]),
    "new name of a key": lambda of, text: keys.rename_key(of.store, _key(of), text),
    "name of a person": lambda of, text: people.add(of, text, "viewer"),
    "name of an agent": lambda of, text: agents.save(of, text, AGENT, based_on=None, message=""),
    "name of a knowledge base": lambda of, text: documents.create(of, text),
    "name of a release": lambda of, text: changes.check_name(of.store, text),
    "reason of a promotion": lambda of, text: changes._fit(
        of.store, "r", agents.list_agents(of)[0], None, text, None
    ),
    "question": lambda of, text: questions.add(project_of(of), text, "ann"),
    "question in better words": lambda of, text: questions.change(
        project_of(of), _question(of), "ann", question=text
    ),
    "new name of a label": lambda of, text: check_label(text),
}


def _key(workspace: Workspace) -> str:
    return keys.list_keys(workspace.store, workspace.name)[0].id


def _question(workspace: Workspace) -> str:
    return questions.questions(workspace.store, project_of(workspace).owner)[0].id


@pytest.fixture(scope="module")
def peopled(workspace: Workspace) -> Workspace:
    keys.create_key(workspace.store, workspace.name, "Web shop", ["chat"])
    people.add(workspace, "Ann", "viewer")
    agents.save(workspace, "Support", AGENT, based_on=None, message="")
    questions.add(project_of(workspace), "Who?", "ann")
    return workspace


@pytest.mark.parametrize("what", LINES)
def test_a_line_is_bounded_where_it_is_kept(peopled: Workspace, what: str) -> None:
    for typed in ("", "   ", LONG, "a\0b", "a\ud800b"):
        with pytest.raises(UsageError) as refused:
            LINES[what](peopled, typed)
        assert is_plain(say_at(str(refused.value))), (typed[:20], refused.value)


def test_a_message_is_bounded_where_it_is_kept(peopled: Workspace) -> None:
    draft, config = agents.read(peopled, "Support"), settings.read(peopled)
    for typed in (LONG, "a\0b"):
        for save in (
            lambda said: agents.save(
                peopled, "Support", f"{AGENT}seed: 3\n", based_on=draft.hash, message=said
            ),
            lambda said: settings.save(
                peopled, config.text, based_on=config.hash, message=said, admin=True
            ),
        ):
            with pytest.raises(UsageError) as refused:
                save(typed)
            assert is_plain(say_at(str(refused.value)))


@pytest.mark.parametrize(
    "make",
    [
        lambda of: keys.create_key(of.store, of.name, " web SHOP ", ["chat"]),
        lambda of: people.add(of, "ann", "viewer"),
        lambda of: agents.save(of, "support", AGENT, based_on=None, message=""),
        lambda of: documents.create(of, "Documents"),
    ],
)
def test_a_name_in_other_capitals_is_the_same_name(
    peopled: Workspace, make: Callable[[Workspace], object]
) -> None:
    with pytest.raises(UsageError, match="already"):
        make(peopled)


def test_rows_are_not_searched_for_more_than_an_address_holds() -> None:
    assert refuse_long(None) is None
    assert is_plain(str(refuse_long(LONG)))


def test_an_error_is_told_at_its_field_and_ends_the_handler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialogs, "lead_to", lambda field: None)  # there is no browser
    with Client(page("/one")):
        field: ValidationElement[Any] = ui.input()
        with pytest.raises(ToldError), errors_at(field, UsageError):
            raise UsageError("the name is missing.")
        assert field.error == "The name is missing."
        for other in (NotAllowedError("no."), StoreError("the disk is full."), AssayError("x.")):
            with pytest.raises(type(other), match=str(other)), errors_at(field, UsageError):
                raise other
        assert field.error is None
        with pytest.raises(ToldError), errors_at(field):
            raise AssayError(f"{LONG!r} cannot be.", fix="Use at most 100 characters.")
        assert field.error.endswith("Use at most 100 characters.")
        assert is_plain(field.error)


def test_every_number_of_a_page_has_a_most() -> None:
    """One that has none takes 1e300 without a word."""
    found = 0
    for file in STUDIO.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            name = ast.unparse(call.func)
            assert name != "ui.number", f"{file}, line {call.lineno}: use number_input"
            if name == "number_input":
                found += 1
                given = {one.arg for one in call.keywords}
                assert given & {"most", "of"}, f"{file}, line {call.lineno}: no most"
    assert found > 10
