"""A Modelfile: how Ollama loads an exported GGUF file and writes a conversation for it.

Ollama's templates are Go's. Ours is found by trying the frozen chat template out: what it writes
before, between and after turns. Templates that do more than that (tools, reasoning) cannot be
expressed so, and the validation prompts show it: each must come out the same, or nothing is
exported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.chat.template import Template
from assay.errors import DataError, ModelError
from assay.example import Message

_S, _U, _A, _V = "zqsysxj", "zqusrxj", "zqastxj", "zqnxtxj"


@dataclass(frozen=True, slots=True)
class Turns:
    """What stands around turns.

    Attributes:
        default: at the beginning where there is no system prompt.
        system, user: before and after what they say.
        answer: before an answer, which is also how the model is asked for one.
        after: after an answer.
    """

    default: str
    system: tuple[str, str]
    user: tuple[str, str]
    answer: str
    after: str

    def write(self, messages: Sequence[Message]) -> str:
        """A conversation as Ollama would write it.

        Raises:
            ModelError: it has turns of other kinds.
        """
        head = [m for m in messages if m.role in ("system", "developer")]
        text = "".join(self.system[0] + m.content + self.system[1] for m in head) or self.default
        for message in messages[len(head) :]:
            if message.role == "user":
                text += self.user[0] + message.content + self.user[1]
            elif message.role == "assistant" and not message.tool_calls:
                text += self.answer + message.content + self.after
            else:
                raise ModelError(
                    f"a message of role {message.role} cannot be written in Ollama's template.",
                    fix="Export it as gguf.",
                )
        return text + self.answer

    def modelfile(self, file: str, stops: Sequence[str], context: int) -> str:
        """The Modelfile beside the GGUF file."""
        parts = [
            "{{ if .System }}",
            *_around(self.system, ".System"),
            "{{ else }}",
            self.default,
            "{{ end }}{{ range .Messages }}",
            '{{ if eq .Role "user" }}',
            *_around(self.user, ".Content"),
            '{{ else if eq .Role "assistant" }}',
            *_around((self.answer, self.after), ".Content"),
            "{{ end }}{{ end }}",
            self.answer,
        ]
        template = "".join(parts)
        if '"""' in template:
            raise ModelError(
                'the chat template cannot be written to a Modelfile (it contains """).'
            )
        lines = [f"FROM ./{file}", f'TEMPLATE """{template}"""', "PARAMETER temperature 0"]
        lines += [f"PARAMETER num_ctx {context}"]
        lines += [f'PARAMETER stop "{stop}"' for stop in stops]
        return "\n".join(lines) + "\n"


def turns_of(template: Template, bos: str | None) -> Turns:
    """What a chat template writes around turns.

    Args:
        bos: the beginning-of-text token where llama.cpp adds it itself, else None.

    Raises:
        ModelError: it does not write turns one after the other in one way.
    """
    user, follow = Message("user", _U), Message("user", _V)
    try:
        alone = _cut(template, [user], [_U], bos)
        led = _cut(template, [Message("system", _S), user], [_S, _U], bos)
        longer = _cut(template, [user, Message("assistant", _A), follow], [_U, _A, _V], bos)
    except DataError as error:
        raise ModelError(
            f"the chat template cannot be written for Ollama ({error.what})."
        ) from None
    before = _common_end(alone[0], led[1], longer[2])
    answer = longer[1]
    if not alone[-1] == led[-1] == longer[-1] == answer:
        raise ModelError(
            "the chat template writes the start of an answer in two different ways, which Ollama's "
            "templates cannot express.",
            fix="Export it as gguf.",
        )
    after_user = _after_user(template, before, bos)
    if not answer.startswith(after_user):
        after_user = ""
    return Turns(
        default=alone[0].removesuffix(before),
        system=(led[0], led[1].removesuffix(before)),
        user=(before, after_user),
        answer=answer.removeprefix(after_user),
        after=longer[2].removesuffix(before),
    )


def _after_user(template: Template, before: str, bos: str | None) -> str:
    """What ends a user's turn, seen between two of them; "" where none may follow another."""
    try:
        twice = _cut(template, [Message("user", _U), Message("user", _V)], [_U, _V], bos)
    except (DataError, ModelError):
        return ""
    return twice[1].removesuffix(before)


def _cut(
    template: Template, messages: Sequence[Message], marks: Sequence[str], bos: str | None
) -> list[str]:
    """The text around the marks that stand for contents."""
    rest = template.prompt_text(messages)
    if bos is not None:
        rest = rest.removeprefix(bos)
    parts = []
    for mark in marks:
        part, found, rest = rest.partition(mark)
        if not found:
            raise ModelError("the chat template leaves out a message.")
        parts.append(part)
    return [*parts, rest]


def _common_end(*texts: str) -> str:
    for size in range(min(map(len, texts)), 0, -1):
        end = texts[0][-size:]
        if all(text.endswith(end) for text in texts):
            return end
    return ""


def _around(pair: tuple[str, str], field: str) -> tuple[str, str, str]:
    return pair[0], "{{ " + field + " }}", pair[1]
