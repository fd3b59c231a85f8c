"""Conversations as text, written by a model's own chat template.

The template comes with a model, and a loop of it may have no end. transformers renders in jinja's
sandbox, which limits a `range` and not what loops within loops take. Every turn of a loop and every
call of a macro looks at the clock here; a thread that renders cannot be ended from outside.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property, lru_cache
from typing import Any

from jinja2.exceptions import TemplateError

from assay import json_reader
from assay.chat.tokens import Encoder
from assay.chat.tool_form import tool_form as write_tool_form
from assay.errors import DataError, ModelError
from assay.example import ROLES, Message, ToolCall

RENDER_S = 10.0
"""Longest that one conversation takes; a long one takes a few milliseconds."""
LONGEST = 1_000_000
"""Characters of a template."""
_TICK = "look_at_the_clock"
_deadline: ContextVar[float] = ContextVar("deadline")
REFUSALS = (TemplateError, TypeError)
"""What a template raises; one that adds None to a text raises the latter."""
NONCE = "zqxjkv"
"""Stands for a content when the template is tried out."""
_SHORT_ID = 9
"""Characters of a call's id as Mistral's templates want it."""


class MessageWriter:
    """Writes messages by one template.

    Args:
        tokenizer: whose special tokens the template may name.
        text: the template, in Jinja.
        arguments: its variables.
        folds_system: whether system prompts open the first user turn; None: found by trial.
        tool_form: Jinja that stands in front of the template and writes tools for it; "" where it
            has a place for them; None: found by trial.

    Attributes:
        encoder: spells what is written; it marks what people wrote.
    """

    def __init__(
        self,
        tokenizer: Any,
        text: str,
        arguments: Mapping[str, Any],
        folds_system: bool | None,
        tool_form: str | None,
    ) -> None:
        self._tokenizer, self._text, self._arguments = tokenizer, text, dict(arguments)
        self.tool_form = tool_form or ""
        self.folds_system = self._refuses_system() if folds_system is None else folds_system
        if tool_form is None and not (self._knows_tools() and self._knows_tool_calls()):
            self.tool_form = write_tool_form(has_system=not self.folds_system)
        self.encoder = Encoder(tokenizer, self.tool_form + text)

    def write(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], *, generate: bool
    ) -> str:
        """The conversation as text, with what people wrote marked (see `assay.chat.tokens`).

        Args:
            generate: whether it ends with the generation prompt.

        Raises:
            DataError: the template refuses these messages.
        """
        if not messages:
            raise DataError("there are no messages to render.")
        turns = [self._turn_dict(m) for m in messages]
        if self.folds_system:
            turns = _fold_system(turns)
        try:
            return self.apply(turns, self.encoder.inert_deep(tools), generate)
        except REFUSALS as error:
            roles = ", ".join(m.role for m in messages)
            raise DataError(
                f"the chat template of this model refuses these messages ({error}); "
                f"their roles are: {roles}.",
                fix="Change the order of the roles, or use a model that knows them.",
            ) from None

    def apply(self, turns: list[dict[str, Any]], tools: Any, generate: bool) -> str:
        """The template's text for turns in OpenAI's form; it raises one of `REFUSALS`."""
        # Without tools nothing of the form is seen, not even the white space that it trims.
        wants_form = bool(tools) or any("tool_calls" in t or t["role"] == "tool" for t in turns)
        return timed_template((self.tool_form if wants_form else "") + self._text)(
            messages=turns,
            tools=list(tools) or None,
            documents=None,
            add_generation_prompt=generate,
            **{**self._tokenizer.special_tokens_map, **self._arguments},
        )

    def _turn_dict(self, message: Message) -> dict[str, Any]:
        """A message as chat templates expect it: OpenAI's form with arguments parsed."""
        role: str = message.role
        if role not in ROLES:
            raise DataError(f"unknown role {role!r}.", fix=f"Use one of: {', '.join(ROLES)}.")
        if role == "developer" and "developer" not in self._text:
            role = "system"
        mark = self.encoder.inert
        content = mark(message.content, assistant=role == "assistant")
        turn: dict[str, Any] = {"role": role, "content": content}
        if message.tool_calls:
            turn["tool_calls"] = [
                {
                    "id": mark(self._id_of(call.id)),
                    "type": "function",
                    "function": {"name": mark(call.name), "arguments": self._arguments_of(call)},
                }
                for call in message.tool_calls
            ]
        if message.tool_call_id is not None:
            turn["tool_call_id"] = mark(self._id_of(message.tool_call_id))
        if message.name is not None:
            turn["name"] = mark(message.name)
        return turn

    def _id_of(self, id: str) -> str:
        """A call's id as the template wants it; the call and its result get the same."""
        if len(id) == _SHORT_ID or not self._refuses_ids:
            return id
        return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:_SHORT_ID]

    @cached_property
    def _refuses_ids(self) -> bool:
        """Whether calls are refused for ids such as OpenAI's and ours, and not for shorter ones."""
        return not self.tool_form and not self._knows_tool_calls("call_0123456789abcdef")

    def _arguments_of(self, call: ToolCall) -> Any:
        try:
            return self.encoder.inert_deep(json_reader.read(call.arguments or "{}"))
        except ValueError as error:
            raise DataError(
                f"the arguments of the call of {call.name!r} are not JSON ({error}).",
                fix='`arguments` is a JSON object as text, such as "{\\"city\\": \\"Oslo\\"}".',
            ) from None

    def _shows(self, turns: list[dict[str, Any]], tools: Sequence[dict[str, Any]] = ()) -> bool:
        """Whether the template lets `NONCE`, which is somewhere in there, reach the model."""
        try:
            return NONCE in self.apply(turns, tools, True)
        except REFUSALS:
            return False

    def _knows_tools(self) -> bool:
        tool = {"name": NONCE, "description": "", "parameters": {"type": "object"}}
        user = {"role": "user", "content": "a"}
        return self._shows([user], [{"type": "function", "function": tool}])

    def _knows_tool_calls(self, id: str = "abcdefghi") -> bool:
        function = {"name": NONCE, "arguments": {}}
        call = {"id": id, "type": "function", "function": function}
        asked = {"role": "assistant", "content": "", "tool_calls": [call]}
        result = {"role": "tool", "content": "b", "tool_call_id": id, "name": "c"}
        return self._shows([{"role": "user", "content": "a"}, asked, result])

    def _refuses_system(self) -> bool:
        """Whether system prompts are refused or dropped; they then open the first user turn."""
        system = {"role": "system", "content": NONCE}
        return not self._shows([system, {"role": "user", "content": "a"}])


