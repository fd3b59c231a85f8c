"""What the rows of a file say about documents: which column names one, what is answered where none
has the answer, and whether answers are short facts out of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from math import floor
from pathlib import Path
from statistics import median
from typing import Any

from assay.config import GraderSpec
from assay.data.normal import normalise
from assay.data.propose import Proposal
from assay.data.verbatim import pairs_in_documents
from assay.example import Example
from assay.knowledge.parse import Parser, UnreadableError, load
from assay.knowledge.sources import sources

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
"""Answers that are looked for."""
MOST_DOCUMENTS = 500
MOST_CHARACTERS = 50_000_000
"""Of documents that rows are looked for in; where there are more, nothing is said of them."""
LONG_WORDS = 4
"""Words of an input that stands in a document by no chance."""
REPEATED_SHARE = 0.1
"""Of such inputs, at least, where documents hold the examples rather than what they ask about."""
_EXAMPLES_INSIDE = (
    "{share}% of the inputs stand in the documents word for word. Where their answers stand there "
    "too, candidates that search documents look them up, and the scores say nothing of new inputs. "
    "If the file of examples, or another list of such inputs with their answers, is among the "
    "documents, take it out."
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


def read_texts(docs: Path) -> Iterator[str]:
    """The texts of files that can be read; others are told when the documents are added."""
    found, _ = sources([docs])
    with Parser() as parser:
        for source in found[: MOST_DOCUMENTS + 1]:
            try:
                data = load(source.document, source.file, parser.limits)
                parsed = parser.parse(source.document, data)
            except UnreadableError:
                continue
            yield "\n".join(page.text for page in parsed.pages)


def bounded(texts: Iterable[str]) -> list[str] | None:
    """The texts, as far as rows may be looked for in them; None: they are too many or too long."""
    found: list[str] = []
    characters = 0
    for text in islice(texts, MOST_DOCUMENTS + 1):
        found.append(text)
        characters += len(text)
        if len(found) > MOST_DOCUMENTS or characters > MOST_CHARACTERS:
            return None
    return found


def warn_of_examples(
    proposal: Proposal, examples: Sequence[Example], texts: Sequence[str]
) -> Proposal:
    """Tell, before a holdout is opened, that the documents hold the examples themselves.

    Inputs are looked for and not answers, which a table has in cells of their own and in other
    words, as those of records.
    """
    inputs = [e.input for e in examples if len(normalise(e.input).split()) >= LONG_WORDS]
    looked = _sample(inputs)
    found = pairs_in_documents([(text, text) for text in looked], texts)
    if not looked or found < REPEATED_SHARE * len(looked):
        return proposal
    warning = _EXAMPLES_INSIDE.format(share=floor(100 * found / len(looked)))
    return replace(proposal, warnings=[*proposal.warnings, warning])


def _sample(texts: Sequence[str]) -> Sequence[str]:
    return texts[:: max(1, len(texts) // LOOKED_AT)][:LOOKED_AT]


def propose_contains(
    proposal: Proposal, examples: Sequence[Example], texts: Sequence[str], abstain: str | None
) -> Proposal:
    """Let `contains` decide where answers are facts out of the documents, which a sentence may say.

    Metrics of overlap would give such a sentence a third, since all else that it says counts
    against it.

    Args:
        texts: of the documents.
        abstain: the answer of rows that no document has one for, which are not counted.
    """
    answers = [e.output for e in examples if e.output.strip() and e.output != abstain]
    if proposal.task != "text" or not answers:
        return proposal
    typical = median(len(answer.split()) for answer in answers)
    if typical > SHORT_WORDS:
        return proposal
    share = _share_in(_sample(answers), texts)
    if share < PARTLY_COPIED_SHARE:
        return proposal
    if share < COPIED_SHARE:
        warning = _WARNING.format(share=floor(100 * share))
        return replace(proposal, warnings=[*proposal.warnings, warning])
    longest = max(len(example.output.split()) for example in examples)
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


def _share_in(answers: Sequence[str], texts: Iterable[str]) -> float:
    """Share of answers that stand in one of the texts as whole words."""
    missing = Counter(map(normalise, answers))
    for text in texts:
        whole = f" {normalise(text)} "
        missing = Counter({a: n for a, n in missing.items() if f" {a} " not in whole})
        if not missing:
            break
    return 1 - missing.total() / len(answers)
