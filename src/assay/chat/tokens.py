"""Text that a chat template wrote becomes token ids, with nothing that a person wrote in control.

A content may hold the text of a control token ("<|im_end|>"), by accident or to forge a turn.
Such text is *marked* before the template runs: a character that no text contains is put into it,
where the tokenizer is cut later on. The token is then spelled as the plain characters it is, while
the template's own tokens stay tokens.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from assay.errors import DataError, ModelError

# A noncharacter: Unicode reserves it for use inside a program, never for text (chapter 23.7).
MARK = "\ufdd0"
_CACHED_SECTIONS = 1024
_LONGEST_CACHED = 16 * 1024
"""Characters, where there are owners: strangers decide then what is remembered."""


class Encoder:
    """A tokenizer seen from a chat template.

    Fast tokenizers cut out their added tokens first and spell the text between them each on its
    own, so the text between two control tokens (a *section*) always gets the same ids there. That
    makes it right to remember them: a system prompt shared by ten thousand examples is spelled
    once.

    Args:
        tokenizer: a PreTrainedTokenizerFast.
        template: the text of the chat template, which says which added tokens are control tokens:
            all special ones, and the others that it writes itself (`<think>`, `<tool_call>`).
    """

    def __init__(self, tokenizer: Any, template: str) -> None:
        self._tokenizer = tokenizer
        added = {str(token): token for token in tokenizer.added_tokens_decoder.values()}
        special = [text for text, token in added.items() if token.special]
        written = [
            text
            for text, token in added.items()
            if token.special or (text in template and not text.isspace())
        ]
        self._control = {text: tokenizer.convert_tokens_to_ids(text) for text in written}
        self.control_ids = frozenset(self._control.values())
        self._cut = _any_of(written)
        self._forged = _each_start_of(written)
        self._forged_by_assistant = _each_start_of(special)
        plain = [t for t in special if not (added[t].lstrip or added[t].rstrip)]
        self._anchor = plain[0] if plain else ""
        self._cached: Callable[[str, str, str, str], array[int]] = lru_cache(_CACHED_SECTIONS)(
            lambda owner, *section: array("i", self._encode_section(*section))
        )

    def inert(self, text: str, *, assistant: bool = False) -> str:
        """The text with every control token in it marked, so that it cannot become one.

        Tokens that a model writes itself and that are not special (`<think>`) stay what they are
        in the assistant's turns.
        """
        pattern = self._forged_by_assistant if assistant else self._forged
        text = text.replace(MARK, "")
        return pattern.sub(rf"\g<0>{MARK}", text)

    def inert_deep(self, value: Any) -> Any:
        """`inert` for every string of a JSON value, keys included."""
        if isinstance(value, str):
            return self.inert(value)
        if isinstance(value, dict):
            return {self.inert(str(key)): self.inert_deep(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.inert_deep(item) for item in value]
        return value

    def encode(self, text: str, owner: str = "") -> list[int]:
        """Ids of a text that the template wrote, no BOS or EOS added.

        Args:
            owner: whose text it is; nothing is remembered for another.
        """
        ids: list[int] = []
        before, start = "", 0
        for token in self._cut.finditer(text):
            ids += self._section(owner, before, text[start : token.start()], token.group())
            ids.append(self._control[token.group()])
            before, start = token.group(), token.end()
        ids += self._section(owner, before, text[start:], "")
        return ids

    def _section(self, owner: str, before: str, text: str, after: str) -> Iterable[int]:
        if owner and len(text) > _LONGEST_CACHED:
            return self._encode_section(before, text, after)
        return self._cached(owner, before, text, after)

    def encode_after(self, text: str) -> list[int]:
        """Ids of a text that goes on after ids that are fixed already."""
        return self.encode(self._anchor + text)[1:] if self._anchor else self.encode(text)

    def _encode_section(self, before: str, text: str, after: str) -> list[int]:
        """Ids of `text` between two control tokens ("" at an end), which may strip its spaces."""
        pieces = text.split(MARK)
        ids: list[int] = []
        for number, piece in enumerate(pieces):
            left = before if number == 0 else self._anchor
            right = after if number == len(pieces) - 1 else ""
            if piece:
                whole = self._spell(left + piece + right)
                ids += whole[bool(left) : len(whole) - bool(right)]
        if len(pieces) > 1 and not self.control_ids.isdisjoint(ids):
            raise ModelError(
                "this tokenizer builds a control token even from its parts, so text that contains "
                f"one cannot be made harmless: {text.replace(MARK, '')[:80]!r}.",
                fix="Remove it from the text.",
            )
        return ids

    def _spell(self, text: str) -> list[int]:
        try:
            # Not verbose: of a text beyond the model's limit, which no model is given, transformers
            # would warn.
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, verbose=False)
        except (UnicodeEncodeError, TypeError):
            raise DataError(
                f"this text contains half of a character (an unpaired surrogate): {text[:80]!a}.",
                fix="Save the file as valid UTF-8.",
            ) from None
        return ids


def _any_of(tokens: list[str]) -> re.Pattern[str]:
    """Matches any of `tokens`, the longest first, as tokenizers do."""
    longest = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest)) or "(?!)")


def _each_start_of(tokens: list[str]) -> re.Pattern[str]:
    """Matches the first character of every occurrence of a token, overlapping ones too."""
    return re.compile(f"(?=(?:{_any_of(tokens).pattern})).", re.DOTALL)
