"""What a request is as token ids, refused by its length before tokens are counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from assay.chat.template import Template
from assay.errors import ModelError
from assay.example import Message
from assay.generate.stream import PromptTooLongError

CHARACTERS_PER_TOKEN = 16
"""No text that anybody asks a model about has so many in the mean (prose has 4, code 6). To
spell a text takes a hundred times its memory."""


def chat_ids(
    template: Template,
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]],
    context: int,
    owner: str = "",
) -> list[int]:
    """The ids of a conversation.

    Args:
        context: tokens that prompt and answer may have together.
        owner: see `Sampling.owner`.

    Raises:
        PromptTooLongError: it is too long for the context, however it is spelled.
        DataError: the template refuses these messages.
    """
    length = sum(map(_characters, messages))
    if tools:
        length += len(json.dumps(list(tools)))
    _check(length, context)
    return template.prompt(messages, tools, owner)


def text_ids(tokenizer: Any, prompt: str | Sequence[int], context: int) -> Sequence[int]:
    """The ids of a text, or ids as they are.

    Raises:
        PromptTooLongError: as `chat_ids`.
    """
    if not isinstance(prompt, str):
        return prompt
    _check(len(prompt), context)
    ids: list[int] = tokenizer(prompt).input_ids
    return ids


def check_room(ids: Sequence[int], context: int) -> int:
    """Tokens that an answer to a prompt may have, at least 1.

    Args:
        context: tokens that prompt and answer may have together.

    Raises:
        ModelError: the prompt is empty.
        PromptTooLongError: there is no room for an answer.
    """
    if not ids:
        raise ModelError("the prompt is empty.", fix="Give at least one token.")
    if len(ids) >= context:
        raise PromptTooLongError(
            f"the prompt has {len(ids)} tokens; prompt and answer may have {context} together.",
            fix="Shorten the prompt.",
        )
    return context - len(ids)


def _characters(message: Message) -> int:
    calls = sum(len(call.arguments) + len(call.name) for call in message.tool_calls)
    return len(message.content) + len(message.name or "") + calls


def _check(characters: int, context: int) -> None:
    if characters > CHARACTERS_PER_TOKEN * context:
        raise PromptTooLongError(
            f"the prompt has {characters} characters; prompt and answer may have {context} tokens "
            "together.",
            fix="Shorten the prompt.",
        )
