"""A project of a promptfoo configuration: tests become rows, prompts what is compared on them."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from assay.agent.agent import Agent
from assay.agent.texts import as_yaml
from assay.config import CONFIG_FILE, STARTER_MODEL, GraderSpec
from assay.config.names import check_project_name
from assay.config.yaml_text import edit
from assay.data.assertions import JUDGED, MOST, SET, STATEMENTS, flat, split_type
from assay.data.dataset import LEAST_ROWS
from assay.data.propose import Proposal
from assay.data.read import detect
from assay.errors import DataError, UsageError
from assay.evaluate.graders import GradingContext, grade
from assay.example import Example, canonical_json, json_sha256
from assay.progress import SILENT, Progress
from assay.project import agents
from assay.project.project import Project
from assay.project.promptfoo.files import Unsupported
from assay.project.promptfoo.prompts import SuitePrompt
from assay.project.promptfoo.providers import read_providers
from assay.project.promptfoo.suite import Suite, SuiteTest, read_suite
from assay.project.promptfoo.templates import fill, text_of
from assay.project.start.creation import create
from assay.project.start.init import Choices, Draft, draft
from assay.project.workspace import Workspace, project_of
from assay.quantities import say_count
from assay.rescue.recording import spell
from assay.store.files import new_folder, replacing, write_json

ROWS, INPUTS, REPORT = "tests.jsonl", "inputs.jsonl", "promptfoo.json"
_STATED = ("equals", *STATEMENTS, "levenshtein", "rouge-n", "bleu", "gleu", "similar")
"""Types whose value is a right answer as a whole, before those that ask for a part of one."""
_PARTS = ("starts-with", "contains", "icontains", "contains-any", "icontains-any", "contains-all")


@dataclass(slots=True)
class PromptfooImport:
    """What was made of a configuration.

    Attributes:
        project: folder of the project; None: there is none, and `reason` says why.
        tests: that the configuration has; `rows`: of them with a right answer, those with the same
            input as one.
        rows_file: these rows; `inputs_file`: tests whose right answer is not said, `inputs` of
            them. None where there are none, or where the project has them.
        assertions: how many of each type were translated.
        agents: other prompts, saved as NAME@VERSION.
        unsupported: everything that has no equal.
    """

    folder: str
    project: str | None = None
    reason: str | None = None
    tests: int = 0
    rows: int = 0
    inputs: int = 0
    rows_file: str | None = None
    inputs_file: str | None = None
    primary: str | None = None
    assertions: dict[str, int] = field(default_factory=dict)
    agents: list[str] = field(default_factory=list)
    remote: str | None = None
    unsupported: list[Unsupported] = field(default_factory=list)


def import_config(
    config: Path,
    to: Path,
    *,
    model: str = STARTER_MODEL,
    judge: str | None = None,
    progress: Progress = SILENT,
) -> PromptfooImport:
    """Write the project of a configuration, or without enough right answers what one is made of.

    Args:
        to: a folder that is not there yet; its name is the project's.
        model: the language model that is specialised.
        judge: a model that grades what assertions leave to a model; None: those are listed.

    Raises:
        DataError: the configuration cannot be read.
        UsageError: the folder is there, its name cannot be a project's, or the configuration names
            files outside of its folder.
    """
    name = to.absolute().name
    if to.exists():
        raise UsageError(f"{to} already exists.", fix="Choose another name.")
    check_project_name(name)
    suite = read_suite(config)
    prompts = _comparable(suite)
    rows, inputs, systems = _rows(suite, prompts)
    made = PromptfooImport(str(to), tests=len(suite.tests), rows=len(rows), inputs=len(inputs))
    made.assertions = _counted(rows + inputs)
    others = _with_one_system(suite, prompts, systems)
    if judge is None:
        _list_judged(suite)
    beside = to.absolute().parent
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", suffix=".part", dir=beside) as scratch:
        file = Path(scratch) / ROWS
        _write(file, rows)
        made.reason = _why_not(rows)
        if made.reason is None:
            try:
                # What a test asserts is said of its last turn.
                choices = Choices(data=file, model=model, format=detect(file).format)
                drafted = draft(name, choices, progress=progress)
                prompt = replace(drafted.proposal, system_prompt=systems[0] or "")
                drafted = replace(drafted, proposal=_graded(prompt, rows, judge))
                # There first: a project that cannot be used is none.
                made.remote = _create(drafted, Path(scratch) / name, suite, progress)
                os.replace(Path(scratch) / name, to)
                made.project, made.primary = str(to), drafted.proposal.primary
            except DataError as error:
                error.calling(str(file), str(to / ROWS))
                made.reason = str(error)
    if made.project is None:
        with new_folder(to.absolute()) as folder:
            made.rows_file = _beside(folder / ROWS, to / ROWS, rows)
            made.inputs_file = _beside(folder / INPUTS, to / INPUTS, inputs)
    else:
        made.agents = _save_agents(Workspace(to), others)
        inside = to / "data" / INPUTS
        made.inputs_file = _beside(inside, inside, inputs)
    made.unsupported = sorted(suite.unsupported, key=lambda one: (one.file, one.line or 0))
    write_json(to / REPORT, asdict(made))
    return made


def _comparable(suite: Suite) -> list[SuitePrompt]:
    """The prompts whose turns are those of the first, so that they can be compared on one row."""
    if not suite.prompts:
        raise DataError(
            "none of the prompts can be read.",
            where=str(suite.folder.config),
            fix="Write one as a text, as turns with texts, or in a .txt or .json file. Not read: "
            + "; ".join(f"{one.what} ({one.reason})" for one in suite.unsupported[:3]),
        )
    first, *others = suite.prompts
    same = [first]
    for one in others:
        if one.turns == first.turns:
            same.append(one)
        else:
            why = "its user's turn differs from that of the first prompt, and a row has one"
            suite.note(one.node.unsupported(one.label or one.turns[-1][1], why))
    return same


def _rows(
    suite: Suite, prompts: Sequence[SuitePrompt]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str | None]]:
    """Rows with a right answer, inputs without one, and the system prompt of each prompt.

    A system prompt that is another one in other tests is None; the first prompt's stands in the
    rows then.
    """
    systems: list[set[str]] = [set() for _ in prompts]
    found: dict[str, dict[str, Any]] = {}
    asserted: dict[str, set[str]] = {}
    for number, test in enumerate(suite.tests, 1):
        for said, prompt in zip(systems, prompts, strict=True):
            said.add(fill(prompt.system, test.variables))
        turns = _turns(prompts[0], test)
        system = fill(prompts[0].system, test.variables)
        key = json_sha256([system, turns])
        row: dict[str, Any] = {"id": f"test-{number}", "system": system, "messages": turns}
        known = found.setdefault(key, row | {"assertions": []})
        _add(known["assertions"], asserted.setdefault(key, set()), test, suite)
    fixed = [next(iter(said), "") if len(said) < 2 else None for said in systems]
    rows, inputs = [], []
    for row in found.values():
        system = row.pop("system")
        if fixed[0] is None and system:
            row["messages"] = [{"role": "system", "content": system}, *row["messages"]]
        answer = _right_answer(row["assertions"])
        if answer is None:
            inputs.append(row)
        else:
            target = {"role": "assistant", "content": answer}
            rows.append(row | {"messages": [*row["messages"], target]})
    return rows, inputs, fixed


def _add(assertions: list[dict[str, Any]], known: set[str], test: SuiteTest, suite: Suite) -> None:
    """Add those of a test to those of its row, as many as a row may have."""
    for one in test.assertions:
        spelled = canonical_json(one)
        if spelled in known:
            continue
        if sum(1 for _ in flat([*assertions, one])) > MOST:
            why = f"the tests of this input have more than {MOST} assertions"
            suite.note(test.node.unsupported(one["type"], why))
            return
        known.add(spelled)
        assertions.append(one)


def _with_one_system(
    suite: Suite, prompts: Sequence[SuitePrompt], systems: Sequence[str | None]
) -> list[tuple[SuitePrompt, str]]:
    """The further prompts that can be agents, with their system prompts; the others are listed."""
    found = []
    for prompt, system in zip(prompts[1:], systems[1:], strict=True):
        if system is not None and systems[0] is not None:
            found.append((prompt, system))
        else:
            whose = "its system prompt" if system is None else "the first prompt's system prompt"
            why = f"{whose} is another one in other tests, and an agent has one"
            suite.note(prompt.node.unsupported(prompt.label or prompt.system, why))
    return found


def _turns(prompt: SuitePrompt, test: SuiteTest) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    for role, template in prompt.turns:
        text = fill(template, test.variables)
        turn: dict[str, Any] = {"role": role, "content": text}
        turns.append(turn | ({"weight": 0} if role == "assistant" else {}))
    turns[-1]["content"] = f"{test.prefix}{turns[-1]['content']}{test.suffix}"
    return turns


def _right_answer(assertions: Sequence[dict[str, Any]]) -> str | None:
    """An answer that the assertions say themselves, and that passes them all; None: they do not."""
    every = list(flat(assertions))
    for kinds in (_STATED, _PARTS):
        for kind in kinds:
            for one in every:
                if one["type"] == kind and (text := _said(kind, one["value"])).strip():
                    row = Example.of("", text, assertions=tuple(assertions))
                    spec = GraderSpec(name="assertions")
                    if len(every) == 1 or grade(spec, [text], [row], GradingContext()).mean != 0:
                        return text
    return None


def _said(kind: str, value: Any) -> str:
    if isinstance(value, list) and kind != "equals":
        return " ".join(value) if kind == "contains-all" else text_of(value[0])
    return text_of(value)


def _counted(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts = Counter(one["type"] for row in rows for one in flat(row["assertions"]))
    return dict(counts.most_common())


def _list_judged(suite: Suite) -> None:
    for test in suite.tests:
        if kinds := set(_bare(test.assertions)) & JUDGED:
            why = "no judge is named: give --judge MODEL"
            suite.note(test.node.unsupported(", ".join(sorted(kinds)), why))


def _why_not(rows: Sequence[Mapping[str, Any]]) -> str | None:
    if len(rows) < LEAST_ROWS:
        return (
            f"{say_count(len(rows), 'test says', 'tests say')} a right answer; at least "
            f"{LEAST_ROWS} are needed, and some hundreds for a verdict."
        )
    return None


def _create(drafted: Draft, folder: Path, suite: Suite, progress: Progress) -> str | None:
    """Write the project, with the providers of the configuration; the model that takes part."""
    project = create(drafted, folder=folder, progress=progress)
    sections, remote = read_providers(suite)
    if sections:
        candidates = [*project.config.candidates, "remote"]
        text = edit(project.text, {**sections, "candidates": candidates})
        (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
        Project(folder)  # which checks it
    return remote


def _save_agents(workspace: Workspace, prompts: Sequence[tuple[SuitePrompt, str]]) -> list[str]:
    """The other prompts as agents on the project's model; their names with versions."""
    config, saved = project_of(workspace).config, dict[str, str]()
    for number, (prompt, system) in enumerate(prompts, 2):
        spelled = spell(prompt.label)[:60].strip("-") if prompt.label else f"prompt-{number}"
        name = f"{spelled}-{number}" if spelled in saved else spelled
        agent = Agent(
            model=config.model,
            system_prompt=system,
            max_new_tokens=config.generate.max_new_tokens,
        )
        text = as_yaml(agent)
        made = agents.save(workspace, name, text, based_on=None, message="from promptfoo")
        saved[name] = made.label
    return list(saved.values())


