"""Texts that begin as the model's own tokenizer writes them, whatever another server makes of them.

Tokenizers in SentencePiece's manner put a space before every word and drop that of the first; a
server that continues a prompt keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from assay.generate.serving import End, Piece


def drops_first_space(tokenizer: Any) -> bool:
    """Whether this tokenizer's texts begin without the space that their first token has."""
    found = tokenizer.convert_tokens_to_ids("\u2581a")
    if found is None or found == tokenizer.unk_token_id:
        return False
    return bool(tokenizer.decode([found], clean_up_tokenization_spaces=False) == "a")


class WithoutFirstSpace(Iterator[Piece | End]):
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
        """As the stream's own."""
        with suppress(AttributeError):
            self._stream.close()
