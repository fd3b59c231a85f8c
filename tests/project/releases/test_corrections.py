"""Corrections of a release's traces that are saved among the project's data."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.release.shelf import shelf

from assay.config import Columns
from assay.data.read import read
from assay.errors import UsageError
from assay.example import Message, ToolCall
from assay.project import open_workspace, releases, row_edits
from assay.project.releases import corrections
from assay.project.releases.correction_check import CorrectionError
from assay.project.workspace import Workspace
from assay.release import changes, traces
from assay.release.examples import ExportedExamples


def test_the_same_corrections_are_saved_once_though_some_are_rejected(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    store, (agent,) = shelf(tmp_path, 1, workspace.store)
    releases.promote(workspace, "desk", "tuned@1", force="a test")
    releases.traces_on(workspace, "desk", sample=1.0, days=7, most=100)
    # A blank input is rejected.
    for n, text in enumerate(("Where is it?", " ", "When does it come?")):
        asked, answer = [Message("user", text)], Message("assistant", "Here.")
        id = f"trace-{n}"
        assert traces.record(
            store, workspace.name, "desk", agent, id=id, messages=asked, answer=answer
        )
        if n < 2:
            releases.give_feedback(workspace, id, thumb="down", corrected="There.")

    def save() -> tuple[ExportedExamples, int]:
        made = corrections.save(workspace, "desk")
        return made, len(list((tmp_path / "data").iterdir()))

    first, files = save()
    assert (first.written, first.rejected, files) == (1, 1, 2)
    again, files = save()
    assert (again.written, again.file, again.rejected_file) == (0, None, first.rejected_file)
    releases.give_feedback(workspace, "trace-2", thumb="down", corrected="Today.")
    second, files = save()
    assert (second.written, files) == (1, 3)
    assert second.file != first.file
    assert second.rejected_file == first.rejected_file
    # What changes before it is added is saved anew, with all that its file held.
    releases.give_feedback(workspace, "trace-2", thumb="down", corrected="Now.")
    third, files = save()
    assert (third.written, files) == (1, 4)
    with ThreadPoolExecutor() as pool:
        releases.give_feedback(workspace, "trace-0", thumb="down", corrected="Where?")
        made = list(pool.map(lambda _: corrections.save(workspace, "desk").file, range(4)))
    (file,) = filter(None, made)
    assert Path(file).is_file()


ASKED = ("Where is\nmy bag?", "It is torn")
LABEL, RECORD = "bags", {"topic": "bags", "urgency": "high, now"}
OF_A_RECORD: dict[str, Any] = {
    "task": "json",
    "output_schema": {"type": "object", "required": list(RECORD)},
    "graders": [{"name": "record-exact"}],
    "primary": "record-exact",
}
OF_A_LABEL: dict[str, Any] = {
    "task": "label",
    "labels": [LABEL, "fares"],
    "graders": [{"name": "label-accuracy"}],
    "primary": "label-accuracy",
}
ONE = {"input": ["mail"], "output": ["topic"]}
SEVERAL = {"input": ["mail", "about"], "output": list(RECORD)}
BESIDE = {"id": "key", "group": "customer", "document": "page"}
PROJECTS: dict[str, tuple[str, dict[str, Any] | None, dict[str, Any]]] = {
    "a label": ("mails.csv", ONE, OF_A_LABEL),
    "a label beside id, group and document": ("mails.tsv", {**ONE, **BESIDE}, OF_A_LABEL),
    "a record": ("mails.csv", {**ONE, "output": list(RECORD)}, OF_A_RECORD),
    "a record of several columns": ("mails.csv", {**SEVERAL, **BESIDE}, OF_A_RECORD),
    "a record in lines": ("mails.jsonl", {**SEVERAL, **BESIDE}, OF_A_RECORD),
    "conversations": ("mails.jsonl", None, OF_A_LABEL),
}


def mails(folder: Path, name: str, columns: dict[str, Any] | None, task: dict[str, Any]) -> None:
    """A project of twenty rows of different words."""
    rows: list[dict[str, Any]] = [
        {
            "mail": f"{n * 7919:x} lost {n * 104729:o}",
            "about": f"case {n}",
            "topic": ("bags", "fares")[n % 2],
            "urgency": "low",
            "key": f"k{n}",
            "customer": f"c{n}",
            "page": "",
            "of no use": "yes",
        }
        for n in range(20)
    ]
    if columns is None:
        pairs = ((row["mail"], row["topic"]) for row in rows)
        rows = [{"messages": turns(asked, answer)} for asked, answer in pairs]
    out = io.StringIO()
    if name.endswith(".jsonl"):
        out.writelines(json.dumps(row) + "\n" for row in rows)
    else:
        table = csv.DictWriter(out, list(rows[0]), delimiter="," if name[-3:] == "csv" else "\t")
        table.writeheader()
        table.writerows(rows)
    (folder / "data").mkdir()
    (folder / "data" / name).write_text(out.getvalue())
    data = {"file": f"data/{name}"} | ({} if columns is None else {"columns": columns})
    common = {"version": 1, "name": "mails", "candidates": ["prompt"], "data": data}
    config = {**common, "model": "smollm2-135m-instruct", **task}
    (folder / "assay.yaml").write_text(json.dumps(config))


def turns(asked: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


@pytest.mark.parametrize("kind", PROJECTS)
def test_corrections_become_rows_of_every_kind_of_project(kind: str, tmp_path: Path) -> None:
    name, columns, task = PROJECTS[kind]
    mails(tmp_path, name, columns, task)
    workspace = Workspace(tmp_path)
    store, (agent,) = shelf(tmp_path, 1, workspace.store)
    changes.promote(store, workspace.name, "desk", "tuned@1", who="a test", force="a test")
    releases.traces_on(workspace, "desk", sample=1.0, days=7, most=100)
    # Of a record in another order and spelling than Assay's own.
    backwards = dict(reversed(RECORD.items()))
    right = LABEL if task is OF_A_LABEL else json.dumps(backwards, indent=1)
    asked = ASKED[0]
    if columns is not None and len(columns["input"]) > 1:
        cells = zip(columns["input"], ASKED, strict=True)
        asked = "\n".join(f"{column}: {text}" for column, text in cells)
    given = [Message("user", asked)]
    traces.record(
        store,
        workspace.name,
        "desk",
        agent,
        id="t",
        messages=given,
        answer=Message("assistant", "?"),
    )
    releases.give_feedback(workspace, "t", thumb="down", corrected=right)

    waiting = corrections.find_unadded(workspace, "desk")
    assert waiting == corrections.UnaddedCorrections(None, 1, 0, 0, 0)
    written = corrections.save(workspace, "desk").file
    assert written is not None
    assert corrections.find_unadded(workspace, "desk") == replace(
        waiting, file=f"data/{Path(written).name}"
    )
    found = row_edits.add(workspace, Path(written))
    assert corrections.find_unadded(workspace, "desk") is None
    assert (found.added, found.unfit, found.rejected) == (1, 0, 0)
    file = tmp_path / "data" / name
    mapping = None if columns is None else Columns(**columns)
    *_, last = read(file, columns=mapping)
    assert last.example is not None
    assert last.example.input == asked
    assert last.example.output == (LABEL if task is OF_A_LABEL else json.dumps(RECORD))
    assert row_edits.add(workspace, Path(written)).repeated == 1


def torn(folder: Path, url: str | None = None) -> Workspace:
    """A project with three traces; its state is in the database, where one is named."""
    folder.mkdir(exist_ok=True)
    state = {} if url is None else {"state": {"database": url}}
    mails(folder, "mails.jsonl", ONE, {**OF_A_LABEL, **state})
    workspace = Workspace(folder)
    store, (agent,) = shelf(folder, 1, workspace.store)
    changes.promote(store, workspace.name, "desk", "tuned@1", who="a test", force="a test")
    releases.traces_on(workspace, "desk", sample=1.0, days=7, most=100)
    for id in ("a", "b", "c"):
        asked, answer = [Message("user", f"My {id} is torn")], Message("assistant", "?")
        traces.record(store, workspace.name, "desk", agent, id=id, messages=asked, answer=answer)
    return workspace


def test_a_correction_is_added_once_as_it_was_saved(tmp_path: Path) -> None:
    """Its row may be mended or taken out of the examples later, and its file by hand before."""
    workspace = torn(tmp_path)
    before = (tmp_path / "data" / "mails.jsonl").read_text()
    for id in ("a", "b"):
        releases.give_feedback(workspace, id, thumb="down", corrected=LABEL)
    file = Path(corrections.save(workspace, "desk").file or "")
    file.write_text(file.read_text().replace("b is torn", "bag is torn"))
    edited = corrections.UnaddedCorrections(f"data/{file.name}", 2, 0, 0, 0)
    assert corrections.find_unadded(workspace, "desk") == edited
    releases.give_feedback(workspace, "c", thumb="down", corrected=LABEL)
    assert corrections.find_unadded(workspace, "desk") == edited
    row_edits.add(workspace, file)
    examples = tmp_path / "data" / "mails.jsonl"
    assert "My bag is torn" in examples.read_text()
    *others, mended, taken = examples.read_text().splitlines(keepends=True)
    assert taken.count("My bag is torn") == 1
    examples.write_text("".join((*others, mended.replace(LABEL, "fares"))))
    of_c = corrections.UnaddedCorrections(None, 1, 0, 0, 0)
    assert corrections.find_unadded(workspace, "desk") == of_c
    # One that changes after it was added is offered, and contradicts what was added.
    releases.give_feedback(workspace, "c", thumb="up", corrected=None)
    assert corrections.find_unadded(workspace, "desk") is None
    for text in ("fares", LABEL):
        releases.give_feedback(workspace, "a", thumb="down", corrected=text)
    contradicting = replace(of_c, contradicting=1)
    assert corrections.find_unadded(workspace, "desk") == contradicting
    # A file with what was added before, and may have been taken out, is not offered.
    corrections.export(workspace, tmp_path / "all.jsonl", None)
    assert corrections.find_unadded(workspace, "desk") == contradicting

    other = torn(tmp_path / "other")
    releases.give_feedback(other, "a", thumb="down", corrected=LABEL)
    corrections.export(other, other.root / "all.jsonl", None)
    in_file = replace(of_c, file="all.jsonl")
    assert corrections.find_unadded(other, "desk") == in_file
    # What is left out can be added once it is mended.
    (other.root / "all.jsonl").open("a").write("{}\n")
    assert row_edits.add(other, other.root / "all.jsonl").rejected == 1
    (other.root / "data" / "mails.jsonl").write_text(before)
    assert corrections.find_unadded(other, "desk") == replace(in_file, rejected=1)


@pytest.mark.parametrize("is_saved", [True, False])
def test_folders_with_one_database_take_no_file_for_the_other_folders(
    is_saved: bool, tmp_path: Path, empty_postgres: str
) -> None:
    here = torn(tmp_path / "here", empty_postgres)
    shutil.copytree(here.root, tmp_path / "there")
    there = Workspace(tmp_path / "there")
    files = []
    for id, workspace in (("a", here), ("b", there)):
        releases.give_feedback(workspace, id, thumb="down", corrected=LABEL)
        file = workspace.root / "all.jsonl"
        if is_saved:
            file = Path(corrections.save(workspace, "desk").file or "")
        else:
            corrections.export(workspace, file, None)
        files.append(file)
    assert [len(file.read_text().splitlines()) for file in files] == [1, 2]
    row_edits.add(here, files[0])
    left = corrections.UnaddedCorrections(None, 2, 1, 0, 0)
    assert corrections.find_unadded(here, "desk") == left


def test_corrections_that_change_while_they_are_saved_are_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, write = torn(tmp_path), releases.write_traces
    for id in ("a", "b"):
        releases.give_feedback(workspace, id, thumb="down", corrected=LABEL)

    def change(workspace: Workspace, corrected: list[traces.Trace], to: Path) -> ExportedExamples:
        releases.give_feedback(workspace, "a", thumb="down", corrected="fares")
        return write(workspace, corrected, to)

    with monkeypatch.context() as patch:
        patch.setattr(releases, "write_traces", change)
        with pytest.raises(UsageError, match="have changed while they were saved"):
            corrections.save(workspace, "desk")
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["mails.jsonl"]
    assert corrections.save(workspace, "desk").written == 2


def test_whether_corrections_could_be_added_is_found_once_and_never_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = torn(tmp_path)
    releases.give_feedback(workspace, "a", thumb="down", corrected=LABEL)
    tries: list[Path] = []
    write, problem = releases.write_traces, OSError("there is no room left")

    def fail(workspace: Workspace, corrected: list[traces.Trace], to: Path) -> ExportedExamples:
        tries.append(to)
        if len(tries) == 1:
            raise problem
        return write(workspace, corrected, to)

    monkeypatch.setattr(releases, "write_traces", fail)
    found = [corrections.find_unadded(workspace, "desk") for _ in range(3)]
    assert (found[0], len(tries)) == (None, 2)
    assert found[1] is not None
    assert found[1] == found[2]
    releases.give_feedback(workspace, "a", thumb="down", corrected="fares")
    assert corrections.find_unadded(workspace, "desk") is not None
    assert len(tries) == 3


def call_of(arguments: dict[str, Any]) -> ToolCall:
    return ToolCall("call1", "book", json.dumps(arguments))


def booking(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "book", "parameters": parameters}}


def test_a_corrected_call_is_graded_and_learned_as_a_call(tmp_path: Path) -> None:
    """Written as text it would teach that no call is right, and be graded so."""
    tools = [booking({"type": "object", "properties": {"seats": {"type": "integer"}}})]
    (tmp_path / "data").mkdir()
    rows = [
        {
            "messages": [
                *turns(f"Seats for {n}", "")[:1],
                Message("assistant", "", (call_of({"seats": n}),)).to_dict(),
            ],
            "tools": tools,
        }
        for n in range(20)
    ]
    file = tmp_path / "data" / "mails.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "version": 1,
        "name": "mails",
        "model": "smollm2-135m-instruct",
        "task": "tools",
        "graders": [{"name": "call-exact"}],
        "primary": "call-exact",
        "candidates": ["prompt"],
        "data": {"file": "data/mails.jsonl"},
    }
    (tmp_path / "assay.yaml").write_text(json.dumps(config))
    workspace = open_workspace(tmp_path)
    store, (agent,) = shelf(tmp_path, 1, workspace.store)
    changes.promote(store, workspace.name, "desk", "tuned@1", who="a test", force="a test")
    releases.traces_on(workspace, "desk", sample=1.0, days=7, most=100)
    given = Message("assistant", "", (call_of({"seats": 2}),))
    offered = {**dict.fromkeys("abc", tools), "no tools": [], "odd": [booking({"type": "dict"})]}
    for id, those in offered.items():
        asked = [Message("user", f"Three seats, please, says {id}")]
        assert traces.record(
            store, workspace.name, "desk", agent, id=id, messages=asked, answer=given, tools=those
        )
    right = Message("assistant", "", (call_of({"seats": 3}),)).text
    assert releases.label_trace(workspace, "a", answer=right) == 0.0
    assert releases.label_trace(workspace, "b", answer=given.text) == 1.0
    assert releases.label_trace(workspace, "c", right=True) == 1.0
    assert releases.label_trace(workspace, "no tools", answer="Which day?") == 0.0
    for id, wrong, told, fix in (
        ("c", right.replace("3", '"three"'), "of book do not fit .* 'seats'", "arguments"),
        ("c", right.replace("book", "cook"), "as text, which calls nothing", r"tools \(book\)"),
        ("c", right.replace("3", "4111111111111111"), "are masked, .* as text", "something else"),
        ("no tools", right, "offers no tools", "definitions"),
        ("odd", right, "parameters of book cannot be used", ""),
    ):
        with pytest.raises(CorrectionError, match=told) as refused:
            releases.label_trace(workspace, id, answer=wrong)
        assert re.search(fix, refused.value.fix or "")

    for id, wrong in (("c", right.replace("book", "cook")), ("odd", right)):
        with pytest.raises(CorrectionError):
            releases.give_feedback(workspace, id, thumb="down", corrected=wrong)
        traces.feedback(store, workspace.name, id, thumb="down", corrected=wrong)  # of earlier days
    done = corrections.export(workspace, tmp_path / "new.jsonl", "desk")
    assert (done.written, done.counts) == (2, {"bad-tool-call": 1, "bad-tools": 1, "no-tools": 1})
    *_, last = read(tmp_path / "new.jsonl")
    assert last.example is not None
    (call,) = last.example.target.tool_calls
    assert (call.name, json.loads(call.arguments), last.example.output) == (
        "book",
        {"seats": 2},
        given.text,
    )
