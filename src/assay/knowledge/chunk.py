"""A document's text becomes passages that fit the embedder, each with its headings and page."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

SEPARATOR = " > "
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+)$|^[ \t]*(```|~~~)", re.MULTILINE)
_NESTED = re.compile(r"(?:(?:>|[-*+:][ \t]|\d{1,9}[.)][ \t]|\[\^[^\]\[\s]{1,999}\]:)[ \t]*+){33}")
"""Quotes, lists, definitions and footnotes in each other, deeper than anybody writes, wherever they
begin: the time of the Markdown splitter grows with the square of the depth."""
_LONGEST_CONTEXT = 200
"""Characters of a heading, and of all that stand above a passage: every passage repeats them."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, slide or sheet, or the whole of a document that has none.

    Attributes:
        number: from 1; None where the format has no pages.
        text: Markdown or plain text.
    """

    number: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage before it is embedded.

    Attributes:
        context: title and headings, which are searched with the text; ends with a newline.
    """

    page: int | None
    heading: str | None
    context: str
    text: str


class Chunker:
    """Cuts at headings, paragraphs, sentences, in this order, where a passage would be too long.

    Args:
        tokenizer: of the embedder, as JSON, without truncation and padding.
        tokens: the longest passage.
    """

    def __init__(self, tokenizer: str, tokens: int) -> None:
        from semantic_text_splitter import MarkdownSplitter, TextSplitter

        self._markdown: Any = MarkdownSplitter.from_huggingface_tokenizer_str(tokenizer, tokens)
        self._text: Any = TextSplitter.from_huggingface_tokenizer_str(tokenizer, tokens)

    def chunks(self, document: str, pages: Sequence[Page], *, markdown: bool = True) -> list[Chunk]:
        """Every passage in the order of the text; none of a page without text.

        Args:
            document: what it is called; its last part without the suffix is the title that is
                searched with each passage.
            markdown: whether lines that begin with "#" are headings.
        """
        title = PurePath(document).stem.replace("_", " ").replace("-", " ").strip()
        open_headings: list[tuple[int, str]] = []
        found: list[Chunk] = []
        is_nested = any(_NESTED.search(page.text) for page in pages)
        splitter = self._markdown if markdown and not is_nested else self._text
        cut = splitter.chunk_all_indices([page.text for page in pages])
        for page, pieces in zip(pages, cut, strict=True):
            marks = deque(_headings(page.text) if markdown else ())
            for offset, text in pieces:
                # A heading at the start of a passage is above it.
                while marks and marks[0][0] <= offset:
                    _, level, words = marks.popleft()
                    open_headings = [h for h in open_headings if h[0] < level] + [(level, words)]
                heading = SEPARATOR.join(words for _, words in open_headings) or None
                above = SEPARATOR.join(part for part in (title, heading) if part)
                context = above[:_LONGEST_CONTEXT] + "\n" if above else ""
                found.append(Chunk(page.number, heading, context, text))
            for _, level, words in marks:
                open_headings = [h for h in open_headings if h[0] < level] + [(level, words)]
        return [chunk for chunk in found if chunk.text.strip()]


def _headings(text: str) -> list[tuple[int, int, str]]:
    """(offset, level, words) of each Markdown heading that is in no block of code."""
    found, inside = [], False
    for match in _HEADING.finditer(text):
        if match[3]:
            inside = not inside
        elif not inside:
            words = match[2].rstrip(" \t#") or match[2][0]
            found.append((match.start(), len(match[1]), words[:_LONGEST_CONTEXT].strip()))
    return found
