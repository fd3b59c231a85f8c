"""Whole dialogues, of which each turn of the assistant is a row (`openai-turns`)."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.generate.tiny import byte_tokenizer

from assay.chat.template import Template
from assay.config import Config
from assay.data.checks import check
from assay.data.contents import Rules
from assay.data.dataset import prepare
from assay.data.formats import openai_turns
from assay.data.locked import changes_of_holdout, drawing_settings
from assay.data.read import detect, read
from assay.data.record_mask import RecordMask
from assay.data.turns import choose_format, count_turns
from assay.errors import DataError
from assay.evaluate.dialogues import dialogues_of
from assay.example import Example, read_examples
from assay.progress import SILENT
from assay.project.new_rows import find_new_rows
from assay.project.workspace import Workspace

TURNS = "openai-turns"
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def called(city: str) -> dict[str, Any]:
    function = {"name": "find", "arguments": json.dumps({"city": city})}
    return said("", tool_calls=[{"id": "a", "type": "function", "function": function}])


def dialogue(city: str, **more: Any) -> dict[str, Any]:
    """Three rows; the result is empty, so that the third says what the second was asked."""
    where = " ".join(f"{city}{random.Random(city + word).random()}" for word in "abc")
    turns = [user(f"A table near {where}, please."), said("When?"), user(f"{city}, 8 pm.")]
    result = {"role": "tool", "tool_call_id": "a", "content": ""}
    return {"messages": [*turns, called(city), result, said("None.")], "tools": [TOOL], **more}


def dialogues(count: int, start: int = 0) -> list[dict[str, Any]]:
    cities = [f"{a}{b}" for a in ["Bern", "Oslo", "Kiel", "Rome", "Nice"] for b in "abcdefgh"]
    return [dialogue(city) for city in cities[start : start + count]]


def write(file: Path, records: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(one) + "\n" for one in records))
    return file


def rows_of(tmp_path: Path, *records: dict[str, Any]) -> list[Example]:
    rows = list(read(write(tmp_path / "dialogues.jsonl", list(records)), TURNS))
    assert {one.code for row in rows for one in row.problems} <= {"roles-not-alternating"}
    return [row.example for row in rows if row.example is not None]


def test_each_turn_is_a_row_of_one_group(tmp_path: Path) -> None:
    first, second, third, other = rows_of(
        tmp_path,
        dialogue("Bern", id="b", references=["No."], document="d"),
        {"messages": [user("Hi, who are you?"), said("A clerk.")]},
    )
    assert [row.id for row in (first, second, third, other)] == ["b/1", "b/2", "b/3", "row-2"]
    assert [row.output[:9] for row in (first, second, third)] == ["When?", "<tool_cal", "None."]
    assert [len(row.messages) for row in (first, second, third)] == [2, 4, 6]
    assert first.tools == second.tools == third.tools == (TOOL,)
    assert len({row.group for row in (first, second, third)}) == 1
    assert first.group is not None
    assert (other.group, third.references, third.document) == (None, ("No.",), "d")
    assert first.references == second.references == ()
    [whole] = dialogues_of([second, third, first])  # as `--rollout` goes on with it
    assert sorted(whole.turns) == [1, 3, 5]
    named = rows_of(tmp_path, dialogue("Bern", group="g"))
    assert {row.group for row in named} == {"g"}


def test_no_turn_is_trained_twice(tmp_path: Path) -> None:
    template = Template.of(byte_tokenizer())
    record = {"messages": dialogue("Bern")["messages"]}

    def trained(row: Example) -> int:
        return sum(sum(one.trained) for one in template.render_all(row.messages))

    [whole] = read(write(tmp_path / "one.jsonl", [record]))
    assert whole.example is not None
    rows = rows_of(tmp_path, record)
    assert sum(map(trained, rows)) == trained(whole.example)


def test_turns_that_are_not_to_be_learned_are_no_rows(tmp_path: Path) -> None:
    greeted = [said("Welcome!"), user("Is it open?"), said("No.", weight=0), user("Really?")]
    [row] = rows_of(tmp_path, {"messages": [*greeted, said("Yes."), user("Thanks")]})
    assert (row.id, row.output, len(row.messages), row.group) == ("row-1", "Yes.", 5, None)
    after = [said("You are welcome.", weight=0)]
    [row] = rows_of(
        tmp_path, {"messages": [*greeted[1:], said("Yes."), *after], "references": [""]}
    )
    assert (row.output, row.references) == ("Yes.", ())  # which speak of another turn

    def codes(*turns: dict[str, Any]) -> list[str]:
        [row] = read(write(tmp_path / "d.jsonl", [{"messages": list(turns)}]), TURNS)
        assert row.example is None
        return [one.code for one in row.problems if one.severity == "error"]

    assert codes(*greeted[:2]) == ["nothing-trained"]
    assert codes(*greeted[:3]) == ["nothing-trained"]
    assert codes(user("Hi"), said("Hello.", weight=False)) == ["bad-weight"]


def test_a_dialogue_whose_rows_would_fill_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "long.jsonl", [dialogue("Bern")])
    size = file.stat().st_size
    monkeypatch.setattr(openai_turns, "LINE_LIMIT", size)
    [row] = read(file, TURNS)
    assert [one.code for one in row.problems] == ["dialogue-too-large"]
    monkeypatch.setattr(openai_turns, "LINE_LIMIT", 3 * size)
    assert len(list(read(file, TURNS))) == 3
    monkeypatch.setattr(openai_turns, "FILE_LIMIT", 2 * size)
    with pytest.raises(DataError, match="repeat more than") as refused:
        list(read(write(file, [dialogue("Bern"), dialogue("Oslo")]), TURNS))
    assert refused.value.where == f"{file}, line 2"
    turns = count_turns(file, detect(file), 1000)  # which makes no rows
    assert turns is not None
    assert turns.rows == 6


def test_a_row_stays_usable_where_another_of_its_dialogue_is_not(tmp_path: Path) -> None:
    box = "sales@firm.ch"
    turns = [user("It is ada@lovelace.org."), said(box), user("Really?"), said("Yes.")]
    form = replace(detect(write(tmp_path / "d.jsonl", [{"messages": turns}])), format=TURNS)
    masked = RecordMask(form, Rules("label", [box, "help@firm.ch"]))({"messages": turns})
    asked, *rest = masked["messages"]
    assert (asked["content"], rest) == ("It is <e-mail address>.", turns[1:])


def test_a_row_does_not_repeat_the_one_it_goes_on_from(tmp_path: Path) -> None:
    told = dialogue("Bern")
    told["messages"][0]["content"] += " Write to me at ada@lovelace.org."
    file = write(tmp_path / "d.jsonl", [told, dialogue("Oslo"), dialogue("Oslo")])
    report = check(file, format=TURNS, task="tools")
    assert (report.records, report.rows, report.valid) == (3, 9, 9)
    assert report.counts == {"duplicate": 3, "email": 1, "few-rows": 1}
    assert {one.line for one in report.problems if one.code == "duplicate"} == {3}
    assert (report.exact, report.near) == (3, 0)
    # Rows of one record in another format are no dialogue, whatever their group.
    asked = [{"input": "1 2", "output": word} for word in ("3", "3", "4")]
    record = {"id": "t", "group": "g", "instruction": "Add the numbers.", "instances": asked}
    report = check(write(tmp_path / "s.jsonl", [record]))
    assert report.format == "self-instruct"
    assert (report.counts["duplicate"], report.counts["contradiction"]) == (1, 1)


def test_a_dialogue_is_on_one_side(tmp_path: Path) -> None:
    write(tmp_path / "d.jsonl", dialogues(30))

    def made_by(**data: Any) -> Config:
        return Config.model_validate(
            {
                "name": "clerk",
                "task": "text",  # in which no rule puts rows of a dialogue together
                "data": {"file": "d.jsonl", "format": TURNS, **data},
                "graders": [{"name": "exact"}],
                "primary": "exact",
                "candidates": ["prompt"],
            }
        )

    def split(name: str, **data: Any) -> dict[str, list[Example]]:
        prepare(made_by(**data), tmp_path, tmp_path / name)
        parts = ("train", "validation", "holdout")
        return {part: list(read_examples(tmp_path / name / f"{part}.jsonl")) for part in parts}

    def named(rows: list[Example]) -> set[str]:
        return {row.id.rpartition("/")[0] for row in rows}

    parts = split("drawn")
    names = [named(rows) for rows in parts.values()]
    assert [len(rows) for rows in parts.values()] == [3 * len(part) for part in names]
    assert sum(map(len, names)) == len(set.union(*names)) == 30
    assert len({row.group for row in parts["holdout"]}) == len(names[2])
    # Another format would draw other rows; one that is written down at last would not.
    drawn_by = drawing_settings(made_by(format=TURNS))
    assert changes_of_holdout(drawn_by, {}, made_by(format=TURNS)) == []
    now = ["`data.format` is another and was openai-turns"]
    assert changes_of_holdout(drawn_by, {}, made_by(format="openai-chat")) == now
    detected = drawing_settings(made_by(format=None))
    assert changes_of_holdout(detected, {}, made_by(format="openai-chat")) == []
    # Rows of two files have the same ids, and are of other dialogues.
    write(tmp_path / "h.jsonl", dialogues(10, start=30))
    parts = split("official", holdout="h.jsonl")
    assert named(parts["holdout"]) < named(parts["train"]) | named(parts["validation"])
    assert sum(map(len, parts.values())) == 120


def test_dialogues_with_calls_are_proposed_to_be_cut(tmp_path: Path) -> None:
    def counted(*records: dict[str, Any]) -> Any:
        file = write(tmp_path / "d.jsonl", list(records))
        found = detect(file)
        turns = count_turns(file, found, 1000)
        return turns, choose_format(found, None, turns, "d.jsonl").format

    whole = dialogue("Bern")
    turns, format = counted(whole, dialogue("Oslo"), {"messages": [user("Hi"), said("Hello.")]})
    assert (turns.records, turns.rows, turns.calling, format) == (3, 7, 2, TURNS)
    array = tmp_path / "one-line.json"
    array.write_text(json.dumps(dialogues(4)))
    counted_there = count_turns(array, detect(array), 1000)
    assert counted_there is not None
    assert (counted_there.records, counted_there.rows) == (4, 12)
    first = count_turns(array, detect(array), 5)  # no half of a dialogue is counted
    assert first is not None
    assert (first.records, first.rows, first.is_all) == (2, 6, False)
    assert first.describe(by_turns=True).startswith("the first 2 conversations, 2 of which call")
    # A row was made of each turn already.
    begun = [{**whole, "messages": whole["messages"][:end]} for end in (2, 4)]
    turns, format = counted(*begun, whole)
    assert (turns.are_cut, format) == (True, "openai-chat")
    assert "so that each turn is the last of some row" in turns.describe(by_turns=False)
    # One short conversation that others begin with says nothing of them.
    turns, format = counted(begun[0], whole, dialogue("Oslo"), dialogue("Kiel"))
    assert (turns.are_cut, turns.is_all, format) == (False, True, TURNS)
    # Nothing is called, or by the last turn alone.
    plain = {"messages": [user("Hi"), said("Hello."), user("Bye"), said("Bye.")]}
    assert counted(plain) == (None, "openai-chat")
    assert counted({**whole, "messages": whole["messages"][:4]})[0] is None
    found = detect(tmp_path / "d.jsonl")
    with pytest.raises(DataError, match="the file is openai-chat, not sharegpt"):
        choose_format(found, "sharegpt", None, "d.jsonl")


def test_dialogues_are_added_whole_and_once(tmp_path: Path) -> None:
    write(tmp_path / "d.jsonl", dialogues(2))
    (tmp_path / "assay.yaml").write_text(
        "version: 1\nname: clerk\ntask: tools\ncandidates: [prompt]\nprimary: call-exact\n"
        "graders: [{name: call-exact}]\n"
        f"data: {{file: d.jsonl, format: {TURNS}}}\n"
    )
    brought = write(tmp_path / "more.jsonl", dialogues(2, start=1))
    addition, [row] = find_new_rows(
        Workspace(tmp_path), brought, mask=False, may_convert=True, progress=SILENT
    )
    assert (addition.added, addition.repeated, addition.unfit) == (1, 1, 0)
    assert row.record == dialogues(3)[2]
    assert len(row.texts) == 3
    (tmp_path / "more.json").write_text(json.dumps(dialogues(4, start=1)))  # all in line 1
    addition, added = find_new_rows(
        Workspace(tmp_path), tmp_path / "more.json", mask=False, may_convert=True, progress=SILENT
    )
    assert (addition.added, addition.repeated) == (3, 1)
    assert [row.record for row in added] == dialogues(3, start=2)
