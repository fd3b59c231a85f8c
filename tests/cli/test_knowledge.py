"""`assay knowledge` as scripts see it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from tests.cli.test_release import ask, refused
from tests.knowledge.wordy import Wordy
from tests.small import small_project, write_csv
from typer.testing import CliRunner

from assay.cli.main import app
from assay.project.knowledge import example_search, row_search
from assay.project.workspace import Workspace


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one, with three documents in `docs`."""
    monkeypatch.setattr(Workspace, "embedder", lambda self, name: Wordy())
    monkeypatch.chdir(tmp_path)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "refunds.md").write_text("# Refunds\n\nMoney comes back within fourteen days.")
    (docs / "tea.txt").write_text("Green tea is steeped for two minutes.")
    (docs / "broken.pdf").write_bytes(b"%PDF nothing")
    return tmp_path


def as_json(folder: Path, *words: str) -> Any:
    return json.loads(ask(folder, *words, "--json"))


def test_from_adding_to_removing(folder: Path) -> None:
    added = as_json(folder, "knowledge", "add", "manuals", "docs")
    assert (added["documents"], added["passages"]) == (2, 2)
    assert [f["file"] for f in added["failed"]] == ["docs/broken.pdf"]
    assert "damaged" in added["failed"][0]["reason"]
    found = as_json(folder, "knowledge", "search", "manuals", "money back?", "--top", "1")
    assert found["query"] == "money back?"
    [passage] = found["passages"]
    assert (passage["document"], passage["page"]) == ("docs/refunds.md", None)
    assert "fourteen days" in passage["text"]
    assert passage["score"] > 0
    listed = as_json(folder, "knowledge", "list", "manuals")
    assert [d["document"] for d in listed["documents"]] == ["docs/refunds.md", "docs/tea.txt"]
    [base] = as_json(folder, "knowledge", "list")
    assert (base["name"], base["documents"]) == ("manuals", 2)
    removed = as_json(folder, "knowledge", "remove", "manuals", "docs/tea.txt")
    assert removed == {"removed": ["docs/tea.txt"], "left": 1, "learned": None, "held": False}
    assert "1 document removed, 0 left." in ask(folder, "knowledge", "remove", "manuals", "--all")
    assert as_json(folder, "knowledge", "list") == []


def test_a_file_of_queries_keeps_its_order(folder: Path) -> None:
    ask(folder, "knowledge", "add", "manuals", "docs/tea.txt", "docs/refunds.md")
    asked = ["green tea", "money", "green tea", "quantum"]
    (folder / "q.jsonl").write_text("\n".join(json.dumps({"query": q, "id": 1}) for q in asked))
    found = as_json(folder, "knowledge", "search", "manuals", "--queries", "q.jsonl", "--top", "1")
    assert [one["query"] for one in found] == asked
    documents = [[p["document"] for p in one["passages"]] for one in found]
    assert documents[:3] == [["docs/tea.txt"], ["docs/refunds.md"], ["docs/tea.txt"]]
    words = ("--mode", "bm25")
    found = as_json(folder, "knowledge", "search", "manuals", "--queries", "q.jsonl", *words)
    assert found[3]["passages"] == []


def test_documents_that_hold_the_examples_are_told_before_the_holdout_is_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = write_csv(folder / "later.csv", 60, seed=1)
    made = small_project(folder, holdout=held)
    root, data = made.root, made.root / made.config.data.file
    # Of a holdout that has a file of its own nothing is said.
    assert as_json(root, "knowledge", "add", "manuals", str(held))["warning"] is None
    count = len({row["text"] for row in csv.DictReader(data.read_text().splitlines())})
    told = as_json(root, "knowledge", "add", "manuals", str(data))["warning"]
    assert told.startswith(f"{count} of {count} different inputs")
    assert f"Warning: {told}\n" in ask(root, "knowledge", "add", "manuals", str(data))
    assert not (root / ".assay" / "split").exists()
    # Examples are read again when they have changed, and what fails then undoes nothing.
    monkeypatch.setattr(example_search, "read", reading := Mock(wraps=example_search.read))
    assert example_search.warn_of_examples(Workspace(root), "manuals") == told
    reading.assert_not_called()
    data.write_text(f"{data.read_text()}A cat that is nowhere else sits here,cat\n")
    full = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr(row_search, "search", full)
    again = as_json(root, "knowledge", "add", "manuals", str(data))
    assert again["documents"] == 1
    assert "not searched for the examples: No space left on device." in again["warning"]
    reading.assert_called_once()


def test_for_people(folder: Path) -> None:
    said = ask(folder, "knowledge", "add", "manuals", "docs", "--label", "public")
    assert "2 documents, 2 passages." in said
    assert "failed: docs/broken.pdf: it is damaged" in said
    assert "2 documents (2 unchanged)" in ask(
        folder, "knowledge", "add", "manuals", "docs", "--label", "public"
    )
    assert "docs/tea.txt" in ask(folder, "knowledge", "search", "manuals", "green tea")
    nothing = ask(folder, "knowledge", "search", "manuals", "tea", "--label", "staff")
    assert nothing == "No relevant passages.\n"
    assert "public" in ask(folder, "knowledge", "list", "manuals")
    assert "manuals" in ask(folder, "knowledge", "list")
    (folder / "docs" / "tea.txt").write_text("Black tea takes longer.")
    checked = ask(folder, "knowledge", "check", "manuals")
    assert "changed on disk: docs/tea.txt" in checked
    assert "The index is intact." in checked
    assert "passages." in ask(folder, "knowledge", "rebuild", "manuals", "--chunk-tokens", "16")


def test_damage_ends_with_one(folder: Path) -> None:
    ask(folder, "knowledge", "add", "manuals", "docs")
    [table] = (folder / ".assay" / "knowledge").glob("*/tables/*")
    for file in (table / "data").iterdir():
        file.unlink()
    done = CliRunner().invoke(app, ["knowledge", "check", "manuals", "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["damage"]


def test_wrong_calls_end_with_a_sentence(folder: Path) -> None:
    assert "no project here" in refused(folder, 2, "knowledge", "list")
    assert not (folder / ".assay").exists()
    ask(folder, "knowledge", "add", "manuals", "docs")
    assert "no knowledge base 'other'" in refused(folder, 1, "knowledge", "search", "other", "x")
    assert "nothing to search for" in refused(folder, 2, "knowledge", "search", "manuals")
    assert "no document 'x'" in refused(folder, 1, "knowledge", "remove", "manuals", "x")
    assert "nothing to remove" in refused(folder, 2, "knowledge", "remove", "manuals")
    assert "cannot be the name of a knowledge base" in refused(
        folder, 2, "knowledge", "add", "a/b", "docs"
    )
    assert "not a search mode" in refused(
        folder, 2, "knowledge", "search", "manuals", "x", "--mode", "both"
    )
    assert "rebuild" in refused(
        folder, 1, "knowledge", "add", "manuals", "docs", "--chunk-tokens", "30"
    )
    for line in ("nothing", '{"question": "x"}', "[1]", '{"query": 1}'):
        (folder / "q.jsonl").write_text('{"query": "x"}\n' + line)
        said = refused(folder, 1, "knowledge", "search", "manuals", "--queries", "q.jsonl")
        assert "q.jsonl, line 2" in said
    said = refused(folder, 1, "knowledge", "search", "manuals", "--queries", "gone.jsonl")
    assert "there is no such file" in said
