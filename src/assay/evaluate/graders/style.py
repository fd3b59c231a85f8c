"""`style`: house rules that can be checked, for brand voice and format."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Literal

from pydantic import Field, model_validator

from assay.evaluate.graders.parse import fold, parse_json
from assay.evaluate.graders.registry import GraderSettings, GradingContext, Phrase, Score, of_answer
from assay.example import Example

Limit = Field(None, ge=0)


class StyleSettings(GraderSettings):
    """The rules, one a setting; at least one."""

    min_words: int | None = Limit
    max_words: int | None = Limit
    min_sentences: int | None = Limit
    max_sentences: int | None = Limit
    min_chars: int | None = Limit
    max_chars: int | None = Limit
    person: Literal["first", "second", "third"] | None = Field(
        None,
        description="first: says I or we; second: says you; third: says neither (English)",
    )
    avoid: list[Phrase] | None = Field(None, min_length=1, description="none of these may occur")
    use: list[Phrase] | None = Field(None, min_length=1, description="all of these must occur")
    starts_with: Phrase | list[Phrase] | None = Field(
        None, min_length=1, description="one of these, case not counted"
    )
    ends_with: Phrase | list[Phrase] | None = Field(
        None, min_length=1, description="one of these, case not counted"
    )
    format: Literal["plain", "bullets", "markdown", "json"] | None = Field(
        None,
        description="plain: no Markdown; bullets: every line a list item; markdown: some Markdown",
    )
    no_exclamation: Literal[True] | None = Field(None, description="no exclamation mark")
    no_emoji: Literal[True] | None = None
    sentence_case: Literal[True] | None = Field(
        None, description="sentences begin with a capital and no word of 5 letters is all capitals"
    )

    @model_validator(mode="after")
    def _has_rules(self) -> StyleSettings:
        if not self.rules():
            raise ValueError("style needs at least one rule")
        return self

    def rules(self) -> dict[str, object]:
        """The rules that are set, by their names."""
        values = {name: getattr(self, name) for name in RULES}
        return {name: value for name, value in values.items() if value is not None}


_WORD = re.compile(r"\w+(?:['’\-]\w+)*")
_SENTENCE_END = re.compile(
    r"(?<=[.!?…。！？])[\"'”’)\]]*(?:\s+|$)|\n\s*\n|\n(?=\s*(?:[-*•]|\d+[.)])\s)"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|etc|vs|approx|Dr|Mr|Mrs|Ms|Prof|St|Inc|Ltd|[A-Z])\.$"
)
_FIRST = re.compile(r"\b(?:i|we|me|us|my|our|mine|ours|myself|ourselves)\b", re.IGNORECASE)
_SECOND = re.compile(r"\b(?:you|your|yours|yourself|yourselves)\b", re.IGNORECASE)
_US = re.compile(r"\bUS\b")  # the country
_BULLET = re.compile(r"\s*(?:[-*+•]|\d+[.)])\s+\S")
_MARKDOWN = re.compile(
    r"^\s{0,3}#{1,6}\s|^[^\S\n]*(?:(?:[-*+]|\d+[.)])\s+\S|```|>\s|\|.+\|[^\S\n]*$)"
    r"|\*\*[^*\n]+\*\*|__[^_\n]+__|`[^`\n]+`"
    r"|\[[^\[\]\n]+\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*\)",
    re.MULTILINE,
)
_EMOJI = re.compile(
    "[\N{WATCH}-\N{HOURGLASS}\N{BLACK SUN WITH RAYS}-\N{CURLY LOOP}\ufe0f"
    "\N{MAHJONG TILE RED DRAGON}-\N{PLAYING CARD BLACK JOKER}\U0001f1e6-\U0001f1ff"
    "\N{CYCLONE}-\U0001faff]"
)
_SHOUT = re.compile(r"\b[^\W\d_a-z]{5,}\b")


def sentences(text: str) -> list[str]:
    """Sentences by end marks, blank lines and list items; common abbreviations do not end one."""
    found: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        piece = text[start : match.start()].strip()
        if not _WORD.search(piece) or _ABBREVIATION.search(piece):
            continue
        found.append(piece)
        start = match.end()
    rest = text[start:].strip()
    return [*found, rest] if _WORD.search(rest) else found


def _count(what: Callable[[str], int], least: bool) -> Callable[[str, int], str | None]:
    def rule(text: str, limit: int) -> str | None:
        found = what(text)
        kept = found >= limit if least else found <= limit
        return None if kept else f"{found}, {'at least' if least else 'at most'} {limit}"

    return rule


def _words(text: str) -> int:
    return len(_WORD.findall(text))


def _sentences(text: str) -> int:
    return len(sentences(text))


def _person(text: str, wanted: str) -> str | None:
    first = _FIRST.search(_US.sub("", text)) is not None
    second = _SECOND.search(text) is not None
    if wanted == "first":
        return None if first else "no I or we"
    if wanted == "second":
        return None if second else "no you"
    return "says I or we" if first else "says you" if second else None


@cache
def _phrase(phrase: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(fold(phrase))}(?!\w)")


def _avoid(text: str, phrases: list[str]) -> str | None:
    said = [phrase for phrase in phrases if _phrase(phrase).search(fold(text))]
    return f"says {', '.join(said)}" if said else None


def _use(text: str, phrases: list[str]) -> str | None:
    missing = [phrase for phrase in phrases if not _phrase(phrase).search(fold(text))]
    return f"does not say {', '.join(missing)}" if missing else None


def _starts(text: str, starts: str | list[str]) -> str | None:
    ways = [starts] if isinstance(starts, str) else starts
    return (
        None
        if any(fold(text).startswith(fold(way)) for way in ways)
        else "does not begin as required"
    )


def _ends(text: str, ends: str | list[str]) -> str | None:
    ways = [ends] if isinstance(ends, str) else ends
    return (
        None if any(fold(text).endswith(fold(way)) for way in ways) else "does not end as required"
    )


def _format(text: str, wanted: str) -> str | None:
    if wanted == "json":
        return None if parse_json(text) is not None else "not JSON"
    if wanted == "bullets":
        lines = [line for line in text.splitlines() if line.strip()]
        return None if all(_BULLET.match(line) for line in lines) else "a line is not a list item"
    has = _MARKDOWN.search(text) is not None
    if wanted == "plain":
        return "has Markdown" if has else None
    return None if has else "no Markdown"


def _exclamation(text: str, rule: bool) -> str | None:
    return "has one" if re.search("[!！]", text) else None


def _emoji(text: str, rule: bool) -> str | None:
    return "has one" if _EMOJI.search(text) else None


def _sentence_case(text: str, rule: bool) -> str | None:
    if shout := _SHOUT.search(text):
        return f"{shout.group()} is all capitals"
    for sentence in sentences(text):
        letter = next((char for char in sentence if char.isalpha()), "A")
        if letter.islower():
            return f"a sentence begins with {letter!r}"
    return None


RULES: dict[str, Callable[..., str | None]] = {
    "min_words": _count(_words, least=True),
    "max_words": _count(_words, least=False),
    "min_sentences": _count(_sentences, least=True),
    "max_sentences": _count(_sentences, least=False),
    "min_chars": _count(len, least=True),
    "max_chars": _count(len, least=False),
    "person": _person,
    "avoid": _avoid,
    "use": _use,
    "starts_with": _starts,
    "ends_with": _ends,
    "format": _format,
    "no_exclamation": _exclamation,
    "no_emoji": _emoji,
    "sentence_case": _sentence_case,
}


@of_answer(
    "style",
    "Share of your house rules that the answer keeps.",
    settings=StyleSettings,
    points="for house rules that are kept",
)
def style(answer: str, example: Example, settings: StyleSettings, context: GradingContext) -> Score:
    """Rules kept / rules set; the note names those that are broken. A blank answer keeps none."""
    text = answer.strip()
    if not text:
        return Score(0.0, parsed=False, note="blank")
    rules = settings.rules()
    broken = {
        name: problem
        for name, value in rules.items()
        if (problem := RULES[name](text, value)) is not None
    }
    note = "; ".join(f"{name}: {problem}" for name, problem in broken.items())
    return Score(1 - len(broken) / len(rules), note=note or None)
