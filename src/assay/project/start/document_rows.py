"""What the rows of a file say about documents: which column names one, what is answered where none
has the answer, and whether answers are short facts out of them."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import floor
from pathlib import Path
from statistics import median
from typing import Any

from assay.config import GraderSpec
from assay.data.normal import normalise
from assay.data.propose import Proposal
from assay.errors import AssayError, DataError
from assay.example import Example
from assay.knowledge.parse import Parser, UnreadableError, kind_of, load
from assay.knowledge.sources import SourceFile, sources
from assay.progress import SILENT, Progress
from assay.project.knowledge.row_search import (
    DocumentMatches,
    RowTexts,
    check_count,
    choose_inputs,
    describe_matches,
    explain_unsearched,
    sample,
)

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
READING_S = 60.0
"""Of documents that rows are looked for in; where it would be more, that they were not is said."""


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
    sought = RowTexts(choose_inputs(examples), tuple(map(normalise, sample(answers))))
    if not sought.inputs and not sought.answers:
        return proposal
    try:
        found = search(sought)
    except AssayError as error:  # the project can be created all the same
        return replace(proposal, warnings=[*proposal.warnings, explain_unsearched(error)])
    if warning := describe_matches(sought, found):
        proposal = replace(proposal, warnings=[*proposal.warnings, warning])
    if sought.answers:
        longest = max(len(example.output.split()) for example in examples)
        return _propose_contains(proposal, found.answers, typical, longest)
    return proposal


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
        f"the grader “contains” decides, by which a sentence of at most {limit} words that holds "
        "the expected answer as whole words is right"
    )
    return replace(
        proposal,
        graders=[grader, *(one for one in proposal.graders if one.name != "contains")],
        primary="contains",
        reasons=[*proposal.reasons, reason],
    )
