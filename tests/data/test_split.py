"""From files to a locked split, and every way in which that can fail."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from assay.config import Config
from assay.data import dataset
from assay.data.dataset import prepare, renew
from assay.data.locked import keep_ids
from assay.data.partition import components, draw, merge_references, stratum_of, take_share
from assay.data.quarantine import Quarantine, separate
from assay.data.split import (
    SplitManifest,
    load_train,
    load_validation,
    load_validation_with_twins,
    read_manifest,
    verify_split,
    write_split,
)
from assay.errors import DataError, HoldoutError
from assay.example import Example, read_examples

WORDS = ["".join(random.Random(i).choices("abcdefghijklmnoprstuvw", k=6)) for i in range(3000)]


def sentence(number: int) -> str:
    return " ".join(random.Random(number).choices(WORDS, k=9))


def rows(count: int, start: int = 0, labels: int = 3) -> list[dict[str, Any]]:
    return [{"q": sentence(i), "a": f"label{i % labels}"} for i in range(start, start + count)]


def config(task: str = "label", **data: Any) -> Config:
    data.setdefault("file", "data.jsonl")
    data.setdefault("columns", {"input": ["q"], "output": ["a"]})
    return Config.model_validate(
        {
            "name": "tickets",
            "task": task,
            "data": data,
            "graders": [{"name": "exact"}],
            "primary": "exact",
            "candidates": ["prompt"],
        }
    )


class Place:
    """A project's folder with data, and its split."""

    def __init__(self, root: Path) -> None:
        self.root, self.split = root, root / "state" / "split"

    def put(self, name: str, records: list[dict[str, Any]]) -> Path:
        path = self.root / name
        path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        return path

    def prepare(self, settings: Config, *, opened: bool = False, **options: Any) -> SplitManifest:
        """The split; `opened`: the holdout that is there was opened."""
        known = {read_manifest(self.split).holdout_sha256} if opened else set()
        return prepare(settings, self.root, self.split, opened=known, **options)

    def renew(self, settings: Config, name: str) -> SplitManifest:
        return renew(settings, self.root, self.split, self.root / name)

    def part(self, name: str) -> list[Example]:
        return list(read_examples(self.split / f"{name}.jsonl"))

    def names(self) -> dict[str, str]:
        """The id of each row, by its input."""
        parts = ("train", "validation", "holdout")
        return {example.input: example.id for part in parts for example in self.part(part)}

    def inputs(self, name: str) -> set[str]:
        return {example.input for example in self.part(name)}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_shares_strata_and_what_the_manifest_says(place: Place) -> None:
    place.put("data.jsonl", rows(300))
    manifest = place.prepare(config())
    assert (manifest.train, manifest.validation, manifest.holdout) == (204, 36, 60)
    assert manifest.classes == {f"label{i}": [68, 12, 20] for i in range(3)}
    assert not manifest.official_split
    assert manifest.groups is None
    assert manifest.quarantine.exact == manifest.quarantine.near == 0
    assert [len(load_train(place.split)), len(load_validation(place.split))] == [204, 36]
    whole = place.inputs("train") | place.inputs("validation") | place.inputs("holdout")
    assert whole == {row["q"] for row in rows(300)}
    assert read_manifest(place.split) == manifest
    json.dumps(manifest.to_dict())


def test_the_manifest_holds_no_word_of_the_holdout(place: Place) -> None:
    place.put("data.jsonl", rows(100))
    place.prepare(config())
    text = (place.split / "manifest.json").read_text(encoding="utf-8")
    assert not any(word in text for e in place.part("holdout") for word in e.input.split())


def test_an_official_split_is_kept_and_its_twins_are_quarantined(place: Place) -> None:
    train, held = rows(200), rows(60, start=1000)
    twins = [{"q": held[0]["q"].upper() + "!", "a": "label0"}, {"q": held[1]["q"] + "s", "a": "x"}]
    place.put("data.jsonl", [*train, *twins, {"q": "a b c", "a": "x"}, {"q": "d e f", "a": "x"}])
    place.put("holdout.jsonl", held)
    manifest = place.prepare(config(holdout="holdout.jsonl"))
    assert manifest.official_split
    assert manifest.holdout == 60
    assert [e.input for e in place.part("holdout")] == [r["q"] for r in held]
    found = manifest.quarantine
    assert (found.exact, found.near, found.train_removed + found.validation_removed) == (1, 1, 2)
    assert found.share_removed == pytest.approx(2 / 204)
    of = "the input of a row outside the holdout"
    assert Quarantine(near=2, train_removed=1).sentence == (
        f"2 holdout rows have nearly {of}: 1 training row is in quarantine because of the holdout."
    )
    assert found.per_class["x"] == pytest.approx(1 / 3)
    assert any("x (33%)" in warning for warning in found.warnings)
    reasons = [
        json.loads(line)["reason"]
        for line in (place.split / "quarantine.jsonl").read_text().splitlines()
    ]
    assert sorted(reasons) == ["exact twin in holdout", "near twin in holdout"]
    assert not {t["q"] for t in twins} & (place.inputs("train") | place.inputs("validation"))


