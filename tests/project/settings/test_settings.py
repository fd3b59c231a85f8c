"""assay.yaml changed by people: checked as at the command line; nobody's edit is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.many_rows import project

from assay.compare.holdout import OpeningRequest, _log
from assay.config import Provider, Vllm
from assay.config.yaml_text import edit
from assay.errors import AssayError, ConfigError
from assay.project import settings
from assay.project.project import Project
from assay.project.settings import InvalidSettingsError, StaleSettingsError
from assay.project.settings.effects import follows
from assay.project.workspace import Workspace
from assay.store.audit import entries


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return project(tmp_path, 3)


def test_a_save_is_written_audited_and_used_at_once(workspace: Workspace) -> None:
    draft = settings.read(workspace)
    assert draft.change is None
    text = edit(draft.text, {"data.split.holdout": 0.3, "margin": 0.05})
    by = workspace.act_as("user:ann")
    kept = settings.save(by, text, based_on=draft.hash, message="more to measure on")
    assert (workspace.root / "assay.yaml").read_text() == text == kept.text
    assert kept.change is not None
    assert (kept.change.who, kept.change.message) == ("user:ann", "more to measure on")
    assert workspace.config is not None
    assert workspace.config.data.split.holdout == 0.3
    entry = entries(workspace.store, workspace.name, 1)[0]
    assert (entry.who, entry.action) == ("user:ann", settings.ACTION)
    assert entry.details is not None
    assert entry.details["settings"] == ["data.split.holdout", "margin"]


def test_what_the_command_line_refuses_is_told_at_its_line_and_not_saved(
    workspace: Workspace,
) -> None:
    draft = settings.read(workspace)
    for old, new, line, field in (
        ("task: label", "task: lable", 3, "task"),
        ("[prompt]", "[promt]", 9, "candidates"),
        ("label-accuracy}", "label-accuracy, settings: {x: 1}}", 10, "graders.0.settings"),
        ("primary: label-accuracy", "primary: exact", 11, "primary"),
        ("name: tickets", "name: tickets\nnames: x", 3, "names"),
        ("name: tickets", "name: tickets: x", 2, None),
        ("labels: [label 0, label 1, label 2]", "labels: &a [x]\nmore: *a", 5, None),
    ):
        text = draft.text.replace(old, new)
        assert text != draft.text
        [problem] = settings.validate(workspace, text, admin=True).problems
        assert (problem.line, problem.field) == (line, field), problem
        with pytest.raises(InvalidSettingsError):
            settings.save(workspace, text, based_on=draft.hash)
    assert settings.read(workspace).text == draft.text


def test_files_and_columns_that_are_not_there_are_refused(workspace: Workspace) -> None:
    draft = settings.read(workspace)
    for values, field, said in (
        ({"data.file": "ticket.csv"}, "data.file", "no such file. Did you mean tickets.csv?"),
        ({"data.holdout": "test.csv"}, "data.holdout", "no such file"),
        ({"data.columns.input": ["txt"]}, "data.columns.input", "Did you mean 'text'?"),
        ({"data.columns.group": "customer"}, "data.columns.group", "no column 'customer'"),
        ({"data.columns.output": ["text"]}, "data.columns.output", "text is an input column. The"),
        ({"data.format": "cvs"}, "data.format", "Did you mean 'csv'?"),
        ({"costs.machine_hours_per_month": 10_000}, "costs.machine_hours_per_month", "744"),
        ({"fine_tune.method": "dp0"}, "fine_tune.method", "no training method 'dp0'"),
        ({"fine_tune.method": "d_po"}, "fine_tune.method", "must be the name of a method"),
    ):
        text = edit(draft.text, values)
        [problem] = settings.validate(workspace, text, admin=True).problems
        assert problem.field == field
        assert said in problem.message
        assert str(workspace.root) not in problem.message
        with pytest.raises(InvalidSettingsError):
            settings.save(workspace, text, based_on=draft.hash)


@pytest.mark.parametrize(
    ("schema", "refused"),
    [
        ({"properties": {"count": {"type": ["number", "null"], "minimum": 5}}}, False),
        ({"properties": {"count": {"enum": [2, 3, None]}}}, False),
        ({"properties": {"count": {"$ref": "#/$defs/n"}}, "$defs": {"n": {}}}, False),
        ({"properties": {"count": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "null"}}}, True),
        ({}, False),
        ({"properties": {"count": {"type": ["string", "null"]}}}, True),
        ({"properties": {"count": {"enum": ["1", "2"]}}}, True),
        ({"properties": {"product": {}}, "additionalProperties": False}, True),
    ],
)
def test_numbers_that_the_schema_can_only_reject_are_refused(
    workspace: Workspace, schema: dict[str, Any], refused: bool
) -> None:
    text = edit(_with_numbers(workspace), {"output_schema": schema})
    problems = settings.validate(workspace, text, admin=True).problems
    assert [problem.field for problem in problems] == ["data.columns.numbers"] * refused
    assert all("count is no number in `output_schema`" in one.message for one in problems)


@pytest.mark.parametrize(
    "properties",
    [None, [], {"count": {"type": None}}, {"count": {"type": 5}}, {"count": {"type": [{}]}}],
)
def test_a_schema_that_is_being_typed_is_refused_as_none(
    workspace: Workspace, properties: Any
) -> None:
    values = {"task": "json", "graders": [{"name": "schema-valid"}], "primary": "schema-valid"}
    values["output_schema"] = {"properties": properties}
    text = edit(_with_numbers(workspace), values)
    [problem] = settings.validate(workspace, text, admin=True).problems
    assert "this is not a JSON Schema" in problem.message


def _with_numbers(workspace: Workspace) -> str:
    (workspace.root / "orders.csv").write_text("text,product,count\n2 rolls,rolls,2\n")
    columns = {"input": ["text"], "output": ["product", "count"], "numbers": ["count"]}
    draft = settings.read(workspace)
    return edit(draft.text, {"data.file": "orders.csv", "data.columns": columns})


def test_answers_longer_than_the_model_reads_are_refused_unless_another_model_writes_them(
    workspace: Workspace,
) -> None:
    here = workspace.root / "model"
    here.mkdir()
    (here / "config.json").write_text('{"max_position_embeddings": 8192}')
    text = edit(settings.read(workspace).text, {"model": str(here)})
    (workspace.root / "assay.yaml").write_text(text)
    text = edit(text, {"generate.max_new_tokens": 20_000})
    [problem] = settings.validate(workspace, text, admin=True).problems
    assert problem.field == "generate.max_new_tokens"
    said = "20,000 is too much: this model reads and writes at most 8,192 tokens."
    assert problem.message == said
    with pytest.raises(ConfigError, match=said) as refused:
        Project(workspace.root, text)
    assert refused.value.where == "assay.yaml, generate, max_new_tokens"
    far = {"far": {"base_url": "https://far.example/v1"}}
    both = edit(text, {"providers": far, "remote": "remote:far/big"})
    assert settings.validate(workspace, both, admin=True).problems == ()
    [problem] = settings.validate(
        workspace, edit(both, {"generate.max_new_tokens": 1_000_001}), admin=True
    ).problems
    assert problem.message == "it should be at most 1000000."


def test_a_file_that_is_still_to_come_keeps_no_other_setting_from_being_saved(
    workspace: Workspace,
) -> None:
    (workspace.root / "tickets.csv").unlink()
    draft = settings.read(workspace)
    text = edit(draft.text, {"margin": 0.05})
    found = settings.validate(workspace, text, admin=True)
    assert found.problems == ()
    assert found.notes == ("The folder does not contain the file tickets.csv yet.",)
    settings.save(workspace, text, based_on=draft.hash)


def test_a_stale_edit_is_told_and_changes_nothing(workspace: Workspace) -> None:
    draft = settings.read(workspace)
    first = edit(draft.text, {"margin": 0.05})
    settings.save(workspace.act_as("user:ann"), first, based_on=draft.hash)
    with pytest.raises(StaleSettingsError, match="by user:ann"):
        settings.save(workspace, edit(draft.text, {"margin": 0.1}), based_on=draft.hash)
    assert settings.read(workspace).text == first
    (workspace.root / "assay.yaml").write_text(draft.text)  # by hand
    assert settings.read(workspace).change is None


@pytest.mark.parametrize(
    "given",
    [
        {"providers": {"far": {"base_url": "https://far.example/v1"}}},
        {"place": {"on": "ray", "consent": True}},
        {"place": {"ranks": 64}},
    ],
)
def test_an_editor_names_no_server_and_no_machine(
    workspace: Workspace, given: dict[str, Any]
) -> None:
    draft = settings.read(workspace)
    text = edit(draft.text, given)
    assert settings.validate(workspace, text, admin=True).problems == ()
    [problem] = settings.validate(workspace, text, admin=False).problems
    assert [problem.field] == [*given]
    with pytest.raises(InvalidSettingsError):
        settings.save(workspace, text, based_on=draft.hash, admin=False)
    kept = settings.save(workspace, text, based_on=draft.hash)
    # What an admin has set stays, and an editor changes the rest.
    text = edit(kept.text, {"margin": 0.05})
    settings.save(workspace, text, based_on=kept.hash, admin=False)


def test_what_follows_is_said_of_what_was_compared(workspace: Workspace) -> None:
    config = workspace.config
    assert config is not None
    split = config.model_copy(update={"task": "text"})
    assert any("split again" in line and "opened twice" not in line for line in
               follows(config, split, 0))  # fmt: skip
    assert any("opened 2 times" in line for line in follows(config, split, 2))
    metric = config.model_copy(update={"primary": "exact"})
    [said] = follows(config, metric, 2)
    assert "label-accuracy" in said
    assert "exact" in said
    assert "3rd time. Each" in said
    [said] = follows(config, metric, 2, comparing=True)
    assert "3rd time, or the 4th if the comparison that waits or is running opens it first." in said
    assert "nothing is lost" in " ".join(follows(config, split, 0))
    assert "nothing is lost" not in " ".join(follows(config, split, 0, comparing=True))
    minimum = config.model_copy(update={"good_enough": 0.7})
    assert follows(config, minimum, 0) == ["The next comparison's verdict goes by it."]
    [said] = follows(config, minimum, 0, comparing=True)
    assert "for the 1st time, or the 2nd if" in said
    assert follows(config, config, 2) == []
    server, other = (Vllm(base_url=f"http://127.0.0.1:{port}/v1") for port in (8001, 8002))
    served = config.model_copy(update={"vllm": server})
    [said] = follows(config, served, 2)
    assert "Another engine" in said
    assert "3rd time" in said
    assert follows(served, config.model_copy(update={"vllm": other}), 2) == [said]
    more = server.model_copy(update={"at_once": 3, "timeout_s": 9.0, "consent": True})
    assert follows(served, config.model_copy(update={"vllm": more}), 2) == []
    costs = {"costs": config.costs.model_copy(update={"machine_hour_usd": 7.0})}
    [said] = follows(config, config.model_copy(update=costs), 2)
    assert "the holdout is not opened again" in said
    priced = [
        config.model_copy(
            update={"providers": {"far": Provider(base_url="https://f.example", **p)}}
        )
        for p in ({}, {"prices": {"big": {"input": 1, "output": 2}}})
    ]
    [said] = follows(*priced, 2)
    assert "the holdout is not opened again" in said
    search = config.prompt_search.model_copy(update={"budget_usd": 1.0})
    budgeted = [one.model_copy(update={"prompt_search": search}) for one in priced]
    [said] = follows(*budgeted, 2)
    assert "are built again" in said, "prices decide when a search ends, and so what it finds"
    lenient = config.model_copy(update={"margin_for_cheaper": 0.05})
    [said] = follows(lenient, lenient.model_copy(update=costs), 2)
    assert "3rd time" in said, "costs say which margin is tested"


def test_a_change_that_an_opened_holdout_does_not_allow_is_told_before_it_is_saved(
    tmp_path: Path,
) -> None:
    workspace = project(tmp_path, 90)
    assert workspace.project is not None
    manifest = workspace.project.split()
    text = settings.read(workspace).text
    fewer = edit(text, {"labels": ["label 0", "label 1", "helpdesk"]})
    said = "The label 'label 2' is not among the labels, but 32 rows have it"
    unopened = settings.validate(workspace, fewer, admin=True)
    assert unopened.stops == ()
    assert unopened.follows[0] == f"{said}: they will be rejected."
    _log(workspace.store, manifest.holdout_sha256, "first", OpeningRequest(""), 0.05)
    held = manifest.classes["label 2"][2]
    stopped = settings.validate(workspace, fewer, admin=True)
    assert stopped.stops[0] == f"{said}, {held} of them in the holdout."
    assert stopped.follows[:2] == stopped.stops
    larger = settings.validate(workspace, edit(text, {"data.split.holdout": 0.3}), admin=True)
    assert larger.stops[0] == "`data.split.holdout` is 0.3 and was 0.2."
    kept = settings.validate(workspace, edit(text, {"data.split.validation": 0.2}), admin=True)
    assert kept.stops == ()


def test_a_broken_file_can_be_mended(workspace: Workspace) -> None:
    good = settings.read(workspace).text
    assert workspace.config is not None
    (workspace.root / "assay.yaml").write_text("name: [")
    draft = settings.read(workspace)
    assert settings.validate(workspace, draft.text, admin=False).problems
    settings.save(workspace, good, based_on=draft.hash, admin=False)
    (workspace.root / "assay.yaml").unlink()
    with pytest.raises(AssayError) as error:
        settings.read(workspace)
    assert str(workspace.root) not in str(error.value)


def test_completions_know_what_lies_within_what(workspace: Workspace) -> None:
    found = settings.completions()
    assert "label" in found["task"]["values"]
    assert "fine-tune" in found["candidates"]["values"]
    assert found["data"]["settings"]["split"]["settings"]["holdout"]["info"]
    assert "exact" in found["graders"]["settings"]["name"]["values"]
    assert "lora" in found["fine_tune"]["settings"]["adapter"]["values"]


def test_a_grader_that_needs_nothing_more_can_decide(workspace: Workspace) -> None:
    config = workspace.config
    assert config is not None
    found = settings.measures(config)
    assert next(iter(found)) == "label-accuracy"
    assert "python" not in found
    assert "regex" not in found
    text = edit(settings.read(workspace).text, settings.choose_measure(config, "exact"))
    seen = settings.validate(workspace, text, admin=False)
    assert not seen.problems
    assert seen.config is not None
    assert [grader.name for grader in seen.config.graders] == ["label-accuracy", "exact"]
