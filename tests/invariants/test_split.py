"""What must hold of every split: twins and groups on one side, content and seed decide, locked."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.config import Config
from assay.data.dataset import prepare, renew
from assay.data.normal import is_near, normalise
from assay.data.split import load_train, load_validation, load_validation_with_twins
from assay.errors import HoldoutError
from assay.example import Example, read_examples

WORDS = ["".join(random.Random(i).choices("abcdefghijklmnoprstuvw", k=7)) for i in range(2000)]


def config(**data: Any) -> Config:
    columns = {"input": ["q"], "output": ["a"], "group": "c"}
    return Config.model_validate(
        {
            "name": "tickets",
            "task": "label",
            "data": {"file": "data.jsonl", "columns": columns, **data},
            "graders": [{"name": "exact"}],
            "primary": "exact",
            "candidates": ["prompt"],
        }
    )


def twin(text: str, draw: random.Random) -> str:
    """The text in another case, with other punctuation, or with one letter changed."""
    kind = draw.randrange(3)
    if kind == 0:
        return draw.choice([str.upper, str.title, str.swapcase])(text)
    if kind == 1:
        return draw.choice(["  ", ", ", " - ", "\u00a0", "! "]).join(text.split()) + " ?!"
    at = draw.randrange(len(text) - 1)
    return text[:at] + "z" + text[at + 1 :]


def planted(seed: int, count: int, twins: float, groups: int) -> list[dict[str, Any]]:
    """Rows of which a share are twins of others; with groups, each row names a customer.

    A twin is mostly of the same customer, so that not all customers are joined into one group.
    """
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for i in range(count):
        group = f"customer{draw.randrange(groups)}" if groups else None
        if rows and draw.random() < twins:
            source = draw.choice(rows)
            text = twin(source["q"], draw)
            group = group if draw.random() < 0.05 else source["c"]
        else:
            text = " ".join(draw.choices(WORDS, k=draw.randint(14, 20)))
        rows.append({"q": text, "a": f"label{i % 2}", "c": group})
    return rows


def put(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def held(folder: Path) -> list[Example]:
    return list(read_examples(folder / "holdout.jsonl"))


def twins_between(left: list[Example], right: list[Example]) -> list[tuple[str, str]]:
    others = [normalise(b.input) for b in right]
    pairs = [(normalise(a.input), b) for a in left for b in others]
    return [(a, b) for a, b in pairs if a == b or is_near(a, b)]


def straddling(*parts: list[Example]) -> set[str | None]:
    groups = [{e.group for e in part} - {None} for part in parts]
    return {g for i, a in enumerate(groups) for b in groups[i + 1 :] for g in a & b}


CASES = given(
    seed=st.integers(0, 10**6),
    count=st.integers(60, 110),
    twins=st.floats(0, 0.5),
    groups=st.sampled_from([0, 0, 25]),
)


@CASES
@settings(max_examples=10, deadline=None)
def test_no_twin_and_no_group_straddles(seed: int, count: int, twins: float, groups: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        put(root / "data.jsonl", planted(seed, count, twins, groups))
        prepare(config(), root, root / "split")
        train, validation = load_train(root / "split"), load_validation(root / "split")
        holdout = held(root / "split")
        assert len(train) + len(validation) + len(holdout) == count
        assert twins_between(holdout, train + validation) == []
        assert twins_between(train, validation) == []
        assert straddling(train, validation, holdout) == set()


@CASES
@settings(max_examples=10, deadline=None)
def test_official_holdout_leaves_no_twin(seed: int, count: int, twins: float, groups: int) -> None:
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        rows = planted(seed, count, twins, groups)
        holdout_rows = planted(seed + 1, 30, twins, 0)
        copies = [{**row, "q": twin(row["q"], draw)} for row in draw.sample(holdout_rows, 10)]
        put(root / "data.jsonl", rows + copies)
        put(root / "holdout.jsonl", holdout_rows)
        manifest = prepare(config(holdout="holdout.jsonl"), root, root / "split")
        train, validation = load_train(root / "split"), load_validation(root / "split")
        assert [e.input for e in held(root / "split")] == [r["q"] for r in holdout_rows]
        assert twins_between(held(root / "split"), train + validation) == []
        assert twins_between(train, validation) == []
        removed = manifest.quarantine.train_removed + manifest.quarantine.validation_removed
        assert len(train) + len(validation) + removed == len(rows) + len(copies)


@given(seed=st.integers(0, 10**6), order=st.randoms(use_true_random=False))
@settings(max_examples=5, deadline=None)
def test_only_content_and_seed_decide(seed: int, order: random.Random) -> None:
    rows = planted(seed, 90, 0.2, 0)
    shuffled = list(rows)
    order.shuffle(shuffled)
    parts = []
    with tempfile.TemporaryDirectory() as name:
        for place, records, number in (("a", rows, 1), ("b", shuffled, 1), ("c", rows, 2)):
            root = Path(name) / place
            root.mkdir()
            put(root / "data.jsonl", records)
            prepare(config(split={"seed": number}, train_rows=40), root, root / "split")
            parts.append(
                [
                    sorted(
                        (e.input, e.output) for e in read_examples(root / "split" / f"{p}.jsonl")
                    )
                    for p in ("train", "validation", "holdout")
                ]
            )
    assert parts[0] == parts[1]
    assert parts[0] != parts[2]


def test_the_same_split_byte_for_byte(tmp_path: Path) -> None:
    put(tmp_path / "data.jsonl", planted(1, 120, 0.2, 0))
    first = prepare(config(), tmp_path, tmp_path / "one")
    second = prepare(config(), tmp_path, tmp_path / "two")
    assert first.files == second.files


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=15, deadline=None)
def test_one_changed_bit_of_the_holdout_is_noticed(place: int, bit: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        put(root / "data.jsonl", planted(3, 40, 0, 0))
        prepare(config(), root, root / "split")
        path = root / "split" / "holdout.jsonl"
        raw = bytearray(path.read_bytes())
        raw[place % len(raw)] ^= 1 << bit
        path.write_bytes(raw)
        with pytest.raises(HoldoutError):
            load_train(root / "split")
        with pytest.raises(HoldoutError):
            load_validation(root / "split")
        with pytest.raises(HoldoutError):
            prepare(config(), root, root / "split")


def test_no_loader_hands_out_a_row_of_the_holdout(tmp_path: Path) -> None:
    """Also after the holdout's file was put in the place of another one."""
    put(tmp_path / "data.jsonl", planted(5, 120, 0.3, 0))
    split = tmp_path / "split"
    prepare(config(), tmp_path, split)
    locked = {e.input for e in held(split)}
    for load in (load_train, load_validation, load_validation_with_twins):
        assert not locked & {e.input for e in load(split) or ()}
    raw = (split / "holdout.jsonl").read_bytes()
    (split / "validation.jsonl").write_bytes(raw)
    for load in (load_train, load_validation, load_validation_with_twins):
        with pytest.raises(HoldoutError):
            load(split)


def test_a_renewed_holdout_shares_nothing_with_what_was_seen(tmp_path: Path) -> None:
    put(tmp_path / "data.jsonl", planted(7, 100, 0.2, 0))
    prepare(config(), tmp_path, tmp_path / "split")
    put(tmp_path / "new.jsonl", planted(8, 40, 0.2, 0))
    renew(config(), tmp_path, tmp_path / "split", tmp_path / "new.jsonl")
    train, validation = load_train(tmp_path / "split"), load_validation(tmp_path / "split")
    assert len(train) + len(validation) == 100
    assert twins_between(held(tmp_path / "split"), train + validation) == []
