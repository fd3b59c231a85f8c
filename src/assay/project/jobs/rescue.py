"""Bringing an account home as jobs: it is fetched, its models become projects, their answers kept.

job = fetch(workspace, "openai")               # into rescued/account of the folder
job = plan(workspace)                          # into rescued/projects
job = plan_uploads(workspace)                  # the project of files that were brought
draft = draft_answers(workspace, "openai", "ft:gpt-4o-mini-2024-07-18:acme::abc")
job = record_answers(workspace, "openai", draft.model, most_usd=5.0)
job = compare_answers(workspace, draft.model)  # with the candidates of its project
state = read_rescue(workspace)                 # what has come of them
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay import json_reader
from assay.config import TokenPrice
from assay.errors import AssayError, NotFoundError
from assay.jobs import queue
from assay.jobs.queue import OVER, Job
from assay.jobs.worker import Work
from assay.project.jobs.queueing import enqueue_once
from assay.project.rescue import uploads
from assay.project.rescue.account import open_provider, rescue
from assay.project.rescue.files import read_sources
from assay.project.rescue.page import OUTGOING
from assay.project.rescue.uploads import ACCOUNT, PLAN, PROJECTS, UPLOADS, UploadEntries
from assay.project.workspace import Workspace
from assay.rescue.folder import MANIFEST
from assay.rescue.recording import folder_of, recording_file

if TYPE_CHECKING:
    from assay.project.recording import RecordingDraft
    from assay.project.rescue.files import TuningFiles
    from assay.project.rescue.successor import Successor

FETCH, RECORD, COMPARE = "rescue", "record", "rescue-compare"
"""Kinds of the jobs, beside `uploads.PLAN`."""
SHOWN = 50
"""Lines of a table, and models, on the page; report.json and plan.md have all."""


@dataclass(frozen=True, slots=True)
class RescueState:
    """How far an account has been brought home.

    Attributes:
        is_begun: something was fetched already.
        report: what report.json says; None: no run has ended.
        plan: what `plan_rescue` has returned last; None: there are no projects.
        job: the one that waits or runs, else the newest; None: there was none.
        planned: of its models that have a project, the first to end, `SHOWN` at most.
        files: where the answers of each of these are kept, whether they are there or not.
        recorded: how many of them are on disk.
        recordings: of a model, what its newest recording that has ended has reported.
        comparisons: of a model, what its newest comparison that has ended has shown.
    """

    is_begun: bool
    report: dict[str, Any] | None
    plan: dict[str, Any] | None
    job: Job | None
    planned: list[dict[str, Any]]
    files: dict[str, Path]
    recorded: dict[str, int]
    recordings: dict[str, dict[str, Any]]
    comparisons: dict[str, dict[str, Any]]

    @property
    def active_kind(self) -> str | None:
        """Kind of the job that waits or runs; None: there is none."""
        return None if self.job is None or self.job.status in OVER else self.job.kind


def read_rescue(workspace: Workspace) -> RescueState:
    """What has been fetched, made and recorded in a folder."""
    found = queue.jobs(workspace.store, workspace.name, WORKS)
    plan = next((job.result for job in found if job.kind == PLAN and job.result), None)
    ended: dict[str, dict[str, dict[str, Any]]] = {RECORD: {}, COMPARE: {}}
    for job in found:
        if job.kind in ended and job.result:
            ended[job.kind].setdefault(job.payload["model"], job.result)
    folder = workspace.root / ACCOUNT
    models = plan["models"] if plan is not None else []
    planned = [one for one in models if one["project"] is not None][:SHOWN]
    files = {
        one["model"]: recording_file(_recordings_of(workspace, one), one["model"])
        for one in planned
    }
    report = folder / "report.json"
    return RescueState(
        is_begun=(folder / MANIFEST).exists(),
        report=json_reader.read(report.read_bytes()) if report.exists() else None,
        plan=plan,
        job=next((job for job in found if job.status not in OVER), found[0] if found else None),
        planned=planned,
        files=files,
        recorded={model: _lines(file) for model, file in files.items()},
        recordings=ended[RECORD],
        comparisons=ended[COMPARE],
    )


def _recordings_of(workspace: Workspace, planned: dict[str, Any]) -> Path:
    """Where a model's answers are kept, as the folder lies now: it may have been moved since. With
    the account, or with the projects, where there was no account yet."""
    kept = folder_of(Path(planned["recording"])).name
    return workspace.root / (PROJECTS if kept == Path(PROJECTS).name else ACCOUNT)


def _lines(file: Path) -> int:
    if not file.exists():
        return 0
    with file.open("rb") as lines:
        return sum(1 for _ in lines)


def fetch(workspace: Workspace, provider: str, *, same_account: bool = False) -> Job:
    """Queue the fetching of the account that a provider's key opens.

    Args:
        same_account: see `assay.project.rescue.account.rescue`.

    Raises:
        ConfigError, SecretError, UsageError: as `open_provider`.
        QuotaError: the project of the server has all that it may have of the disk.
        StateError: it waits or runs already.
    """
    open_provider(workspace.providers, provider)  # refused before it waits
    workspace.quota.check(workspace.name, 1)  # what it will fetch has no size yet
    payload = {"provider": provider, "same_account": same_account}
    what = "the fetching of an account"
    return enqueue_once(workspace, FETCH, what, payload, action="rescue.fetch")


def plan(workspace: Workspace, successor: str | None = None) -> Job:
    """Queue the making of a project for each model of the account.

    Args:
        successor: PROVIDER/MODEL that takes part in each that is made; where this folder has
            agreed that rows go to the provider, the projects have, too.

    Raises:
        UsageError: there is no such provider here.
        QuotaError: as `fetch`.
        StateError: it waits or runs already.
    """
    workspace.quota.check(workspace.name, 1)
    if successor is not None:
        _successor(workspace, successor)  # refused before it waits
    return _enqueue_plan(workspace, {"successor": successor})


def plan_uploads(workspace: Workspace, successor: str | None = None) -> Job:
    """Queue the making of the project of files that were brought, see `uploads`.

    Raises:
        UsageError, DataError: as `uploads.tuning_files`; there is no such provider here.
        QuotaError, StateError: as `plan`.
    """
    with uploads.entries_to_use(workspace) as entries:
        uploads.tuning_files(workspace, entries)  # refused before it waits
        workspace.quota.check(workspace.name, 1)
        if successor is not None:
            _successor(workspace, successor)
        return _enqueue_plan(workspace, {"successor": successor, "files": asdict(entries)})


def _enqueue_plan(workspace: Workspace, payload: dict[str, Any]) -> Job:
    return enqueue_once(workspace, PLAN, "the making of projects", payload, action="rescue.plan")


def _successor(workspace: Workspace, named: str) -> Successor:
    from assay.project.rescue.successor import find_successor

    return find_successor(named, None, workspace.providers, web=True)


def draft_answers(
    workspace: Workspace, provider: str, model: str, price: TokenPrice | None = None
) -> RecordingDraft:
    """What it would take to record a model's answers; nothing is sent.

    Raises:
        NotFoundError: the model has no project.
        AssayError: as `open_provider` and `assay.project.recording.draft_recording`.
    """
    from assay.project import recording
    from assay.project.project import Project

    access = recording.with_price(open_provider(workspace.providers, provider), model, price)
    planned = _planned(workspace, model)
    choices = recording.RecordingChoices(project=Project(_project_of(workspace, planned)))
    folder = _recordings_of(workspace, planned)
    return recording.draft_recording(model, access, folder, choices)


def record_answers(
    workspace: Workspace,
    provider: str,
    model: str,
    *,
    most_usd: float,
    price: TokenPrice | None = None,
) -> Job:
    """Queue the recording of a model's answers, see `assay.project.recording.record`.

    Raises:
        ConfigError: the price is not known, so that no budget can be kept.
        QuotaError: as `fetch`.
        StateError: a recording waits or runs already.
        AssayError: as `draft_answers`.
    """
    from assay.project import recording

    recording.check_budget(draft_answers(workspace, provider, model, price), most_usd)
    workspace.quota.check(workspace.name, 1)
    payload = {
        "provider": provider,
        "model": model,
        "most_usd": most_usd,
        "price": None if price is None else price.model_dump(),
    }
    return enqueue_once(workspace, RECORD, "a recording", payload, action="rescue.record")


def comparison_costs(workspace: Workspace, model: str) -> list[str]:
    """What providers are paid for such a comparison at most, in sentences, as the project's
    settings are now; none where no provider takes part.

    Raises:
        NotFoundError: the model has no project.
    """
    from assay.project.project import Project
    from assay.project.provider_costs import describe_costs

    project = Project(_project_of(workspace, _planned(workspace, model)))
    project.split()
    return describe_costs(project.estimate().provider_costs)


def compare_answers(workspace: Workspace, model: str) -> Job:
    """Queue the comparison of a model's recorded answers with the candidates of its project.

    Raises:
        NotFoundError: the model has no project.
        StateError: such a comparison waits or runs already.
    """
    _planned(workspace, model)
    payload = {"model": model}
    return enqueue_once(workspace, COMPARE, "a comparison", payload, action="rescue.compare")


def _fetch(workspace: Workspace, work: Work) -> dict[str, Any]:
    payload = work.payload
    access = open_provider(workspace.providers, payload["provider"])
    folder = workspace.root / ACCOUNT
    folder.parent.mkdir(exist_ok=True, mode=0o700)
    report = rescue(access, folder, work, same_account=payload["same_account"])
    return {"complete": report["complete"], "missing": len(report["missing"])}


def _plan(workspace: Workspace, work: Work) -> dict[str, Any]:
    from assay.project.rescue.plan import plan_rescue

    named, brought = work.payload.get("successor"), work.payload.get("files")
    successor = None if named is None else _successor(workspace, named)
    projects = workspace.root / PROJECTS
    if brought is None:
        account = _present_account(workspace)
        return plan_rescue(account, projects, successor=successor, progress=work)
    entries = UploadEntries(**brought)
    files = _present_files(workspace, entries)
    # As on the command line: the account takes part if it has before.
    known = read_sources(projects).account is not None
    source = _present_account(workspace) if known else None
    try:
        plan = plan_rescue(source, projects, files=files, successor=successor, progress=work)
    except AssayError as error:
        for path in (files.training, files.validation):
            if path is not None:
                error.calling(path, Path(path).name)
        raise
    uploads.forget_entries(workspace, entries)
    return plan


def _record(workspace: Workspace, work: Work) -> dict[str, Any]:
    from assay.project import recording

    payload = work.payload
    _present_recordings(workspace, payload["model"])
    price = None if payload["price"] is None else TokenPrice(**payload["price"])
    draft = draft_answers(workspace, payload["provider"], payload["model"], price)
    return recording.record(draft, most_usd=payload["most_usd"], progress=work)


def _compare(workspace: Workspace, work: Work) -> dict[str, Any]:
    from assay.compare.naming import in_words
    from assay.compare.report.replacement import meaning, replacement_lines
    from assay.project.project import Project

    model = work.payload["model"]
    planned = _planned(workspace, model)
    file = recording_file(_present_recordings(workspace, model), model)
    done = Project(_project_of(workspace, planned)).compare(
        predictions={OUTGOING: file},
        reason="compared with the recorded model in the studio",
        who=workspace.who,
        progress=work,
    )
    result = in_words(done.result)
    (replacement,) = result.replacements
    return {
        "comparison": result.comparison,
        "sentence": replacement.sentence,
        "meaning": meaning(result),
        "lines": [asdict(one) for one in replacement_lines(result, replacement)],
    }


def _present_account(workspace: Workspace) -> Path:
    """The folder of the account, which other servers do not have.

    Raises:
        NotFoundError: it is not on this one.
    """
    folder = workspace.root / ACCOUNT
    if not (folder / MANIFEST).exists():
        raise NotFoundError(
            "no fetched account is on the server that took this job.",
            where=str(folder),
            fix="Fetch the account first. If another server has fetched it, copy its folder "
            "`rescued` to this one, or stop the workers of this one and try again.",
        )
    return folder


def _present_files(workspace: Workspace, entries: UploadEntries) -> TuningFiles:
    """The files that were brought, which other servers do not have.

    Raises:
        NotFoundError: they are not on this one.
    """
    if uploads.find_upload(workspace, entries, "training") is None:
        raise NotFoundError(
            "the files are not on the server that took this job.",
            where=str(workspace.root / UPLOADS),
            fix="If another server has them, copy its folder `rescued` to this one, or stop the "
            "workers of this one and try again.",
        )
    return uploads.tuning_files(workspace, entries)


def _present_recordings(workspace: Workspace, model: str) -> Path:
    """The folder of a model's recorded answers; raises as `_present_account` where it is the
    account's and not here."""
    folder = _recordings_of(workspace, _planned(workspace, model))
    return _present_account(workspace) if folder == workspace.root / ACCOUNT else folder


def _planned(workspace: Workspace, model: str) -> dict[str, Any]:
    for one in read_rescue(workspace).planned:
        if one["model"] == model:
            return one
    raise NotFoundError(f"there is no project for {model}.", fix="Make the projects first.")


def _project_of(workspace: Workspace, planned: dict[str, Any]) -> Path:
    return workspace.root / PROJECTS / str(planned["project"])


WORKS: dict[str, Callable[[Workspace, Work], dict[str, Any]]] = {
    FETCH: _fetch,
    PLAN: _plan,
    RECORD: _record,
    COMPARE: _compare,
}
