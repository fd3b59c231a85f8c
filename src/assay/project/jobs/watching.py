"""Releases that are watched by the clock: a job that is queued again, and tells what is new.

job = watch_every(workspace, "support", "1d", mail=["ops@acme.com"])
watch_no_more(workspace, "support")

It reads labels of served answers, and never opens the holdout. Whoever opens it is told of, too.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from assay.compare.holdout import LoggedOpening, opened_holdouts, openings
from assay.data.split import has_split, read_manifest
from assay.errors import AssayError, StoreError, UsageError
from assay.example import json_sha256
from assay.jobs import queue
from assay.jobs.queue import OVER, Job, JobLostError
from assay.jobs.service import WATCH
from assay.jobs.worker import UNEXPECTED, RepeatedJob, Work
from assay.log_lines import printable
from assay.project import releases
from assay.project.jobs.queueing import LOCK
from assay.project.releases.notices import (
    Notice,
    NoticeError,
    check_mail,
    check_webhook,
    send_mail,
    send_webhook,
)
from assay.project.workspace import Workspace
from assay.release.watch import DROP
from assay.store.audit import audit
from assay.store.tables import exactly_now

log = logging.getLogger(__name__)

_EVERY = re.compile(r"(\d{1,4})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LEAST, MOST = timedelta(minutes=5), timedelta(days=366)
AGAIN = timedelta(minutes=15)
"""After a message was not delivered or a look met a fault; twice as long after each further one."""
FAULTS = 3
"""So many looks in a row that met a fault are told of."""
MOST_RECIPIENTS = 20
SENDING_S = 60.0
"""For all messages of a look, the one that is under way not counted: other jobs wait meanwhile."""
LONGEST = 300
_HARMLESS = str.maketrans("<>@[]`", "‹›＠()'")
_WORDS = {"stale": "is stale", "holds": "holds", "open": "is undecided"}


@dataclass(frozen=True, slots=True)
class Opened:
    """An opening in the log.

    Attributes:
        is_earlier: it was of a holdout that has been renewed since.
    """

    logged: LoggedOpening
    is_earlier: bool


def parse_every(text: str) -> timedelta:
    """How often: `30m`, `12h`, `1d`, `2w`.

    Raises:
        UsageError: it is none of these, below `LEAST` or above `MOST`.
    """
    found = _EVERY.fullmatch(text.strip())
    every = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None
    if every is None or not LEAST <= every <= MOST:
        raise UsageError(
            f"{text!r} is no time from 5 minutes to 366 days.",
            where="--every",
            fix="Write one such as 30m, 12h, 1d or 2w; `off` ends it.",
        )
    return every


def watch_every(
    workspace: Workspace,
    name: str,
    every: str,
    *,
    drop: float = DROP,
    against: float | None = None,
    mail: Sequence[str] = (),
    webhooks: Sequence[str] = (),
    networks: Sequence[str] = (),
) -> Job:
    """Watch a release from now on, in place of how it was watched before.

    Args:
        drop, against: as of `releases.watch_release`.
        mail, webhooks: who is told.
        networks: private ones that webhooks may be in.

    Raises:
        UsageError: nobody is to be told, an address or a time is none, or the release has no score.
        ReleaseError: there is no such release.
    """
    seconds = parse_every(every).total_seconds()
    if not 1 <= len(mail) + len(webhooks) <= MOST_RECIPIENTS:
        raise UsageError(
            f"between 1 and {MOST_RECIPIENTS} recipients can be told.",
            fix="Name one with --mail or --webhook.",
        )
    payload = {
        "release": name,
        "every": every.strip(),
        "every_s": seconds,
        "drop": drop,
        "against": against,
        "mail": [check_mail(one) for one in dict.fromkeys(mail)],
        "webhooks": [check_webhook(one, networks) for one in dict.fromkeys(webhooks)],
        "networks": list(networks),
        "who": workspace.who,
    }
    releases.watch_release(workspace, name, drop=drop, against=against)  # refused before it waits
    store = workspace.store
    with store.lock(LOCK):
        _end(workspace, name)
        id = queue.enqueue(store, workspace.name, WATCH, payload, id=queue.new_id(WATCH))
    details = {"every": every, "mail": len(mail), "webhooks": len(webhooks)}  # no address
    audit(store, workspace.name, workspace.who, "release.watch", name, details)
    return queue.read(store, id)


def watch_no_more(workspace: Workspace, name: str) -> int:
    """End the watching of a release; returns how many jobs that were."""
    with workspace.store.lock(LOCK):
        ended = _end(workspace, name)
    if ended:
        audit(
            workspace.store, workspace.name, workspace.who, "release.watch", name, {"every": None}
        )
    return ended


def _end(workspace: Workspace, name: str) -> int:
    found = [
        job
        for job in queue.jobs(workspace.store, workspace.name, (WATCH,))
        if job.status not in OVER and job.payload["release"] == name
    ]
    for job in found:
        queue.ask(workspace.store, job.id, "cancel")
    return len(found)


def work(workspace: Workspace, work: Work) -> RepeatedJob:
    """Look once, and tell each recipient what it was not told yet."""
    result = {"told": {}, "tries": 0, **(work.job.result or {}), "failed": {}}
    error = None
    try:
        _tell(workspace, work, result, *_look(workspace, work.payload))
    except JobLostError:
        raise
    except Exception as fault:  # ends no watch: who hears nothing thinks that all is well
        log.exception("%s could not look", work.job.id)
        error = str(fault) if isinstance(fault, AssayError) else f"{UNEXPECTED} ({_kind(fault)})."
        if result["tries"] + 1 >= FAULTS:
            with suppress(Exception):
                _tell(workspace, work, result, _failure(error), None)
    result["tries"] = result["tries"] + 1 if error or result["failed"] else 0
    return RepeatedJob(result, _until_next(work, result), error)


def _until_next(work: Work, result: dict[str, Any]) -> timedelta:
    """Until the next look that is planned, which no look or failure puts off; sooner, and each time
    later, after something failed."""
    every, at = timedelta(seconds=work.payload["every_s"]), exactly_now()
    planned = datetime.fromisoformat(result.get("planned") or work.job.created.isoformat())
    planned += every * ((at - planned) // every + 1)
    result["planned"] = planned.isoformat()
    soon = AGAIN * 2 ** min(result["tries"] - 1, 16) if result["tries"] else MOST
    return min(planned - at, soon)


def _tell(
    workspace: Workspace,
    work: Work,
    result: dict[str, Any],
    found: dict[str, Any],
    opened: Sequence[Opened] | None,
) -> None:
    """Tell each recipient what is new to it; whom it told is kept at once.

    Args:
        opened: every opening; None: it could not be read.
    """
    payload = work.payload
    result |= found
    told, failed = result["told"], result["failed"]
    recipients: dict[str, Callable[[Notice], None]] = {
        f"mail {n}": partial(send_mail, address=one) for n, one in enumerate(payload["mail"], 1)
    }
    for n, one in enumerate(payload["webhooks"], 1):
        recipients[f"webhook {n}"] = partial(send_webhook, url=one, networks=payload["networks"])
    end = time.monotonic() + SENDING_S
    for recipient, send in recipients.items():  # an address may hold a secret: it is not shown
        before = told.get(recipient)
        count = len(opened) if opened is not None else before["openings"] if before else 0
        state = {"outcome": found["outcome"], "agent": found["agent"], "openings": count}
        if before and all(before[name] == value for name, value in state.items()):
            continue
        number = before.get("number", 0) + 1 if before else 1
        id = json_sha256([work.job.id, recipient, number, state])[:32]
        notice = _notice(workspace, payload, found, opened or [], before, id)
        try:
            if time.monotonic() > end:
                raise NoticeError("others took too long; it comes next time.")
            send(notice)
        except NoticeError as error:
            failed[recipient] = str(error)
        except Exception as error:  # its words may repeat the address
            failed[recipient] = f"{UNEXPECTED} ({_kind(error)})."
        if recipient in failed:
            work.say(f"{recipient} was not told: {failed[recipient]}")
            continue
        told[recipient] = {**state, "number": number}
        work.keep(result)
        work.say(f"{recipient} was told: {notice.subject}.")


def _kind(error: Exception) -> str:
    return type(error).__name__


def _failure(sentence: str) -> dict[str, Any]:
    return {"outcome": "failed", "agent": None, "sentence": sentence}


def _look(workspace: Workspace, payload: dict[str, Any]) -> tuple[dict[str, Any], list[Opened]]:
    """What is found, and every opening, the oldest first."""
    store = workspace.store
    present = _present_holdout(workspace)
    opened = [
        Opened(one, is_earlier=holdout != (present or holdout))
        for holdout in opened_holdouts(store)
        for one in openings(store, holdout)
    ]
    opened.sort(key=lambda one: one.logged.at)
    try:
        found = releases.watch_release(
            workspace, payload["release"], drop=payload["drop"], against=payload["against"]
        )
    except StoreError:  # a database that is away for a moment
        raise
    except AssayError as error:  # such as a release whose agent nobody has measured
        return _failure(str(error)), opened
    return {"outcome": found.outcome, "agent": found.agent, "sentence": found.sentence}, opened


def _present_holdout(workspace: Workspace) -> str | None:
    """Its sha256; None: it is not known here."""
    project = workspace.project
    if project is None or not has_split(project.split_folder):
        return None
    return read_manifest(project.split_folder).holdout_sha256


def _notice(
    workspace: Workspace,
    payload: dict[str, Any],
    found: dict[str, Any],
    opened: Sequence[Opened],
    before: dict[str, Any] | None,
    id: str,
) -> Notice:
    name, every = payload["release"], payload["every"]
    fresh = opened[before["openings"] :] if before else []
    subject = f"Assay: {name} {_WORDS.get(found['outcome'], 'could not be watched')}"
    if before and fresh and before["outcome"] == found["outcome"]:
        subject = f"Assay: the holdout of {workspace.name} was opened"
    answers = f" ({found['agent']})" if found["agent"] else ""
    lines = [f"{name}{answers} in the project {workspace.name}:", found["sentence"], ""]
    lines += _about_openings(opened, fresh, is_first=before is None)
    lines += [
        "Watching opens nothing: it reads labels of answers that were served.",
        f"It is looked at every {every}; you are told when this changes.",
        f"To end it: assay watch {name} --every off",
    ]
    data = {
        "id": id,
        "type": "assay.watch",
        "project": workspace.name,
        "release": name,
        **found,
        "openings": [
            one.logged.model_dump(include={"number", "at", "reason", "who"})
            | {"is_earlier": one.is_earlier}
            for one in fresh
        ],
    }
    return Notice(id, subject, "\n".join(lines) + "\n", data)


def _about_openings(
    opened: Sequence[Opened], fresh: Sequence[Opened], *, is_first: bool
) -> Iterator[str]:
    if is_first:
        earlier = sum(one.is_earlier for one in opened)
        before = f" (earlier ones {_times(earlier)})" if earlier else ""
        yield f"The holdout was opened {_times(len(opened) - earlier)} so far{before};"
        yield "you are told of each further opening."
    elif fresh:
        yield "The holdout was opened since the last message:"
        for one in fresh:
            which = " of an earlier holdout" if one.is_earlier else ""
            logged = one.logged
            who, reason = quotable(logged.who or "unknown"), quotable(logged.reason)
            yield f"- opening {logged.number}{which}, {logged.at}, by {who}: “{reason}”"
    else:
        return
    yield ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def quotable(text: str) -> str:
    """What somebody else wrote, as one short line in which a chat program finds no link and calls
    nobody."""
    text = printable(text)
    text = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    return text.translate(_HARMLESS).replace("://", ": //")
