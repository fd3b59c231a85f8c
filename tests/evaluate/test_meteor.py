"""METEOR, held to published examples: those of NLTK's documentation and of the paper."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import pytest

from assay.errors import UsageError
from assay.evaluate import meteor as module
from assay.evaluate.meteor import check_stemmer, meteor
from assay.evaluate.rewards import GRADER, check

TOLD = (
    "It is a guide to action which ensures that the military always obeys the commands of the party"
)
CLUMSY = "It is to insure the troops forever hearing the activity guidebook that party direct"
FIRST = "It is a guide to action that ensures that the military will forever heed Party commands"
SECOND = (
    "It is the guiding principle which guarantees the military forces always being under the "
    "command of the Party"
)
THIRD = "It is the practical guide for the army always to heed the directions of the party"
OURS = {
    "type": "text_similarity",
    "name": "m",
    "evaluation_metric": "meteor",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
}


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        (TOLD, FIRST, 0.6944),  # as its documentation says
        (TOLD, SECOND, 0.6250),  # as NLTK 3.10.4 says with a WordNet that knows no word
        (TOLD, THIRD, 0.5114),
        (CLUMSY, FIRST, 0.3035),
        (CLUMSY, SECOND, 0.2114),
    ],
)
def test_it_is_nltks_without_synonyms(answer: str, reference: str, expected: float) -> None:
    assert meteor(answer, reference) == pytest.approx(expected, abs=5e-5)


def test_it_is_what_the_paper_says() -> None:
    """Banerjee & Lavie 2005, section 2.3: all six words in two pieces, of seven that are wanted."""
    got = meteor("the president spoke to the audience", "The president then spoke to the audience.")
    precision, recall = 1, 6 / 7
    assert got == pytest.approx(
        10 * precision * recall / (recall + 9 * precision) * (1 - 0.5 * (2 / 6) ** 3)
    )


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("running cats", "runs cat", 1 - 0.5 / 2**3),  # by their stems, in one piece
        ("étés ensoleillés", "été ensoleillé", 1 - 0.5 / 2**3),
        ("car", "automobile", 0),
        ("yes", "Yes!", 0.5),
        ("?", "", 1),
        ("a", "", 0),
        ("x" * 40_000 + "y", "x" * 40_000 + "z", 0),  # too long for a stem
    ],
)
def test_words_are_paired_by_form_and_stem(answer: str, reference: str, expected: float) -> None:
    assert meteor(answer, reference) == pytest.approx(expected)


def test_an_sqlite_that_cannot_stem_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stems(found: Iterable[str]) -> dict[str, str]:
        raise sqlite3.OperationalError("no such module: fts5")

    monkeypatch.setattr(module, "_stems", stems)
    check_stemmer.cache_clear()
    with pytest.raises(UsageError, match="FTS5"):
        check(GRADER.validate_python(OURS))
