"""What reinforcement adds to a supervised version in the processor time that that one has taken.

    PYTHONPATH=. python bench/reinforcement_jobs.py [snips sgd-restaurants ferry] [--quick]

Of each job a version is trained as `fine-tune` does, with one seed. From there three ways go on for
as long as that has taken: reinforcement whose reward is the job's primary grader; supervised
training with twice the epochs, from the base; none. All take part in one comparison, free or
constrained as validation chooses. Time is that of the processors, which other work slows down
little; a run that was stopped goes on, and so does its time. What came out is kept in FOLDER and
written into `docs/reinforcement.md`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.figures import write_block

from assay.agent import texts
from assay.cli.progress import Terminal
from assay.compare.result import Result
from assay.config import CONFIG_FILE
from assay.config.yaml_text import edit
from assay.project import Project, Workspace, agents
from assay.project import open as open_project
from assay.store.files import write_atomic, write_json
from assay.train.job import StepReport
from verdicts import make

PAGE = Path(__file__).parent.parent / "docs" / "reinforcement.md"
BLOCK = "equal time"
JOBS = ("snips", "sgd-restaurants", "ferry")
SUPERVISED, LONGER, REINFORCED = "supervised", "supervised-longer", "reinforced"
SETTINGS = {
    "candidates": ["nearest-answer"],
    "baselines": False,
    "data.holdout_rows": 200,
    "fine_tune.seeds": 1,
    "fine_tune.reinforcement.validation_rows": 48,
    "fine_tune.reinforcement.evaluate_every": 5,
    "fine_tune.reinforcement.steps": 200,
    "fine_tune.patience": 100,  # nothing ends before its epochs, or the clock
}
QUICK = {
    "data.holdout_rows": 20,
    "data.train_rows": 40,
    "fine_tune.epochs": 1,
    "fine_tune.reinforcement.validation_rows": 8,
    "fine_tune.reinforcement.evaluate_every": 1,  # it ends at a measurement
}


@dataclass
class Way:
    """One way to spend the time: its version, what that took, and what it did.

    Attributes:
        seconds: of processors, what it starts from and validation on the way included.
        epochs: that were asked for.
        steps: done; `best` is the one that was kept.
    """

    name: str
    version: str
    seconds: float
    epochs: int
    steps: int
    best: int


class ProcessorClock:
    """Counts the processor seconds of a training over all its runs, and ends it after so many.

    Args:
        file: that keeps the count.
        limit: None: it goes on.
    """

    def __init__(self, file: Path, limit: float | None = None) -> None:
        self._file, self._limit = file, limit
        self._before = json.loads(file.read_text("utf-8")) if file.exists() else 0.0
        self._began = time.process_time()

    @property
    def seconds(self) -> float:
        """Until now."""
        return self._before + time.process_time() - self._began

    def __call__(self, _report: StepReport) -> str | None:
        """After each step."""
        write_json(self._file, self.seconds)
        is_over = self._limit is not None and self.seconds >= self._limit
        return "the time is over" if is_over else None


def measure(name: str, folder: Path, terminal: Terminal, *, quick: bool) -> dict[str, Any]:
    """Train all ways of a job, then compare them on its holdout."""
    root = make(name, folder, terminal).root
    path = root / CONFIG_FILE
    kept = folder / f"{name}.yaml"  # as it was before a run that was stopped had changed it
    if not kept.exists():
        write_atomic(kept, edit(path.read_text("utf-8"), SETTINGS | (QUICK if quick else {})))
    text = kept.read_text("utf-8")

    def train(way: str, settings: Mapping[str, object], limit: float | None = None) -> Way:
        write_atomic(path, edit(text, settings))
        done = folder / f"{name}.{way}.json"
        if not done.exists():
            clock = ProcessorClock(folder / f"{name}.{way}.seconds", limit)
            made = open_project(root).train(terminal, stop_when=clock)
            epochs, result = int(made.settings["epochs"]), made.result
            found = Way(way, made.version, clock.seconds, epochs, result.steps, result.best_step)
            write_json(done, asdict(found))
        return Way(**json.loads(done.read_text("utf-8")))

    first = train(SUPERVISED, {})
    ways = [first, train(LONGER, {"fine_tune.epochs": 2 * first.epochs})]
    then = train(REINFORCED, {"fine_tune.method": "reinforcement"}, first.seconds)
    ways.append(replace(then, seconds=first.seconds + then.seconds))
    write_atomic(path, text)
    result = compare(open_project(root), ways, terminal)
    return {"job": name, "ways": [asdict(way) for way in ways], "result": result}


def compare(project: Project, ways: list[Way], terminal: Terminal) -> dict[str, Any]:
    """Save an agent with each version, and let all take part in one opening of the holdout."""
    context, workspace = project.context(terminal), Workspace(project.root)
    there = {one.name for one in agents.list_agents(workspace)}
    for way in ways:
        if way.name in there:
            continue
        prompt, model = context.training_prompt, f"version:{way.version}"
        agent = context.chat_agent(model=model, system_prompt=prompt)
        chosen = context.choose_constraint(agent, context.measure(agent)).agent
        agents.save(workspace, way.name, texts.as_yaml(chosen), based_on=None, message="")
    saved = [f"{way.name}@1" for way in ways]
    done = project.compare(agents=saved, reason="bench/reinforcement_jobs.py", progress=terminal)
    return done.result.model_dump(mode="json")


def rows_of(found: dict[str, Any]) -> list[str]:
    """A line of the table for each way of a job."""
    result = Result.model_validate(found["result"])
    base = f"{SUPERVISED}-1"
    lines = []
    for way in (Way(**one) for one in found["ways"]):
        name = f"{way.name}-1"
        (own,) = (one for one in result.candidates if one.name == name)
        ahead = "–"
        for pair in result.pairs:
            if {pair.a, pair.b} == {name, base}:
                seen = pair if pair.a == name else pair.turned()
                low, high = 100 * seen.low, 100 * seen.high
                ahead = f"{100 * seen.difference:+.1f} ({low:+.1f} to {high:+.1f})"
        score = " to ".join(f"{100 * (one or 0):.1f}" for one in (own.low, own.high))
        score = f"{100 * (own.score or 0):.1f} ({score})"
        lines.append(
            f"| {found['job']}, {result.primary}, {result.data.holdout} rows | {way.name} | "
            f"{way.seconds / 60:.1f} | {way.steps}, {way.best} | {score} | {ahead} |"
        )
    return lines


def write_page(folder: Path) -> None:
    """Put the tables of all jobs that were measured into the page."""
    files = [folder / f"{name}.json" for name in JOBS]
    found = [json.loads(file.read_text("utf-8")) for file in files if file.exists()]
    head = (
        f"From the `{SUPERVISED}` version, `{REINFORCED}` learned from the job's primary grader "
        f"in as much processor time as that had taken; `{LONGER}` was trained with twice the "
        "epochs instead:",
        "",
        "| job | version | processor minutes | steps, best | score | ahead of the supervised one |",
        "|---|---|---|---|---|---|",
    )
    table = [*head, *(line for one in found for line in rows_of(one))]
    environment = found[0]["result"]["environment"]
    libraries = ", ".join(f"{n} {environment['packages'][n]}" for n in ("torch", "transformers"))
    note = (
        "Scores on the holdout and differences in points of 100, with their intervals; minutes "
        "of one core, with those of the version that a training starts from; the best step is the "
        f"one that was kept. {environment['processor']}, {environment['cores']} cores; "
        f"Python {environment['python']}, {libraries}"
    )
    write_block(BLOCK, "\n".join(table), note, PAGE)


def main() -> None:
    """Measure the named jobs, then write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of: {', '.join(JOBS)}")
    parser.add_argument("--folder", type=Path, default=Path("reinforcement-jobs"))
    parser.add_argument("--quick", action="store_true", help="few rows, and no page")
    given = parser.parse_args()
    if unknown := set(given.jobs) - set(JOBS):
        parser.error(f"unknown job: {', '.join(sorted(unknown))}")
    folder = given.folder / "quick" if given.quick else given.folder  # neither takes up the other
    for name in given.jobs or JOBS:
        file = folder / f"{name}.json"
        if not file.exists():
            found = measure(name, folder, Terminal(), quick=given.quick)
            write_json(file, found)
        print("\n".join(rows_of(json.loads(file.read_text("utf-8")))), flush=True)
    if not given.quick:
        write_page(folder)


if __name__ == "__main__":
    main()
