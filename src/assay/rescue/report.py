"""What was fetched, what was not and why, and what to do next: report.json, and report.md of it."""

from __future__ import annotations

import html
import json
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assay.log_lines import printable
from assay.rescue import account, dates
from assay.rescue.account import read_rows
from assay.rescue.downloads import FILE
from assay.rescue.manifest import Entry, Manifest, now
from assay.store.files import write_atomic

ENDED = ("succeeded", "failed", "cancelled")
_ACCOUNT = ("base_url", "organization", "project", "begun_at")
_OF_JOB = (
    *("job", "status", "method", "trained_tokens"),
    *("training_file", "training_path", "validation_file", "validation_path"),
)
LABELS = {
    account.MODELS.kind: "models",
    account.EVALS.kind: "evals",
    account.RUNS: "runs of evals",
    account.OUTPUT_ITEMS: "output items of runs",
    account.FILES.kind: "list of files",
    account.RECORD: "records of files on no list",
    FILE: "contents of files",
    account.JOBS.kind: "list of fine-tuning jobs",
    account.JOB: "fine-tuning jobs",
    account.EVENTS: "events of jobs",
    account.CHECKPOINTS: "checkpoints of jobs",
    account.COMPLETIONS.kind: "stored completions",
    account.MESSAGES: "messages of stored completions",
}
"""What people are told that a kind is, in the order of what closes first."""
GONE = (404, 410)
"""Statuses of what no further run can have."""
_SHOWN = 200
"""Lines of a table; report.json has all."""


def write_report(manifest: Manifest, ended_early: str | None = None) -> dict[str, Any]:
    """Write both files; returns what report.json holds.

    Args:
        ended_early: why the run has not asked for everything; None: it has.
    """
    order = list(LABELS)
    entries = sorted(manifest, key=lambda one: (order.index(one.kind), one.id))
    kinds: dict[str, dict[str, Any]] = {}
    for entry in entries:
        counts = kinds.setdefault(
            entry.kind, {"kind": entry.kind, "complete": 0, "missing": 0, "objects": 0, "bytes": 0}
        )
        counts["complete" if entry.status == "complete" else "missing"] += 1
        counts["objects"] += entry.count or 0
        counts["bytes"] += entry.bytes
    missing = [_missing(entry) for entry in entries if entry.status != "complete"]
    models = list(fine_tuned_models(manifest))
    report = {
        "account": {name: manifest.account.get(name) for name in _ACCOUNT},
        "written_at": now(),
        "complete": not missing and ended_early is None,
        "ended_early": ended_early,
        "bytes": sum(entry.bytes for entry in entries),
        "kinds": list(kinds.values()),
        "missing": missing,
        "notes": [
            {"kind": one.kind, "id": one.id, "path": one.path, "note": one.note}
            for one in entries
            if one.note
        ],
        "fine_tuned_models": models,
        "not_ended": list(_not_ended(manifest)),
        "files_left": dict(_files_left(manifest)),
    }
    report["next"] = _next_steps(manifest.folder, report)
    text = json.dumps(report, indent=2, ensure_ascii=True) + "\n"
    write_atomic(manifest.folder / "report.json", text, private=True)
    write_atomic(manifest.folder / "report.md", "\n".join(_markdown(report)) + "\n", private=True)
    return report


def _missing(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "id": entry.id,
        "path": entry.path,
        "objects": entry.count or 0,
        "reason": entry.reason or "the run ended before it was whole.",
        "http_status": entry.http_status,
    }


