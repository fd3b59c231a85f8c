"""Changing which agent a release points at: as a whole, and never half.

    promote(store, "support", "tickets", "fine-tune@2", who="ann")

Every change is one new row that says all that holds from now on, and its lines of the audit log
with it. They are there or they are not, whenever the process dies; old rows stay, and are what a
rollback goes back to.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import IntegrityError

from assay.agent.agent import Agent
from assay.agent.versions import AgentVersion, find_version, load_agent
from assay.compare.records import load_results
from assay.config.names import LONGEST_MESSAGE, check_text
from assay.errors import Step, UsageError
from assay.models.catalogue import CATALOGUE
from assay.quantities import say_share
from assay.release.evidence import Evidence, judge, judge_forced
from assay.release.releases import Release, ReleaseError, current, history, newest
from assay.store.audit import record
from assay.store.store import Store
from assay.store.tables import ReleaseRow, ServedNameRow

NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*|ft:[A-Za-z0-9._-]+(:[A-Za-z0-9._-]*){2,4}")
"""Also as OpenAI calls a model, `ft:BASE:ORGANISATION:SUFFIX:ID`, so that a release can answer in
the place of one that is gone."""
LONGEST_NAME = 100

Parity = Callable[[Agent], None]
"""Asks the engine that will serve an agent whether it answers as the one that was measured;
raises an `AssayError` that shows the first difference when it does not."""

Leaving = Callable[[str], dict[str, str]]
"""To which providers, by name their origin, an agent (`NAME@VERSION`) sends what it is asked;
raises an `AssayError` where nobody has agreed to one of them."""


class ReleaseNameError(UsageError):
    """No release can be called so."""


class ReasonError(UsageError):
    """What was given is no reason."""


def promote(
    store: Store,
    project: str,
    name: str,
    label: str,
    *,
    who: str,
    force: str | None = None,
    leaving: Leaving | None = None,
    parity: Parity | None = None,
) -> Release:
    """Let an agent answer all requests of a release; a canary that runs is over.

    Args:
        label: the agent, `NAME@VERSION`.
        force: why it is promoted although no comparison shows that it is fit; kept, with the
            comparison that measured it where there is one.
        leaving: see `Leaving`; asked first, and kept in the audit log.
        parity: see `Parity`; asked last before the change, whether forced or not.

    Raises:
        UnprovenError: no stored comparison shows that it is fit, and it was not forced.
        ReleaseError: it is served already, cannot be served, or the release was changed by
            somebody else meanwhile.
    """
    before = newest(store, project, check_name(store, name))
    version = find_version(store, label)
    if before is not None and before.agent == version.agent and before.canary is None:
        raise ReleaseError(f"{name} already serves {version.label}; nothing was changed.")
    away = _away(leaving, version.label)
    shown = None
    if before is None or before.agent != version.agent:
        shown = _fit(store, name, version, before, force, parity)
        comparison = shown.comparison if shown else None
    else:
        comparison = before.comparison  # the canary is over, the agent stays
    return _add(
        store,
        before,
        ReleaseRow(
            project=project,
            name=name,
            action="promote",
            agent=version.agent,
            label=version.label,
            share=0.0,
            previous=_came_from(before, version.agent),
            comparison=comparison,
            reason=force,
            who=who,
        ),
        {"to": version.label, "from": before.label if before else None, **_said(shown)},
        away,
    )


def canary(
    store: Store,
    project: str,
    name: str,
    share: float,
    label: str | None = None,
    *,
    who: str,
    force: str | None = None,
    leaving: Leaving | None = None,
    parity: Parity | None = None,
) -> Release:
    """Let an agent answer a share of the keys; 0 ends it.

    Args:
        share: 0 to below 1.
        label: the agent; None: the canary that runs gets another share.
        force, leaving, parity: as `promote`, which asks the same of an agent.

    Raises:
        UsageError: the share is no share, or it is not said whose.
        UnprovenError, ReleaseError: as `promote`.
    """
    if not 0 <= share < 1:
        raise UsageError(
            f"{say_share(share)} is not a valid share for a canary.",
            fix=f"Give 0 % to below 100 %; to serve all callers, use {Step.PROMOTE}.",
        )
    before = current(store, project, name)
    after = ReleaseRow(
        project=project,
        name=name,
        action="canary",
        agent=before.agent,
        label=before.label,
        share=share,
        previous=before.previous,
        comparison=before.comparison,
        reason=force,
        who=who,
    )
    if share == 0:
        if before.canary is None:
            raise ReleaseError(f"{name} has no canary; nothing was changed.")
        return _add(store, before, after, {"ended": before.canary_label})
    shown = away = None
    if label is None:
        if before.canary is None:
            raise UsageError(
                f"{name} has no canary.", fix="Name an agent to start one: NAME@VERSION."
            )
        after.canary, after.canary_label = before.canary, before.canary_label
    else:
        version = find_version(store, label)
        if version.agent == before.agent:
            raise ReleaseError(f"{name} already serves {version.label}; nothing was changed.")
        away = _away(leaving, version.label)
        if version.agent != before.canary:
            shown = _fit(store, name, version, before, force, parity)
        after.canary, after.canary_label = version.agent, version.label
    details = {"canary": after.canary_label, "share": share, **_said(shown)}
    return _add(store, before, after, details, away)


def rollback(
    store: Store,
    project: str,
    name: str,
    *,
    who: str,
    seen: int | None = None,
    leaving: Leaving | None = None,
) -> Release:
    """Take the last change back: end the canary that runs, else return to the agent before.

    A second call goes back further. Of an agent that has served before only `leaving` is asked,
    and of one that serves nothing.

    Args:
        seen: the number of the change that is to be taken back; None: the last one, whichever
            it is.

    Raises:
        ReleaseError: there is nothing to go back to, or another change came after `seen`.
    """
    before = current(store, project, name)
    if seen is not None and before.number != seen:
        raise ReleaseError(
            f"{name} was changed meanwhile ({before.done}: {before.canary_label or before.label}); "
            "nothing was rolled back.",
            fix="Load the page again, look at what answers now, and decide again.",
        )
    back = _back_to(store, before)
    away = _away(leaving, back.label) if before.canary is None else None
    return _add(
        store,
        before,
        ReleaseRow(
            project=project,
            name=name,
            action="rollback",
            agent=back.agent,
            label=back.label,
            share=0.0,
            previous=back.previous,
            comparison=back.comparison,
            who=who,
        ),
        {"to": back.label, "from": before.canary_label or before.label},
        away,
    )


def _back_to(store: Store, now: Release) -> Release:
    """What a rollback returns to: the release as it stands, where a canary would end."""
    if now.canary is not None:
        return now
    if now.previous is None:
        raise ReleaseError(
            f"{now.name} has served no other agent before {now.label}.",
            fix=f"{Step.RELEASE_HISTORY} shows every change.",
        )
    return next(r for r in history(store, now.project, now.name) if r.number == now.previous)


def check_name(store: Store, name: str) -> str:
    """The name, if a release can be called so.

    Raises:
        ReleaseNameError: it cannot.
    """
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise ReleaseNameError(
            f"{name!r} is not a valid release name." if name else "the release name is missing.",
            fix="The name of a fine-tuned model at OpenAI is ft:BASE:ORGANISATION:SUFFIX:ID, with "
            f"at most {LONGEST_NAME} characters."
            if name.startswith("ft:")
            else f"Use at most {LONGEST_NAME} lowercase letters, digits, single hyphens and dots.",
        )
    with store.session() as session:
        tuned = session.get(ServedNameRow, name) is not None
    if tuned or name in CATALOGUE:  # who asks by the name would not know which of two answers
        what = "model that was fine-tuned here" if tuned else "base model"
        raise ReleaseNameError(
            f"{name} is the name of a {what}.",
            fix="Use another name for the release.",
        )
    return name


def _fit(
    store: Store,
    name: str,
    version: AgentVersion,
    before: Release | None,
    force: str | None,
    parity: Parity | None,
) -> Evidence | None:
    """Refuse an agent that cannot or should not serve; what is known of it, None where it is forced
    and no comparison measured it."""
    agent = load_agent(store, version.agent)
    if agent.kind == "outside":
        raise ReleaseError(
            f"{version.label} contains stored answers and cannot answer new questions.",
            fix="Promote another agent.",
        )
    replaced = before.agent if before else None
    if force is None:
        shown: Evidence | None = judge(load_results(store), version.agent, replaced, name)
    elif not force.strip():
        raise ReasonError(
            "a promotion that is forced needs a reason.", fix="Give the reason; it is logged."
        )
    else:
        try:
            check_text(force, "the reason", LONGEST_MESSAGE)
        except UsageError as error:
            raise ReasonError(error.what, fix=error.fix) from None
        shown = judge_forced(lambda: load_results(store), version.agent, replaced, name)
    if parity is not None:
        parity(agent)
    return shown


def _away(leaving: Leaving | None, label: str) -> dict[str, Any] | None:
    """What the audit log says of where an agent sends requests; None: they stay here."""
    providers = leaving(label) if leaving is not None else {}
    return {"agent": label, "providers": providers} if providers else None


def _said(shown: Evidence | None) -> dict[str, str]:
    """What the audit log says of the evidence."""
    if shown is None:
        return {}
    said = "shown" if shown.is_proven else "not_shown"
    return {"comparison": shown.comparison, said: shown.sentence}


def _came_from(before: Release | None, agent: str) -> int | None:
    """What a rollback of a promotion brings back: the change before, if it had another agent."""
    if before is None:
        return None
    return before.previous if before.agent == agent else before.number


def _add(
    store: Store,
    before: Release | None,
    row: ReleaseRow,
    details: dict[str, Any],
    away: dict[str, Any] | None = None,
) -> Release:
    """Add the change and its lines of the audit log in one transaction.

    What the change was decided on must still hold: of two that decide at once, one is refused.
    """
    row.number = before.number + 1 if before else 1
    if row.reason is not None:
        details = {**details, "forced": row.reason}
    try:
        with store.session() as session:
            session.add(row)
            record(session, row.project, row.who, f"release.{row.action}", row.name, details)
            if away is not None:
                record(session, row.project, row.who, "release.sends_away", row.name, away)
    except IntegrityError:
        raise ReleaseError(
            f"{row.name} was changed by another process meanwhile; nothing was changed.",
            fix=f"Check {Step.RELEASE_HISTORY} and try again.",
        ) from None
    return Release.of(row)
