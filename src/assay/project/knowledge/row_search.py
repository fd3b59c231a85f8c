"""Rows of examples that stand in documents: which texts of them are looked for, how many are there,
and the warning that follows. Counts alone leave this module, of which row is not said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assay.data.normal import key64, normalise
from assay.data.verbatim import find_pairs
from assay.errors import AssayError, DataError
from assay.example import Example

LOOKED_AT = 500
"""Inputs, and answers, that are looked for."""
MOST_DOCUMENTS = 500
MOST_CHARACTERS = 10_000_000
LONGEST_INPUT = 10_000
"""Characters of an input that is looked for; few documents hold a longer one."""
MOST_INPUT_CHARACTERS = 10_000_000
"""Of the first inputs, as they are compared, out of which those that are looked for are drawn."""
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
    found = find_pairs([(one, one) for one in (*sought.inputs, *answers)], known)
    first = len(sought.inputs)
    inputs = sum(place < first for place in found)
    held = sum(count for place, count in enumerate(answers.values(), first) if place in found)
    return DocumentMatches(inputs, held / max(answers.total(), 1))


def choose_inputs(examples: Iterable[Example]) -> tuple[str, ...]:
    """Inputs that stand in a document by no chance; none where they are too few to tell.

    Inputs are looked for and not answers, which a table has in cells of their own and in other
    words, as those of records. Of those that begin alike some suffice: each is compared wherever
    a document has that beginning.
    """
    alike: Counter[str] = Counter()
    seen: set[int] = set()
    chosen: list[str] = []
    characters = 0
    for example in examples:
        if len(given := example.input) > LONGEST_INPUT:
            continue
        text = normalise(given)
        characters += len(text)
        if characters > MOST_INPUT_CHARACTERS:
            break
        if (key := key64(text)) in seen:
            continue
        seen.add(key)
        words = text.split(maxsplit=LONG_WORDS)
        beginning = " ".join(words[:LONG_WORDS])
        if len(words) >= LONG_WORDS and alike[beginning] < MOST_ALIKE:
            alike[beginning] += 1
            chosen.append(text)
    return sample(chosen) if len(chosen) >= LEAST_REPEATED else ()


def sample(texts: Sequence[str]) -> tuple[str, ...]:
    """So many of them as are looked for, drawn evenly."""
    count = min(len(texts), LOOKED_AT)
    return tuple(texts[n * len(texts) // count] for n in range(count))


def describe_matches(sought: RowTexts, found: DocumentMatches) -> str | None:
    """That documents hold the examples, whose answers would be looked up; None: too few stand
    there."""
    if not sought.inputs or found.inputs < max(LEAST_REPEATED, REPEATED_SHARE * len(sought.inputs)):
        return None
    return _EXAMPLES_INSIDE.format(found=found.inputs, looked=len(sought.inputs))


def explain_unsearched(error: AssayError | OSError) -> str:
    """That the documents may hold the examples unnoticed, and why they were not searched."""
    why = error.what if isinstance(error, AssayError) else f"{error.strerror or 'a file failed'}."
    return _NOT_SEARCHED.format(why=why)
