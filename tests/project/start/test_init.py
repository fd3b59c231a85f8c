"""What `assay init` writes into assay.yaml is what is read from it."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.small import write_model

from assay import project
from assay.config.project import parsed_config
from assay.errors import ConfigError, ModelError, UsageError
from assay.example import Example
from assay.project.start import init
from assay.project.start.from_documents import create_from_documents
from assay.project.start.init import Choices, draft
from assay.project.start.shares import NO_VERDICT, holdout_share, warn_of_size
from assay.project.workspace import open_to_serve

ODD = ["1e5", "1E5", "1e-5", "0x1F", "0o17", "0b1"]


@pytest.mark.parametrize(
    ("examples", "share"),
    [
        (10, 0.5),
        (25, 0.4),
        (34, 0.3),
        (500, 0.3),
        (1000, 0.3),
        (1200, 0.25),
        (1500, 0.2),
        (9000, 0.2),
    ],
)
def test_a_small_file_locks_a_larger_share(examples: int, share: float) -> None:
    assert holdout_share(examples) == share
    assert warn_of_size(alone(examples), None) == (None if examples > 18 else NO_VERDICT)


def alone(count: int) -> list[Example]:
    """Examples without a group."""
    return [Example(id=str(number), messages=()) for number in range(count)]


@pytest.mark.parametrize(
    ("groups", "column", "told"),
    [
        ([str(n % 3) for n in range(200)], "Branch", "Branch, has 3 values. .*about 34 values"),
        ([str(n % 3) for n in range(200)], None, "“group” has 3 values. .*other groups"),
        ([str(n % 34) for n in range(200)], "Branch", "^None$"),
        (
            [str(max(0, n - 160)) for n in range(200)],
            "Branch",
            "40 values, so uneven .* as 1. Rows",
        ),
        ([None] * 200, "Branch", "^None$"),
    ],
)
def test_groups_that_are_too_few_for_a_verdict_are_told(
    groups: list[str | None], column: str | None, told: str
) -> None:
    rows = [replace(row, group=group) for row, group in zip(alone(200), groups, strict=True)]
    assert re.search(told, str(warn_of_size(rows, column)))


def test_groups_of_a_file_that_is_read_in_part_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first rows of a file that is sorted by customer are of few customers."""
    data = tmp_path / "sorted.csv"
    with data.open("w", newline="") as file:
        asked = [(f"question {n} of a customer", f"answer {n}", n // 10) for n in range(100)]
        csv.writer(file).writerows([("question", "answer", "customer"), *asked])
    choices = Choices(
        data=data,
        input=["question"],
        output=["answer"],
        group="customer",
        model=str(write_model(tmp_path / "model")),
    )
    [warning] = draft("asked", choices).proposal.warnings
    assert "The group column, customer, has 10 values." in warning
    monkeypatch.setattr(init, "SAMPLE", 50)
    assert not draft("asked", choices).proposal.warnings


@pytest.mark.slow
def test_a_project_of_odd_labels_can_be_opened(tmp_path: Path) -> None:
    data = tmp_path / "codes.csv"
    with data.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(120):
            writer.writerow([f"part {number} of a machine, {number * 7919}", ODD[number % 6]])
    model = write_model(tmp_path / "model")
    drafted = project.draft("codes", Choices(data=data, model=str(model)))
    made = project.create(drafted, folder=tmp_path / "codes")
    assert made.config.labels == sorted(ODD)


def test_a_model_that_cannot_be_had_is_told_before_the_file_is_read(tmp_path: Path) -> None:
    """The file may be large; here it is not even there."""
    with pytest.raises(ModelError, match="no starter, folder or file"):
        project.draft("codes", Choices(data=tmp_path / "codes.csv", model="smollm2"))
    with pytest.raises(ModelError, match="no starter, folder or file"):
        create_from_documents("manuals", tmp_path / "docs", model="smollm2", folder=tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("good_enough: 2024-13-45", "not YAML"),
        ("good_enough: !!int abc", "not YAML"),
        ("labels: " + "[" * 3000, "too deep|not YAML"),
        ("fine_tune: {seed: -3}", "at least 0"),
        ("fine_tune: {seed: 99999999999999999999}", "less than"),
        ("few_shot: {ks: [-1]}", "at least 1"),
    ],
)
def test_what_no_configuration_can_say_is_a_sentence(line: str, told: str) -> None:
    config, problems = parsed_config(f"name: x\n{line}\n")
    assert config is None
    assert any(re.search(told, str(problem)) for problem in problems), problems


def test_a_server_starts_with_the_last_good_file_whatever_is_wrong_with_the_new_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "assay.yaml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        open_to_serve(tmp_path)


def test_a_name_that_no_project_may_have_is_refused_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match="'Praxis_Nord' cannot be the name of a project"):
        draft("Praxis_Nord", Choices(data=Path("there-is-none.csv")))
