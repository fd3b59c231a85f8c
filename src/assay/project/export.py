"""Exporting a version of a project, through the parity gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from assay.candidates.building import Context
from assay.models.versions import load_version

if TYPE_CHECKING:
    from assay.release.export import Exported


def export_version(context: Context, id: str, to: str, out: Path | None) -> Exported:
    """Write the version into `out` (a folder named after it where None)."""
    from assay.release.export import export

    version = load_version(context.store.folder, id)
    agent = context.chat_agent(model=f"version:{version.id}", system_prompt=context.training_prompt)
    return export(
        version,
        to,
        out or Path(f"{version.id[:12]}-{to}"),
        bench=context.bench,
        agent=agent,
        validation=context.validation,
    )