def _graded(proposal: Proposal, rows: Sequence[Mapping[str, Any]], judge: str | None) -> Proposal:
    """The proposal with the graders that the tests ask for, those that were proposed beside."""
    kinds = [[one["type"] for one in row["assertions"]] for row in rows]
    graders: list[GraderSpec] = []
    values = [row["assertions"][0].get("value") for row in rows]
    alone = all(found == ["equals"] for found in kinds) and all(
        row["assertions"][0].get("weight", 1) for row in rows
    )
    texts = [isinstance(value, str) for value in values]
    if alone and (all(texts) or not any(texts)):
        graders.append(GraderSpec(name="exact" if all(texts) else "record-exact"))
    elif any(not set(_bare(row["assertions"])) <= JUDGED for row in rows):
        graders.append(GraderSpec(name="assertions"))
    if judge is not None and any(set(_bare(row["assertions"])) & JUDGED for row in rows):
        graders.append(GraderSpec(name="judge", settings={"model": judge}))
    primary = graders[0].name if graders and graders[0].name != "judge" else proposal.primary
    known = {one.name for one in graders}
    return replace(
        proposal,
        graders=[*graders, *(one for one in proposal.graders if one.name not in known)],
        primary=primary,
    )


def _bare(assertions: Sequence[dict[str, Any]]) -> list[str]:
    return [split_type(one)[0] for one in flat(assertions) if one["type"] != SET]


def _beside(file: Path, shown: Path, rows: Sequence[dict[str, Any]]) -> str | None:
    if not rows:
        return None
    _write(file, rows)
    return str(shown)


def _write(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    with replacing(file) as out:
        for row in rows:
            kept = {name: value for name, value in row.items() if value != []}
            out.write(json.dumps(kept, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
