"""The questions on the private policy: enough, honest, and far from its words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def policy() -> Any:
    """The script's module; as scripts they find each other beside themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        import policy

        yield policy


def test_there_are_enough_and_a_fifth_has_no_answer(policy: Any) -> None:
    rows = policy.questions()
    assert len(rows) >= 200
    assert len({row["question"] for row in rows}) == len({row["id"] for row in rows}) == len(rows)
    none = [row for row in rows if not row["answerable"]]
    assert 0.2 <= len(none) / len(rows) < 0.22
    assert all(row["answer"] is None and row["where"] == [] for row in none)


def test_every_answer_stands_in_every_document_that_is_named(
    policy: Any, data_folder: Path
) -> None:
    documents = policy.documents()
    for row in policy.questions():
        for where in row["where"]:
            text = " ".join(policy.words(documents[where]))
            assert " ".join(policy.words(row["answer"])) in text, row["id"]
    asked = {where for row in policy.questions() for where in row["where"]}
    assert asked == set(documents)


def test_at_least_half_share_no_five_words_with_the_policy(policy: Any, data_folder: Path) -> None:
    text: set[tuple[str, ...]] = set()
    for document in policy.documents().values():
        text |= policy.runs(document)
    rows = policy.questions()
    free = sum(not policy.runs(row["question"]) & text for row in rows)
    assert len(rows) / 2 <= free < len(rows)


def test_the_documents_are_files_of_their_own(policy: Any, data_folder: Path) -> None:
    names = [policy.file_name(where) for where in policy.documents()]
    assert len(set(names)) == len(names) == 55
