"""Engines over a server, llama.cpp's or vLLM's, that answer as the engine of evaluation does.

Prompts are rendered here and go there as token ids. Grammars are spelled for llguidance, the
library that both constrain answers with. The space is dropped that tokenizers in SentencePiece's
manner put before every word but the first, and that a server which continues a prompt writes there.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal

from assay.chat.template import Template
from assay.errors import ModelError
from assay.example import Message
from assay.generate.constrained import (
    JSON_SPELLING,
    byte_matcher,
    choices_grammar,
    choices_rules,
    schema_grammar,
)
from assay.generate.prompts import chat_ids, text_ids
from assay.generate.stream import End, Piece, Sampling


class ServerEngine(ABC):
    """A model at a server; see `StreamEngine`, whose `context_length` the subclass has."""

    context_length: int

    def __init__(self, template: Template, tokenizer: Any) -> None:
        self.template, self._tokenizer = template, tokenizer
        self._drops_space = drops_first_space(tokenizer)

    @abstractmethod
    def stream(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        """The server's own answer to token ids."""

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        """Continue a conversation, rendered by the model's chat template.

        Raises:
            DataError: the template refuses these messages.
        """
        ids = chat_ids(self.template, messages, tools, self.context_length, sampling.owner)
        if sampling.calls:
            from assay.generate.call_grammar import with_grammar

            sampling = with_grammar(sampling, tools, self.template)
        answer = self.stream(ids, sampling)
        return enforce_grammar(FirstSpaceRemover(answer) if self._drops_space else answer, sampling)

    def complete(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        """Continue a text or token ids as they are."""
        ids = text_ids(self._tokenizer, prompt, self.context_length)
        return enforce_grammar(self.stream(ids, sampling), sampling)


def guidance(
    sampling: Sampling, rules: Literal["over_texts", "over_tokens", "of_text"] = "over_texts"
) -> str | None:
    """The grammar of an answer, in llguidance's own form; None where any text will do.

    Args:
        rules: which of an `AnswerGrammar`: over the model's own tokens for vLLM, over texts for
            llama.cpp, to which only control tokens are no text.

    Raises:
        ConfigError: a schema or choices that cannot be enforced.
    """
    if sampling.choices is not None:
        choices_grammar(sampling.choices)  # refuses what cannot be followed
        return f"%llguidance {{}}\n{choices_rules(sampling.choices)}"
    schema = sampling.answer_schema
    if schema is None:
        if sampling.grammar is None:
            return None
        return f"%llguidance {{}}\n{getattr(sampling.grammar, rules)}"
    schema_grammar(json.dumps(schema))
    return "%llguidance {}\nstart: %json " + json.dumps(
        {**schema, "x-guidance": JSON_SPELLING}, ensure_ascii=False
    )


def enforce_grammar(stream: Iterator[Piece | End], sampling: Sampling) -> Iterator[Piece | End]:
    """A server's stream, held to its grammar here as well where it has one.

    llama.cpp goes on without a grammar that its parser gives up, and says so in its log only.
    """
    grammar = guidance(sampling, "of_text")
    return stream if grammar is None else _GrammarCheck(stream, grammar)


class _GrammarCheck(Iterator[Piece | End]):
    def __init__(self, stream: Any, grammar: str) -> None:
        from llguidance import LLMatcher

        self._stream = stream
        self._matcher = byte_matcher(LLMatcher.grammar_from_lark(grammar)).deep_copy()

    def __next__(self) -> Piece | End:
        piece: Piece | End = next(self._stream)
        if isinstance(piece, Piece) and not self._matcher.consume_tokens(list(piece.text.encode())):
            self.close()
            raise ModelError(
                "the server stopped enforcing the schema, and the answer does not follow it.",
                fix="Make the schema smaller.",
            )
        return piece

    def close(self) -> None:
        """Close the stream that this one reads, where it can be."""
        with suppress(AttributeError):
            self._stream.close()


def drops_first_space(tokenizer: Any) -> bool:
    """Whether this tokenizer's texts begin without the space that their first token has."""
    found = tokenizer.convert_tokens_to_ids("\u2581a")
    if found is None or found == tokenizer.unk_token_id:
        return False
    return bool(tokenizer.decode([found], clean_up_tokenization_spaces=False) == "a")


class FirstSpaceRemover(Iterator[Piece | End]):
    """A stream as such a tokenizer would write it."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._first = stream, True

    def __next__(self) -> Piece | End:
        piece: Piece | End = next(self._stream)
        if self._first and isinstance(piece, Piece) and piece.text:
            self._first = False
            return Piece(piece.text.removeprefix(" "), piece.token, piece.top)
        return piece

    def close(self) -> None:
        """Close the stream that this one reads, where it can be."""
        with suppress(AttributeError):
            self._stream.close()
