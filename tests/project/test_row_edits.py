"""The file of examples changed in place: rows mended, rows of other files added."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from tests.many_rows import CONFIG, held, project

from assay.config.yaml_text import edit
from assay.data import dataset
from assay.data.read import read
from assay.errors import DataError, HoldoutError, UsageError
from assay.project import row_edits, rows
from assay.project.rows import RowFilter
from assay.project.settings.unused_labels import find_unused_labels, remove_unused_labels
from assay.project.workspace import Workspace, project_of

pytestmark = pytest.mark.slow


def conversation(*turns: str, system: str | None = None) -> dict[str, Any]:
    roles = ("user", "assistant")
    first = [] if system is None else [{"role": "system", "content": system}]
    said = [{"role": roles[n % 2], "content": turn} for n, turn in enumerate(turns)]
    return {"messages": first + said}


def write_lines(file: Path, records: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records))
    return file


def test_a_row_is_mended_and_every_other_byte_stays(tmp_path: Path) -> None:
    workspace = project(tmp_path, 600)
    file = tmp_path / "tickets.csv"
    before = file.read_bytes()
    [wrong] = rows.open_rows(workspace).page(RowFilter(problem="empty-output"), 0, 9)[0]
    line = wrong["line"]
    record = row_edits.record(workspace, line)
    with pytest.raises(DataError, match="has changed since"):
        row_edits.change(workspace, line, record, {**record, "label": "label 2"})
    with pytest.raises(UsageError, match="columns must be text, label"):
        row_edits.change(workspace, line, {"text": "x"}, record)
    assert file.read_bytes() == before
    row_edits.change(workspace, line, {**record, "label": "label 1"}, record)
    wanted = before.replace(b"never written,\r\n", b"never written,label 1\r\n")
    assert file.read_bytes() == wanted


def test_a_record_of_which_a_row_is_locked_is_not_opened(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
    records = []
    for n in range(60):
        said = " ".join(f"{w}{(n + 3) ** 5 % 99991}" for w in ("table", "near", "lake"))
        record = conversation(said, "When?", f"at {n}", "None.")
        call = {"name": "other" if n % 2 else "find", "arguments": "{}"}
        record["messages"][3] |= {
            "tool_calls": [{"id": "a", "type": "function", "function": call}],
            "content": "",
        }
        records.append({**record, "tools": [tool]})
    write_lines(tmp_path / "d.jsonl", records)
    (tmp_path / "assay.yaml").write_text(
        "version: 1\nname: clerk\ntask: tools\ncandidates: [prompt]\nprimary: call-exact\n"
        "graders: [{name: call-exact}]\ndata: {file: d.jsonl, format: openai-turns}\n"
    )
    workspace = Workspace(tmp_path)
    found = rows.open_rows(workspace)
    locked = project_of(workspace).split_folder / "holdout.jsonl"
    lines = {json.loads(line)["line"] for line in locked.read_text().splitlines()}
    assert any(line % 2 == 0 for line in lines)  # whose second call does not fit
    assert not lines & {row["line"] for row in found.page(RowFilter(), 0, 999)[0]}
    for line in lines:
        with pytest.raises(DataError, match="may be seen"):
            row_edits.record(workspace, line)
    seen = [row["line"] for row in found.page(RowFilter(part="rejected"), 0, 999)[0]]
    assert len(seen) == 30 - sum(line % 2 == 0 for line in lines)
    assert row_edits.record(workspace, seen[0]) == records[seen[0] - 1]
    assert found.count_at(seen[0]) == 2  # which go together where it is removed


def test_what_cannot_be_divided_any_more_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = project(tmp_path, 600)
    file = tmp_path / "tickets.csv"
    before = file.read_bytes()
    [wrong] = rows.open_rows(workspace).page(RowFilter(problem="empty-output"), 0, 9)[0]
    record = row_edits.record(workspace, wrong["line"])
    # As if it had been opened, and the mended row belonged into it.
    present = {project_of(workspace).split().holdout_sha256}
    monkeypatch.setattr("assay.compare.holdout.opened_holdouts", lambda _: present)
    monkeypatch.setattr(dataset, "_sha256", lambda examples: "another")
    with pytest.raises(HoldoutError, match="different one"):
        row_edits.change(workspace, wrong["line"], {**record, "label": "label 1"}, record)
    assert file.read_bytes() == before


def test_rows_of_another_file_are_added_once(tmp_path: Path) -> None:
    workspace = project(tmp_path, 300)
    before = (tmp_path / "tickets.csv").read_bytes()
    used = project_of(workspace).split()
    more = tmp_path / "more.csv"
    with more.open("w", newline="") as file:
        out = csv.writer(file, delimiter=";")
        out.writerow(["label", "desk", "text"])
        out.writerow(["label 2", "7", "Where is my bag, please?"])
        out.writerow(["label 1", "7", 'A "quoted" one, with\ntwo lines'])
        out.writerow(["label 2", "8", "Where is my bag, please?"])
        out.writerow(["label 1", "8", "Write to ann.example@mail.example.com about it"])
        out.writerow(["label 9", "8", "Of a label that nobody knows"])
        out.writerow(["", "8", "Without a label"])
    found = row_edits.add(workspace, more)
    assert (found.added, found.repeated, found.unfit, found.rejected) == (2, 2, 0, 2)
    assert [row["line"] for row in found.rejected_rows] == [7, 8]
    assert "label 9" in found.rejected_rows[0]["problems"][0]["message"]
    assert found.sentence == (
        "2 rows were added to tickets.csv. Left out: 2 there already, 2 with errors."
    )
    assert found.untold == ""
    assert replace(found, rejected=44).untold.startswith("42 more rows have errors. Correct")
    now = (tmp_path / "tickets.csv").read_bytes()
    added = b'"Where is my bag, please?",label 2\r\n"A ""quoted"" one, with\ntwo lines",label 1\r\n'
    assert now == before + added
    assert project_of(workspace).split().rows == used.rows + 2
    again = row_edits.add(workspace, more)
    assert (again.added, again.repeated) == (0, 4)
    assert (tmp_path / "tickets.csv").read_bytes() == now


def test_rows_with_personal_data_or_another_label_are_told_and_masked(tmp_path: Path) -> None:
    workspace = project(tmp_path, 60)
    file = tmp_path / "tickets.csv"
    asked = file.read_text().splitlines()[1].removesuffix(",label 0")
    with file.open("a", newline="") as out:
        out.write("Write to <e-mail address> now,label 1\r\n")  # masked on Start
    before = file.read_text()
    more = tmp_path / "more.csv"
    more.write_text(
        "text,label\nWrite to ann@firm.ch now,label 1\nWrite to ann@firm.ch now,label 2\n"
        f"Call me: +41 44 668 18 00,label 0\n{asked}!,label 1\n"
    )
    found = row_edits.forecast(workspace, more)
    assert (found.added, found.repeated, found.private, found.contradicting) == (3, 1, 2, 2)
    assert found.sentence.endswith(
        "Left out: 1 there already. 2 of them have secrets or personal data. 2 of them have the "
        "input of another row with another output: one of the two is wrong."
    )
    assert row_edits.add(workspace, more, private="ask") == found
    assert file.read_text() == before
    added = row_edits.add(workspace, more, private="mask")
    assert (added.masked, added.private, added.contradicting) == (2, 0, 2)
    assert file.read_text() == (
        f"{before}Write to <e-mail address> now,label 2\n"
        f"Call me: <phone number>,label 0\n{asked}!,label 1\n"
    )
    assert row_edits.add(workspace, more, private="ask").repeated == 4
    # A label is one of the settings', whatever it looks like.
    addresses = CONFIG.replace("label 2]", "label 2, sales@firm.ch]")
    (tmp_path / "assay.yaml").write_text(addresses)
    more.write_text("text,label\nTo whom?,sales@firm.ch\nTo me,sales@firm.ch\n")
    assert row_edits.add(Workspace(tmp_path), more, private="mask").masked == 0
    assert file.read_text().endswith("To me,sales@firm.ch\n")


ADDRESSES = ["sales@firm.ch", "ann@firm.ch"]
BOXES = {"type": "object", "properties": {"box": {"enum": ADDRESSES}, "why": {"type": "string"}}}
OF_BOXES = {"task": "json", "output_schema": BOXES, "primary": "record-exact"}
OF_CONVERSATIONS = {"task": "label", "labels": ADDRESSES, "primary": "label-accuracy"}


@pytest.mark.parametrize(
    ("columns", "task"),
    [
        ({"input": ["text"], "output": ["box", "why"]}, OF_BOXES),
        (None, OF_CONVERSATIONS),
    ],
)
def test_a_row_that_is_masked_still_fits_the_project(
    tmp_path: Path, columns: dict[str, Any] | None, task: dict[str, Any]
) -> None:
    def row(text: str, box: str, by: str = "eve@firm.ch") -> dict[str, Any]:
        told = {"text": text, "box": box, "why": "-"} if columns else conversation(text, box)
        return {**told, "by": by}  # which nothing reads

    lines = [row(f"case {n} of {n * 7919}", ADDRESSES[n % 2]) for n in range(60)]
    file = write_lines(tmp_path / "mails.jsonl", lines)
    config = {
        **task,
        "name": "mails",
        "model": "smollm2-135m-instruct",
        "candidates": ["prompt"],
        "graders": [{"name": task["primary"]}],
        "data": {"file": "mails.jsonl"} | ({"columns": columns} if columns else {}),
    }
    (tmp_path / "assay.yaml").write_text(json.dumps(config))
    more = write_lines(
        tmp_path / "more.jsonl",
        [row("I am eve@firm.ch", "sales@firm.ch"), row("To whom?", "ann@firm.ch")],
    )
    assert row_edits.forecast(Workspace(tmp_path), more).private == 2
    found = row_edits.add(Workspace(tmp_path), more, private="mask")
    assert (found.added, found.masked) == (2, 2)
    *_, first, last = map(json.loads, file.read_text().splitlines())
    assert (first, last) == (
        row("I am <e-mail address>", "sales@firm.ch", "<e-mail address>"),
        row("To whom?", "ann@firm.ch", "<e-mail address>"),
    )


def test_conversations_become_rows_where_they_fit(tmp_path: Path) -> None:
    workspace = project(tmp_path, 300)
    file = tmp_path / "tickets.csv"
    file.write_bytes(file.read_bytes().rstrip())  # the last line has no end
    settings = edit(CONFIG, {"system_prompt": "Sort it.", "data.columns.id": "key"})
    (tmp_path / "assay.yaml").write_text(settings)
    body = file.read_text().splitlines()
    keyed = [f"k{number},{line}" for number, line in enumerate(body)]
    file.write_text("\n".join(["key,text,label", *keyed[1:]]))
    corrected = write_lines(
        tmp_path / "corrected.jsonl",
        [
            conversation("My bag is not here", "label 0"),
            conversation("My bag is not there", "label 0", system="Sort it."),
            conversation("My bag is nowhere", "label 0", system="Sing."),
            conversation("My bag", "Which?", "The red one", "label 0"),
        ],
    )
    found = row_edits.add(Workspace(tmp_path), corrected)
    assert (found.added, found.unfit) == (2, 2)
    first, second = file.read_text().splitlines()[-2:]
    assert (first[:6], first[22:]) == ("added-", ",My bag is not here,label 0")
    assert second.endswith(",My bag is not there,label 0")
    assert first.split(",")[0] != second.split(",")[0]
    assert row_edits.add(workspace, corrected).repeated == 2
    # Of a record with several examples each is a row.
    instances = [{"input": f"Bag {n} is wet", "output": f"label {n}"} for n in range(3)]
    several = write_lines(
        tmp_path / "several.jsonl", [{"instruction": "Sort it, please.", "instances": instances}]
    )
    assert row_edits.add(workspace, several).added == 3
    *_, last = file.read_text().split(",added-")
    assert "Bag 2 is wet" in last


def test_an_opened_holdout_stays_when_rows_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = project(tmp_path, 300)
    present = project_of(workspace).split()
    locked = held(workspace)
    opened = {present.holdout_sha256}
    monkeypatch.setattr("assay.compare.holdout.opened_holdouts", lambda _: opened)
    twin = next(iter(sorted(locked)))
    more = [conversation("My bag is not here", "label 0"), conversation(f"{twin}!", "label 0")]
    found = row_edits.add(workspace, write_lines(tmp_path / "more.jsonl", more))
    assert (found.added, found.used) == (2, 1)
    assert found.quarantined == {"exact twin in holdout": 1}
    assert found.sentence == (
        "2 rows were added to tickets.csv. 1 of them is in quarantine, because its message is one "
        "of the holdout's: it is used by nothing while this holdout stands."
    )
    assert held(workspace) == locked
    assert project_of(workspace).split().holdout_sha256 == present.holdout_sha256
    visible, _ = rows.open_rows(workspace).page(RowFilter(text=twin), 0, 9)
    assert not visible, "a twin of a locked row is in quarantine"
    before = (tmp_path / "tickets.csv").read_bytes()
    monkeypatch.setattr(dataset, "_sha256", lambda examples: "another")
    other = write_lines(tmp_path / "other.jsonl", [conversation("It is torn", "label 1")])
    with pytest.raises(HoldoutError):
        row_edits.add(workspace, other)
    assert (tmp_path / "tickets.csv").read_bytes() == before


def test_what_does_not_fit_is_refused_and_the_file_stays(tmp_path: Path) -> None:
    workspace = project(tmp_path, 60)
    file = tmp_path / "tickets.csv"
    before = file.read_bytes()
    wrong = write_lines(tmp_path / "wrong.jsonl", [conversation("Late", "label 9")])
    with pytest.raises(DataError, match=r"no row of upload\.jsonl|no row of this file") as caught:
        row_edits.add(workspace, wrong, "upload.jsonl")
    assert caught.value.where == "upload.jsonl"
    assert caught.value.what.endswith("an output that is not one of the labels (1).")
    assert caught.value.fix is not None
    assert caught.value.fix.startswith("Line 1: 'label 9' is not one of the 3 labels. Did you mean")
    wider = CONFIG.replace("label 2]", "label 2, labl 1]")
    (tmp_path / "assay.yaml").write_text(wider)
    project_of(workspace).split()
    (tmp_path / "lone.csv").write_text("text,label\nWhere is Le Monde,labl 1\n")
    with pytest.raises(DataError, match="only one row") as lone:
        row_edits.add(workspace, tmp_path / "lone.csv", "mine.csv")
    assert lone.value.where == "mine.csv, added to tickets.csv"
    assert file.read_bytes() == before
    # A label that no row has is told, and can be taken out of labels and prompt.
    assert find_unused_labels(workspace) == ["labl 1"]
    # Of settings that are edited, too, unless the split is of another task or other data.
    config = project_of(workspace).config
    for edited, found in (
        ({"monthly_requests": 1}, ["labl 1"]),
        ({"data": config.data.model_copy(update={"file": "lone.csv"})}, []),
    ):
        assert find_unused_labels(workspace, config.model_copy(update=edited)) == found
    graders = [{"name": "exact"}]
    as_text = {"task": "text", "labels": None, "graders": graders, "primary": "exact"}
    (tmp_path / "assay.yaml").write_text(edit(wider, as_text))
    project_of(workspace).split()
    assert find_unused_labels(workspace, config) == []
    (tmp_path / "assay.yaml").write_text(wider)
    assert find_unused_labels(workspace) == []
    project_of(workspace).split()
    prompt = "Which one?\n- label 1\n- labl 1"
    (tmp_path / "assay.yaml").write_text(edit(wider, {"system_prompt": prompt}))
    assert remove_unused_labels(workspace) == []
    now = project_of(workspace).config
    assert (now.labels, now.system_prompt) == (["label 0", "label 1", "label 2"], prompt[:-9])
    arrow = write_lines(tmp_path / "arrow.jsonl", [conversation("A → B", "label 1")])
    two = edit(CONFIG, {"data.columns.input": ["text", "text"]})
    (tmp_path / "assay.yaml").write_text(two)
    with pytest.raises(UsageError, match="no conversation of this file fits") as refused:
        row_edits.add(Workspace(tmp_path), arrow)
    other = tmp_path / "other.csv"
    other.write_text("a,b\nx,label 1\n")
    with pytest.raises(UsageError, match=r"project's rows\. It has a, b\."):
        row_edits.add(workspace, other)
    assert refused.value.fix == "Bring a file with the columns text, text, label."


def test_a_character_that_the_encoding_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = project(tmp_path, 60)
    file = tmp_path / "tickets.csv"
    text = file.read_bytes().decode().replace("carrier", "carri\xe8re")
    file.write_bytes(text.encode("cp1252"))
    chats = [conversation("A → B", "label 1"), conversation("My bag is gone", "label 0")]
    more = write_lines(tmp_path / "more.jsonl", chats)
    used = project_of(workspace).split()
    locked, opened = held(workspace), {used.holdout_sha256}
    monkeypatch.setattr("assay.compare.holdout.opened_holdouts", lambda _: opened)
    assert not row_edits._is_own(workspace, tmp_path.parent / "tickets.csv")
    # A file that others read, too, stays in its encoding: the one row is left out.
    with monkeypatch.context() as outside:
        outside.setattr(row_edits, "_is_own", lambda *_: False)
        found = row_edits.forecast(workspace, more)
        assert (found.added, found.rejected, found.rejected_rows[0]["line"]) == (1, 1, 1)
        assert "has no '→'" in found.rejected_rows[0]["problems"][0]["message"]
        record = row_edits.record(workspace, 63)
        with pytest.raises(DataError, match="has no '→'; nothing was written"):
            row_edits.change(workspace, 63, {**record, "label": "→"}, record)
    assert file.read_bytes() == text.encode("cp1252")
    added = row_edits.add(workspace, more)
    assert (added.added, added.rejected) == (2, 0)
    assert added.sentence.endswith("was written in cp1252, which has no '→'.")
    assert row_edits.add(workspace, more).converted is None
    wanted = f"{text}A → B,label 1\r\nMy bag is gone,label 0\r\n"
    assert file.read_bytes().decode("utf-8-sig") == wanted
    assert project_of(workspace).split().holdout_sha256 == used.holdout_sha256
    assert held(workspace) == locked


def test_of_a_row_that_is_left_out_no_spelling_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path, 12)
    text = (tmp_path / "tickets.csv").read_text("utf-8").replace("carrier", "carri\xe8re")
    text = re.sub(r",(label \d)", r',"{""kind"": ""\1""}"', text)
    (tmp_path / "tickets.csv").write_text(text, "cp1252")
    config = CONFIG.replace("labels: [label 0, label 1, label 2]\n", "").replace(
        ": label\n", ": json\n"
    )
    (tmp_path / "assay.yaml").write_text(config.replace("label-accuracy", "record-exact"), "utf-8")
    monkeypatch.setattr(row_edits, "_is_own", lambda *_: False)
    odd = [conversation("A → B", '{"kind": "Label_1"}'), conversation("Bag", '{"kind": "LABEL 0"}')]
    found = row_edits.forecast(Workspace(tmp_path), write_lines(tmp_path / "odd.jsonl", odd))
    assert (found.added, found.rejected) == (1, 1)
    [told] = found.spelled_otherwise
    assert told.startswith("Line 2: in kind, 'LABEL 0' is written 'label 0' in ")


def test_conversations_are_added_to_conversations_as_they_stand(tmp_path: Path) -> None:
    chats = [conversation(f"How is number {n}?", f"It is {n % 7}", system="Hm.") for n in range(60)]
    write_lines(tmp_path / "chats.jsonl", chats)
    config = {
        "name": "chats",
        "task": "text",
        "model": "smollm2-135m-instruct",
        "data": {"file": "chats.jsonl"},
        "candidates": ["prompt"],
        "graders": [{"name": "exact"}],
        "primary": "exact",
    }
    (tmp_path / "assay.yaml").write_text(json.dumps(config))
    fresh = {**conversation("How is it?", "Good", "And you?", "So so"), "weight": 2.0}
    found = row_edits.add(
        Workspace(tmp_path), write_lines(tmp_path / "more.jsonl", [fresh, chats[3]])
    )
    assert (found.added, found.repeated) == (1, 1)
    assert json.loads((tmp_path / "chats.jsonl").read_text().splitlines()[-1]) == fresh
    who = {**conversation("I am ann@firm.ch", "Hello"), "group": "ann@firm.ch"}
    more = write_lines(tmp_path / "more.jsonl", [who])
    masked = row_edits.add(Workspace(tmp_path), more, private="mask")
    assert masked.sentence.endswith("It had secrets or personal data, which are masked now.")
    last = json.loads((tmp_path / "chats.jsonl").read_text().splitlines()[-1])
    assert last == {**conversation("I am <e-mail address>", "Hello"), "group": "ann@firm.ch"}
    assert row_edits.add(Workspace(tmp_path), more).repeated == 1


def test_lines_of_json_get_the_fields_that_the_others_have(tmp_path: Path) -> None:
    lines = [{"text": f"case {n} of {n * 7919}", "label": f"label {n % 3}"} for n in range(60)]
    write_lines(tmp_path / "tickets.jsonl", lines)
    (tmp_path / "assay.yaml").write_text(CONFIG.replace("tickets.csv", "tickets.jsonl"))
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (["text", "label", "day"], [date(2026, 3, 1), "label 1", "x"]):
        book.active.append(row)
    book.save(tmp_path / "more.xlsx")
    assert row_edits.add(Workspace(tmp_path), tmp_path / "more.xlsx").added == 1
    last = json.loads((tmp_path / "tickets.jsonl").read_text().splitlines()[-1])
    assert last == {"text": "2026-03-01", "label": "label 1"}


def test_numbers_of_a_table_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Into cells by way of conversations, a workbook and a corrected row."""
    with (tmp_path / "orders.csv").open("w", newline="", encoding="utf-8") as file:
        rows = ([f"Order {n} for {n * 7919}", f"P{n % 2}", n, ""] for n in range(60))
        csv.writer(file).writerows([["mail", "plant", "quantity", "week"], *rows])
    text = CONFIG.replace("label-accuracy", "record-exact")
    (tmp_path / "assay.yaml").write_text(
        edit(
            text,
            {
                "task": "json",
                "labels": None,
                "data": {
                    "file": "orders.csv",
                    "columns": {
                        "input": ["mail"],
                        "output": ["plant", "quantity", "week"],
                        "numbers": ["quantity", "week"],
                    },
                },
            },
        )
    )
    records = [
        {"plant": "P1", "quantity": 36, "week": None},
        {"plant": "P1", "quantity": 0.1, "week": -7},
        {"plant": "P0", "quantity": 12.5, "week": 31},
    ]
    wrong = {"plant": "P1", "quantity": "three dozen", "week": 1}
    said = [conversation(f"said {n}", json.dumps(r)) for n, r in enumerate([*records, wrong])]
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(["mail", *wrong])
    for n, record in enumerate([*records, wrong]):
        book.active.append([f"cell {n}", *record.values()])
    book.save(tmp_path / "more.xlsx")
    workspace = Workspace(tmp_path)
    found = row_edits.add(workspace, write_lines(tmp_path / "said.jsonl", said))
    assert (found.added, found.unfit, found.rejected) == (3, 1, 0)
    found = row_edits.add(workspace, tmp_path / "more.xlsx")
    assert (found.added, found.unfit, found.rejected) == (3, 0, 1)
    [rejected] = found.rejected_rows
    assert rejected["problems"][0]["message"].startswith("quantity is 'three dozen'")
    assert row_edits.add(workspace, tmp_path / "said.jsonl").repeated == 3
    before = row_edits.record(workspace, 2)
    row_edits.change(workspace, 2, {**before, "quantity": "200"}, before)
    columns = project_of(workspace).config.data.columns
    read_back = [one.example for one in read(tmp_path / "orders.csv", columns=columns)]
    outputs = [json.loads(example.output) for example in read_back if example is not None]
    assert outputs[0] == {"plant": "P0", "quantity": 200, "week": None}
    assert outputs[60:] == records * 2
