"""The README.md of a version for a model hub: what it is, on what terms, and what was measured.

It says what `result.json` says in figures, and nothing of rows, prompts or this machine.
"""

from __future__ import annotations

import json
from pathlib import Path

from assay.compare.result import CandidateResult, Result
from assay.models.catalogue import CATALOGUE
from assay.models.lineage import rows_seen
from assay.models.versions import Version

CARD = "README.md"


def hub_id(base: str) -> str | None:
    """What a hub knows a base by; None: it is a folder or a file of this machine."""
    if base in CATALOGUE:
        return CATALOGUE[base].hub_id
    return None if base.endswith(".gguf") or Path(base).exists() else base


def model_card(
    version: Version,
    *,
    project: str,
    licence: str,
    is_adapter: bool,
    measured: Result | None,
    candidate: str | None,
) -> str:
    """The card as Markdown, with the front matter that a hub goes by.

    Args:
        licence: of the base, which is this model's too.
        measured: the newest comparison that the version took part in, if any.
        candidate: the version's name there.
    """
    base = hub_id(version.record.base)
    head = {
        "license": licence,
        **({"base_model": base} if base is not None else {}),
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["assay", *(["lora"] if is_adapter else [])],
    }
    front = "".join(f"{name}: {json.dumps(value)}\n" for name, value in head.items())
    shown = base or Path(version.record.base).name
    return "\n".join(
        [
            f"---\n{front}---",
            f"# {project}",
            "",
            f"{shown}, fine-tuned for one job by Assay {version.record.code}. "
            + (
                "This is an adapter: it is loaded onto that base. "
                if is_adapter
                else "These are whole weights. "
            )
            + f"Licence: {licence}, that of the base.",
            "",
            *_measured(measured, candidate),
            "",
            "## Made of",
            "",
            f"- version `{version.id}`, seed {version.record.seed}",
            *(
                [f"- training stopped {' '.join(version.record.stopped.split())}"]
                if version.record.stopped is not None
                else []
            ),
            *(
                f"- {part}: {'rows with the ' if part in rows_seen(version) else ''}sha256 "
                f"`{digest}`"
                for part, digest in sorted(version.record.data.items())
            ),
            f"- holdout, not seen in training: sha256 `{version.record.split or 'none'}`",
            "",
            "It was made and measured for this one job: what it does elsewhere is not known.",
            "",
        ]
    )


def _measured(result: Result | None, candidate: str | None) -> list[str]:
    """What the comparison says of all its candidates."""
    if result is None:
        return ["## Measured", "", "Not measured: no finished comparison has this version."]
    rows = [
        f"| {'**' if one.name == candidate else ''}{result.names.get(one.name, one.name)}"
        f"{'**, this model' if one.name == candidate else ''} | {_figures(one)} |"
        for one in sorted(result.candidates, key=lambda one: -(one.score or 0.0))
    ]
    verdict = result.verdict
    return [
        "## Measured",
        "",
        f"By {result.primary} (0 to 100), on {result.data.holdout} examples that were locked away "
        f"before training; opening {result.opening.number} of them, {result.created_at[:10]}.",
        "",
        "| candidate | score | 95 % interval |",
        "|---|---|---|",
        *rows,
        "",
        verdict.reason_in_words or verdict.reason,
    ]


def _figures(one: CandidateResult) -> str:
    """Score and interval."""
    if one.score is None or one.low is None or one.high is None:
        return "not complete | "
    return f"{100 * one.score:.1f} | {100 * one.low:.1f} to {100 * one.high:.1f}"
