"""`assay export VERSION --to hub`: a folder that can be put on a model hub as it is, and `--push`,
which does.

What the base's licence asks a person to agree to is asked before any work is done.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from assay import json_reader
from assay.accounts.keys import local_user
from assay.agent.versions import load_agent
from assay.compare import records
from assay.compare.result import Result
from assay.errors import ModelError, UsageError
from assay.models import hub, hub_push
from assay.models.licences import objection
from assay.models.pull import is_ready, pull, read_record
from assay.models.versions import REFERENCE, find_version, load_version
from assay.progress import SILENT, Progress
from assay.project.export import export_version
from assay.project.project import Project
from assay.release.export import ModelExport, check_free
from assay.release.forms import VersionForm
from assay.release.model_card import CARD, hub_id, model_card
from assay.store.audit import audit
from assay.store.files import new_folder, sha256_file, write_atomic
from assay.store.store import Store

_EXPORTED = "hub-export:"
"""Of settings that keep the hashes of what was exported of a version, to send it later."""
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
    target = out or _default_folder(version.id)
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
        files = (*sorted([*done.files, CARD]),)
        hashes = {file: sha256_file(draft / file) for file in files}
        # Before the folder is in place, or a kill between the two leaves one that nobody knows.
        project.store.set(f"{_EXPORTED}{version.id}", json.dumps(hashes))
    return replace(done, folder=target, files=files)


@dataclass(frozen=True, slots=True)
class HubPush:
    """What was sent to a hub.

    Attributes:
        exported: what was written for it; None: the folder was here already.
        url: where it is now.
    """

    version: str
    folder: Path
    files: tuple[str, ...]
    url: str
    private: bool
    exported: ModelExport | None


def check_hub_push(
    project: Project, name: str, repository: str, out: Path | None, *, public: bool
) -> None:
    """See that a version can be sent, before somebody is asked; raises as `hub_push.check_push`."""
    version = find_version(project.store, name).id
    is_begun = _read_exported(project.store, version, out or _default_folder(version)) is not None
    hub_push.check_push(repository, public=public, is_begun=is_begun)


def push_hub(
    project: Project,
    name: str,
    repository: str,
    out: Path | None = None,
    *,
    licence: str | None = None,
    public: bool = False,
    progress: Progress = SILENT,
) -> HubPush:
    """Export a version for a hub and send it there. Whoever calls has somebody's consent.

    Asked again after a failure, it goes on with the folder as it was written.

    Args:
        repository: `OWNER/NAME`.
        public: everybody may read it.

    Raises:
        UsageError, ModelError: as `export_hub` and `hub_push.push`.
    """
    version = find_version(project.store, name).id
    folder, done = out or _default_folder(version), None
    files = _read_exported(project.store, version, folder)
    if files is None:
        done = export_hub(project, version, folder, licence=licence, progress=progress)
        files = {file: sha256_file(folder / file) for file in done.files}
    message = f"Upload version {version[:12]}"
    url = hub_push.push(
        folder, repository, files, public=public, message=message, progress=progress
    )
    details = {"to": url, "private": not public}
    audit(project.store, project.owner, local_user(), "version.push", version, details)
    return HubPush(version, folder, (*sorted(files),), url, not public, done)


def _default_folder(version: str) -> Path:
    return Path(f"{version[:12]}-hub")


def _read_exported(store: Store, version: str, folder: Path) -> dict[str, str] | None:
    """What an earlier call has exported of a version, if the folder still has it as it was."""
    kept = store.setting(f"{_EXPORTED}{version}")
    if kept is None or not folder.is_dir():
        return None
    files: dict[str, str] = json_reader.read(kept)
    if {file.name for file in folder.iterdir()} != files.keys():
        return None
    return files if all(sha256_file(folder / name) == files[name] for name in files) else None


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
