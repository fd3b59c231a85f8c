"""Questions drafted from a document, for a person to read and put right: no model, no chance.

    for draft in draft_questions(text):
        draft.question, draft.answer, draft.passage

A sentence that states a figure, a time, a date or a term in quotes becomes a question for it:
"We hold seats without payment for 24 hours." is asked as "Held seats: We hold seats without
payment for how long?", with the answer "24 hours". Such questions use the words of the text, so a
search finds them too easily, and they ask for figures only. They are a start, not a measure: that
is why each has to be approved, better still put into other words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST_WORDS = 32
LEAST_WORDS = 5
LONGEST_ANSWER = 60
"""Characters; a longer term in quotes is no short answer."""

_NUMBER = (
    r"(?:\d+(?:[.,]\d+){0,6}|(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen"
    r"|twenty|thirty|forty|fifty|sixty|ninety|a hundred)\b)"
)
_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
)
_TIME = r"(?:seconds?|minutes?|hours?|(?:working |business )?days?|nights?|weeks?|months?|years?)"
_UNIT = (
    r"(kg|g|t|tonnes?|mm|cm|m|km|metres?|meters?|kilometres?|miles?|litres?|liters?|ml|l|kB|MB|GB"
    r"|TB|watts?|W|kW|volts?|V|A|degrees?|points?)"
)
_COIN = r"(?:€|£|(?:dollars|euros|pounds|USD|EUR)\b)"
_SPANS = tuple(
    (re.compile(span), what)
    for span, what in (
        (rf"[$€£] ?{_NUMBER}|\b{_NUMBER} ?{_COIN}", "how much"),
        (rf"\b{_NUMBER} ?(?:%|per ?cent\b)", "what share"),
        (rf"\b\d{{1,2}} {_MONTH}(?: \d{{4}})?\b|\b{_MONTH} \d{{1,2}}(?:, \d{{4}})?\b", "what date"),
        (r"\b\d{1,2}[:.]\d{2} ?[ap]\.?m\b|\b\d{1,2}:\d{2}\b|\b\d{1,2} ?[ap]m\b", "what time"),
        (rf"\b{_NUMBER} {_TIME}(?: (?:and )?\d+(?: {_TIME})?)?\b", "how long"),
        (rf"\b{_NUMBER} ?{_UNIT}\b", "how many"),
        (r"\b\d+[.,]\d{2}\b", "how much"),
        (r"“[^“”]+”|\"[^\"]+\"|(?<!\w)‘[^‘’]+’(?!\w)", "what"),
        (rf"\b{_NUMBER} (?!quarters|thirds|halves|times|others)([a-z]+s)\b", "how many"),
    )
)
"""What is asked for, and how; a group is what is counted. The first kind that is found is taken."""
_KNOWN = re.compile(r"\b(?:the|its|their|our|your|these|those|other|and|or)\s*$")
"""Before a figure: it is one of several, or was told before and is not news."""
_HEADING = re.compile(r"#{1,6}\s+(\S.*)")
_MARKS = re.compile(r"\*\*|__|\*|`|(?<!\w)_|_(?!\w)|\[([^\[\]]*)\]\([^()]*\)")
_ITEM = re.compile(r"(?:[-*+•]|\d+[.)])\s+")
_LEAD = re.compile(r"\*\*(.+?)[.:]?\*\*[.:]?\s+")
_END = re.compile(r"(?<=[.!?])[\"”’)]*\s+(?=[\"“‘(]?[A-Z0-9])|;\s+")


@dataclass(frozen=True, slots=True)
class DraftedQuestion:
    """A question that somebody has to read.

    Attributes:
        answer: as it stands in the text.
        passage: the sentence that it was made of.
    """

    question: str
    answer: str
    passage: str


def draft_questions(text: str) -> Iterator[DraftedQuestion]:
    """Questions on a text (Markdown or plain), in its order; each is asked once."""
    asked = set()
    for topic, sentence in _sentences(text):
        found = _question(topic, sentence)
        if found is not None and found.question not in asked:
            asked.add(found.question)
            yield found


def _question(topic: str | None, sentence: str) -> DraftedQuestion | None:
    if not LEAST_WORDS <= len(sentence.split()) <= MOST_WORDS or sentence.endswith("?"):
        return None
    for span, what in _SPANS:
        match = span.search(sentence)
        if match is None or len(match[0]) > LONGEST_ANSWER:
            continue
        before, after = sentence[: match.start()], sentence[match.end() :]
        if _KNOWN.search(before) and what != "what":
            continue
        words = f"{what} {match[1]}" if match.re.groups else what
        words = words if before else words.capitalize()
        question = f"{before}{words}{after}".rstrip(" .!;:") + "?"
        answer = match[0].strip('"“”‘’')
        return DraftedQuestion(f"{topic}: {question}" if topic else question, answer, sentence)
    return None


def _sentences(text: str) -> Iterator[tuple[str | None, str]]:
    """(what it is about, sentence) of running text and list items; tables and code are left out."""
    topic: str | None = None
    for block in re.split(r"\n\s*\n", re.sub(r"(?s)(```|~~~).*?(\1|\Z)", "", text)):
        lines = block.strip().splitlines()
        while lines and (heading := _HEADING.match(lines[0].strip())):
            topic = _plain(heading[1].rstrip("#"))
            lines.pop(0)
        about = topic
        for part in _items(line.strip() for line in lines if not line.lstrip().startswith("|")):
            if lead := _LEAD.match(part):
                about, part = _plain(lead[1]), part[lead.end() :]
            for sentence in _END.split(_plain(part)):
                yield about, sentence.strip()


def _items(lines: Iterator[str]) -> list[str]:
    """Lines joined to paragraphs, every item of a list by itself."""
    parts: list[str] = []
    for line in lines:
        item = _ITEM.match(line)
        if item or not parts:
            parts.append(line[item.end() :] if item else line)
        else:
            parts[-1] += f" {line}"
    return parts


def _plain(text: str) -> str:
    return " ".join(_MARKS.sub(lambda match: match[1] or "", text).split())
