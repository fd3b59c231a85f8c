"""What can be wrong with what one example says: judged on its own, whatever its format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from assay import json_reader
from assay.chat.template import Template
from assay.close_names import find_close_name
from assay.config import Columns, TaskKind, join_names
from assay.data.calls import find_call_problems
from assay.data.formats.record import RecordProblems, shorten
from assay.data.json_schema import mismatches, schema_validator
from assay.data.mismatch import describe_mismatch
from assay.data.privacy import find_private, mask
from assay.data.statistics import Tokens
from assay.errors import AssayError, Step
from assay.example import CALL_OPEN, Example, Message

if TYPE_CHECKING:
    from jsonschema import ValidationError

_PLACEHOLDER = re.compile(
    r"\{\{\{?\s*[#/]?[A-Za-z_][\w.\- |]{0,60}\}\}\}?"  # {{name}}, {{{name}}}, {{ order.id }}
    r"|\$\{[A-Za-z_][\w.]{0,60}\}"  # ${name}
    r"|<<\s*[A-Za-z_][\w \-]{0,60}>>"  # <<name>>
    r"|%\([A-Za-z_]\w{0,60}\)[sd]"  # %(name)s
    r"|\{[A-Za-z_]\w{0,60}\}"  # {name}
    r"|\[\s*(?:insert|your|customer|company|recipient|user)(?:'s)?[ _\-][\w '\-]{1,40}\]"
    r"|<(?:insert|your)[ _\-][\w \-]{1,40}>",  # [your name], <your name>
    re.IGNORECASE,
)
PROMPT_TOO_LONG = "prompt-too-long"
"""The problem of every row where no row could be used, however short."""
_HINTS = ("{", "<<", "%(", "[", "<")
_CODE = re.compile(r"```|\bdef \w+\(|\bfunction\b|=>|\\[a-z]+\{|\bf[\"']|#include|</\w+>")


@dataclass(frozen=True)
class Rules:
    """What examples are held against; what is None is not checked.

    Attributes:
        task: kind of task.
        labels: the closed set of outputs of a label task.
        schema: JSON Schema of a json task's outputs.
        template: counts tokens.
        context_length: tokens that the model can read.
        system_prompt: added to examples that bring none, before tokens are counted.
        columns: names the fields of tables in problems.
    """

    task: TaskKind | None = None
    labels: list[str] | None = None
    schema: dict[str, Any] | None = None
    template: Template | None = None
    context_length: int | None = None
    system_prompt: str | None = None
    columns: Columns | None = None
    _known: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", frozenset(self.labels or ()))

    def judge(self, example: Example, found: RecordProblems) -> Tokens | None:
        """Add the problems of an example to `found`; returns its tokens where they are counted."""
        self._emptiness(example, found)
        self._output(example, found)
        self._calls(example, found)
        self._left_in(example, found)
        return None if found.failed else self._length(example, found)

    def _emptiness(self, example: Example, found: RecordProblems) -> None:
        if not any(m.content.strip() or m.tool_calls for m in example.prompt):
            found.add(
                "empty-input", "the input is empty.", "Fill it in or remove the row.", self._input
            )
        if not example.output.strip():
            found.add(
                "empty-output",
                "the output is empty.",
                "Fill it in or remove the row.",
                self._target,
            )

    def _output(self, example: Example, found: RecordProblems) -> None:
        output = example.output
        if not output.strip():
            return
        if self.labels is not None and output not in self._known:
            close = find_close_name(output, self.labels)
            found.add(
                "unknown-label",
                f"{quote_label(output)} is not one of the {len(self.labels)} labels.",
                f"Did you mean {close!r}?" if close else f"Correct it, or {Step.ADD_LABEL}.",
                self._target,
            )
        if self.task == "json":
            for code, message, fix, where in self._json(output):
                found.add(code, message, fix, where)

    def _calls(self, example: Example, found: RecordProblems) -> None:
        """The calls of a tools task; where no task is known, of a row with tools that calls one."""
        is_likely = self.task is None and example.tools and CALL_OPEN in example.target.text
        if self.task == "tools" or is_likely:
            for code, message, fix, where in find_call_problems(example):
                found.add(code, message, fix, where)

    def _json(self, output: str) -> Iterator[tuple[str, str, str, str]]:
        try:
            value = json_reader.read(output, parse_constant=_refuse)
        except ValueError as error:
            where = (
                f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
            )
            reason = json_reader.describe(error)
            yield (
                "output-not-json",
                f"the output is not JSON: {mask(reason)}{where}: {quote(output)}.",
                "Write one JSON value, with double quotes around keys and strings.",
                self._target,
            )
            return
        if self._mismatch is not None and (wrong := self._mismatch(value)):
            yield (
                "schema-mismatch",
                f"the output does not have the project's form: {describe_mismatch(wrong)}.",
                f"Correct the output, or {Step.CHANGE_SCHEMA}.",
                self._column_of(wrong),
            )

    def _column_of(self, wrong: ValidationError) -> str:
        """The output column that a mismatch is about; all of them where it is about none."""
        outputs = self.columns.output if self.columns else []
        field = next(iter(wrong.absolute_path), None)
        return str(field) if len(outputs) > 1 and field in outputs else self._target

    @cached_property
    def _mismatch(self) -> Callable[[Any], ValidationError | None] | None:
        """Finds the worst mismatch with the schema."""
        if self.schema is None:
            return None
        from jsonschema.exceptions import best_match

        validator = schema_validator(self.schema, "output_schema")

        return lambda value: best_match(mismatches(validator, value, "output_schema"))

    def _left_in(self, example: Example, found: RecordProblems) -> None:
        """Placeholders, secrets and personal data, each kind once a row and field."""
        seen: set[tuple[str, str]] = set()
        last = len(example.messages) - 1
        for place, message in enumerate(example.messages):
            where = self._target if place == last else self._input
            if self.columns is None:
                where = f"messages[{place}]"
            text = "\n".join([message.content, *(call.arguments for call in message.tool_calls)])
            left = placeholder(text)
            if left and ("placeholder", where) not in seen:
                seen.add(("placeholder", where))
                found.add(
                    "placeholder",
                    f"{quote(left)} looks like a placeholder that was not filled in.",
                    "Fill it in; otherwise a model learns to answer with the placeholder.",
                    where,
                )
            for private in find_private(text):
                if (private.kind, where) in seen:
                    continue
                seen.add((private.kind, where))
                found.add(
                    private.kind,
                    f"{private.what} at characters {private.start + 1} to {private.end}"
                    " (not shown).",
                    "Remove or replace it: a model can repeat what it was trained on."
                    + (" Revoke the key." if private.kind == "secret" else ""),
                    where,
                )

    def _length(self, example: Example, found: RecordProblems) -> Tokens | None:
        if self.template is None:
            return None
        full = example.with_system(self.system_prompt)
        try:
            rendered = self.template.render(full.messages, full.tools)
        except AssayError as error:
            found.add("cannot-render", mask(error.what), error.fix or "Correct the row.")
            return None
        trained = sum(rendered.trained)
        tokens = Tokens(len(rendered.ids) - trained, trained)
        most = self.context_length
        if most is None or tokens.total <= most:
            return tokens
        if full is not example and self._prompt_tokens >= most:
            found.add(
                PROMPT_TOO_LONG,
                f"the project's system prompt alone has {self._prompt_tokens:,} tokens, and the "
                f"model reads at most {most:,}, input and answer included.",
                "Shorten it in the settings (assay.yaml), or use a model with a longer context.",
            )
        else:
            found.add(
                "too-long",
                f"{tokens.total} tokens are {tokens.total - most} more than the model's context "
                f"length of {most}.",
                "Shorten it, or use a model with a longer context.",
            )
        return None

    @cached_property
    def _prompt_tokens(self) -> int:
        """Of the system prompt, as the model reads it; 0 where that cannot be told."""
        assert self.template is not None
        try:
            return self.template.count_before([Message("system", self.system_prompt or "")])
        except AssayError:
            return 0

    @property
    def _input(self) -> str:
        return join_names(self.columns.input) if self.columns else "messages"

    @property
    def _target(self) -> str:
        return join_names(self.columns.output) if self.columns else "messages"


def placeholder(text: str) -> str | None:
    """The first place in a text that was to be filled in, or None.

    A single `{name}` counts only where the text is neither JSON nor code, in which braces are
    part of what is said.
    """
    if not any(hint in text for hint in _HINTS):
        return None
    for match in _PLACEHOLDER.finditer(text):
        single = match[0][0] == "{" and not match[0].startswith("{{")
        if not single or not (text.lstrip()[:1] in ("{", "[") or _CODE.search(text)):
            return match[0]
    return None


def quote(text: str, length: int = 60) -> str:
    """A text for a message: private parts masked, shortened, in quotes."""
    return repr(shorten(mask(text), length))


def quote_label(label: str, length: int = 60) -> str:
    """As `quote`, with every white space kept, which may be all that tells two labels apart."""
    shown = mask(label)
    return repr(shown if len(shown) <= length else f"{shown[: length - 1]}…")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
