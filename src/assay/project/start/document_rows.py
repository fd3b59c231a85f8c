"""What the rows of a file say about documents: which column names one, what is answered where none
has the answer, and whether answers are short facts out of them."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from pathlib import Path
from statistics import median
from typing import Any

from assay.config import GraderSpec
from assay.data.normal import normalise
from assay.data.propose import Proposal
from assay.data.verbatim import find_pairs
from assay.errors import AssayError, DataError
from assay.example import Example
from assay.knowledge.parse import Parser, UnreadableError, kind_of, load
from assay.knowledge.sources import SourceFile, sources
from assay.progress import SILENT, Progress

NAMED_SHARE = 0.5
"""Of the values of a column, filled in or not, that are names of documents in the one that names
them: other rows may name none, or one that was not brought."""
REPEATED = 3
"""An answer repeats when it stands in so many rows."""
SHORT_WORDS = 5
"""Words of a short answer: the median of all at most."""
COPIED_SHARE = 0.9
"""Of answers that stand in the documents word for word, at least, where answers are facts."""
PARTLY_COPIED_SHARE = 0.5
"""From here on the others may be missing because a document is, or was read in part."""
_WARNING = (
    "{share}% of the answers, which are short, stand in the documents word for word. From 90% "
    "on an answer is right that holds the expected text as whole words; below, likeness decides, "
    "and a short answer that is wrong may score half. Check that every document is there and was "
    "read in full."
)
SENTENCE_WORDS = 30
"""Words of an answer that `contains` takes: a sentence, which may say the fact."""
LOOKED_AT = 500
"""Inputs, and answers, that are looked for."""
MOST_DOCUMENTS = 500
MOST_CHARACTERS = 10_000_000
READING_S = 60.0
"""Of documents that rows are looked for in; where it would be more, that they were not is said."""
LONG_WORDS = 4
"""Words of an input that stands in a document by no chance."""
MOST_ALIKE = 20
"""Inputs looked for that begin with the same words."""
LEAST_REPEATED = 10
REPEATED_SHARE = 0.1
"""Of such inputs, at least, where documents hold the examples rather than what they ask about."""
_EXAMPLES_INSIDE = (
    "{found} of {looked} different inputs that were looked for, of four words or more, stand in "
    "the documents word for word. Where their answers stand there too, candidates that search "
    "documents look them up, and the scores say nothing of new inputs. If the file of examples, or "
    "another list of such inputs with their answers, is among the documents, take it out."
)
_NOT_SEARCHED = (
    "The documents were not searched for the examples: {why} If the file of examples is among "
    "them, take it out: candidates that search documents would look the answers up."
)


def find_document_column(
    records: Iterable[Mapping[str, Any]], taken: Collection[str], documents: Collection[str]
) -> str | None:
    """The column whose values are the documents' names; None: there is none.

    Args:
        records: rows of the file, by column.
        taken: columns that are the input or the output.
    """
    counts: Counter[str] = Counter()
    rows = 0
    for record in records:
        rows += 1
        counts.update(
            name for name, value in record.items() if isinstance(value, str) and value in documents
        )
    found = [(count, name) for name, count in counts.items() if name not in taken]
    count, name = max(found, default=(0, ""))
    return name if count and count >= NAMED_SHARE * rows else None


def find_abstention(examples: Sequence[Example]) -> str | None:
    """What the rows that no document answers say: the answer that most of them have.

    Returns:
        None where no row names a document, or rows without one do not repeat an answer.
    """
    if not any(example.document for example in examples):
        return None
    without = [example.output for example in examples if example.document == ""]
    if not without:
        return None
    answer, count = Counter(without).most_common(1)[0]
    return answer if count >= REPEATED and 2 * count >= len(without) else None


@dataclass(frozen=True, slots=True)
class RowTexts:
    """Texts of rows that documents are searched for, drawn evenly, as they are compared."""

    inputs: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DocumentMatches:
    """How many of the inputs stand in a document, and which share of the answers."""

    inputs: int
    answers: float


def check_count(documents: int) -> None:
    """Refuse more documents than are searched, before the first is read.

    Raises:
        DataError: they are more.
    """
    if documents > MOST_DOCUMENTS:
        raise DataError(f"there are more than {MOST_DOCUMENTS} of them.")


def list_readable(docs: Path) -> list[SourceFile]:
    """The files in it of kinds that are read as documents."""
    return [one for one in sources([docs])[0] if kind_of(one.document) is not None]


def read_texts(docs: Path, progress: Progress = SILENT) -> Iterator[str]:
    """The texts of files that can be read; others are told when the documents are added.

    Raises:
        DataError: they are too many, or take too long.
        ModelError: the process that reads them could not be started.
    """
    found = list_readable(docs)
    check_count(len(found))
    end = time.monotonic() + READING_S
    reading = progress.task("reading", len(found), "documents")
    with Parser() as parser, reading as task:
        for source in found:
            with contextlib.suppress(UnreadableError):
                data = load(source.document, source.file, parser.limits)
                parsed = parser.parse(source.document, data)
                yield "\n".join(page.text for page in parsed.pages)
            if time.monotonic() > end:
                raise DataError(f"reading them takes more than {READING_S:g} s.")
            task.advance()


def search(texts: Iterable[str], sought: RowTexts) -> DocumentMatches:
    """Search documents for texts of rows.

    Raises:
        DataError: they are too long; and what reading the texts raises.
    """
    known: list[str] = []
    characters = 0
    for text in texts:
        known.append(text)
        characters += len(text)
        if characters > MOST_CHARACTERS:
            raise DataError(f"they hold more than {MOST_CHARACTERS:,} characters.")
    answers = Counter(sought.answers)
    inputs, there = (
        find_pairs([(one, one) for one in wanted], known) for wanted in (sought.inputs, answers)
    )
    held = sum(count for place, count in enumerate(answers.values()) if place in there)
    return DocumentMatches(len(inputs), held / max(answers.total(), 1))


def propose_by_documents(
    proposal: Proposal,
    examples: Sequence[Example],
    abstain: str | None,
    search: Callable[[RowTexts], DocumentMatches],
) -> Proposal:
    """Propose what follows from the rows that stand in the documents, or say that nothing is known.

    Args:
        abstain: the answer of rows that no document has one for, which are not counted.
        search: the function `search` of some documents.
    """
    answers = [e.output for e in examples if e.output.strip() and e.output != abstain]
    typical = median(len(answer.split()) for answer in answers) if answers else 0
    if proposal.task != "text" or typical > SHORT_WORDS:
        answers = []
    sought = RowTexts(tuple(_choose_inputs(examples)), tuple(map(normalise, _sample(answers))))
    if not sought.inputs and not sought.answers:
        return proposal
    try:
        found = search(sought)
    except AssayError as error:  # the project can be created all the same
        warning = _NOT_SEARCHED.format(why=error.what)
        return replace(proposal, warnings=[*proposal.warnings, warning])
    if found.inputs >= max(LEAST_REPEATED, REPEATED_SHARE * len(sought.inputs)):
        warning = _EXAMPLES_INSIDE.format(found=found.inputs, looked=len(sought.inputs))
        proposal = replace(proposal, warnings=[*proposal.warnings, warning])
    if sought.answers:
        longest = max(len(example.output.split()) for example in examples)
        return _propose_contains(proposal, found.answers, typical, longest)
    return proposal


def _choose_inputs(examples: Sequence[Example]) -> Sequence[str]:
    """Inputs that stand in a document by no chance; none where they are too few to tell.

    Inputs are looked for and not answers, which a table has in cells of their own and in other
    words, as those of records. Of those that begin alike some suffice: each is compared wherever
    a document has that beginning.
    """
    alike: Counter[str] = Counter()
    chosen: list[str] = []
    for text in dict.fromkeys(normalise(example.input) for example in examples):
        words = text.split()
        beginning = " ".join(words[:LONG_WORDS])
        if len(words) >= LONG_WORDS and alike[beginning] < MOST_ALIKE:
            alike[beginning] += 1
            chosen.append(text)
    return _sample(chosen) if len(chosen) >= LEAST_REPEATED else ()


def _sample(texts: Sequence[str]) -> Sequence[str]:
    count = min(len(texts), LOOKED_AT)
    return [texts[n * len(texts) // count] for n in range(count)]


def _propose_contains(proposal: Proposal, share: float, typical: float, longest: int) -> Proposal:
    """Let `contains` decide where answers are facts out of the documents, which a sentence may say.

    Metrics of overlap would give such a sentence a third, since all else that it says counts
    against it.

    Args:
        share: of the answers that stand in the documents.
        typical, longest: words of an answer.
    """
    if share < PARTLY_COPIED_SHARE:
        return proposal
    if share < COPIED_SHARE:
        warning = _WARNING.format(share=floor(100 * share))
        return replace(proposal, warnings=[*proposal.warnings, warning])
    limit = max(SENTENCE_WORDS, 2 * longest)
    grader = GraderSpec(name="contains", settings={"max_words": limit})
    size = "1 word" if typical == 1 else f"{typical:g} words"
    reason = (
        f"answers are short ({size}) and {share:.0%} of them stand in the documents word for word: "
        f"contains decides, so a sentence of at most {limit} words that holds the expected answer "
        "as whole words is right"
    )
    return replace(
        proposal,
        graders=[grader, *(one for one in proposal.graders if one.name != "contains")],
        primary="contains",
        reasons=[*proposal.reasons, reason],
    )
