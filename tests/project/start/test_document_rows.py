"""Short facts of documents are judged by `contains`; rows without a document say what they say."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.small import write_model

from assay import project
from assay.cli.start import print_draft
from assay.config.project import parsed_config
from assay.data.propose import propose
from assay.errors import ModelError
from assay.evaluate.graders.plain import ContainsSettings, contains
from assay.evaluate.graders.registry import GradingContext
from assay.example import Example, Message
from assay.knowledge.parse import Parser
from assay.progress import Silent, Task
from assay.project.knowledge import row_search
from assay.project.knowledge.row_search import search
from assay.project.start import document_rows
from assay.project.start.document_rows import (
    find_abstention,
    find_document_column,
    propose_by_documents,
)
from assay.project.start.init import Choices, yaml_text

NONE = "We do not say that."
PRICES = [f"A chair of model {i} costs {i + 100} EUR." for i in range(40)]


def rows(count: int = 40, unanswered: int = 8) -> list[tuple[str, str, str]]:
    """(question, answer, document)."""
    asked = [(f"What does chair {i} cost?", f"{i + 100} EUR", "prices.md") for i in range(count)]
    return asked + [(f"Who painted chair {i}?", NONE, "") for i in range(unanswered)]


def examples(found: list[tuple[str, str, str]]) -> list[Example]:
    return [
        Example(
            id=str(number),
            messages=(Message("user", question), Message("assistant", answer)),
            document=document,
        )
        for number, (question, answer, document) in enumerate(found)
    ]


def test_short_facts_of_documents_are_judged_by_contains_and_long_answers_are_not() -> None:
    given = examples(rows())
    proposal = propose(given)
    made = propose_by_documents(proposal, given, NONE, partial(search, PRICES))
    assert made.primary == "contains"
    settings = ContainsSettings(**made.graders[0].settings)
    nothing = GradingContext()
    for answer in (PRICES[3], "103 EUR"):
        assert contains(answer, "103 EUR", settings, nothing).value == 1
    assert contains(" ".join(PRICES), "103 EUR", settings, nothing).value == 0
    assert contains(NONE, NONE, settings, nothing).value == 1
    # One in nine does not stand there: still a fact. One in four: no longer.
    most = propose_by_documents(proposal, given, NONE, partial(search, PRICES[:37]))
    assert most.primary == "contains"
    partly = propose_by_documents(proposal, given, NONE, partial(search, PRICES[:30]))
    assert partly.primary == proposal.primary
    assert "75% of the answers" in partly.warnings[-1]
    assert propose_by_documents(proposal, given, NONE, partial(search, PRICES[:10])) == proposal
    long = [
        replace(one, messages=(one.messages[0], Message("assistant", PRICES[0]))) for one in given
    ]
    assert propose_by_documents(proposal, long, None, partial(search, PRICES)) == proposal


def test_the_column_of_documents_and_the_answer_without_one_are_found() -> None:
    found = [{"q": q, "a": a, "source": d} for q, a, d in rows()]
    assert find_document_column(found, {"q", "a"}, {"prices.md", "other.md"}) == "source"
    assert find_document_column(found, {"q", "a"}, {"other.md"}) is None
    assert find_document_column(found, {"q", "source"}, {"prices.md"}) is None
    assert find_abstention(examples(rows())) == NONE
    assert find_abstention(examples(rows(unanswered=2))) is None
    different = [(q, f"{a} {q}", d) for q, a, d in rows()]
    assert find_abstention(examples(different)) is None


def test_init_reads_the_documents_and_says_why_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "asked.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("question", "answer", "source"), *rows()])
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "prices.md").write_text("\n\n".join(PRICES))
    (tmp_path / "docs" / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing more")
    model = str(write_model(tmp_path / "model"))
    choices = Choices(
        data=tmp_path / "asked.csv", docs=tmp_path / "docs", document="source", model=model
    )
    drafted = project.draft("chairs", choices)
    print_draft(drafted)
    assert "  2 documents in " in capsys.readouterr().out
    text = yaml_text(drafted, max_new_tokens=16, max_tokens=64)
    config, _ = parsed_config(text)
    assert config.primary == "contains"
    assert config.graders[0].settings == {"max_words": 30}
    assert config.knowledge is not None
    assert config.knowledge.abstain == NONE
    assert "# Answers are short (2 words) and 100% of them stand in the documents" in text
    without = project.draft("chairs", replace(choices, docs=None))
    assert without.proposal.primary == "rouge-l"
    assert drafted.proposal.warnings == without.proposal.warnings
    # Records are written in other words than the cells of the table; their inputs give it away.
    shutil.copyfile(choices.data, tmp_path / "docs" / "asked.csv")
    columns = replace(choices, input=["question"], output=["answer", "source"], document=None)
    again = project.draft("chairs", columns)
    assert again.proposal.warnings[-1].startswith("48 of 48 different inputs")


@pytest.mark.parametrize(
    ("inputs", "held", "told"),
    [
        # One long question that is asked anyway is no list of examples.
        (["lost card"] * 499 + ["where is my lost card"], slice(499, None), "^$"),
        ([f"where is card {n}" for n in range(20)], slice(9), "^$"),
        # Those of the second half are looked at, too.
        ([f"{n} where is card" for n in range(999)], slice(600, None), "^199 of 500 different inp"),
        # Of those that begin alike, which are compared wherever that stands, a few suffice.
        ([f"please sort this one {n}" for n in range(500)], slice(500), "^20 of 20 different inp"),
        ([f"{n} {'where is my card ' * 600}" for n in range(20)], slice(20), "^$"),
    ],
)
def test_documents_that_hold_the_examples_are_told(
    inputs: list[str], held: slice, told: str
) -> None:
    asked = examples([(one, "a long answer of more than five words", "") for one in inputs])
    proposal = replace(propose(asked), warnings=[])
    find = partial(search, [" ".join(inputs[held])])
    made = propose_by_documents(proposal, asked, None, find)
    assert re.search(told, "".join(made.warnings))


def test_inputs_are_looked_at_up_to_so_many_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_search, "MOST_INPUT_CHARACTERS", 1000)
    asked = iter(examples([(f"{n:03} where is my card", "", "") for n in range(100)]))
    assert len(row_search.choose_inputs(asked)) == 1000 // len("000 where is my card")
    assert next(asked).input == "051 where is my card"  # nor is the rest read


@pytest.mark.parametrize("reason", ["many", "long", "slow", "not read"])
def test_documents_that_were_not_searched_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    with (tmp_path / "asked.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *(row[:2] for row in rows())])
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(4):
        (docs / f"{number}.csv").write_text("word,text\none,two\n")
    (docs / "circle.md").symlink_to("circle.md")
    found, task = "", "reading"

    def fail(*_: object) -> None:
        raise ModelError("the process could not be started.")

    if reason == "many":
        monkeypatch.setattr(row_search, "MOST_DOCUMENTS", 3)
        found, task = "there are more than 3 of them", ""  # before the first is read
    elif reason == "long":
        monkeypatch.setattr(row_search, "MOST_CHARACTERS", 3)
        found = "they hold more than 3 characters"
    elif reason == "slow":
        monkeypatch.setattr(document_rows, "READING_S", 0)
        found = "reading them takes more than 0 s"
    else:
        monkeypatch.setattr(Parser, "parse", fail)
        found = "the process could not be started"
    model = str(write_model(tmp_path / "model"))
    told = Listener()
    drafted = project.draft(
        "chairs", Choices(data=tmp_path / "asked.csv", docs=docs, model=model), told
    )
    expected = f"The documents were not searched for the examples: {found}."
    assert drafted.proposal.warnings[-1].startswith(expected)
    assert [label for label in told.tasks if label == "reading"] == [task] * bool(task)


class Listener(Silent):
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.tasks: list[str] = []

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        self.tasks.append(label if unit == "documents" else "")
        with super().task(label, total, unit) as task:
            yield task


@pytest.mark.parametrize("said", ["", "Ask us."])
def test_what_a_person_says_of_rows_without_a_document_holds(tmp_path: Path, said: str) -> None:
    with (tmp_path / "asked.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("question", "answer", "source"), *rows()])
    model = str(write_model(tmp_path / "model"))
    choices = Choices(
        data=tmp_path / "asked.csv", knowledge="docs", document="source", model=model, abstain=said
    )
    drafted = project.draft("chairs", choices, search=partial(search, PRICES))
    config, _ = parsed_config(yaml_text(drafted, max_new_tokens=16, max_tokens=64))
    assert config.knowledge is not None
    assert config.knowledge.abstain == (said or None)
