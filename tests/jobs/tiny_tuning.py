"""A fine-tuning that takes seconds: a tiny random model in its own cache, a dozen short rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.small import write_model

from assay.jobs import fine_tuning
from assay.jobs.service import work_on
from assay.jobs.tuning_request import TuningRequest
from assay.models.pull import RECORD, tensors_sha256
from assay.models.trust import weight_files
from assay.store import stored_files
from assay.store.files import sha256_file, write_json
from assay.store.store import Store

MODEL = "tests/tiny"
PROJECT = "default"


def write_cache(cache: Path) -> Path:
    """A cache folder (ASSAY_CACHE) in which the tiny model looks as if it came from the hub."""
    folder = write_model(cache / "models" / MODEL.replace("/", "--"))
    files = {file.name: file.stat().st_size for file in folder.iterdir()}
    write_json(
        folder / RECORD,
        {
            "source": MODEL,
            "sha256": None,
            "licence": None,
            "hub": True,
            "files": files,
            "tensors": tensors_sha256([sha256_file(file) for file in weight_files(folder)]),
        },
    )
    return cache


def lines(count: int = 14, shift: int = 0) -> bytes:
    """JSONL of conversations: a question with a number, and its answer."""
    rows = [
        {
            "messages": [
                {"role": "system", "content": "Say the colour."},
                {"role": "user", "content": f"ball {n + shift}"},
                {"role": "assistant", "content": ("red", "blue")[n % 2]},
            ]
        }
        for n in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def pairs(count: int = 14) -> bytes:
    """JSONL of preferences."""
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"ball {n}"}]},
            "preferred_output": [{"role": "assistant", "content": "red"}],
            "non_preferred_output": [{"role": "assistant", "content": "blue"}],
        }
        for n in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def upload(store: Store, data: bytes, purpose: str = "fine-tune") -> str:
    """A file of the project; its id."""
    return stored_files.keep(store, PROJECT, [data], "rows.jsonl", purpose).id


def queued(store: Store, data: bytes | None = None, **fields: Any) -> str:
    """A fine-tuning of the tiny model, as a request would make it; its id."""
    fields.setdefault("hyperparameters", {"n_epochs": 4, "batch_size": 3})
    body = {"model": MODEL, "training_file": upload(store, data or lines()), **fields}
    return fine_tuning.create(store, PROJECT, TuningRequest.model_validate(body), seed=7)


def done(store: Store, id: str) -> fine_tuning.FineTuning:
    """Work until nothing waits, in this process; the fine-tuning as it then is."""
    worker = work_on(store)
    while worker.once():
        fine_tuning.sweep(store)
    return fine_tuning.find(store, PROJECT, id)


GRADER: Any = {
    "type": "multi",
    "name": "letters of the colour",
    "graders": {
        "alike": {
            "type": "text_similarity",
            "name": "alike",
            "evaluation_metric": "fuzzy_match",
            "input": "{{sample.output_text}}",
            "reference": "{{item.reference_answer}}",
        },
        "exact": {
            "type": "string_check",
            "name": "exact",
            "operation": "eq",
            "input": "{{sample.output_text}}",
            "reference": "{{item.reference_answer}}",
        },
    },
    "calculate_output": "0.9 * alike + 0.1 * exact",
}


POLITE: Any = {
    "type": "label_model",
    "name": "polite",
    "model": MODEL,
    "labels": ["yes", "no"],
    "passing_labels": ["yes"],
    "input": [{"role": "user", "content": "Polite? {{sample.output_text}}"}],
}


def prompts(count: int = 14) -> bytes:
    """JSONL of prompts with a field beside them that a grader compares with."""
    rows = [
        {
            "messages": [{"role": "user", "content": f"ball {n}"}],
            "reference_answer": ("red", "blue")[n % 2],
        }
        for n in range(count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def reinforced(**fields: Any) -> dict[str, Any]:
    """A request's `method` of a few seconds."""
    numbers = {"n_epochs": 1, "batch_size": 4, "eval_interval": 2, "compute_multiplier": 0.5}
    own = {
        "grader": GRADER,
        "hyperparameters": numbers,
        "max_completion_tokens": 8,
        **fields,
    }
    return {"type": "reinforcement", "reinforcement": own}
