"""`assay doctor`: what is found on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from assay.cli.options import AsJson, Folder
from assay.cli.output import as_json
from assay.log_lines import printable

if TYPE_CHECKING:
    from assay.project.machine import Machine

UNOWNED = "of no package: read it, and remove it if you did not put it there"
OF_PRODUCTS = re.compile("avx|amx|fma|neon|sve|bf16|DEFAULT")


def doctor(
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Repeat the measurements of the processor instead of using the saved ones.",
        ),
    ] = False,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Show what Assay finds on this machine, and in a project; exits with 1 if there are problems.

    The model hub is asked whether it answers; providers are not (`assay providers test NAME`).
    """
    from assay.models.openai_tokens import fetch_command
    from assay.project.machine import examine

    found = examine(folder, again=again, ask_hub=True)
    if json:
        as_json(found)
    else:
        speeds = [f"float32 {found.products.float32 / 1e9:.0f} GFLOP/s"]
        if found.products.bfloat16 is not None:
            speeds.append(f"bfloat16 {found.products.bfloat16 / 1e9:.0f}")
        waiting = {
            "assay": "spin; only briefly while other programs use the processors",
            "environment": f"set by the environment: {found.wait_policy_variables}",
            "library": "the default of OpenMP",
        }[found.wait_policy]
        rows = {
            "assay": found.assay,
            "python": f"{found.python} on {found.system}",
            "libraries": ", ".join(f"{k} {v or 'missing'}" for k, v in found.libraries.items()),
            "processor": found.processor,
            "instruction sets": ", ".join(filter(OF_PRODUCTS.search, found.instructions)),
            "restricted by": _describe_limits(found),
            "cores and threads": f"{_count(found.cores, 'core')}, "
            f"{_count(found.threads, 'thread')} per product"
            + (f"; unset {found.thread_limit} to use all" if found.thread_limit else ""),
            "device": found.device,
            "number format": f"{found.number_format}; matrix products: {', '.join(speeds)}",
            "measurements in": str(found.remembered_in),
            "waiting threads": waiting,
            "run at each start": ", ".join(
                f"{printable(file)} ({package or UNOWNED})"
                for file, package in found.startup_code.items()
            ),
            "free memory": f"{decimal(found.memory_bytes)}: enough to fine-tune up to about "
            f"{found.largest_tuned / 1e9:.1f} billion parameters (`assay models list`)",
            "starter's speed": _describe_speed(found),
            "cache folder": f"{found.cache_folder}, {decimal(found.disk_bytes)} free",
            "token ids": f"read with {found.openai_vocabulary}"
            if found.openai_vocabulary
            else f"not taken by /v1/embeddings before: {fetch_command()}",
            "model hub": found.hub,
            "database": found.database,
            "stored files": found.objects,
            **{f"provider {name}": said for name, said in found.providers.items()},
        }
        for name, value in rows.items():
            if value:
                print(f"{name:18} {value}")
        print("\n".join(["", *found.problems]) if found.problems else "\nNo problems found.")
    if found.problems:
        raise typer.Exit(1)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _describe_limits(found: Machine) -> str:
    """The variables that make products slow on purpose; none: nothing is said."""
    set_to = ", ".join(f"{name}={value}" for name, value in found.limits.items())
    return f"{set_to}; unset to use all instructions" if set_to else ""


def _describe_speed(found: Machine) -> str:
    """How fast the starter model is here, as estimates reckon with it."""
    if found.training_tokens_per_s is None or found.answer_tokens_per_s is None:
        return "not known before it is tried on the GPU"
    return (
        f"about {found.training_tokens_per_s:.0f} tokens/s in training and "
        f"{found.answer_tokens_per_s:.0f} in answers; a model of N times the size takes N times as "
        "long"
    )
