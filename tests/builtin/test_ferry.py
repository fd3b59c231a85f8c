"""The built-in project's data: its shape, its closed sets, and that no row repeats another."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from assay import builtin
from assay.models.load import load_tokenizer

PORTS = {"AQ", "PM", "SN", "TK", "KY", "HV", "CR"}
TOPICS = {
    "lost", "bk-cancel", "refund", "complaint", "access",
    "pets", "vehicle", "bk-change", "bk-new", "times",
}  # fmt: skip
DAYS = {"mon", "tue", "wed", "thu", "fri", "sat", "sun", "today", "tomorrow"}
DESKS = {"sales", "care", "duty", "freight"}
KEYS = ["topic", "route", "day", "people", "desk"]

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    lines = (builtin.folder() / "tickets.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def plain(text: str) -> str:
    """Lower case, words only, one space between them: what two equal messages share."""
    return re.sub(r"\W+", " ", text.lower()).strip()


def test_there_are_enough_rows_with_ids_in_order(rows: list[Row]) -> None:
    assert len(rows) >= 700
    assert [row["id"] for row in rows] == [f"t-{n:03d}" for n in range(1, len(rows) + 1)]


def test_every_record_has_the_keys_and_values_of_the_house(rows: list[Row]) -> None:
    for row in rows:
        assert list(row) == ["id", "message", "record"], row
        record = row["record"]
        assert list(record) == KEYS, row
        assert record["topic"] in TOPICS, row
        assert record["desk"] in DESKS, row
        assert record["day"] is None or record["day"] in DAYS, row
        assert record["people"] is None or (type(record["people"]) is int and record["people"] > 0)
        if record["route"] is not None:
            start, end = record["route"].split("-")
            assert {start, end} <= PORTS, row
            assert start != end, row


def test_desks_follow_the_rules_that_the_record_alone_can_show(rows: list[Row]) -> None:
    for row in rows:
        record = row["record"]
        topic, desk = record["topic"], record["desk"]
        if desk == "freight":
            assert topic == "vehicle", row
        elif topic in ("refund", "complaint"):
            assert desk == ("sales" if (record["people"] or 0) >= 10 else "care"), row
        elif topic == "lost":
            assert desk in ("care", "duty"), row
        elif record["day"] == "today":
            assert desk == "duty", row
        elif topic in ("bk-new", "bk-change", "times", "vehicle"):
            assert desk != "care", row


def test_messages_differ(rows: list[Row]) -> None:
    texts = [plain(row["message"]) for row in rows]
    assert [text for text, count in Counter(texts).items() if count > 1] == []

    # Jaccard similarity of the sets of 5 characters, all pairs in one sparse product.
    grams = [{text[i : i + 5] for i in range(len(text) - 4)} for text in texts]
    columns = {gram: column for column, gram in enumerate(set().union(*grams))}
    row_of = np.repeat(np.arange(len(rows)), [len(g) for g in grams])
    column_of = [columns[gram] for g in grams for gram in g]
    present = csr_array((np.ones(len(column_of)), (row_of, column_of)))
    shared = (present @ present.T).toarray()
    sizes = shared.diagonal()
    similarity = np.triu(shared / (sizes[:, None] + sizes[None, :] - shared), k=1)
    near = [(rows[i]["id"], rows[j]["id"]) for i, j in np.argwhere(similarity > 0.6)]
    assert len(near) < 0.01 * len(rows), near


def test_topics_and_ports_are_spread(rows: list[Row]) -> None:
    topics = Counter(row["record"]["topic"] for row in rows)
    assert set(topics) == TOPICS
    assert min(topics.values()) >= 0.05 * len(rows), topics

    routes = [row["record"]["route"] for row in rows if row["record"]["route"]]
    ports = Counter(port for route in routes for port in route.split("-"))
    assert set(ports) == PORTS
    assert min(ports.values()) >= 20, ports


def test_messages_hold_no_address_or_telephone_number(rows: list[Row]) -> None:
    for row in rows:
        assert "@" not in row["message"], row
        assert "http" not in row["message"], row
        assert not re.search(r"\d[\d \-]{6,}\d", row["message"]), row


def test_records_are_short_for_the_starter_model(rows: list[Row]) -> None:
    tokenizer, _ = load_tokenizer("smollm2-135m-instruct")
    lengths = [len(tokenizer(json.dumps(row["record"]))["input_ids"]) for row in rows]
    assert max(lengths) <= 42


def test_the_rules_name_every_code(rows: list[Row]) -> None:
    text = (builtin.folder() / "README.md").read_text(encoding="utf-8")
    for code in TOPICS | PORTS | DESKS:
        assert f"`{code}`" in text, code
