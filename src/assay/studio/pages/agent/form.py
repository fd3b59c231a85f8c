"""The form of an agent: one control for each thing that people change, in plain words.

A control puts its value into the text (`put`); what the text says is shown with `show`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from nicegui import ui

from assay import json_reader
from assay.agent.agent import Agent
from assay.config import Config
from assay.errors import UsageError
from assay.knowledge.build import RETENTION
from assay.project.agents.drafts import PromptTokens
from assay.quantities import say_count
from assay.studio import widgets as w
from assay.studio.pages.agent.made_models import describe_made
from assay.studio.pages.agent.route_form import RouteForm
from assay.studio.pages.agent.variables_form import VariablesForm
from assay.studio.shared.controls import (
    NO_MODEL,
    TYPING,
    Controls,
    Put,
    require_text,
    split_lines,
)
from assay.studio.shared.numbers import NumberInput, refuse_fraction, require_number

FORMS = {"text": "Free text", "choices": "One of a fixed set", "schema": "JSON record"}
FIRST_LABELS = ["yes", "no"]
FIRST_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}
PASSAGES = 5
CHARACTERS = 12_000
"""Of prompt, conversation and passages together: some 3,000 tokens."""
NUMBERS = (
    ("Temperature", "temperature", "0 always gives the most likely answer.", False),
    ("Longest answer", "max_new_tokens", "In tokens, about ¾ of a word each.", True),
    ("Seed", "seed", "The same seed gives the same answer.", True),
)
"""Label, setting, hint, and whether it is a whole number."""
_FIXED = (
    "Searches the documents that it was measured with (named by “snapshot” in the YAML), not what "
    f"was added or replaced since: for {RETENTION.days} days from a change, or until one of them "
    "is removed; then the present ones."
)
_HERE = {
    *("kind", "model", "system_prompt", "shown", "nearest", "knowledge"),
    *("output_schema", "choices"),
    *("variables", "route", "constrained", "max_new_tokens", "temperature", "seed"),
}
"""Settings that the form shows; others are named, and changed in the text."""


class AgentForm(Controls[Agent]):
    """What a person fills in.

    Args:
        put: writes settings into the text.
        models, bases: what can be chosen for `model` and `knowledge`.
        arms: agents that a route can choose, `NAME@VERSION` by id.
        config: of the project, whose labels and record a format of answers begins with; None: there
            is none.
        open: whether anything can be changed.
    """

    def __init__(
        self,
        put: Put,
        models: Sequence[str],
        bases: Sequence[str],
        arms: Mapping[str, str],
        config: Config | None,
        *,
        open: bool,
    ) -> None:
        super().__init__(put, open=open)
        self._labels = (config.labels if config is not None else None) or FIRST_LABELS
        self._schema = (config.output_schema if config is not None else None) or FIRST_SCHEMA
        self._models, self._bases, self._arms = list(models), list(bases), arms
        self._turns: list[list[dict[str, Any]]] = []
        self._build()

    def show(self, agent: Agent) -> None:
        """Let every control show what an agent says."""
        super().show(agent)
        if self._turns != _read_turns(agent):
            self._turns = _read_turns(agent)
            self._show_turns()
        self._show_output(agent)
        self._route.show(agent.route)
        self._variables.show(agent.variables)
        self._show_blocks(agent)

    def show_tokens(self, tokens: PromptTokens | None) -> None:
        """Under the prompt: what prompt and shown examples cost on each request."""
        said = tokens and (
            tokens.too_long or f"{say_count(tokens.count, 'token')} in every request"
        )
        self._tokens.text = said or ""
        self._tokens.classes(replace="hint warn" if tokens and tokens.too_long else "hint")

    def show_blank(self, blank: str | None) -> None:
        """Under the prompt: what was left in it."""
        self._blank.text = f"{blank} is sent unchanged: no variable replaces it." if blank else ""

    def _freeze(self, frozen: bool) -> None:
        self._fields.classes(add="frozen") if frozen else self._fields.classes(remove="frozen")
        self._note.set_visibility(frozen)
        super()._freeze(frozen)

    def _build(self) -> None:
        self._note = w.text("The YAML is not a valid agent. Correct it to use the form.", "bad")
        self._note.set_visibility(False)
        self._fields = ui.element("div").classes("stack gap")
        with self._fields:
            self._build_model()
            self._state = w.text("", "soft note")
            self._language = ui.element("div").classes("stack gap")
            with self._language:
                self._build_prompt()
                self._build_turns()
                self._build_knowledge()
                self._build_output()
                self._build_sampling()
            self._route = RouteForm(self._part("route", "Route"), self._arms, open=self._open)
            self._beyond = w.text("", "soft note")

    def _build_model(self) -> None:
        with ui.element("div") as self._model_box:
            model = w.field(
                "Model",
                ui.select(self._models, with_input=True, new_value_mode="add-unique", value=None),
                "The model that answers. Choose one or type its name.",
            )
        self._control(
            model, lambda a: a.model, lambda v: {"model": require_text(v, NO_MODEL)}, "model"
        )
        with ui.element("div") as self._made_box:
            self._made = w.text("", tag="div")
            with w.details("Its full name"):
                self._made_name = w.text("", "soft note breaks")

    def _build_prompt(self) -> None:
        area = w.field(
            "System prompt",
            ui.textarea().props("autogrow").props(TYPING).classes("prompt"),
            "Instructions for the model, sent before every conversation.",
        )
        self._control(
            area, lambda a: a.system_prompt, lambda v: {"system_prompt": v or ""}, "system_prompt"
        )
        with w.row():
            self._tokens = w.text("", "hint", "span").props("role=status")
            self._blank = w.text("", "hint warn", "span")
        self._variables = VariablesForm(self._part("variables", "Variables"), open=self._open)

    def _build_turns(self) -> None:
        with ui.element("div").classes("stack"):
            w.heading("Shown examples", "Sent before every conversation; each costs tokens.")
            self._shown = ui.element("div").classes("stack")
            self._put_shown = self._part("shown", "Shown examples")
            self._nearest = w.text("", "soft note")
            if self._open:
                with w.row():
                    w.button("Add an example", self._add_turn, icon="add")

    def _build_knowledge(self) -> None:
        with ui.element("div").classes("stack"):
            w.heading(
                "Knowledge",
                "Passages of your documents, found for each question and added to the prompt.",
            )
            with ui.element("div").classes("split"):
                offered = {"": "None", **{b: b for b in self._bases}}
                self._base = w.field("Knowledge base", ui.select(offered, value=""))
                self._control(
                    self._base, lambda a: a.knowledge.name if a.knowledge else "", self._write_base
                )
                with ui.element("div") as passages:
                    self._passages = w.field(
                        "Passages",
                        NumberInput().props(TYPING),
                        "Maximum number of passages, best first.",
                    )
                passages.bind_visibility_from(self._base, "value", backward=bool)
                self._control(
                    self._passages,
                    lambda a: a.knowledge.k if a.knowledge else PASSAGES,
                    self._write_passages,
                    "knowledge.k",
                )

    def _write_passages(self, value: float | None) -> dict[str, Any] | None:
        if not self._base.value:
            return None  # it is hidden, and shown with `PASSAGES` when a base is chosen
        if refused := refuse_fraction(self._passages.typed):
            raise UsageError(refused)
        return {"knowledge.k": int(require_number(value))}

    def _write_base(self, name: str) -> dict[str, Any]:
        before = self._parsed.knowledge if self._parsed is not None else None
        if not name or before is None:
            self._passages.set_value(PASSAGES)  # what was refused there keeps nothing from a save
        if not name:
            return {"knowledge": None}
        if before is None:
            return {"knowledge": {"name": name, "k": PASSAGES, "characters": CHARACTERS}}
        # A state, and vectors of a trained embedder, are of the documents that were there before.
        own = {"snapshot", "embedder"}
        kept = before.model_dump(mode="json", exclude_none=True, exclude=own)
        return {"knowledge": {**kept, "name": name}}

    def _build_output(self) -> None:
        with ui.element("div").classes("stack"):
            w.heading("Answer")
            self._form = ui.radio(FORMS, value="text", on_change=self._choose_form)
            w.label_input(self._form, "Answer format").props("inline")
            self._form.set_enabled(self._open)
            with ui.element("div") as self._choices_box:
                area = ui.textarea().props("autogrow").props(TYPING)
                self._control(
                    w.field("Allowed answers, one per line", area),
                    lambda a: "\n".join(a.choices or ()),
                    lambda v: {"choices": split_lines(v)},
                    "choices",
                )
            with ui.element("div") as self._schema_box:
                area = ui.textarea().props("autogrow").props(TYPING).classes("mono")
                w.field("JSON Schema", area, "The fields of the record and what each may contain.")
                self._control(area, _read_schema_text, self._read_schema, "output_schema")
            label = "Constrain the model to this format"
            self._constrained = w.label_input(ui.switch(label), label)
            self._control(
                self._constrained,
                lambda a: a.constrained,
                lambda v: {"constrained": bool(v)},
            )

    def _build_sampling(self) -> None:
        with ui.element("div").classes("split"):
            for label, name, hint, whole in NUMBERS:
                self._number(label, name, hint, whole=whole)

    def accept(self, agent: Agent) -> None:
        """What the text says after a change of this form's own: no control is touched."""
        super().accept(agent)
        self._show_output(agent)
        self._route.accept(agent.route)
        self._variables.accept(agent.variables)

    def _show_blocks(self, agent: Agent) -> None:
        self._language.set_visibility(agent.kind == "chat")
        made = describe_made(agent.model)
        self._model_box.set_visibility(agent.route is None and made is None)
        self._made_box.set_visibility(agent.route is None and made is not None)
        self._made.text, self._made_name.text = made or "", agent.model
        nearest = agent.nearest
        self._nearest.text = (
            f"Plus {say_count(nearest.k, 'example')} from a pool: the most similar to the input."
            if nearest is not None
            else ""
        )
        knowledge = agent.knowledge
        fixed = knowledge is not None and knowledge.snapshot is not None
        self._state.text = _FIXED if fixed else ""
        usual = Agent(model="").model_dump()
        beyond = [n for n, v in agent.model_dump().items() if n not in _HERE and v != usual[n]]
        if agent.constrained and agent.output_schema is None and agent.choices is None:
            beyond.append("constrained")  # calls are held to tools; the switch is of a format
        self._beyond.text = f"Also set in the YAML: {', '.join(beyond)}." if beyond else ""

    def _show_output(self, agent: Agent) -> None:
        kind = "schema" if agent.output_schema is not None else "text"
        kind = "choices" if agent.choices is not None else kind
        if self._form.value != kind:
            self._form.set_value(kind)
        self._choices_box.set_visibility(kind == "choices")
        self._schema_box.set_visibility(kind == "schema")
        self._constrained.set_visibility(kind != "text")

    async def _choose_form(self) -> None:
        agent, kind = self._parsed, self._form.value
        if agent is None:
            return
        values: dict[str, Any] = {}
        if kind != "choices" and agent.choices is not None:
            values["choices"] = None
        if kind != "schema" and agent.output_schema is not None:
            values["output_schema"] = None
        if kind == "text" and agent.constrained:
            values["constrained"] = False
        if kind == "choices" and agent.choices is None:
            values |= {"choices": self._labels, "constrained": True}
        if kind == "schema" and agent.output_schema is None:
            values |= {"output_schema": self._schema, "constrained": True}
        if values:
            await self._put(values)
            if self._parsed is not None:
                self.show(self._parsed)

    def _read_schema(self, value: str) -> dict[str, Any] | None:
        try:
            schema = json_reader.read(value)
        except ValueError as error:
            raise UsageError(
                f"the JSON Schema is not JSON ({json_reader.describe(error)}).",
                fix="Correct it; the YAML was not changed.",
            ) from None
        if not isinstance(schema, dict):
            raise UsageError("a JSON Schema must be an object in braces.")
        if self._parsed is not None and schema == self._parsed.output_schema:
            return None
        return {"output_schema": schema}

    def _show_turns(self) -> None:
        with w.refill(self._shown):
            if not self._turns:
                w.text("None.", "soft note")
            for number, turns in enumerate(self._turns):
                self._example(number, turns)

    def _example(self, number: int, turns: list[dict[str, Any]]) -> None:
        with ui.element("div").classes("shown-example"):
            with w.row("spread"):
                w.text(f"Example {number + 1}", "field-label", "span")
                if self._open:
                    w.button(
                        "Remove",
                        lambda: self._drop_turn(number),
                        kind="link",
                        name=f"Remove example {number + 1}",
                    )
            for turn in turns:
                role = {"user": "Input", "assistant": "Answer"}.get(turn["role"], turn["role"])
                if not isinstance(turn.get("content"), str):
                    w.text(f"{role}: not plain text; edit it in the YAML.", "soft note")
                    continue
                area = ui.textarea(role, value=turn["content"], on_change=self._write_turn(turn))
                area.props("autogrow").props(TYPING)
                w.label_input(area, f"{role} of example {number + 1}")
                area.set_enabled(self._open)

    def _write_turn(self, turn: dict[str, Any]) -> Callable[[Any], Awaitable[None]]:
        async def changed(event: Any) -> None:
            turn["content"] = event.value or ""
            await self._put_turns()

        return changed

    async def _add_turn(self) -> None:
        pair = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
        self._turns.append(pair)
        self._show_turns()
        await self._put_turns()

    async def _drop_turn(self, number: int) -> None:
        del self._turns[number]
        await self._put_turns()
        self._show_turns()  # last: the button that was clicked goes with it

    async def _put_turns(self) -> None:
        await self._put_shown({"shown": [[dict(turn) for turn in turns] for turns in self._turns]})


def _read_turns(agent: Agent) -> list[list[dict[str, Any]]]:
    return [[dict(turn) for turn in turns] for turns in agent.shown]


def _read_schema_text(agent: Agent) -> str:
    if agent.output_schema is None:
        return ""
    return json.dumps(agent.output_schema, indent=2, ensure_ascii=False)
