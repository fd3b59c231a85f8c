"""The rule for `auto` settings beside a small sweep around it, on three kinds of job.

    python bench/auto.py [banking77 snips e2e-style] [--rows 160] [--out auto.jsonl]

For each set: what `assay.train.auto` picks, then one setting after the other changed (learning rate
a third, half, twice and three times, rank half and double, rows per step half and double, epochs
half). Every training keeps its best epoch, as a project's does; what is compared is that epoch's
validation loss, in nats per trained token, on rows that none of them trained on. A result in
`--out` is not measured again, so the script goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

from assay.chat.template import Template
from assay.config import FineTune, FineTuneSection
from assay.example import Example
from assay.models.load import load
from assay.train import auto
from assay.train.job import TrainingJob
from assay.train.session import train_by_method
from assay.train.units import units_of
from public_data import Rows
from public_jobs import banking77, e2e_style, snips

MODEL = "smollm2-135m-instruct"
VALIDATION = 120
JOBS = {
    "banking77": (banking77, "Name the intent of the customer's message."),
    "snips": (snips, "Write the intent and the slots of the sentence as JSON."),
    "e2e-style": (e2e_style, "Describe the restaurant in one sentence."),
}


def examples(rows: Rows) -> list[Example]:
    """Rows as one turn of the user and one of the model."""
    return [
        Example.of(
            row["input"],
            row["output"] if isinstance(row["output"], str) else json.dumps(row["output"]),
            id=str(row["id"]),
        )
        for row in rows
    ]


def changed(rule: FineTune) -> dict[str, FineTune]:
    """The rule, and what differs from it by one setting."""

    def but(**one: Any) -> FineTune:
        return rule.model_copy(update=one)

    rate = rule.learning_rate
    return {
        "auto": rule,
        "learning rate / 3": but(learning_rate=float(f"{rate / 3:.1e}")),
        "learning rate / 2": but(learning_rate=float(f"{rate / 2:.1e}")),
        "learning rate x 2": but(learning_rate=float(f"{rate * 2:.1e}")),
        "learning rate x 3": but(learning_rate=float(f"{rate * 3:.1e}")),
        "half the rows a step": but(rows_per_step=rule.rows_per_step // 2),
        "twice the rows a step": but(rows_per_step=rule.rows_per_step * 2),
        "half the rank": but(rank=rule.rank // 2),
        "twice the rank": but(rank=rule.rank * 2),
        "half the epochs": but(epochs=max(1, rule.epochs // 2)),
    }


def measure(job: str, rows: int, out: Path) -> None:
    """Every setting of one set, appended to `out` as it is known."""
    read, prompt = JOBS[job]
    found = examples(read("train"))
    random.Random(0).shuffle(found)  # some files are sorted by label
    training, validation = found[:rows], found[rows : rows + VALIDATION]
    loaded = load(MODEL, dtype="float32")
    template = Template.of(loaded.tokenizer)
    units = units_of("answers", training, template, prompt)
    checks = units_of("answers", validation, template, prompt)
    rule = auto.choose(
        FineTuneSection(), parameters=loaded.model.num_parameters(), rows=len(training)
    )
    known = {(line["job"], line["setting"], line["rows"]) for line in read_lines(out)}
    for name, settings in changed(rule).items():
        if (job, name, rows) in known:
            continue
        folder = Path(tempfile.mkdtemp())
        result = train_by_method(TrainingJob(loaded, units, checks, settings, folder / "run"))
        shutil.rmtree(folder)
        line = {
            "job": job,
            "rows": rows,
            "setting": name,
            "learning_rate": settings.learning_rate,
            "rank": settings.rank,
            "epochs": settings.epochs,
            "rows_per_step": settings.rows_per_step,
            "validation_loss": result.best_validation_loss,
            "seconds": round(result.seconds),
        }
        with out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def read_lines(out: Path) -> list[dict[str, Any]]:
    """What was measured before."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def main() -> None:
    """Measure, then say what the rule costs beside the best that was tried."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", nargs="*", metavar="SET", help=f"of: {', '.join(JOBS)}")
    parser.add_argument("--rows", type=int, default=160)
    parser.add_argument("--out", type=Path, default=Path("auto.jsonl"))
    given = parser.parse_args()
    if unknown := set(given.jobs) - set(JOBS):
        parser.error(f"unknown set: {', '.join(sorted(unknown))}")
    for job in given.jobs or JOBS:
        measure(job, given.rows, given.out)
    for job in given.jobs or JOBS:
        lines = [line for line in read_lines(given.out) if line["job"] == job]
        lines.sort(key=lambda line: float(line["validation_loss"]))
        for line in lines:
            print(f"{job}: {line['validation_loss']:.4f}  {line['setting']}")


if __name__ == "__main__":
    main()
