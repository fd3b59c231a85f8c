"""From a file to a project in the folder that is served."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from unittest.mock import Mock

import pytest
from tests.small import write_csv, write_model

from assay.accounts import keys
from assay.config import Provider, load_config
from assay.data.checks import CheckReport, earlier_line
from assay.data.read import detect
from assay.errors import DataError, StateError, UsageError
from assay.knowledge.base import KnowledgeBase
from assay.progress import SILENT
from assay.project.knowledge import documents, row_search
from assay.project.start import example_file, from_file
from assay.project.start.from_file import FileProjectOptions
from assay.project.start.init import Choices, draft, yaml_text
from assay.project.workspace import NO_PROJECT, Workspace, open_to_serve
from assay.studio.shared.findings import describe_columns


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    model = write_model(tmp_path / "model")
    monkeypatch.setattr(from_file, "STARTER_MODEL", str(model))
    folder = tmp_path / "served"
    folder.mkdir()
    return Workspace(folder)


def brought(workspace: Workspace, tmp_path: Path, name: str = "My Pets!.csv") -> Path:
    return example_file.keep_file(workspace, name, write_csv(tmp_path / "pets.csv"))


def test_a_file_is_kept_under_a_plain_name(workspace: Workspace, tmp_path: Path) -> None:
    kept = brought(workspace, tmp_path, "../../etc/My Pets!.csv")
    assert re.fullmatch(r"[\w.-]+", kept.name)
    assert kept.is_relative_to(workspace.store.folder)
    assert example_file.find_file(workspace) == kept
    second = example_file.keep_file(workspace, "other.csv", kept)
    assert example_file.find_file(workspace) == second
    with pytest.raises(UsageError):
        example_file.keep_file(workspace, "///", kept)
    example_file.forget_file(workspace)
    assert example_file.find_file(workspace) is None


def test_what_a_person_says_changes_what_is_written(workspace: Workspace, tmp_path: Path) -> None:
    file = brought(workspace, tmp_path)
    wanted = FileProjectOptions(
        candidates=("prompt",),
        system_prompt="Name it.",
        good_enough=0.9,
        monthly_requests=5,
        machine_hour_usd=None,
        machine_hours_per_month=40.5,
    )
    found = from_file.look(workspace, file, wanted)
    assert found.question is None
    assert found.draft is not None
    assert found.report is not None
    assert found.report.valid == 160
    made = from_file.create_here(workspace, found.draft)
    config = load_config(workspace.root / "assay.yaml")
    assert config == made.config
    assert config.candidates == ["prompt"]
    assert config.system_prompt == "Name it."
    assert (config.good_enough, config.monthly_requests) == (0.9, 5)
    assert (config.costs.machine_hour_usd, config.costs.machine_hours_per_month) == (None, 40.5)
    assert (workspace.root / "data" / file.name).exists()
    assert example_file.find_file(workspace) is None


def test_keys_of_the_empty_folder_still_own_what_comes(
    workspace: Workspace, tmp_path: Path
) -> None:
    secret = keys.first_key(workspace.store, workspace.name)
    assert secret is not None
    found = from_file.look(workspace, brought(workspace, tmp_path), FileProjectOptions())
    assert found.draft is not None
    from_file.create_here(workspace, found.draft)
    assert workspace.project is not None
    later = Workspace(workspace.root)
    key = keys.find_key(later.store, secret)
    assert key is not None
    assert key.project == workspace.name == later.name == NO_PROJECT
    # What a comparison makes, such as knowledge, belongs to those keys, too.
    made = later.project
    assert made is not None
    assert made._bench(SILENT, False).owner == made.owner == NO_PROJECT


def test_documents_and_providers_brought_before_are_there_for_a_comparison(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "parrots.md").write_text("# Parrots\n\nA parrot is fed at noon.\n")
    source = documents.keep(workspace, from_file.KNOWLEDGE, "parrots.md", tmp_path / "parrots.md")
    assert documents.count_unread(workspace, from_file.KNOWLEDGE) == 1
    early = from_file.look(workspace, brought(workspace, tmp_path), FileProjectOptions()).draft
    assert early is not None
    with pytest.raises(StateError, match="is still being read"):
        from_file.create_here(workspace, early)
    assert workspace.project is None
    documents.add(workspace, from_file.KNOWLEDGE, [source])
    assert documents.count_unread(workspace, from_file.KNOWLEDGE) == 0
    workspace.providers.add("acme", Provider(base_url="https://acme.test/v1"), None)
    assert from_file.list_documents(workspace) == ["parrots.md"]
    found = from_file.look(workspace, brought(workspace, tmp_path), FileProjectOptions())
    assert found.draft is not None
    made = from_file.create_here(workspace, found.draft)
    assert {"rag", "rag-few-shot"} <= set(made.config.candidates)
    assert made.config.knowledge is not None
    bench = made._bench(SILENT, trust_code=False)
    base = KnowledgeBase(made.store, bench.owner, made.config.knowledge.name)
    assert [document.path for document in base.documents()] == ["parrots.md"]
    assert "acme" in made.providers
    assert (workspace.root / "knowledge" / "documents" / "parrots.md").exists()


def test_the_column_of_documents_and_what_follows_from_it_are_proposed(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Mock(wraps=row_search.search)
    monkeypatch.setattr(row_search, "search", search)
    kept = [f"A perch of size {i} costs {i + 100} EUR." for i in range(40)]
    (tmp_path / "prices.md").write_text("\n\n".join(kept))
    source = documents.keep(workspace, from_file.KNOWLEDGE, "prices.md", tmp_path / "prices.md")
    documents.add(workspace, from_file.KNOWLEDGE, [source])
    rows = [f"What does size {i} cost?,{i + 100} EUR,prices.md" for i in range(40)]
    rows += [f"Who made size {i}?,Not known.," for i in range(5)]
    (tmp_path / "q.csv").write_text("\n".join(["question,answer,source", *rows]))
    file = example_file.keep_file(workspace, "q.csv", tmp_path / "q.csv")
    drafted = from_file.look(workspace, file, FileProjectOptions()).draft
    assert drafted is not None
    assert drafted.columns is not None
    assert (drafted.columns.document, drafted.choices.abstain) == ("source", "Not known.")
    assert drafted.proposal.primary == "contains"
    from_file.look(workspace, file, FileProjectOptions(task="text"))
    assert search.call_count == 1
    (tmp_path / "more.md").write_text("A whale is not sold.")
    more = documents.keep(workspace, from_file.KNOWLEDGE, "more.md", tmp_path / "more.md")
    documents.add(workspace, from_file.KNOWLEDGE, [more])
    monkeypatch.setattr(row_search, "MOST_CHARACTERS", 100)
    for task in ("text", None):  # what is too much is looked at once, too
        drafted = from_file.look(workspace, file, FileProjectOptions(task=task)).draft
        assert drafted is not None
        assert "more than 100 characters" in drafted.proposal.warnings[-1]
    assert search.call_count == 2
    none = from_file.look(workspace, file, FileProjectOptions(document="")).draft
    assert none is not None
    assert none.columns is not None
    assert (none.columns.document, none.choices.abstain) == (None, None)


def test_columns_that_cannot_be_guessed_are_a_question(
    workspace: Workspace, tmp_path: Path
) -> None:
    source = tmp_path / "odd.csv"
    source.write_text("Ref;Text;Abteilung\nR1;Late again;Freight\n")  # the number of a case
    case = example_file.keep_file(workspace, "cases.csv", source)
    asked = from_file.look(workspace, case, FileProjectOptions())
    assert asked.question is not None
    assert (asked.fields, asked.question.where) == (("Ref", "Text", "Abteilung"), "cases.csv")
    source.write_text("id;ref;mr\n1;A pub in the centre.;name[Alimentum]\n")  # public, of sentences
    pair = detect(source).columns
    assert pair is not None
    assert (pair.input, pair.output, pair.id) == (["mr"], ["ref"], "id")
    rows = [f"x{i},note {i},{'yes' if i % 2 else 'no'},{i % 3}" for i in range(60)]
    source.write_text("\n".join(["alpha,beta,gamma,count", *rows]) + "\n")
    file = example_file.keep_file(workspace, "odd.csv", source)
    found = from_file.look(workspace, file, FileProjectOptions())
    assert found.question is not None
    assert found.fields == ("alpha", "beta", "gamma", "count")
    chosen = FileProjectOptions(input=("beta",), output=("gamma",), document="")
    told = from_file.look(workspace, file, chosen)
    assert told.draft is not None
    assert told.draft.proposal.task == "label"
    record = FileProjectOptions(input=("beta",), output=("gamma", "count"))
    numbers = from_file.look(workspace, file, record)
    assert numbers.draft is not None
    assert numbers.draft.columns is not None
    assert '    numbers: ["count"]  # ' in yaml_text(numbers.draft, max_new_tokens=9, max_tokens=99)
    assert describe_columns(numbers.fields, numbers.draft.columns) == (
        "Columns. Input: beta; Output: gamma, count; Read as numbers: count; Not used: alpha."
    )
    of_answers = FileProjectOptions(input=("beta",), output=("gamma",), group="gamma")
    nothing = from_file.look(workspace, file, of_answers)
    assert nothing.question is not None
    assert nothing.question.what.startswith("the group column, gamma, is the column of the answers")


def test_a_file_that_was_replaced_in_another_tab_is_told_as_that(
    workspace: Workspace, tmp_path: Path
) -> None:
    file = brought(workspace, tmp_path)
    source = tmp_path / "other.csv"
    source.write_text("text,label\na,b\n")
    example_file.keep_file(workspace, "other.csv", source)
    with pytest.raises(StateError, match=r"was replaced or removed meanwhile.*Reload"):
        from_file.create_from(workspace, file, FileProjectOptions())


def test_fields_beside_conversations_that_nothing_reads_are_told(
    workspace: Workspace, tmp_path: Path
) -> None:
    turns = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]
    source = tmp_path / "chats.jsonl"
    source.write_text(json.dumps({"messages": turns, "id": "a", "thumbs": "down"}) + "\n")
    file = example_file.keep_file(workspace, "chats.jsonl", source)
    assert from_file.look(workspace, file, FileProjectOptions()).unread == ("thumbs",)


def test_whole_dialogues_are_proposed_to_be_cut_and_may_stay_whole(
    workspace: Workspace, tmp_path: Path
) -> None:
    call = {"type": "function", "function": {"name": "find", "arguments": "{}"}}
    records = [
        {
            "messages": [
                {"role": "user", "content": f"What is open in street {number}?"},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "a", **call}]},
                {"role": "tool", "tool_call_id": "a", "content": "[]"},
                {"role": "assistant", "content": f"Nothing in {number}."},
            ],
            "tools": [{"type": "function", "function": {"name": "find"}}],
        }
        for number in range(12)
    ]
    brought = tmp_path / "dialogues.jsonl"
    brought.write_text("".join(json.dumps(one) + "\n" for one in records))
    file = example_file.keep_file(workspace, brought.name, brought)

    def looked(format: str | None) -> tuple[CheckReport, str]:
        found = from_file.look(workspace, file, FileProjectOptions(format=format))
        assert found.draft is not None
        assert found.report is not None
        assert (found.draft.turns.records, found.draft.turns.rows) == (12, 24)  # type: ignore[union-attr]
        assert "12 conversations, 12 of which" in found.draft.proposal.reasons[0]
        return found.report, yaml_text(found.draft, max_new_tokens=1, max_tokens=1)

    report, text = looked(None)
    assert (report.records, report.rows, report.exact) == (12, 24, 0)
    assert "  format: openai-turns  #" in text
    report, text = looked("openai-chat")
    assert (report.records, report.rows) == (12, 12)
    assert "  format: openai-chat  #" in text


def test_warnings_of_a_workbook_name_its_rows(workspace: Workspace, tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    assert book.active is not None
    book.active.append(["text", "label"])
    for n in range(40):
        record = {"count": n, "part": f"p{n % 3}"}
        book.active.append([f"Hello,\nwe need {n} of p{n % 3}", json.dumps(record)])
    book.active.append(["and\nmore", json.dumps({"count": "7"})])
    book.create_sheet("Autumn")
    book.save(tmp_path / "b.xlsx")
    file = example_file.keep_file(workspace, "b.xlsx", tmp_path / "b.xlsx")
    found = from_file.look(workspace, file, FileProjectOptions())
    assert found.draft is not None
    assert found.report is not None
    assert (found.origin.name, found.origin.format) == ("b.xlsx", "xlsx")
    assert found.report.counts["several-sheets"] == 1
    assert "not read: Autumn." in found.report.problems[0].message
    text, missing = found.draft.proposal.warnings
    assert text.startswith("In 1 of 41 records count is text, in the others a number: line 42.")
    assert "has no part: line 42." in missing
    assert not from_file.look(
        workspace, brought(workspace, tmp_path), FileProjectOptions()
    ).origin.problems


def test_a_workbook_without_usable_rows_is_told_by_its_own_lines(
    workspace: Workspace, tmp_path: Path
) -> None:
    from openpyxl import Workbook

    book = Workbook()
    assert book.active is not None
    for row in (["text", "label"], [None, None], ["one", None], ["two", None]):
        book.active.append(row)
    book.save(tmp_path / "b.xlsx")
    file = example_file.keep_file(workspace, "b.xlsx", tmp_path / "b.xlsx")
    found = from_file.look(workspace, file, FileProjectOptions())
    assert found.question is not None
    assert found.question.what == "the file has no usable examples."
    assert found.question.where == "b.xlsx"
    assert found.report is not None
    assert {one.line for one in found.report.problems if one.code == "empty-output"} == {3, 4}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("odd.csv", "", "empty"),
        ("odd.csv", "text,label\n", "no rows below the header"),
        ("odd.csv", "text\nWhere is my parcel?\nIt is late.\n", "one column, text. A second"),
        ("odd.jsonl", '{"text": "a", "label": "b"\n{"text": "c"\n', "is not whole JSON"),
        ("odd.jsonl", '{"text": "a", "to": {"b": 1}\n{"text": "c"\n', "Line 1: the record is not"),
    ],
)
def test_a_file_that_holds_no_examples_is_not_kept(
    workspace: Workspace, tmp_path: Path, name: str, content: str, said: str
) -> None:
    before = brought(workspace, tmp_path)
    source = tmp_path / name
    source.write_text(content)
    with pytest.raises(DataError, match=said):
        example_file.keep_file(workspace, name, source)
    assert example_file.find_file(workspace) == before


def alike(report: CheckReport) -> set[tuple[int, str]]:
    """Which lines are like an earlier one, and what is said of it."""
    return {
        (one.line, one.message)
        for one in report.problems
        if earlier_line(one.code, one.message) is not None
    }


def test_repeats_and_personal_data_are_put_right_in_the_uploaded_copy(
    workspace: Workspace, tmp_path: Path
) -> None:
    source = write_csv(tmp_path / "pets.csv", 60)
    lines = source.read_text().splitlines()
    # Two lines become one where it is masked, for the line end in the cell counts as one.
    mail = '"Write to ann@arden-ferries.com\nabout the cat",cat'
    source.write_text("\n".join([*lines[:5], lines[3], mail, *lines[5:], lines[3], ",cat"]) + "\n")
    last = 1 + len(lines) + 4
    before = source.read_text()
    file = example_file.keep_file(workspace, "pets.csv", source)
    report = from_file.look(workspace, file, FileProjectOptions()).report
    assert report is not None
    repeats, alikes = report.exact, alike(report)
    assert repeats >= 2
    assert example_file.remove_repeats(workspace, None) == repeats
    assert example_file.mask_personal_data(workspace, None, None) == 1
    report = from_file.look(workspace, file, FileProjectOptions()).report
    assert report is not None
    assert (report.exact, report.counts.get("email", 0)) == (0, 0)
    assert report.valid == len(lines) - 1 + 3 - repeats
    # A problem is told at its line in the owner's file, although the copy has become shorter.
    assert [one.line for one in report.problems if one.code == "empty-input"] == [last]
    assert alike(report) < alikes
    assert "arden-ferries" not in file.read_text()
    assert source.read_text() == before


def test_what_tells_rows_apart_and_labels_are_not_masked(
    workspace: Workspace, tmp_path: Path
) -> None:
    """Masked, all ids were one and all labels, too."""
    source, boxes = tmp_path / "mails.csv", ("sales@firm.ch", "help@firm.ch")
    rows = [
        f"m{n}@firm.ch,dir{n // 2}@firm.ch,Case {n * 7919} of eve@firm.ch,{boxes[n % 2]}\n"
        for n in range(60)
    ]
    source.write_text("".join(["id,group,text,label\n", *rows]))
    file = example_file.keep_file(workspace, "mails.csv", source)
    draft = from_file.look(workspace, file, FileProjectOptions()).draft
    assert draft is not None
    assert draft.columns is not None
    assert (draft.columns.id, draft.columns.group) == ("id", "group")
    assert example_file.mask_personal_data(workspace, draft.columns, draft) == 60
    masked = "".join(rows).replace("eve@firm.ch", "<e-mail address>")
    assert file.read_text() == "id,group,text,label\n" + masked
    report = from_file.look(workspace, file, FileProjectOptions()).report
    assert report is not None
    assert (report.valid, "duplicate-id" in report.counts) == (60, False)


def test_labels_are_renamed_and_joined_in_the_uploaded_copy(
    workspace: Workspace, tmp_path: Path
) -> None:
    source = write_csv(tmp_path / "pets.csv", 60)
    source.write_text(source.read_text().replace(",parrot\n", ",Parot\n", 3))
    file = example_file.keep_file(workspace, "pets.csv", source)
    asked = FileProjectOptions()
    found = from_file.look(workspace, file, asked)
    assert found.draft is not None
    assert "Parot" in (found.draft.proposal.labels or [])
    assert example_file.rename_labels(workspace, None, {"Parot": "parrot "}) == 3
    found = from_file.look(workspace, file, asked)
    assert found.draft is not None
    assert "Parot" not in (found.draft.proposal.labels or [])
    assert example_file.rename_labels(workspace, None, {}) == 0
    with pytest.raises(UsageError, match="cannot be empty"):
        example_file.rename_labels(workspace, None, {"parrot": " "})


def test_labels_that_differ_in_case_or_white_space_are_told_and_joined(
    workspace: Workspace, tmp_path: Path
) -> None:
    source = write_csv(tmp_path / "pets.csv", 60)
    source.write_text(source.read_text().replace(",parrot\n", ",Parrot \n", 1))
    file = example_file.keep_file(workspace, "pets.csv", source)
    asked = FileProjectOptions()
    report = from_file.look(workspace, file, asked).report
    assert report is not None
    told = [one.message for one in report.problems if one.code == "label-variants"]
    assert len(told) == 1
    assert "'Parrot '" in told[0]
    joins = example_file.find_joins(report.statistics.outputs or {})
    assert joins == {"Parrot ": "parrot"}
    assert example_file.rename_labels(workspace, None, joins) == 1
    report = from_file.look(workspace, file, asked).report
    assert report is not None
    assert "label-variants" not in report.counts
    assert example_file.find_joins({"a  b ": 9, "A b": 1, "c#": 1, "c": 1}) == {
        "a  b ": "a b",
        "A b": "a b",
    }


def test_nothing_in_the_folder_is_overwritten(workspace: Workspace, tmp_path: Path) -> None:
    found = from_file.look(workspace, brought(workspace, tmp_path), FileProjectOptions())
    assert found.draft is not None
    (workspace.root / "data").mkdir()
    with pytest.raises(StateError, match="data already exists in this folder"):
        from_file.create_here(workspace, found.draft)
    assert workspace.project is None
    (workspace.root / "data").rmdir()
    from_file.create_here(workspace, found.draft)
    with pytest.raises(StateError):
        from_file.create_here(workspace, found.draft)
    with pytest.raises(StateError):
        brought(workspace, tmp_path)


def test_a_changed_configuration_is_read_again(workspace: Workspace, tmp_path: Path) -> None:
    found = from_file.look(workspace, brought(workspace, tmp_path), FileProjectOptions())
    assert found.draft is not None
    from_file.create_here(workspace, found.draft)
    first = workspace.project
    assert workspace.project is first
    path = workspace.root / "assay.yaml"
    path.write_text(path.read_text().replace("margin: 0.02", "margin: 0.125"))
    assert workspace.config is not None
    assert workspace.config.margin == 0.125


def test_columns_that_are_named_beside_found_ones_are_kept(tmp_path: Path) -> None:
    rows = [{"id": n, "question": f"Q {n}?", "answer": f"A {n}", "page": "a.md"} for n in range(60)]
    data = tmp_path / "qa.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    drafted = draft("qa", Choices(data=data, id="id", document="page"))
    assert drafted.columns is not None
    assert (drafted.columns.input, drafted.columns.output) == (["question"], ["answer"])
    assert (drafted.columns.id, drafted.columns.document) == ("id", "page")


def test_a_creation_that_was_killed_between_two_parts_is_finished(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = from_file.look(workspace, brought(workspace, tmp_path), FileProjectOptions())
    assert found.draft is not None
    real, moved = os.replace, list[str]()

    def replace(source: Path, target: Path) -> None:
        if Path(target).parent == workspace.root:
            if moved:
                raise KeyboardInterrupt
            moved.append(Path(target).name)
        real(source, target)

    with monkeypatch.context() as killed:
        killed.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            from_file.create_here(workspace, found.draft)
    assert moved
    assert workspace.project is None
    config = workspace.root / "assay.yaml"
    config.write_text("name: another\n")
    with pytest.raises(StateError, match=r"assay\.yaml is in the way of a project"):
        open_to_serve(workspace.root)
    config.unlink()
    with pytest.raises(StateError, match="already a project"):  # not another one on top of it
        from_file.create_here(workspace, found.draft)
    served = open_to_serve(workspace.root)
    assert served.project is not None
    assert [path.name for path in (served.root / "data").iterdir()] == ["My-Pets-.csv"]
    assert open_to_serve(workspace.root).project is not None
