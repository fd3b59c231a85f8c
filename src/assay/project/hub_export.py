"""`assay export VERSION --to hub`: a folder that can be put on a model hub as it is.

What the base's licence asks a person to agree to is asked before any work is done.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from assay.agent.versions import load_agent
from assay.compare import records
from assay.compare.result import Result
from assay.errors import ModelError, UsageError
from assay.models import hub
from assay.models.licences import objection
from assay.models.pull import is_ready, pull, read_record
from assay.models.versions import REFERENCE, load_version
from assay.progress import SILENT, Progress
from assay.project.export import export_version
from assay.project.project import Project
from assay.release.export import ModelExport, check_free
from assay.release.forms import VersionForm
from assay.release.model_card import CARD, hub_id, model_card
from assay.store.files import new_folder, write_atomic
from assay.store.store import Store

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,59}")


def export_hub(
    project: Project,
    name: str,
    out: Path | None = None,
    *,
    licence: str | None = None,
    progress: Progress = SILENT,
) -> ModelExport:
    """Write a version with its model card, once the parity gate lets it pass; nothing is sent.

    Args:
        name: the version's id or its first digits.
        out: the folder; None: one in the current folder, named after the version.
        licence: the base's, as somebody has read it and agrees to; needed where Assay cannot tell
            that the version may be passed on.

    Raises:
        UsageError: the licence is another than the base's, or no name; the folder holds something.
        ModelError: somebody has to agree to the licence; or as `Project.export`.
    """
    version = load_version(project.store, name)
    agreed = agreed_licence(version.record.base, licence, progress)
    target = out or Path(f"{version.id[:12]}-hub")
    check_free(target)
    base = version.record.base
    is_adapter = not version.whole and hub_id(base) == base
    measured, candidate = _find_measured(project.store, version.id)
    card = model_card(
        version,
        project=project.config.name,
        licence=agreed,
        is_adapter=is_adapter,
        measured=measured,
        candidate=candidate,
    )
    with new_folder(target) as draft:
        form: VersionForm = "adapter" if is_adapter else "merged"
        done = export_version(project, version.id, form, draft, progress)
        write_atomic(draft / CARD, card)
    return replace(done, folder=target, files=(*sorted([*done.files, CARD]),))


def agreed_licence(base: str, given: str | None, progress: Progress = SILENT) -> str:
    """The licence of a base, and of what was made of it; raises as `export_hub`.

    Args:
        given: what somebody has agreed to.
    """
    folder = pull(base, progress, "any")
    record = read_record(folder) if is_ready(folder) else {"licence": hub.licence(folder)}
    stated: str | None = record.get("licence")
    if given is not None and not _NAME.fullmatch(given):
        raise UsageError(
            f"--licence {given!r} is no name of a licence.", fix="Write one such as apache-2.0."
        )
    why = objection(stated, gated=bool(record.get("gated")))
    is_named = stated is not None and stated.lower() not in ("unknown", "other")
    if given is not None and is_named and given.lower() != str(stated).lower():
        raise UsageError(
            f"--licence says {given}, but the base {base} is under {stated}.",
            fix="What is made of it is under the base's licence: name that, or leave it out.",
        )
    if why is not None and given is None:
        named = stated if is_named else "NAME"
        raise ModelError(
            f"the version may not be free to be passed on: of its base {base}, {why}.",
            fix="Read the licence. If you may pass on what was made of the base, and agree to its "
            f"terms, repeat the command with --licence {named}, which then stands on the card.",
        )
    return (given or str(stated)).lower()


def _find_measured(store: Store, version: str) -> tuple[Result | None, str | None]:
    """The newest comparison in which a version took part, and its name there."""
    for result in records.load_results(store):
        for one in result.candidates:
            if load_agent(store, one.agent).model == f"{REFERENCE}{version}":
                return result, one.name
    return None, None
