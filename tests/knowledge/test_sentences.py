"""Sentences are cut where they end, and nowhere else."""

from __future__ import annotations

from time import process_time

from assay.knowledge.sentences import sentences, spans

TEXT = """# Returns

Goods may be sent back within 30 days. Ask Dr. Li (e.g. by mail), i.e. our
chemist, first! Is it "broken?" Then version 2.0 helps.

- Keep the box.
- Send it to 5 Mill St. in Leeds
1. Pay nothing.

| what | price |
|---|---|
| box | 3.50 |
"""


def test_sentences_of_markdown() -> None:
    assert sentences(TEXT) == [
        "Goods may be sent back within 30 days.",
        "Ask Dr. Li (e.g. by mail), i.e. our chemist, first!",
        'Is it "broken?"',
        "Then version 2.0 helps.",
        "Keep the box.",
        "Send it to 5 Mill St. in Leeds",
        "Pay nothing.",
        "| what | price |",
        "| box | 3.50 |",
    ]
    assert sentences("今日は晴れです。明日は雨です。") == ["今日は晴れです。", "明日は雨です。"]


def test_rows_of_a_table_without_marks_are_sentences() -> None:
    prices = """Prices of 2025
All include tax. Valid from 1 May 2025.
Service Price
New key 28 €
Name plate $18
Opening a door,
at night 180.50 EUR
Parking per month 45
In the 12 flats that we have since
2019, and in those of Mill Street 14
nothing changes."""
    assert sentences(prices) == [
        "Prices of 2025 All include tax.",
        "Valid from 1 May 2025.",
        "Service Price New key 28 €",
        "Name plate $18",
        "Opening a door, at night 180.50 EUR",
        "Parking per month 45",
        "In the 12 flats that we have since 2019, and in those of Mill Street 14 nothing changes.",
    ]


def test_runs_of_sentences() -> None:
    assert spans("One two. Three four. Five six.", 2) == [
        "One two. Three four.",
        "Three four. Five six.",
    ]
    assert spans("One two. Three four.", 3) == ["One two. Three four."]
    assert spans("# Only a heading\n---", 1) == []


def test_long_texts_take_time_in_proportion() -> None:
    def seconds(text: str) -> float:
        start = process_time()
        sentences(text)
        return process_time() - start

    for unit in ("a. ", "! ", "Dr. ", "x" * 10, "- \n", "...... ", "1", "1 a\n"):
        assert seconds(unit * 40_000) < 3, unit
