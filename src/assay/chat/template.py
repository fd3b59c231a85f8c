"""Messages become token ids and a mask of trained tokens: the one place where that happens.

Training, evaluation and serving all call this, so that what a model is trained on, measured on
and asked in production is spelled the same. Nothing is assumed about a model's format; all is
found from its own chat template:

- the *prompt* of an assistant turn is the template's text of all turns before it, with the
  generation prompt; its ids are what a server feeds the model;
- what is *trained* is the rest of the template's text with that turn added, up to and including
  the token that ends the turn: exactly the tokens the model has to generate, no others.

Tools are written by the template's own rules; one that has none for them gets `tool_form`, which is
frozen with it.

See docs/models.md for what follows from that.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from assay.chat.call_form import CallForm, find_call_form
from assay.chat.message_writer import NONCE, REFUSALS, MessageWriter
from assay.chat.tokens import MARK
from assay.chat.tool_form import FIRST
from assay.errors import DataError, ModelError
from assay.example import Message, json_sha256
from assay.models.load import load_tokenizer
from assay.progress import SILENT, Progress

# Llama 3's own default. Any fixed day does: what matters is that it never moves.
PINNED_DATE = datetime.date(2024, 7, 26)

# For base models, which bring no chat template. Plain text, so that any tokenizer can spell it.
FALLBACK = """\
{{- first_token -}}
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
{{- '### Assistant:\\n' + message.content + eos_token + '\\n\\n' -}}
{%- elif message.role == 'user' -%}
{{- '### User:\\n' + message.content + '\\n\\n' -}}
{%- elif message.role == 'system' -%}
{{- '### System:\\n' + message.content + '\\n\\n' -}}
{%- else -%}
{{- raise_exception('the plain format has no role ' + message.role) -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '### Assistant:\\n' -}}{%- endif -%}
"""


_STRFTIME = re.compile(r"""strftime_now\(\s*(?:'([^'\n]*)'|"([^"\n]*)")\s*\)""")


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One token sequence to train on.

    Attributes:
        ids: token ids, prompt first, ending with the last trained token.
        trained: as long as `ids`; where True, the token must be predicted (it bears loss).
    """

    ids: list[int]
    trained: list[bool]


class Template:
    """A chat template, frozen: its text, its arguments, and the tokenizer that spells it.

    Make one with `Template.of(tokenizer)` or `Template.from_dict(tokenizer, raw)`.

    Attributes:
        stop_ids: the tokens that end an assistant turn.
        sha256: of all that decides what is rendered, hex.
    """

    def __init__(
        self,
        tokenizer: Any,
        text: str,
        arguments: Mapping[str, Any],
        fold_system: bool | None = None,
        tool_form: str | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._text = text
        self._arguments = dict(arguments)
        self._writer = MessageWriter(tokenizer, text, arguments, fold_system, tool_form)
        self._encoder = self._writer.encoder
        self.stop_ids, self._open_end = self._find_end()
        deciding = self.to_dict()
        if deciding["tool_form"] in FIRST:  # came later; hashes stay what they were
            del deciding["tool_form"]
        self.sha256 = json_sha256(deciding)

    @classmethod
    def of(cls, tokenizer: Any, arguments: Mapping[str, Any] | None = None) -> Template:
        """Freeze the template of a tokenizer (a PreTrainedTokenizerFast).

        Calls for today's date are replaced in the text by `PINNED_DATE`. A tokenizer without a
        template gets the plain format `FALLBACK`.

        Args:
            arguments: variables of the template, such as {"enable_thinking": False}.

        Raises:
            ModelError: the template cannot be used for training (see the message).
        """
        given = dict(arguments or {})
        text = tokenizer.chat_template
        if isinstance(text, dict):
            text = text.get("default") or next(iter(text.values()))
        if not text:
            if tokenizer.eos_token is None:
                raise ModelError(
                    "this model has neither a chat template nor an end-of-text token.",
                    fix="Use an instruct model, or set eos_token in its tokenizer_config.json.",
                )
            begins = tokenizer("a").input_ids[0] == tokenizer.bos_token_id
            text = FALLBACK
            given["first_token"] = tokenizer.bos_token if begins else ""
        text = _STRFTIME.sub(
            lambda call: repr(PINNED_DATE.strftime(call[1] or call[2] or "")), text
        )
        if "strftime_now(" in text:
            raise ModelError(
                "the chat template reads the clock in a way that cannot be pinned to a day.",
                fix="Write the date format into its strftime_now call as a plain string.",
            )
        return cls(tokenizer, text, given)

    @property
    def text(self) -> str:
        """The template in Jinja, complete in itself: the clock pinned, its arguments set."""
        given = (
            f"{{% set {name} = {json.dumps(v) if v is not None else 'none'} %}}"
            for name, v in self._arguments.items()
        )
        return "".join(given) + self._writer.tool_form + self._text

    def to_dict(self) -> dict[str, Any]:
        """All that decides what is rendered, JSON-ready, to be kept with a version."""
        return {
            "text": self._text,
            "arguments": self._arguments,
            "special_tokens": {k: str(v) for k, v in self._tokenizer.special_tokens_map.items()},
            "fold_system": self._writer.folds_system,
            "tool_form": self._writer.tool_form,
        }

    @classmethod
    def load(cls, model: str, progress: Progress = SILENT) -> tuple[Template, int]:
        """The template of a base model, and the tokens that its context holds.

        Raises:
            ModelError: the model cannot be had.
        """
        tokenizer, context = load_tokenizer(model, progress)
        return cls.of(tokenizer), context

    @classmethod
    def from_dict(cls, tokenizer: Any, raw: Mapping[str, Any]) -> Template:
        """The inverse of `to_dict`.

        Raises:
            ModelError: the tokenizer's special tokens are not those it was frozen with.
        """
        form = raw.get("tool_form")  # None: frozen before there was one
        template = cls(tokenizer, raw["text"], raw["arguments"], raw["fold_system"], form)
        if template.to_dict()["special_tokens"] != raw["special_tokens"]:
            raise ModelError(
                "the special tokens of this tokenizer are not those the template was frozen with.",
                fix="Use the base model that the version names.",
            )
        return template

    def prompt(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = (), owner: str = ""
    ) -> list[int]:
        """The ids after which the model generates its next turn.

        Args:
            owner: whose texts these are; what was spelled for another is spelled anew.

        Raises:
            DataError: the template refuses these messages.
        """
        return self._encode(self._writer.write(messages, tools, generate=True), owner)

    def prompt_text(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> str:
        """The text that `prompt` spells: what another program with this template would write.

        Raises:
            DataError: as `prompt`.
        """
        return self._writer.write(messages, tools, generate=True).replace(MARK, "")

    def count_before(self, messages: Sequence[Message]) -> int:
        """Tokens that messages add to every conversation in front of which they stand.

        A system prompt among them takes the place of the one that some templates have of their own.

        Raises:
            DataError: as `prompt`.
        """
        turn = Message("user", "")
        systems = [replace(one, content="") for one in messages if one.role == "system"]
        return len(self.prompt([*messages, turn])) - len(self.prompt([*systems, turn]))

    def render(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()
    ) -> TokenSequence:
        """The sequence that trains the last trained turn, and all earlier ones that fit into it.

        Raises:
            DataError: nothing to train, or as `prompt`.
        """
        return self.render_all(messages, tools)[0]

    def render_all(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()
    ) -> list[TokenSequence]:
        """Sequences that train every trained turn exactly once, each after the prompt it is served.

        Most templates need one sequence for a conversation. Where a later prompt spells an
        earlier turn differently (Qwen 3 drops its reasoning), that turn gets its own.

        Raises:
            DataError: nothing to train, or as `prompt`.
        """
        turns = [i for i, m in enumerate(messages) if m.role == "assistant" and m.trained]
        if not turns:
            raise DataError(
                "there is nothing to train: no assistant turn, or all have weight 0.",
                fix="Every example needs an assistant turn that is trained.",
            )
        sequences: list[TokenSequence] = []
        for turn in reversed(turns):
            prompt, completion = self._turn(messages[: turn + 1], tools)
            start, end = len(prompt), len(prompt) + len(completion)
            whole = prompt + completion
            for sequence in sequences:
                if sequence.ids[:end] == whole:
                    sequence.trained[start:end] = [True] * len(completion)
                    break
            else:
                sequences.append(TokenSequence(whole, [False] * start + [True] * len(completion)))
        return sequences

    def _turn(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]
    ) -> tuple[list[int], list[int]]:
        """Ids of the prompt of the last turn, and ids the model has to generate for it."""
        before = self._writer.write(messages[:-1], tools, generate=True)
        whole = self._writer.write(messages, tools, generate=False)
        if not whole.startswith(before):
            whole = before + self._alone(messages[-1], tools)
        if self._open_end is not None:
            whole = whole.removesuffix(self._open_end) + self._tokenizer.eos_token
        prompt, ids = self._encode(before), self._encode(whole)
        if ids[: len(prompt)] == prompt:
            completion = ids[len(prompt) :]
        else:
            # A token would straddle the border. A server's prompt ends there, so does ours.
            completion = self._encoder.encode_after(whole[len(before) :])
        for place, token in enumerate(completion):
            if token in self.stop_ids:
                return prompt, completion[: place + 1]
        raise ModelError(
            "this chat template does not end this assistant turn with a stop token: "
            f"{whole[len(before) :][-80:]!r}.",
            fix="Use another model.",
        )

    def _alone(self, answer: Message, tools: Sequence[dict[str, Any]]) -> str:
        """How an answer is written after a bare question.

        Some templates write the turns before an answer differently once it is there (Mistral 7B
        v0.3 drops the system prompt unless the last turn is the user's). The server's prompt is
        what counts; the answer after it is taken from a conversation that has no such turns.
        """
        if self._writer.tool_form:  # which writes definitions into the system turn
            tools = ()
        question = [Message("user", "a")]
        before = self._writer.write(question, tools, generate=True)
        whole = self._writer.write([*question, answer], tools, generate=False)
        if whole.startswith(before):
            return whole[len(before) :]
        raise ModelError(
            "this chat template writes an assistant turn differently from the prompt it asks the "
            "model to continue, so a model cannot be trained with it.",
            fix="Use another model, or template arguments that make them agree.",
        )

    @cached_property
    def call_form(self) -> CallForm | None:
        """How this template writes calls, see `find_call_form`."""
        return find_call_form(self._tokenizer, self._alone, self.stop_ids)

    def document_ids(self, text: str) -> list[int]:
        """Ids of a text that is no conversation: after the token that the tokenizer puts before
        every text, if it does, and before the one that ends a text, if there is one.

        Raises:
            DataError: half of a character stands in it.
        """
        marked = self._tokenizer("a")["input_ids"]
        start = marked[: marked.index(self._tokenizer("a", add_special_tokens=False).input_ids[0])]
        end = self._tokenizer.eos_token_id
        body = self._encoder.encode(self._encoder.inert(text), "document")
        return [*start, *body, *([] if end is None else [end])]

    def _encode(self, text: str, owner: str = "") -> list[int]:
        ids = self._encoder.encode(text, owner)
        bos = self._tokenizer.bos_token_id
        if bos is not None and ids[:2] == [bos, bos]:
            raise ModelError(
                "the chat template writes the beginning-of-text token twice.",
                fix="Remove one of them from chat_template in the model's folder.",
            )
        return ids

    def _find_end(self) -> tuple[frozenset[int], str | None]:
        """How an answer ends: the stop tokens, and what is written where none of them is.

        The stop tokens are the first control token after an answer, and EOS. A template that
        puts no control token there gets EOS in place of the text that it does put there.
        """
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": NONCE}]
        try:
            written = self._writer.apply(turns, (), False)
        except REFUSALS as error:
            raise ModelError(
                f"the chat template of this model fails on a question and its answer ({error}).",
                fix="Repair chat_template in the model's folder, or use another model.",
            ) from None
        if NONCE not in written:
            raise ModelError(
                "the chat template of this model leaves the answer out.",
                fix="Repair chat_template in the model's folder, or use another model.",
            )
        end = written.rpartition(NONCE)[2]
        eos = self._tokenizer.eos_token_id
        control = self._encoder.control_ids | {eos}
        stops = [token for token in self._encoder.encode_after(end) if token in control]
        if not stops and eos is None:
            raise ModelError(
                "neither the chat template nor the tokenizer has a token that ends an answer.",
                fix="Set eos_token in tokenizer_config.json, or use another model.",
            )
        return frozenset({*stops[:1], eos} - {None}), None if stops else end