def test_much_quarantined_validation_is_kept_beside(place: Place) -> None:
    train, held = rows(200), rows(60, start=1000)
    place.put("data.jsonl", train + [{**row, "q": row["q"].title()} for row in held])
    place.put("holdout.jsonl", held)
    manifest = place.prepare(config(holdout="holdout.jsonl"))
    removed = manifest.quarantine.validation_removed
    assert removed > 0
    assert "23.1%" in manifest.quarantine.warnings[0]
    both = load_validation_with_twins(place.split)
    assert both is not None
    assert len(both) == manifest.validation + removed


def test_little_quarantined_leaves_no_second_validation(place: Place) -> None:
    place.put("data.jsonl", rows(100))
    place.prepare(config())
    assert load_validation_with_twins(place.split) is None


def test_a_group_of_the_holdout_is_quarantined(place: Place) -> None:
    train = [{**row, "c": f"customer{i % 20}"} for i, row in enumerate(rows(200))]
    held = [{**row, "c": "customer7"} for row in rows(40, start=1000)]
    place.put("data.jsonl", train)
    place.put("holdout.jsonl", held)
    columns = {"input": ["q"], "output": ["a"], "group": "c"}
    manifest = place.prepare(config(holdout="holdout.jsonl", columns=columns))
    assert manifest.quarantine.train_removed + manifest.quarantine.validation_removed == 10
    assert "10 rows of train and validation" in " ".join(manifest.quarantine.warnings)
    assert manifest.groups == 1


@pytest.mark.parametrize("shared_in", ["data.jsonl", "holdout.jsonl"])
def test_groups_that_one_part_joins_are_one_in_all(place: Place, shared_in: str) -> None:
    """One boilerplate message of two customers makes them one, wherever it stands."""
    shared = [{"q": "one boilerplate message of two customers", "a": "label0", "c": f"customer{n}"}
              for n in (0, 7)]  # fmt: skip
    files = {
        "data.jsonl": [{**row, "c": f"customer{i % 20}"} for i, row in enumerate(rows(200))],
        "holdout.jsonl": [{**row, "c": f"other{i}"} for i, row in enumerate(rows(40, start=1000))],
        "validation.jsonl": [
            {**row, "c": f"third{i}" if i else "customer0"}
            for i, row in enumerate(rows(40, start=2000))
        ],
    }
    files["holdout.jsonl"][0]["c"] = "customer7"
    for name in files:
        place.put(name, files[name] + (shared if name == shared_in else []))
    columns = {"input": ["q"], "output": ["a"], "group": "c"}
    place.prepare(config(holdout="holdout.jsonl", validation="validation.jsonl", columns=columns))
    kept = {e.input for part in ("train", "validation") for e in place.part(part)}
    for row in files["data.jsonl"] + files["validation.jsonl"]:
        if row["c"] in ("customer0", "customer7"):
            assert row["q"] not in kept


def test_a_row_that_joins_groups_leaves_an_opened_holdout_as_it_is(place: Place) -> None:
    train = [{**row, "c": f"A{i % 20}"} for i, row in enumerate(rows(200))]
    held = [{**row, "c": f"B{i % 20}"} for i, row in enumerate(rows(40, start=1000))]
    place.put("data.jsonl", train)
    place.put("holdout.jsonl", held)
    columns = {"input": ["q"], "output": ["a"], "group": "c"}
    settings = config(holdout="holdout.jsonl", columns=columns)
    before = place.prepare(settings)
    shared = [{"q": "one boilerplate message", "a": "label0", "c": name} for name in ("A3", "B3")]
    place.put("data.jsonl", [*train, *shared])
    after = place.prepare(settings, opened=True)
    assert after.holdout_sha256 == before.holdout_sha256
    kept = {e.input for part in ("train", "validation") for e in place.part(part)}
    assert not kept & {row["q"] for row in train if row["c"] == "A3"}


def test_user_groups_stay_together(place: Place) -> None:
    place.put("data.jsonl", [{**row, "c": f"c{i % 25}"} for i, row in enumerate(rows(300))])
    manifest = place.prepare(config(columns={"input": ["q"], "output": ["a"], "group": "c"}))
    groups = [{e.group for e in place.part(p)} for p in ("train", "validation", "holdout")]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 25
    assert manifest.groups == len(groups[2])
    assert abs(manifest.holdout - 60) <= 12


