"""A folder as it looks after months of work, made in seconds: for the studio's benchmark,
screenshots and tests.

    python bench/studio_filled.py FOLDER --rows 100000 --runs 50

Texts and scores are drawn from a seed and no model is asked; verdicts are drawn by the real rules,
and releases pass their real evidence.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from sqlalchemy import update

from assay import project
from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.builtin import folder as builtin_folder
from assay.candidates.registry import need_of, plain_name, specs
from assay.compare import records
from assay.compare.curve_section import Curve, CurvePoint
from assay.compare.data_section import DataSection
from assay.compare.entries import Entry, Terms
from assay.compare.planning import planned_effect
from assay.compare.result import (
    AnswerRow,
    CandidateResult,
    Cost,
    Opening,
    OpeningRecord,
    Plan,
    Result,
)
from assay.compare.verdict import decide
from assay.config import STARTER_MODEL, Costs
from assay.evaluate.factorial import Factorial, factorial
from assay.evaluate.label_noise import Rater, SecondLook, doubtful_rows
from assay.evaluate.stats import wilson
from assay.models.versions import ADAPTER, ADAPTER_CONFIG, VersionRecord, save_version
from assay.project.releases.proposals import propose
from assay.project.start.init import Choices
from assay.project.workspace import Workspace
from assay.release import changes, policies, releases
from assay.store.store import Store
from assay.store.tables import ComparisonRow, JobEventRow, JobRow, TraceRow, now

WAYS = {
    # name: (right in 100, set-up USD, seconds an answer)
    "prompt": (31, 120.0, 0.42),
    "few-shot": (58, 120.0, 0.61),
    "few-shot-nearest": (66, 600.0, 0.66),
    "fine-tune": (91, 601.0, 0.35),
}
MACHINE_USD = 0.2 * 730 * 12
"""A year of a machine that is kept on, as assay.yaml has it."""
ANSWERED = 240
RELEASE = "tickets"


def fill(folder: Path, *, rows: int = 600, runs: int = 4, traces: int = 240) -> Workspace:
    """Make a project in `folder` (which must not exist) with everything that pages show."""
    data = folder.parent / f"{folder.name}.jsonl"
    with data.open("w", encoding="utf-8") as file:
        for ticket in tickets(rows):
            file.write(json.dumps(ticket, ensure_ascii=False) + "\n")
    choices = Choices(data=data, input=["message"], output=["record"], id="id")
    drafted = project.draft("tickets", choices)
    proposal = replace(drafted.proposal, candidates=list(WAYS))
    project.create(replace(drafted, proposal=proposal), folder=folder)
    data.unlink()
    workspace = Workspace(folder)
    store = workspace.store
    labels = [_compared(workspace, run, runs) for run in range(runs)]
    changes.promote(
        store, workspace.name, RELEASE, labels[0]["few-shot-nearest"], who="cli:ann",
        force="for a first look by the desk",
    )  # fmt: skip
    changes.promote(store, workspace.name, RELEASE, labels[-1]["fine-tune"], who="user:ben")
    changes.canary(
        store, workspace.name, RELEASE, 0.1, labels[-1]["few-shot"], who="user:ben",
        force="to see what it costs",
    )  # fmt: skip
    program = workspace.act_as("mcp: key coder (key_1f2e3d4c)")
    propose(program, RELEASE, labels[-1]["few-shot"], "as good as the other, at half the cost")
    policies.switch_on(store, workspace.name, RELEASE, who="user:ben")
    _traces(workspace, traces)
    for run in range(runs):
        _trained(store, workspace.name, run)
    _versions(workspace)
    return workspace


def tickets(count: int) -> Iterator[dict[str, Any]]:
    """The built-in messages, again and again with another booking number."""
    path = builtin_folder() / "tickets.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, line in zip(range(count), itertools.cycle(lines), strict=False):
        again = number // len(lines)
        text = line["message"] if not again else f"{line['message']} (our note {again:04d})"
        yield {**line, "id": f"{number:06d}", "message": text}


def _compared(workspace: Workspace, run: int, runs: int) -> dict[str, str]:
    """One finished comparison; returns the labels of its agents by candidate."""
    rng, store = random.Random(run), workspace.store
    labels, agents = {}, {}
    for name in WAYS:
        agent = Agent(
            model=STARTER_MODEL,
            system_prompt=f"Write the record of the message. ({name}, "
            f"draft {run if name == 'prompt' else 0})",
        )
        agents[name] = agent.id
        labels[name] = save_agent(store, name, agent, message="built for a comparison").label
    shown = list(tickets(ANSWERED))
    better = run / max(1, runs - 1)
    answers = [_answer(rng, ticket, better) for ticket in shown]
    id = hashlib.sha256(f"filled {run}".encode()).hexdigest()
    result = _result(id, run, answers, agents)
    folder = store.folder / "comparisons" / id[:16]
    records.save_plan(store, id, "d" * 64, result.plan, folder)
    records.save_result(store, result, answers, folder)
    with store.session() as session:
        at = now() - timedelta(days=2 * (runs - run))
        session.execute(update(ComparisonRow).where(ComparisonRow.id == id).values(at=at))
    return labels


def _answer(rng: random.Random, ticket: dict[str, Any], better: float) -> AnswerRow:
    right = json.dumps(ticket["record"], ensure_ascii=False)
    answers, scores = {}, {}
    for name, (share, _, _) in WAYS.items():
        good = 100 * rng.random() < share - 8 * (1 - better)
        answers[name] = right if good else _wrong(rng, ticket["record"])
        scores[name] = float(good)
    return AnswerRow(
        id=ticket["id"], input=ticket["message"], reference=right, answers=answers, scores=scores
    )


def _wrong(rng: random.Random, record: dict[str, Any]) -> str:
    """One field is not as it should be, or the record is no JSON."""
    if rng.random() < 0.15:
        return "I am sorry to hear that. Here is the record: " + ", ".join(map(str, record))
    field = rng.choice(list(record))
    other = {"kind": "other", "priority": "low"}.get(field)
    return json.dumps({**record, field: other}, ensure_ascii=False)


def _result(id: str, run: int, answers: list[AnswerRow], agents: dict[str, str]) -> Result:
    settings = Terms(good_enough=0.6, opening=run + 1)
    entries = [
        Entry(
            name=name,
            scores=[row.scores[name] for row in answers],
            fine_tuned=name == "fine-tune",
            setup_cost=setup,
            running_cost=MACHINE_USD + (240.0 if name == "fine-tune" else 0.0),
            title=plain_name(name) or "",
        )
        for name, (_, setup, seconds) in WAYS.items()
    ]
    decision = decide(entries, None, settings)
    effect = planned_effect(len(answers), None, settings)
    at = now().isoformat()
    plan = Plan(
        candidates=list(WAYS), primary="record-exact", margin=settings.margin, alpha=0.05,
        level=decision.level, opening=run + 1, good_enough=0.6, monthly_requests=10_000,
        holdout=len(answers), groups=None, discordance=0.3, written_at=at, sha256="b" * 64,
        minimum_detectable_effect=effect,
    )  # fmt: skip
    candidates = [
        CandidateResult(
            name=figures.name, kind=figures.name, agent=agents[figures.name],
            needs=need_of(figures.name),
            fine_tuned=figures.name == "fine-tune", score=figures.score, low=figures.low,
            high=figures.high, latency_p50_s=WAYS[figures.name][2],
            latency_p95_s=2 * WAYS[figures.name][2], latency_requests=6,
            yearly_cost=figures.cost_to_own,
            failed=sum(row.answers[figures.name][0] != "{" for row in answers),
            cost=Cost(curation_usd=WAYS[figures.name][1], training_usd=0.0, requests_usd=1.2,
                      idle_usd=MACHINE_USD - 1.2,
                      upkeep_usd=240.0 if figures.name == "fine-tune" else 0.0),
        )
        for figures in decision.candidates
    ]  # fmt: skip
    openings = [
        OpeningRecord(number=i + 1, at=at, reason="the studio", comparison=id, alpha=0.05)
        for i in range(run + 1)
    ]
    return Result(
        comparison=id, project="tickets", created_at=at, assay_version=project.__name__,
        task="json", primary="record-exact", margin=settings.margin, good_enough=0.6,
        monthly_requests=10_000, candidates=candidates,
        names={name: plain_name(name) or name for name in specs()},
        pairs=list(decision.pairs),
        minimum_detectable_effect=effect,
        opening=Opening(number=run + 1, alpha=decision.level), openings=openings, plan=plan,
        verdict=decision.verdict, environment={}, config={"costs": Costs().model_dump()},
        curves=[Curve(candidate="fine-tune", points=_points(run), best_step=60)],
        additions=[_square(answers)], second_look=_second_look(answers),
        data=DataSection(
            file="tickets.jsonl", format="jsonl-objects", task="json", rows=600, rejected=0,
            train=300, validation=60, holdout=len(answers), official_split=False,
            holdout_sha256="d" * 64, train_sha256="e" * 64,
        ),
    )  # fmt: skip


def _second_look(answers: list[AnswerRow]) -> SecondLook:
    """What the two best say against the labels."""
    raters = [
        Rater(name, [row.answers[name] for row in answers], [row.scores[name] for row in answers])
        for name in ("few-shot-nearest", "fine-tune")
    ]
    ids = [row.id for row, doubted in zip(answers, doubtful_rows(raters), strict=True) if doubted]
    kept = len(answers) - len(ids)
    low, high = wilson(kept, len(answers))
    return SecondLook(
        raters=[rater.name for rater in raters], agreeing=len(raters), rows=len(answers), ids=ids,
        ceiling=kept / len(answers), low=low, high=high,
    )  # fmt: skip


def _square(answers: list[AnswerRow]) -> Factorial:
    """Four ways as if they were two, alone and together: no documents are here."""
    ways = ("prompt", "few-shot", "few-shot-nearest", "fine-tune")
    neither, a, b, both = ([row.scores[name] for row in answers] for name in ways)
    names = ("prompt", "fine-tune", "rag", "fine-tune-rag")
    return factorial(names, (neither, a, b, both), None)


def _points(seed: int) -> list[CurvePoint]:
    rng = random.Random(seed)
    points = []
    for step in range(1, 81):
        loss = 0.18 + 1.9 / (1 + step / 7) + 0.05 * rng.random()
        checked = 0.27 + 1.8 / (1 + step / 7) + max(0, step - 60) / 300
        points.append(
            CurvePoint(
                step=step,
                epoch=step / 20,
                train_loss=loss,
                validation_loss=checked if step % 20 == 0 else None,
            )
        )
    return points


def _trained(store: Store, owner: str, run: int) -> None:
    """A job of a comparison that is over, with the figures of its training."""
    began = now() - timedelta(days=run, hours=2)
    id = f"cmp-{run:024x}"
    with store.session() as session:
        session.add(
            JobRow(
                id=id, project=owner, kind="compare", payload={}, status="succeeded", attempts=1,
                created=began, started=began, ended=began + timedelta(minutes=7),
                result={"comparison": hashlib.sha256(f"filled {run}".encode()).hexdigest()},
            )
        )  # fmt: skip
        session.flush()
        session.add(JobEventRow(job=id, kind="message", message="Queued.", at=began))
        for point in _points(run):
            data: dict[str, Any] = {"step": point.step, "total_steps": 80}
            data["train_loss"] = point.train_loss
            if point.validation_loss is not None:
                data["full_valid_loss"] = point.validation_loss
            session.add(
                JobEventRow(job=id, kind="metrics", message=f"Step {point.step}/80", data=data)
            )


def _versions(workspace: Workspace) -> None:
    """Two fine-tuned versions, the second of which goes on from the first."""
    parent = None
    for rank, loss in ((8, 0.412), (16, 0.274)):
        with tempfile.TemporaryDirectory() as name:
            made = Path(name)
            config = {"peft_type": "LORA", "r": rank, "base_model_name_or_path": STARTER_MODEL}
            (made / ADAPTER_CONFIG).write_text(json.dumps(config), encoding="utf-8")
            save_file({"lora_A": np.full((rank, 64), loss, dtype=np.float32)}, made / ADAPTER)
            record = VersionRecord(
                base=STARTER_MODEL, base_sha256="c" * 64,
                data={"train": "1" * 64, "validation": "2" * 64},
                settings={"method": "sft", "adapter": "lora", "rank": rank, "epochs": 3},
                seed=0, code="0.1.0", template={}, template_sha256="3" * 64,
                metrics={"validation_loss": loss, "seconds": 412.0}, parent=parent,
            )  # fmt: skip
            parent = save_version(workspace.store, made, record)


def _traces(workspace: Workspace, count: int) -> None:
    rng = random.Random(7)
    agent = releases.current(workspace.store, workspace.name, RELEASE).agent
    with workspace.store.session() as session:
        for number, ticket in enumerate(tickets(count)):
            day = 29 * (1 - (number + rng.random()) / count) ** 1.4
            thumb = rng.choice(["up", "up", "down", None, None, None])
            record = json.dumps(ticket["record"], ensure_ascii=False)
            session.add(
                TraceRow(
                    id=f"trace-{number:024x}", project=workspace.name, release=RELEASE,
                    agent=agent, messages=[{"role": "user", "content": ticket["message"]}],
                    tools=[], answer={"role": "assistant", "content": record},
                    usage={"prompt_tokens": 180 + rng.randrange(60), "completion_tokens": 48,
                           "seconds": (took := 0.3 + 0.4 * rng.random()),
                           "usd": 0.2 * took / 3600},
                    masked=0, sampled=number % 10 == 0, thumb=thumb,
                    corrected=record if thumb == "down" else None,
                    at=now() - timedelta(days=day),
                )
            )  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--runs", type=int, default=4)
    given = parser.parse_args()
    fill(given.folder, rows=given.rows, runs=given.runs)


if __name__ == "__main__":
    main()
