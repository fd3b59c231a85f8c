"""`assay release` and `assay watch`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.accounts.authors import format_author
from assay.cli.options import Folder, ask_consent, open_workspace, with_json
from assay.cli.output import print_table
from assay.cli.progress import Terminal
from assay.errors import UsageError
from assay.quantities import say_count, say_share

app = typer.Typer(
    help="Manage releases: names under which agents are served.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The name of the release, such as support.")]
Force = Annotated[
    str | None,
    typer.Option(
        "--force", metavar="REASON", help="Skip the check of comparisons; the reason is logged."
    ),
]
Consent = Annotated[
    list[str] | None,
    typer.Option(help="Provider that may receive users' requests; remembered. Repeatable."),
]


@app.command()
@with_json(lambda done: f"{done.name} now serves {done.label} (change {done.number}).")
def promote(
    name: Name,
    agent: Annotated[
        str, typer.Argument(metavar="AGENT@VERSION", help="The agent, such as fine-tune@2.")
    ],
    force: Force = None,
    consent: Consent = None,
    folder: Folder = Path("."),
) -> Any:
    """Serve an agent to all callers, if a stored comparison shows that it is no worse."""
    from assay.project import releases

    workspace, terminal = open_workspace(folder), Terminal()
    return ask_consent(
        lambda agreed: releases.promote(
            workspace, name, agent, force=force, consent=agreed, progress=terminal
        ),
        consent,
    )


def _describe_canary(done: Any) -> str:
    if done.canary is None:
        return f"{done.name} now serves only {done.label} (change {done.number})."
    return (
        f"{done.name} now serves {done.canary_label} to {say_share(done.share)} of the callers, "
        f"{done.label} to the others (change {done.number})."
    )


@app.command()
@with_json(_describe_canary)
def canary(
    name: Name,
    share: Annotated[
        str,
        typer.Argument(
            metavar="SHARE", help="Share of the callers, such as 10%; 0% ends the canary."
        ),
    ],
    agent: Annotated[
        str | None,
        typer.Argument(metavar="AGENT@VERSION", help="The agent. Default: the current canary."),
    ] = None,
    force: Force = None,
    consent: Consent = None,
    folder: Folder = Path("."),
) -> Any:
    """Serve an agent to a share of the callers; each caller always gets the same agent."""
    from assay.project import releases

    workspace, terminal, part = open_workspace(folder), Terminal(), _parse_share(share)
    return ask_consent(
        lambda agreed: releases.canary(
            workspace, name, part, agent, force=force, consent=agreed, progress=terminal
        ),
        consent,
    )


def _parse_share(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a share.", fix="Write a percentage such as 10%."
        ) from None


@app.command()
@with_json(lambda done: f"{done.name} serves {done.label} again (change {done.number}).")
def rollback(name: Name, consent: Consent = None, folder: Folder = Path(".")) -> Any:
    """Undo the last change: end the canary or, without one, return to the previous agent."""
    from assay.project import releases

    workspace = open_workspace(folder)
    return ask_consent(lambda agreed: releases.rollback(workspace, name, consent=agreed), consent)


def _print_history(found: Any) -> None:
    rows = []
    for change in found:
        running = f"{change.canary_label} {say_share(change.share)}" if change.canary else ""
        word = f"comparison {change.comparison[:16]}" if change.comparison else ""
        if change.reason:
            word = f"forced: {change.reason}" + (f" ({word})" if word else "")
        who = format_author(change.who)
        rows.append((change.number, change.done, change.label, running, word, who, change.at))
    print_table(("", "change", "agent", "canary", "evidence", "by", "at"), rows)


@app.command()
@with_json(_print_history)
def history(name: Name, folder: Folder = Path(".")) -> Any:
    """List the changes of a release, newest first."""
    from assay.project import releases

    return releases.history(open_workspace(folder), name)


def _print_releases(found: Any) -> None:
    rows = []
    for one in found:
        running = f"{one['canary']} {say_share(one['share'])}" if one["canary"] else ""
        traces = "kept" if one["traces"] else "off"
        rows.append((one["name"], one["agent"], running, traces, datetime.fromisoformat(one["at"])))
    none = "There are no releases yet. `assay release promote` creates one."
    print_table(("release", "agent", "canary", "traces", "since"), rows, none=none)


@app.command("list")
@with_json(_print_releases)
def list_(folder: Folder = Path(".")) -> Any:
    """List all releases and the agents that they serve."""
    from assay.project import releases

    return releases.list_releases(open_workspace(folder))


def _print_proposals(found: Any) -> None:
    rows = [
        (one.release, one.agent, one.reason, one.doubt or "", format_author(one.who), one.at)
        for one in found
    ]
    none = "Nothing is proposed."
    print_table(("release", "agent", "reason", "doubt", "by", "at"), rows, none=none)


@app.command()
@with_json(_print_proposals)
def proposals(folder: Folder = Path(".")) -> Any:
    """List promotions that programs propose; `assay release promote` accepts one.

    A proposal is open until its release is changed.
    """
    from assay.project.releases import proposals

    return proposals.proposals(open_workspace(folder))


def _print_watched(found: Any) -> None:
    print(f"{found.release} ({found.agent}): {found.sentence}")
    if found.outcome == "open" and found.needed is None:
        print("`--drop` sets the fall that is tested: 0.2 is 20 points.")
    if found.skipped:
        skipped = say_count(found.skipped, "trace of the sample was", "traces of the sample were")
        print(f"{skipped} skipped; many skips bias the figures.")
    if found.waiting:
        have = say_count(found.waiting, "trace has", "traces have")
        print(f"{have} no label yet: `assay traces next {found.release}`.")


def _print_watch(found: Any) -> None:
    if isinstance(found, dict):
        _print_schedule(found)
    else:
        _print_watched(found)


def _print_schedule(found: dict[str, Any]) -> None:
    if found["every"] is None:
        ended = "is no longer watched" if found["ended"] else "was not watched by the clock"
        print(f"{found['release']} {ended}.")
        return
    print(
        f"{found['release']} is looked at every {found['every']}, from now on, by a worker: "
        "`assay serve` has one, `assay worker` is one."
    )
    print(f"Whether it was told: assay jobs logs {found['job']}")


@with_json(_print_watch)
def watch(
    name: Name,
    drop: Annotated[
        float, typer.Option(help="The fall of the score to detect; 0.1 is 10 points.")
    ] = 0.1,
    against: Annotated[
        float | None,
        typer.Option(help="Score to compare with, if none was measured at promotion."),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(help="Let a worker look so often, such as 12h or 1d; off ends it."),
    ] = None,
    mail: Annotated[
        list[str] | None,
        typer.Option(help="With --every: e-mail address that is told what is new. Repeatable."),
    ] = None,
    webhook: Annotated[
        list[str] | None,
        typer.Option(help="With --every: URL that is told by POST; ${NAME}: a variable."),
    ] = None,
    webhook_network: Annotated[
        list[str] | None,
        typer.Option(help="Private network that webhooks may be in, such as 10.2.0.0/16."),
    ] = None,
    folder: Folder = Path("."),
) -> Any:
    """Test whether a release has become worse, or say how many labels the test needs.

    With --every, a worker tests again and again, and tells what has changed. The holdout is never
    opened by it.
    """
    from assay.project import releases

    workspace = open_workspace(folder)
    if every is None:
        if mail or webhook or webhook_network:
            raise UsageError("nobody is told without --every.", fix="Add --every 1d.")
        return releases.watch_release(workspace, name, drop=drop, against=against)
    from assay.project.jobs import watching

    if every == "off":
        return {
            "release": name,
            "every": None,
            "ended": watching.watch_no_more(workspace, name),
        }
    job = watching.watch_every(
        workspace,
        name,
        every,
        drop=drop,
        against=against,
        mail=mail or (),
        webhooks=webhook or (),
        networks=webhook_network or (),
    )
    return {"release": name, "every": every, "job": job.id}