def dialogues(count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Dialogues as two rows each: one that ends with a call, and one that goes on from it."""
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
    begun, later = [], []
    for number in range(count):
        asked = {"role": "user", "content": f"Please find me {sentence(number)}"}
        call = {"function": {"name": "find", "arguments": json.dumps({"n": number})}}
        called = {"role": "assistant", "content": None, "tool_calls": [call]}
        result = {"role": "tool", "content": sentence(number + 1000)}
        said = {"role": "assistant", "content": f"There is no {number}."}
        begun.append({"messages": [asked, called], "tools": [tool]})
        later.append({"messages": [asked, called, result, said], "tools": [tool]})
    return begun, later


def test_rows_of_a_dialogue_stay_together_in_a_tools_task(place: Place) -> None:
    begun, later = dialogues(60)
    place.put("data.jsonl", [row for both in zip(begun, later, strict=True) for row in both])
    manifest = place.prepare(config("tools", columns=None))
    assert manifest.groups == manifest.holdout / 2
    parts = [place.part(name) for name in ("train", "validation", "holdout")]
    groups = [{example.group for example in part} for part in parts]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 60
    assert sum(map(len, parts)) == 120


def test_after_an_opening_a_dialogue_of_the_holdout_stays_out(place: Place) -> None:
    begun, later = dialogues(100)
    place.put("data.jsonl", begun)
    first = place.prepare(config("tools", columns=None))
    place.put("data.jsonl", [*begun, *later])
    second = place.prepare(config("tools", columns=None), opened=True)
    assert second.holdout_sha256 == first.holdout_sha256
    assert second.train + second.validation == 200 - 2 * first.holdout
    assert any("their dialogue is in the holdout" in line for line in second.warnings)


def test_a_validation_file_loses_what_stands_in_train(place: Place) -> None:
    train, validation = rows(100), rows(40, start=1000)
    place.put("data.jsonl", train)
    place.put("validation.jsonl", [*validation, {**train[0], "q": train[0]["q"] + "."}])
    place.prepare(config(validation="validation.jsonl"))
    assert place.inputs("validation") == {row["q"] for row in validation}


def test_text_tasks_merge_outputs_of_one_input_where_it_is_measured(place: Place) -> None:
    train = [{"q": sentence(i // 2), "a": f"answer {i}"} for i in range(200)]
    held = [{"q": sentence(1000 + i // 3), "a": f"answer {i}"} for i in range(60)]
    place.put("data.jsonl", train)
    place.put("holdout.jsonl", held)
    manifest = place.prepare(config("text", holdout="holdout.jsonl"))
    assert manifest.holdout == 20
    first = place.part("holdout")[0]
    assert first.accepted == ("answer 0", "answer 1", "answer 2")
    assert manifest.train == 170
    assert manifest.validation == 15
    assert all(len(e.accepted) == 2 for e in place.part("validation"))


def test_an_answer_that_somebody_disliked_measures_nothing(place: Place) -> None:
    """Each input has a liked answer and a disliked one; no holdout row holds the latter."""
    thumbs = [
        {"prompt": sentence(i // 2), "completion": f"answer {i}", "label": i % 2 == 0}
        for i in range(200)
    ]
    place.put("data.jsonl", thumbs)
    manifest = place.prepare(config("text", columns=None))
    held, checks = place.part("holdout"), place.part("validation")
    assert held
    assert all(example.liked and len(example.accepted) == 1 for example in held)
    assert all(int(e.output.split()[1]) % 2 == 0 for e in held)
    disliked = [example for example in checks if not example.liked]
    assert disliked
    assert not any(set(d.accepted) & set(e.accepted) for d in disliked for e in checks if e.liked)
    assert [
        f"{len(held)} of the holdout's {2 * len(held)} rows are rated thumbs down and "
        "were left out: such an answer cannot be used to score others.",
        f"{len(disliked)} validation rows are rated thumbs down: that counts in the kto loss, "
        "in no score.",
    ] == manifest.warnings
    place.put("data.jsonl", [{**row, "label": False} for row in thumbs])
    with pytest.raises(DataError, match="every row of the holdout is rated thumbs down"):
        place.prepare(config("text", columns=None))


def test_at_most_so_many_rows_in_proportion(place: Place) -> None:
    place.put("data.jsonl", rows(900))
    place.put("holdout.jsonl", rows(300, start=1000))
    manifest = place.prepare(config(holdout="holdout.jsonl", train_rows=60, holdout_rows=30))
    assert manifest.classes == {f"label{i}": [20, 33 + (i == 0), 10] for i in range(3)}
    assert manifest.validation == 100


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (rows(9), "9 usable rows; at least 10"),
        (
            [*rows(9), {"q": "", "a": "x"}, {"q": "x", "a": ""}],
            r"Rejected \(2\): .*no text to answer \(1\)",
        ),
        ([{"q": sentence(i), "a": "same"} for i in range(40)], "every output is 'same'"),
        ([*rows(40), {"q": "odd", "a": "lonely "}], r"1 label has only one row, .*'lonely'"),
        ([{"q": "the same", "a": f"label{i % 2}"} for i in range(40)], "no row is left"),
    ],
)
def test_what_cannot_be_divided(place: Place, records: list[Any], message: str) -> None:
    place.put("data.jsonl", records)
    with pytest.raises(DataError, match=message) as raised:
        place.prepare(config())
    assert raised.value.fix
    assert not place.split.exists()
    assert not list(place.root.glob("**/*.part"))


def test_of_too_few_rows_the_causes_are_those_of_their_own_file(place: Place) -> None:
    wrong: list[Any] = [{"q": "", "a": "x"}, {"q": "x", "a": ""}, "x", {"q": "y"}, {"q": "x"}]
    place.put("data.jsonl", rows(9))
    place.put("holdout.jsonl", [*rows(20, start=100), *wrong])
    with pytest.raises(DataError, match="9 usable rows") as raised:
        place.prepare(config(holdout="holdout.jsonl"))
    assert "Rejected" not in str(raised.value)
    assert raised.value.fix == "Add examples."
    place.put("data.jsonl", [*rows(9), *wrong])
    with pytest.raises(DataError, match=r"Rejected \(5\): .*; 1 other cause\."):
        place.prepare(config(holdout="holdout.jsonl"))


def test_a_label_with_a_space_does_not_stand_alone(place: Place) -> None:
    place.put("data.jsonl", [*rows(40), {"q": "odd", "a": " label1"}])
    assert place.prepare(config()).validation > 0


def test_a_holdout_with_other_columns(place: Place) -> None:
    place.put("data.jsonl", rows(50))
    place.put("holdout.jsonl", [{"question": r["q"], "answer": r["a"]} for r in rows(20, 1000)])
    with pytest.raises(DataError, match=r"holdout\.jsonl.*'?q'?"):
        place.prepare(config(holdout="holdout.jsonl"))


def test_a_holdout_with_unknown_labels_is_a_warning(place: Place) -> None:
    place.put("data.jsonl", rows(50))
    place.put("holdout.jsonl", [*rows(20, 1000), {"q": "new", "a": "never seen"}])
    assert "'never seen'" in place.prepare(config(holdout="holdout.jsonl")).warnings[0]


def test_a_holdout_that_loses_many_rows_is_refused_and_few_are_a_warning(place: Place) -> None:
    """Rows with a label that training never showed are rejected; a score on the rest would lie."""
    place.put("data.jsonl", rows(50))
    closed = config(holdout="holdout.jsonl").model_copy(
        update={"labels": [f"label{i}" for i in range(3)]}
    )
    place.put("holdout.jsonl", [*rows(40, 1000), {"q": "new", "a": "never seen"}])
    assert "1 of the 41 rows of the holdout cannot be used" in place.prepare(closed).warnings[0]
    place.put(
        "holdout.jsonl", [*rows(40, 1000), *({"q": f"new {i}", "a": "unseen"} for i in range(3))]
    )
    with pytest.raises(DataError, match=r"3 of the 43 rows.*would not represent.*extend `labels`"):
        place.prepare(closed)


def test_a_missing_file(place: Place) -> None:
    with pytest.raises(DataError, match="no such file"):
        place.prepare(config())


def test_the_same_files_and_settings_are_not_divided_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put("data.jsonl", rows(100))
    first = place.prepare(config())

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("divided again")

    monkeypatch.setattr(dataset, "_divide", never)
    assert place.prepare(config()) == first


def test_changed_data_are_divided_anew_while_the_holdout_was_not_opened(place: Place) -> None:
    place.put("data.jsonl", rows(100))
    first = place.prepare(config())
    place.put("data.jsonl", rows(140))
    second = place.prepare(config())
    assert second.holdout_sha256 != first.holdout_sha256
    assert second.rows == 140


def test_a_holdout_that_a_comparison_is_going_to_open_stays_while_its_rows_are_there(
    place: Place,
) -> None:
    place.put("data.jsonl", rows(100))
    first = place.prepare(config())
    taken, held = {first.holdout_sha256}, place.inputs("holdout")
    place.put("data.jsonl", rows(140))
    second = place.prepare(config(), taken=taken)
    assert (second.holdout_sha256, second.rows) == (first.holdout_sha256, 140)
    assert held.isdisjoint(place.inputs("train") | place.inputs("validation"))
    place.put("data.jsonl", [row for row in rows(140) if row["q"] != min(held)])
    third = place.prepare(config(), taken=taken)  # it opens its own copy
    assert third.holdout_sha256 != first.holdout_sha256
    place.put("data.jsonl", rows(140))
    assert place.prepare(config()).holdout_sha256 not in taken  # it has ended without an opening


def test_after_an_opening_only_train_and_validation_may_change(place: Place) -> None:
    place.put("data.jsonl", rows(200))
    first = place.prepare(config())
    second = place.prepare(config(train_rows=50), opened=True)
    assert second.train == 50
    assert second.holdout_sha256 == first.holdout_sha256
    with pytest.raises(HoldoutError, match=r"`data.split.holdout` is 0.3 and was 0.2") as refused:
        place.prepare(config(split={"holdout": 0.3}), opened=True)
    assert "renew-holdout" in str(refused.value)
    assert verify_split(place.split) == second


def test_after_an_opening_rows_outside_of_the_holdout_may_change(place: Place) -> None:
    place.put("data.jsonl", [*rows(200), {"q": sentence(900), "a": ""}])
    first = place.prepare(config())
    held, names = place.inputs("holdout"), place.names()
    taken_out = next(row["q"] for row in rows(200) if row["q"] not in held)
    mended = {"q": sentence(900), "a": "label1"}
    twin = {"q": sorted(held)[0], "a": "label2"}
    changed = [row for row in rows(260) if row["q"] != taken_out]
    place.put("data.jsonl", [*changed, mended, twin])
    second = place.prepare(config(), opened=True)
    assert second.holdout_sha256 == first.holdout_sha256
    assert not second.official_split
    seen = place.inputs("train") | place.inputs("validation")
    assert seen == {row["q"] for row in [*changed, mended]} - held
    # No row is renumbered by what was taken out above it, and no two have one id.
    now = place.names()
    kept = names.keys() - {taken_out}
    assert {q: now[q] for q in kept} == {q: names[q] for q in kept}
    assert len(set(now.values())) == len(now)
    assert second.quarantine.train_removed + second.quarantine.validation_removed == 1
    third = place.prepare(config(train_rows=50), opened=True)
    assert (third.holdout_sha256, third.train) == (first.holdout_sha256, 50)


def test_after_an_opening_no_group_of_the_holdout_comes_into_train(place: Place) -> None:
    columns = {"input": ["q"], "output": ["a"], "group": "g"}
    pairs = [{**row, "g": f"{who}{n}"} for n, row in enumerate(rows(100)) for who in "xy"]
    place.put("data.jsonl", pairs)  # xN and yN asked the same: one group, called xN
    first = place.prepare(config(columns=columns))
    held = place.inputs("holdout")
    more = [{**row, "g": f"y{n}"} for n, row in enumerate(rows(100, start=1000))]
    place.put("data.jsonl", [*pairs, *more])
    second = place.prepare(config(columns=columns), opened=True)
    assert second.holdout_sha256 == first.holdout_sha256
    others = {new["q"] for new, row in zip(more, rows(100), strict=True) if row["q"] not in held}
    seen = place.inputs("train") | place.inputs("validation")
    assert seen & {row["q"] for row in more} == others


def test_a_split_that_is_gone_comes_back_as_it_was_or_not_at_all(place: Place) -> None:
    place.put("data.jsonl", rows(200))
    first = place.prepare(config())
    opened = {first.holdout_sha256}
    shutil.rmtree(place.split)
    assert prepare(config(), place.root, place.split, opened=opened) == first
    shutil.rmtree(place.split)
    place.put("data.jsonl", rows(260))
    with pytest.raises(HoldoutError, match="the split is gone, and its holdout was opened"):
        prepare(config(), place.root, place.split, opened=opened)
    assert not place.split.exists()


def test_after_an_opening_labels_without_a_holdout_row_are_told(place: Place) -> None:
    place.put("data.jsonl", rows(200))
    place.prepare(config())
    refunds = [{**row, "a": "refund"} for row in rows(40, start=1000)]
    place.put("data.jsonl", [*rows(200), *refunds])
    manifest = place.prepare(config(), opened=True)
    assert any("1 label has no holdout row" in line for line in manifest.warnings)


@pytest.mark.parametrize("change", ["remove", "relabel"])
def test_after_an_opening_no_row_of_the_holdout_may_change(place: Place, change: str) -> None:
    place.put("data.jsonl", rows(200))
    first = place.prepare(config())
    asked = place.part("holdout")[0].input
    changed = [
        {**row, "a": "label9"} if row["q"] == asked else row
        for row in rows(200)
        if change == "relabel" or row["q"] != asked
    ]
    place.put("data.jsonl", changed)
    with pytest.raises(HoldoutError, match="1 of its rows was changed or removed"):
        place.prepare(config(), opened=True)
    assert verify_split(place.split) == first


def test_a_label_that_a_holdout_needs_is_named_where_it_is_missing(place: Place) -> None:
    place.put("data.jsonl", rows(200))
    labels = {"labels": ["label0", "label1", "label2"]}
    settings = config().model_copy(update=labels)
    place.prepare(settings)
    without = settings.model_copy(update={"labels": ["label0", "label1", "other"]})
    said = "the label 'label2' is not among the labels, but 66 rows have it, 13 of them"
    with pytest.raises(HoldoutError, match=said):
        place.prepare(without, opened=True)


def test_text_rows_outside_of_an_opened_holdout_may_change(place: Place) -> None:
    several = [*rows(200), *({**row, "a": "another"} for row in rows(200))]
    place.put("data.jsonl", several)
    first = place.prepare(config("text"))
    held = place.inputs("holdout")
    left = next(row for row in rows(200) if row["q"] not in held)
    place.put("data.jsonl", [row for row in several if row["q"] != left["q"]])
    second = place.prepare(config("text"), opened=True)
    assert second.holdout_sha256 == first.holdout_sha256
    assert left["q"] not in place.inputs("train") | place.inputs("validation")


def test_an_opened_official_holdout_allows_other_training_rows(place: Place) -> None:
    place.put("holdout.jsonl", rows(60, start=1000))
    place.put("data.jsonl", rows(200))
    first = place.prepare(config(holdout="holdout.jsonl"))
    place.put("data.jsonl", rows(300))
    second = place.prepare(config(holdout="holdout.jsonl"), opened=True)
    assert second.holdout_sha256 == first.holdout_sha256
    assert second.train > first.train


@pytest.mark.parametrize("name", ["train.jsonl", "validation.jsonl", "quarantine.jsonl"])
def test_every_part_is_verified_before_it_is_read(place: Place, name: str) -> None:
    place.put("data.jsonl", rows(100))
    place.prepare(config())
    with (place.split / name).open("a") as file:
        file.write("\n")
    for load in (load_train, load_validation):
        with pytest.raises(HoldoutError, match="changed"):
            load(place.split)


def test_a_missing_holdout_and_a_broken_manifest(place: Place) -> None:
    with pytest.raises(DataError, match="has not been split yet"):
        load_train(place.split)
    place.put("data.jsonl", rows(100))
    place.prepare(config())
    (place.split / "holdout.jsonl").unlink()
    with pytest.raises(HoldoutError, match="is missing"):
        place.prepare(config())
    (place.split / "manifest.json").write_text("{")
    with pytest.raises(HoldoutError, match="manifest"):
        load_train(place.split)


def test_a_row_of_the_holdout_is_not_written_anywhere_else(tmp_path: Path) -> None:
    one, other = Example.of("Is it late?", "a"), Example.of("is it LATE", "b")
    about = SplitManifest("key", "label", "f", "csv", False, 2, 0, 0)
    for train, validation in (([other], []), ([], [other])):
        with pytest.raises(HoldoutError):
            write_split(tmp_path / "split", train, validation, [one], about)
    assert not (tmp_path / "split").exists()


def test_a_kill_while_writing_leaves_the_old_split(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put("data.jsonl", rows(100))
    first = place.prepare(config())
    place.put("data.jsonl", rows(140))

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("assay.data.split.write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        place.prepare(config())
    assert verify_split(place.split) == first
    assert [p.name for p in place.split.parent.iterdir()] == [place.split.name]


def test_renewing_takes_new_examples_and_frees_the_old_holdout(place: Place) -> None:
    place.put("data.jsonl", rows(200))
    first = place.prepare(config())
    old = place.inputs("holdout")
    place.put("new.jsonl", rows(40, start=1000))
    second = place.renew(config(), "new.jsonl")
    assert (second.generation, second.holdout) == (2, 40)
    assert second.holdout_sha256 != first.holdout_sha256
    assert old <= place.inputs("train") | place.inputs("validation")
    assert second.train + second.validation == 200
    assert place.prepare(config(), opened=True) == second
    third = place.prepare(config(train_rows=30), opened=True)
    assert (third.generation, third.holdout_sha256) == (2, second.holdout_sha256)


def test_a_new_holdout_may_be_a_workbook_where_the_project_has_csv(place: Place) -> None:
    fields = [["q", "a"], *([row["q"], row["a"]] for row in rows(100))]
    lines = "".join(f"{q},{a}\n" for q, a in fields)
    (place.root / "data.csv").write_text(lines, encoding="utf-8")
    settings = config(file="data.csv", format="csv")
    place.prepare(settings)
    workbook = Workbook()
    assert workbook.active is not None
    for cells in [["q", "a"], *([row["q"], row["a"]] for row in rows(40, start=1000))]:
        workbook.active.append(cells)
    workbook.save(place.root / "new.xlsx")
    assert place.renew(settings, "new.xlsx").holdout == 40
    place.put("other.jsonl", [{"text": sentence(n), "a": "label1"} for n in range(40)])
    with pytest.raises(DataError, match="no column 'q'") as refused:
        place.renew(settings, "other.jsonl")
    assert refused.value.fix == "Bring a file with the columns q, a."


def test_earlier_renewed_holdouts_are_trained_on_and_not_lost(place: Place) -> None:
    place.put("data.jsonl", rows(100))
    place.put("holdout.jsonl", rows(40, start=500))
    settings = config(holdout="holdout.jsonl")
    place.prepare(settings)
    place.put("second.jsonl", rows(35, start=1000))
    place.renew(settings, "second.jsonl")
    place.put("third.jsonl", rows(30, start=2000))
    manifest = place.renew(settings, "third.jsonl")
    assert manifest.generation == 3
    assert manifest.train + manifest.validation == 100 + 40 + 35
    again = place.prepare(config(holdout="holdout.jsonl", split={"seed": 5}), opened=True)
    assert again.train + again.validation == 175
    assert again.holdout_sha256 == manifest.holdout_sha256
    ids = [e.id for e in (*place.part("train"), *place.part("validation"))]
    assert len(set(ids)) == len(ids)


def test_a_label_that_was_corrected_in_the_file_counts_in_place_of_the_former_holdout(
    place: Place,
) -> None:
    train, held = rows(100), rows(40, start=500)
    place.put("data.jsonl", train)
    place.put("holdout.jsonl", held)
    settings = config(holdout="holdout.jsonl")
    place.prepare(settings)
    right = next(row["a"] for row in train if row["a"] != held[0]["a"])
    place.put("data.jsonl", [*train, {"q": held[0]["q"] + ".", "a": right}, held[1]])
    place.put("new.jsonl", rows(35, start=1000))
    place.renew(settings, "new.jsonl")
    for _ in range(2):
        learned = [*place.part("train"), *place.part("validation")]
        outputs = {e.output for e in learned if e.input.startswith(held[0]["q"])}
        assert outputs == {right}
        assert {row["q"] for row in held[1:]} <= {e.input for e in learned}
        place.put("data.jsonl", [*rows(120), {"q": held[0]["q"] + ".", "a": right}])
        place.prepare(settings, opened=True)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (lambda: rows(29, start=1000), "29 usable new examples"),
        (lambda: [*rows(40, start=1000), rows(1, start=3)[0]], "1 of the new examples.*line 41"),
        (
            lambda: [*rows(40, start=1000), {"q": sentence(8) + "s", "a": "label0"}],
            "repeat earlier ones, or nearly.*line 41",
        ),
    ],
)
def test_a_new_holdout_must_be_new_and_large_enough(
    place: Place, new: Callable[[], list[Any]], message: str
) -> None:
    place.put("data.jsonl", rows(100))
    first = place.prepare(config())
    place.put("new.jsonl", new())
    with pytest.raises(DataError, match=message):
        place.renew(config(), "new.jsonl")
    assert verify_split(place.split) == first


@pytest.mark.parametrize("is_seen_masked", [True, False])
def test_a_new_holdout_holds_no_row_that_was_seen_masked_or_plain(
    place: Place, is_seen_masked: bool
) -> None:
    address = "ida.maria.von.der.heide.und.kiel@stadtwerke-der-stadt-kiel.de"
    masked, plain = (
        [{"q": f"{WORDS[n]} {told} {WORDS[n + 100]}", "a": f"label{n % 3}"} for n in range(100)]
        for told in ("<e-mail address>", address)
    )
    seen, brought = (masked, plain) if is_seen_masked else (plain, masked)
    place.put("data.jsonl", seen)
    place.prepare(config())
    place.put("new.jsonl", [*brought[:36], *rows(30, start=1000)])
    with pytest.raises(DataError, match="36 of the new examples repeat earlier ones"):
        place.renew(config(), "new.jsonl")


def test_rows_that_a_new_holdout_leaves_out_are_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put("data.jsonl", rows(100))
    place.prepare(config())
    place.put("new.jsonl", rows(25, start=1000))
    with pytest.raises(DataError) as refused:
        place.renew(config(), "new.jsonl")
    assert "cannot be used" not in str(refused.value), "no row was rejected"
    broken = [{"q": sentence(2000 + n), "a": ""} for n in range(2)]
    said = "2 of the 27 rows of the new holdout's file cannot be used: there is no answer"
    place.put("new.jsonl", [*rows(25, start=1000), *broken])
    with pytest.raises(DataError, match=said) as refused:
        place.renew(config(), "new.jsonl")
    assert "Line 27: the output is empty. Fill it in" in refused.value.what
    assert refused.value.fix == "Correct these rows, or collect more."
    with monkeypatch.context() as full:  # of warnings, before the first row that is wrong
        full.setattr("assay.data.checks.PROBLEMS_SHOWN", 1)
        with pytest.raises(DataError, match=r"learn \(2\)\. Correct") as refused:
            place.renew(config(), "new.jsonl")
    assert refused.value.fix == "Correct these rows, or collect more."
    one_class = [row | {"a": "label0"} for row in rows(3, start=1000)]
    place.put("new.jsonl", [*one_class, *broken])
    with pytest.raises(DataError, match=r"learn \(2\)\. Line 4"):  # no row is at fault for it
        place.renew(config(), "new.jsonl")
    place.put("new.jsonl", [*rows(36, start=1000), *broken])
    manifest = place.renew(config(), "new.jsonl")
    assert manifest.holdout == 36
    assert manifest.warnings[0].startswith(said.replace("27", "38"))


def test_renewing_needs_a_split(place: Place) -> None:
    place.put("data.jsonl", rows(100))
    place.put("new.jsonl", rows(40, start=1000))
    with pytest.raises(DataError, match="has not been split yet"):
        place.renew(config(), "new.jsonl")


def test_every_stratum_gives_and_keeps_a_component() -> None:
    examples = [Example.of(sentence(i), "big", id=str(i)) for i in range(50)]
    examples += [Example.of(sentence(100 + i), "two", id=f"t{i}") for i in range(2)]
    examples += [Example.of("the very same", "one", id=f"o{i}") for i in range(5)]
    taken = take_share(
        examples, components(examples), 0.1, seed=0, purpose="holdout", stratum=stratum_of("label")
    )
    counts = Counter(examples[row].output for row in taken)
    assert counts["two"] == 1
    assert counts["one"] == 0
    assert 4 <= counts["big"] <= 6


def test_drawing_keeps_order_and_proportion() -> None:
    examples = [Example.of(f"q{i}", "a" if i % 4 else "b", id=str(i)) for i in range(100)]
    drawn = draw(examples, 20, seed=3, purpose="train rows", stratum=stratum_of("label"))
    assert Counter(e.output for e in drawn) == {"a": 15, "b": 5}
    assert [int(e.id) for e in drawn] == sorted(int(e.id) for e in drawn)
    other = draw(examples, 20, seed=4, purpose="train rows", stratum=stratum_of("label"))
    assert drawn != other
    assert draw(examples, None, seed=3, purpose="x", stratum=stratum_of("label")) == examples


def test_merging_keeps_each_output_once() -> None:
    answers = ["x", "y", "x", "z"]
    examples = [Example.of("same", answer, id=str(i)) for i, answer in enumerate(answers)]
    merged = merge_references([*examples, Example.of("other", "x", id="9")])
    assert [(e.id, e.accepted) for e in merged] == [("0", ("x", "y", "z")), ("9", ("x",))]


def test_rows_that_were_not_drawn_keep_their_number() -> None:
    file = [Example.of(f"q{i}", "a", id=f"row-{i}") for i in range(1, 11)]
    drawn, holdout, rest = file[:2], file[2:3], file[3:]
    kept = keep_ids([*drawn, *rest], drawn, holdout, rows=10)
    assert [one.id for one in kept] == [f"row-{i}" for i in (1, 2, *range(4, 11))]
    # The first row is gone: all others stand one higher, and their numbers are others' or free.
    moved = [Example.of(one.input, "a", id=f"row-{i}") for i, one in enumerate(file[1:], 1)]
    kept = keep_ids([moved[0], *moved[2:]], drawn, holdout, rows=10)
    assert [one.id for one in kept] == ["row-2", "row-11", *(f"row-{i}" for i in range(4, 10))]


def test_quarantine_counts_holdout_rows_and_removes_every_twin() -> None:
    held = [Example.of(sentence(1), "a", id="h")]
    train = [Example.of(sentence(1) + mark, "a", id=mark) for mark in ("!", "?", "s")]
    parted = separate([*train, Example.of("else", "a")], [], held, "label", {})
    assert (parted.summary.exact, parted.summary.near) == (1, 0)
    assert parted.summary.train_removed == 3
    assert [e.input for e in parted.train] == ["else"]


def test_official_splits_of_real_data(data_folder: Path, tmp_path: Path) -> None:
    for name, task, outputs, exact in (
        ("banking77", "label", ["label"], 25),
        ("snips", "json", ["intent", "slots"], 18),
    ):
        settings = config(
            task,
            file="train.jsonl",
            holdout="test.jsonl",
            columns={"input": ["text"], "output": outputs},
            train_rows=200,
        )
        manifest = prepare(settings, data_folder / name, tmp_path / name)
        assert manifest.quarantine.exact == exact
        assert manifest.train == 200
        assert manifest.quarantine.warnings == []
