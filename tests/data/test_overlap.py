"""The overlap gate on planted twins and on the official splits of real data."""

from __future__ import annotations

import json
import time
from itertools import product
from pathlib import Path

import pytest

from assay.data.normal import grams, is_near, normalise, similarity
from assay.data.overlap import TWINS_LISTED, overlap

QUESTION = "Where is the parcel that I ordered from your shop in Leipzig two weeks ago today?"


def rows(*texts: str) -> list[tuple[int, str]]:
    return list(enumerate(texts, start=1))


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Hello,   WORLD! ", "hello world"),
        ("ﬁne", "fine"),
        ("Straße", "strasse"),
        ("don't", "don t"),
        ("１２３", "123"),
        ("tab\tnew\nline\u00a0nbsp", "tab new line nbsp"),
        ("c++ and c", "c++ and c"),
        ("?", "?"),
        ("", ""),
    ],
)
def test_normalise(text: str, normal: str) -> None:
    assert normalise(text) == normal


def test_grams_of_short_and_long_texts() -> None:
    assert grams("abc") == {"abc"}
    assert grams("abcdefg") == {"abcde", "bcdef", "cdefg"}


def test_similarity_of_exactly_nine_tenths_is_not_near() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    long, short = letters[:14], letters[:13]  # 10 and 9 grams, 9 in common
    assert similarity(long, short) == 0.9
    assert not is_near(long, short)


def test_exact_and_near_twins_are_told_apart() -> None:
    variant = QUESTION.upper().replace("?", " !!")
    near = QUESTION.replace("today", "todax")
    report = overlap(rows("something else", QUESTION), rows(variant, near, "not at all alike"))
    assert (report.exact, report.near) == (1, 1)
    assert [(t.holdout_row, t.train_row, t.kind) for t in report.rows] == [
        (1, 2, "exact"),
        (2, 2, "near"),
    ]
    assert report.rows[1].similarity == similarity(normalise(near), normalise(QUESTION)) > 0.9
    assert report.train_rows == {2: "exact"}


def test_a_row_with_both_kinds_of_twin_counts_once_as_exact() -> None:
    near = QUESTION.replace("today", "todax")
    report = overlap(rows(near, QUESTION), rows(QUESTION))
    assert (report.exact, report.near) == (1, 0)
    assert [t.kind for t in report.rows] == ["exact", "near"]
    assert report.train_rows == {1: "near", 2: "exact"}


def test_counts_are_holdout_rows_and_every_training_twin_is_known() -> None:
    report = overlap(rows(*[QUESTION] * 500), rows(QUESTION, QUESTION.lower()))
    assert (report.exact, report.near) == (2, 0)
    assert len(report.rows) <= 2 * 2 * TWINS_LISTED
    assert set(report.train_rows) == set(range(1, 501))


def test_nothing_on_either_side() -> None:
    nothing = {"exact": 0, "near": 0, "answers": None, "documents": None, "rows": []}
    assert overlap([], rows(QUESTION)).to_dict() == nothing
    assert overlap(rows(QUESTION), []).to_dict() == nothing


def test_the_shape_that_scripts_rely_on() -> None:
    report = overlap(rows(QUESTION), rows(QUESTION)).to_dict()
    assert report["rows"] == [
        {"holdout_row": 1, "train_row": 1, "kind": "exact", "similarity": 1.0}
    ]
    json.dumps(report)


def test_all_pairs_as_a_plain_loop_finds_them() -> None:
    stems = [
        "please cancel the order with the blue lamp and refund the whole amount to my card",
        "how do I change the delivery address of a parcel that is already on its way to me",
    ]
    texts = [stem[:cut] + tail for stem in stems for cut in range(60, 82, 2) for tail in ("", " x")]
    train, holdout = rows(*texts[::2]), rows(*texts[1::2])
    expected = {
        (h, t) for (t, a), (h, b) in product(train, holdout) if is_near(normalise(a), normalise(b))
    }
    assert expected
    found = {(t.holdout_row, t.train_row) for t in overlap(train, holdout).rows}
    assert found == expected


@pytest.mark.parametrize(("name", "exact"), [("banking77", 25), ("snips", 18)])
def test_official_splits(data_folder: Path, name: str, exact: int) -> None:
    def read(part: str) -> list[tuple[int, str]]:
        lines = (data_folder / name / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
        return rows(*(json.loads(line)["text"] for line in lines))

    train, holdout = read("train"), read("test")
    start = time.perf_counter()
    report = overlap(train, holdout)
    assert report.exact == exact
    assert time.perf_counter() - start < 20