def _fold_system(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The turns with system prompts put in front of the user turn that follows them."""
    out: list[dict[str, Any]] = []
    waiting: list[str] = []
    for turn in turns:
        if turn["role"] == "system":
            waiting.append(turn["content"])
        elif waiting and turn["role"] == "user":
            out.append({**turn, "content": "\n\n".join([*waiting, turn["content"]])})
            waiting = []
        else:
            out.append(turn)
    if waiting:
        raise DataError(
            "this model's template has no system role, and no user turn follows the system prompt "
            "that could carry it.",
            fix="Put a user turn after the system prompt.",
        )
    return out


@lru_cache(maxsize=32)
def timed_template(text: str) -> Callable[..., str]:
    """A template, compiled as transformers does it, as a function of its variables.

    Raises:
        ModelError: it is too long; when called: it has not come to an end.
        jinja2.TemplateError: it is no template; when called: it refuses what it is given.
    """
    from jinja2 import nodes
    from transformers.utils.chat_template_utils import _compile_jinja_template

    if len(text) > LONGEST:
        raise ModelError(f"the chat template has more than {LONGEST} characters.")
    environment = _compile_jinja_template(text).environment
    tree = environment.parse(text)
    for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
        # No variable: a template could give its name to something else.
        look = nodes.EnvironmentAttribute(_TICK)
        tick = nodes.Output([nodes.Call(look, [], [], None, None)])
        node.body.insert(0, tick.set_lineno(node.lineno))
    setattr(environment, _TICK, _tick)
    template = environment.from_string(tree)

    def render(**given: Any) -> str:
        _deadline.set(time.monotonic() + RENDER_S)
        try:
            written: str = template.render(**given)
        except (TimeoutError, RecursionError, MemoryError):
            raise ModelError(
                f"the chat template of this model does not finish within {RENDER_S:g} s.",
                fix="Use another model, or repair chat_template in its folder.",
            ) from None
        return written

    return render


def _tick() -> str:
    if time.monotonic() > _deadline.get():
        raise TimeoutError
    return ""