def fine_tuned_models(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Each fine-tuned model: of the jobs, then those that only the list of models names.

    `training_path` and `validation_path` are from the folder; None where the file is not there.
    """
    listed = {
        row["id"]: row
        for row in read_rows(manifest, "models", "")
        if isinstance(row.get("id"), str)
    }
    seen = set()
    for job in read_rows(manifest, account.JOBS.kind, ""):
        model = job.get("fine_tuned_model")
        if not isinstance(model, str) or not model:
            continue
        seen.add(model)
        id, training = job.get("id"), job.get("training_file")
        validation = job.get("validation_file")
        steps = [
            {"model": one.get("fine_tuned_model_checkpoint"), "step": one.get("step_number")}
            for one in read_rows(manifest, account.CHECKPOINTS, str(id))
        ]
        method = job.get("method")
        yield {
            **_end_of(model, job.get("model"), listed),
            "job": id,
            "status": job.get("status"),
            "method": method.get("type") if isinstance(method, dict) else None,
            "trained_tokens": job.get("trained_tokens"),
            "training_file": training,
            "training_path": _path_of(manifest, training),
            "validation_file": validation,
            "validation_path": _path_of(manifest, validation),
            "checkpoints": steps,
        }
    for model in sorted(listed):
        parts = model.split(":")
        if parts[0] == "ft" and len(parts) > 1 and not seen & {model, _without_step(model)}:
            yield {
                **_end_of(model, parts[1], listed),
                **dict.fromkeys(_OF_JOB),
                "checkpoints": [],
            }


def _path_of(manifest: Manifest, file: Any) -> str | None:
    known = manifest.get(FILE, file) if isinstance(file, str) else None
    return known.path if known is not None and known.status == "complete" else None


def _without_step(model: str) -> str:
    return model.partition(":ckpt-step-")[0]


def _end_of(model: str, base: Any, listed: dict[str, Any]) -> dict[str, Any]:
    """When it ends, and who says so."""
    base = base if isinstance(base, str) else None
    end, source = None, "unknown"
    own = listed.get(model, {}).get("shutdown_date")
    of_base = listed.get(base, {}).get("shutdown_date") if base else None
    if isinstance(own, str):
        end, source = own, "its entry in models.jsonl"
    elif isinstance(of_base, str):
        end, source = of_base, "its base's entry in models.jsonl"
    elif base and (announced := dates.announced_end(base)):
        end, source = announced, dates.SOURCE
    return {"model": model, "base": base, "ends": end, "ends_according_to": source}


def _not_ended(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Jobs and runs that were still at work when they were fetched."""
    for job in read_rows(manifest, account.JOBS.kind, ""):
        if job.get("status") not in ENDED:
            yield {"kind": account.JOB, "id": job.get("id"), "status": job.get("status")}
    for entry in manifest:
        if entry.kind != account.RUNS:
            continue
        for run in read_rows(manifest, entry.kind, entry.id):
            if run.get("status") in ("queued", "in_progress"):
                yield {"kind": "eval run", "id": run.get("id"), "status": run.get("status")}


def _files_left(manifest: Manifest) -> Counter[str]:
    """Files of other purposes, which are listed and not fetched."""
    counts: Counter[str] = Counter()
    for row in read_rows(manifest, account.FILES.kind, ""):
        if row.get("purpose") in account.PURPOSES:
            continue
        if manifest.get(FILE, str(row.get("id"))) is None:
            counts[str(row.get("purpose"))] += 1
    return counts


def _next_steps(folder: Path, report: dict[str, Any]) -> list[str]:
    steps = []
    may_come = (
        one["reason"] != account.UNUSABLE_ID and one["http_status"] not in GONE
        for one in report["missing"]
    )
    if report["ended_early"] or any(may_come):
        steps.append("Run the same command again: it asks only for what is missing.")
    if report["not_ended"]:
        steps.append("Fetch jobs and runs that had not ended into a new folder once they have.")
    if any(one["training_path"] for one in report["fine_tuned_models"]):
        steps.append("Make a project of each fine-tuned model, with a page of what to do then:")
        steps.append(f"assay rescue plan --from {shlex.quote(str(folder))} --to projects")
    return steps


def count_missing(report: dict[str, Any]) -> str:
    """How much was not fetched, as the beginning of a sentence."""
    count = len(report["missing"])
    return "1 part was not fetched" if count == 1 else f"{count} parts were not fetched"


def _markdown(report: dict[str, Any]) -> Iterator[str]:
    yield from ("# What was fetched", "")
    at = plain(report["account"].get("base_url"))
    yield f"From {at}, begun {report['account'].get('begun_at')}, as of {report['written_at']}."
    yield "This folder holds user data; see README.txt."
    yield ""
    if report["complete"]:
        yield "**All of it is here.**"
    elif report["ended_early"]:
        yield f"**The run ended early**, and not all was asked for: {plain(report['ended_early'])}"
    else:
        yield f"**{count_missing(report)}**; see below."
    rows = [
        (LABELS[one["kind"]], one["complete"], one["missing"], one["objects"], _size(one["bytes"]))
        for one in report["kinds"]
    ]
    yield from _table(("what", "complete", "missing", "objects", "size"), rows)
    yield from ("", "## Fine-tuned models", "")
    models = [
        (
            *(one["model"], one["base"], one["ends"] or "unknown", one["ends_according_to"]),
            one["training_path"] or f"{one['training_file'] or 'unknown'} (not here)",
            len(one["checkpoints"]),
        )
        for one in report["fine_tuned_models"]
    ]
    head = ("model", "base", "ends", "according to", "training file", "checkpoints")
    yield from _table(head, models) if models else ["There are none."]
    yield ""
    yield f"Dates change: {dates.PAGE}. The Evals API was announced to end on {dates.EVALS_END}."
    if report["missing"]:
        yield from ("", "## Not fetched, because", "")
        rows_ = [(LABELS[one["kind"]], one["id"], one["reason"]) for one in report["missing"]]
        yield from _table(("what", "id", "reason"), rows_)
    if report["not_ended"]:
        yield from ("", "## Had not ended", "")
        rows_ = [(one["kind"], one["id"], one["status"]) for one in report["not_ended"]]
        yield from _table(("what", "id", "status"), rows_)
    if report["files_left"]:
        yield from (
            "",
            "## Files of other purposes",
            "",
            "Not fetched; files.jsonl lists them:",
            "",
        )
        yield from _table(("purpose", "files"), sorted(report["files_left"].items()))
    if report["next"]:
        yield from ("", "## What to do next", "")
        for step in report["next"]:
            yield f"    {printable(step)}" if step.startswith("assay ") else f"{step}\n"


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Iterator[str]:
    yield from ("", "| " + " | ".join(head) + " |", "|" + "---|" * len(head))
    for row in rows[:_SHOWN]:
        yield "| " + " | ".join(map(plain, row)) + " |"
    if len(rows) > _SHOWN:
        yield from ("", f"... and {len(rows) - _SHOWN} more; report.json has all of them.")


def plain(value: Any) -> str:
    """A value of a server's as text of a table, and never as markup."""
    if value is None:
        return ""
    text = html.escape(printable(str(value))[:500], quote=False)
    return "".join(f"\\{sign}" if sign in "\\`*[]|" else sign for sign in text)


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count} bytes"
