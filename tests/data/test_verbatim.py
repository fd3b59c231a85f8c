"""What stands word for word elsewhere is counted, whatever its case and punctuation."""

from __future__ import annotations

from time import process_time

from assay.data.verbatim import answers_in_rows, pairs_in_documents

FAQ = (
    "Questions\n\nHow do I pay? By card,\nor in cash.\n\nWho may come along on board the ship? All."
)


def test_answers_that_rows_give_too() -> None:
    assert answers_in_rows(["By card.", "Yes", "No", "no!"], ["by CARD", "No.", "Nowhere"]) == 3
    assert answers_in_rows(["a"], []) == 0


def test_questions_with_their_answers_in_a_document() -> None:
    pairs = [
        ("How do I pay?", "By card, or in cash."),
        ("Who may come along on board the ship?", "all"),
        ("Who may come along on board the boat?", "all"),  # begins alike
        ("How do I pay?", "By car"),  # no whole words
        ("How do I", "cheque"),
        ("pay", "in cash"),
        ("", "all"),
        ("How do I pay?", ""),
    ]
    assert pairs_in_documents(pairs, ["nothing", FAQ]) == 3
    assert pairs_in_documents([("How do I pay?", "All")], ["How do I pay", "All"]) == 0


def test_a_long_document_takes_seconds() -> None:
    start = process_time()
    pairs = [(f"what is number {n} of them all together", str(n)) for n in range(3000)]
    repeated = "what is number of them "
    pairs += [(repeated * 8000 + str(n), str(n)) for n in range(20)]  # long ones that begin alike
    pairs_in_documents(pairs, [repeated * 60_000])
    assert process_time() - start < 3
