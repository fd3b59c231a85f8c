"""How results look on a terminal: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from assay.cli.table import render
from assay.data.problems import describe_repeated
from assay.log_lines import printable
from assay.progress import format_duration
from assay.quantities import say_count, say_number, say_time
from assay.release.forms import ONNX

console = Console(highlight=False)


def as_json(value: Any) -> None:
    """One document on stdout: of values that say what they are (`to_dict`), dataclasses, paths and
    times, too."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_as_plain))


def _as_plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    numbers: Sequence[str] = (),
    none: str = "",
) -> None:
    """Print a table; a value that is None is left empty, of a time the minute is said.

    What would break a line, or move or colour a terminal, is spelled as an escape: values that
    others wrote stay in their cells.

    Args:
        numbers: the columns that are set flush right.
        none: printed instead where there are no rows.
    """
    if none and not rows:
        console.print(none)
        return
    cells = [[printable(say_value(value)) for value in row] for row in rows]
    for part in render(columns, cells, numbers, console.width):
        console.print(part)


def say_value(value: object) -> str:
    """A value in a table or behind its name; nothing of None."""
    if isinstance(value, datetime):
        return say_time(value)
    if isinstance(value, float):
        return say_number(value)
    return "" if value is None else str(value)


def shorten(text: object, most: int) -> str:
    """A text on one line, of so many characters at most."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def describe_columns(columns: Any) -> str:
    """Which columns are input and output, those that name rows, groups and documents, and which are
    read as numbers."""
    from assay.config import join_names

    named = {"id": columns.id, "group": columns.group, "document": columns.document}
    parts = [f"input {join_names(columns.input)}", f"output {join_names(columns.output)}"]
    parts += [f"{part} {name}" for part, name in named.items() if name]
    numbers = f"; read as numbers: {join_names(columns.numbers)}" if columns.numbers else ""
    return ", ".join(parts) + numbers


def print_estimate(estimate: Any, earlier: float = 0.0) -> None:
    """The time budget, before anything is spent.

    Args:
        earlier: share of the whole that was done before, and is not in the estimate.
    """
    from assay.compare.report.detectable import ASSUMPTION, smallest_lead
    from assay.project.provider_costs import describe_costs

    if round(100 * earlier):
        console.print(
            f"About {earlier:.0%} of this comparison was done by an earlier run and is kept. What "
            "is left:",
            soft_wrap=True,
        )
    rows = [(name, format_duration(seconds)) for name, seconds in estimate.parts]
    print_table(("candidate", "about"), rows, numbers=["about"])
    money = "" if estimate.usd is None else f", {estimate.usd:.2f} USD of machine time"
    console.print(
        f"Total: about {format_duration(estimate.seconds)}, "
        f"{estimate.memory_bytes / 2**30:.1f} GB of memory{money}."
    )
    for line in describe_costs(estimate.provider_costs):
        console.print(escape(line), soft_wrap=True)
    if estimate.kept_on_usd:
        console.print(
            f"Serving from a machine of your own costs another {estimate.kept_on_usd:,.2f} USD "
            "a month to keep it on (costs.machine_hours_per_month)."
        )
    console.print(
        f"With {say_count(estimate.holdout, 'holdout example')}, "
        f"{smallest_lead(estimate.minimum_detectable_effect, 0)}, {ASSUMPTION}."
    )


def print_next_steps(reports: Sequence[Path]) -> None:
    """What to do once the demo is over: read, look around the first job, bring a file."""
    # `make demo` installs it into a folder that no shell looks into.
    assay = "assay" if shutil.which("assay") else shlex.quote(sys.argv[0])
    steps = {
        "Read the reports, which open in a browser:": [str(report) for report in reports],
        "Look around in the studio; it prints a link to open:": [
            f"{assay} serve --folder {shlex.quote(str(reports[0].parent))}"
        ],
        "Now with your own file of inputs and right answers:": [
            f"{assay} init my-job --data FILE",
            f"{assay} compare --project my-job",
        ],
    }
    for what, lines in steps.items():
        console.print(what)
        for line in lines:
            console.print(f"  {escape(line)}", soft_wrap=True)


def print_check(report: Any) -> None:
    """Counts, and the first problems."""
    body = report.to_dict()
    of = "" if body["records"] == body["rows"] else f" of {say_count(body['records'], 'record')}"
    console.print(
        f"{body['format']}: {say_count(body['rows'], 'row')}{of}, {body['valid']} valid, "
        f"{body['rejected']} rejected. {describe_repeated(report.counts, report.near)}"
    )
    if report.columns is not None:
        console.print(f"Columns: {escape(describe_columns(report.columns))}.", soft_wrap=True)
    if report.task is None:
        console.print("Checked for no task: `--task label`, `json`, `tools` or `text` checks more.")
    else:
        console.print(f"Checked as a {report.task} task.")
    if body["tokens"]:
        tokens = body["tokens"]
        console.print("Tokens: " + ", ".join(f"{value} {key}" for key, value in tokens.items()))
    if body["counts"]:
        print_table(("problem", "count"), sorted(body["counts"].items()), numbers=["count"])
    for problem in body["problems"][:20]:
        place = f"{problem['file']}:{problem['line']}"
        field = f" {problem['field']}" if problem["field"] else ""
        console.print(
            f"{escape(place)}{escape(field)}: {problem['severity']}: "
            f"{escape(problem['message'])} {escape(problem['fix'])}",
            soft_wrap=True,
        )
    more = len(body["problems"]) - 20
    if more > 0:
        console.print(f"... and {more} more; --json shows 1000, --out writes all of them.")


def print_overlap(report: Any) -> None:
    """Twins, and the first of them."""
    body = report.to_dict()
    console.print(
        f"{say_count(body['exact'], 'holdout row is', 'holdout rows are')} also in the training "
        f"file, {body['near']} nearly."
    )
    if body["answers"] is not None:
        console.print(
            f"Holdout answers that are answers of training rows, word for word: {body['answers']}."
        )
    if body["documents"] is not None:
        console.print(
            "Holdout questions that stand word for word in a document that holds their answer: "
            f"{body['documents']}."
        )
    if body["rows"]:
        rows = [
            (row["holdout_row"], row["train_row"], row["kind"], f"{row['similarity']:.3f}")
            for row in body["rows"][:20]
        ]
        print_table(("holdout row", "training row", "kind", "similarity"), rows)


def print_models(rows: Sequence[dict[str, Any]]) -> None:
    """The catalogue, a paragraph each: a line of all that does not fit on a terminal."""
    for row in rows:
        facts = (
            row["kind"],
            _size(row["disk_bytes"]),
            row["licence"] or "licence unknown",
            "on this machine" if row["ready"] else "not pulled",
        )
        console.print(
            f"[bold]{escape(row['ref'])}[/]: {escape(printable(', '.join(facts)))}", soft_wrap=True
        )
        if row["summary"]:
            console.print(f"  {escape(row['summary'])}", soft_wrap=True)
        if row["tuning_bytes"] is not None:
            console.print(f"  Fine-tuning takes at least {_size(row['tuning_bytes'])} of memory.")
        if row["ready"]:
            console.print(f"  {escape(str(row['folder']))}", soft_wrap=True)


def _size(count: int) -> str:
    return decimal(count, precision=0 if count < 10**9 else 1)


def print_split(manifest: Any) -> None:
    """What was divided how; nothing of the holdout but its size and its lock."""
    parts = ("train", "validation", "holdout")
    print_table(("part", "rows"), [(p, getattr(manifest, p)) for p in parts], numbers=["rows"])
    kept_out = manifest.quarantine
    console.print(kept_out.sentence)
    for warning in [*manifest.warnings, *kept_out.warnings]:
        console.print(f"[yellow]![/] {escape(warning)}")
    console.print(f"The holdout is locked (sha256 {manifest.holdout_sha256}).")


def print_curve(curve: Any) -> None:
    """Scores by size, and what twice the data would bring."""
    from assay.compare.report.learning_curve import doubled, foreseen

    rows = []
    for size, scores in zip(curve.sizes, curve.scores, strict=True):
        mean = sum(scores) / len(scores)
        bar = "█" * round(30 * mean)
        each = ", ".join(f"{100 * score:.1f}" for score in scores)
        rows.append((size, f"{100 * mean:.1f}", f"{bar} {each}"))
    columns = ("training rows", "score", "repeats")
    print_table(columns, rows, numbers=columns[:2])
    body = curve.to_dict()
    console.print(doubled(body))
    console.print(foreseen(body))


def print_swept(swept: Any) -> None:
    """Every trial, and what the best changes in assay.yaml."""
    names = list(swept.trials[0].settings)
    columns = ["trial", *(name.replace("_", " ") for name in names), "epochs run", "loss", ""]
    rows = [
        (
            tried.number + 1,
            *(say_number(tried.settings[name]) for name in names),
            tried.epochs_done,
            None if tried.loss is None else f"{tried.loss:.4f}",
            "best" if tried.number == swept.best.number else tried.state,
        )
        for tried in swept.trials
    ]
    print_table(columns, rows, numbers=columns[:-1])
    if not swept.diff:
        console.print("assay.yaml already has the best settings.")
        return
    print(swept.diff)
    console.print(
        "Written to assay.yaml."
        if swept.written
        else "Use --write to write these settings to assay.yaml."
    )


def print_jobs(rows: Sequence[dict[str, Any]]) -> None:
    """Print jobs, one on a line."""
    lines = []
    for row in rows:
        status = row["status"] + (f" ({row['wish']} requested)" if row["wish"] else "")
        created = datetime.fromisoformat(row["created"])
        lines.append((row["id"], row["kind"], row["project"], status, _done(row), created))
    columns = ("id", "kind", "project", "status", "done", "created")
    print_table(columns, lines, numbers=["done"])


def print_job(row: dict[str, Any]) -> None:
    """All that is known of a job, a line each."""
    for key, value in row.items():
        if key == "progress":
            value = _done(row)
        if value not in (None, ""):
            console.print(f"{key:10} {escape(printable(str(value)))}", soft_wrap=True)


def _done(row: dict[str, Any]) -> str:
    progress = row["progress"]
    if not progress or not progress.get("total"):
        return ""
    return f"{progress['done']:.0f} of {progress['total']:.0f} {progress['unit']}"


def print_keys(keys: Sequence[Any]) -> None:
    """Keys, one a line; of the secret only its end."""
    rows = []
    for key in keys:
        only = f" (only {', '.join(key.labels)})" if key.labels else ""
        scopes = ", ".join(key.scopes) + only
        rows.append((key.id, key.name, key.project, scopes, key.hint, key.created, key.revoked))
    print_table(("id", "name", "project", "scopes", "ends in", "created", "revoked"), rows)


def print_providers(rows: Sequence[dict[str, Any]]) -> None:
    """Print providers, one on a line."""
    columns = ("name", "address", "protocol", "key", "consent", "described in")
    lines = []
    for row in rows:
        consent = "yes" if row["consent"] else "no"
        place = row["base_url"], row["protocol"], row["key"]
        lines.append((row["name"], *place, consent, row["described"]))
    print_table(columns, lines)


def print_usage(found: dict[str, Any]) -> None:
    """What keys have used, a line a key and model, and their budgets; what is not known is left
    empty."""
    numbers = ["answers", "read", "cached", "written", "reasoning", "USD", "unpriced"]
    rows = []
    for row in found["usage"]:
        counts = [row[f"{kind}_tokens"] for kind in ("prompt", "cached", "completion", "reasoning")]
        usd = None if row["usd"] is None else f"{row['usd']:.6f}"
        rows.append((row["key"], row["model"], row["answers"], *counts, usd, row["unpriced"]))
    print_table(("key", "model", *numbers), rows, numbers=numbers)
    for key, held in found["budgets"].items():
        spent = f"{held.spent:.6f} USD of {say_number(held.most)} spent"
        print(f"{key}: {spent}, {held.reserved:.6f} reserved.")


def print_exported(done: Any) -> None:
    """What was written, and what the parity gate found."""
    found = done.parity
    console.print(f"Written: [bold]{escape(str(done.folder))}[/] ({escape(', '.join(done.files))})")
    if done.form == ONNX:
        console.print(
            f"Parity over {say_count(found.rows, 'validation row')}: "
            f"{say_count(found.equal_answers, 'answer')} equal (score {found.evaluated:.4f}); "
            f"probabilities differ by at most {found.largest:.1e}, where rounding explains "
            f"{found.allowed:.1e}."
        )
        console.print(f"To use it, run in that folder:\n  {escape(done.command)}", soft_wrap=True)
        return
    console.print(
        f"Parity over {say_count(found.prompts, 'validation prompt')}: score {found.target:.4f} "
        f"exported, {found.evaluated:.4f} as evaluated; {say_count(found.equal_answers, 'answer')} "
        f"equal; mean divergence of the next token {found.divergence:.1e} nats."
    )
    if found.near_ties:
        evaluated, target = found.formats
        console.print(
            f"{say_count(found.near_ties, 'answer differs', 'answers differ')} where two tokens "
            f"were about equally likely; the reason is the number formats ({evaluated} as "
            f"evaluated, {target} exported)."
        )
    if done.command:
        console.print(f"To serve it, run in that folder:\n  {escape(done.command)}", soft_wrap=True)
