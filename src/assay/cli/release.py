"""`assay release` and `assay watch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from assay.cli.output import as_json, console, table
from assay.cli.progress import Terminal
from assay.errors import UsageError

app = typer.Typer(
    help="Names that point at agents: promote, canary, rollback.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Option("--project", help="the project's folder")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
Name = Annotated[str, typer.Argument(help="the release's name, such as support")]
Force = Annotated[
    str | None,
    typer.Option("--force", metavar="REASON", help="without a comparison; the reason is logged"),
]
Consent = Annotated[
    list[str] | None,
    typer.Option(help="a provider that users' requests may be sent to; kept; repeatable"),
]


@app.command()
def promote(
    name: Name,
    agent: Annotated[str, typer.Argument(metavar="AGENT@VERSION", help="such as fine-tune@2")],
    force: Force = None,
    consent: Consent = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Let an agent answer everything, if a stored comparison shows that it is no worse."""
    from assay import project
    from assay.cli.consent import asking
    from assay.project import releases

    workspace, terminal = project.open_workspace(folder), Terminal()
    done = asking(
        lambda agreed: releases.promote(
            workspace, name, agent, force=force, consent=agreed, progress=terminal
        ),
        consent,
    )
    if json:
        as_json(done.to_dict())
    else:
        print(f"{name} is at {done.label} (change {done.number}).")


@app.command()
def canary(
    name: Name,
    share: Annotated[str, typer.Argument(metavar="SHARE", help="such as 10%; 0% ends it")],
    agent: Annotated[
        str | None,
        typer.Argument(metavar="AGENT@VERSION", help="none: the canary that runs"),
    ] = None,
    force: Force = None,
    consent: Consent = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Let an agent answer a share of the callers, each of whom keeps to one agent."""
    from assay import project
    from assay.cli.consent import asking
    from assay.project import releases

    workspace, terminal, part = project.open_workspace(folder), Terminal(), _share(share)
    done = asking(
        lambda agreed: releases.canary(
            workspace, name, part, agent, force=force, consent=agreed, progress=terminal
        ),
        consent,
    )
    if json:
        as_json(done.to_dict())
    elif done.canary is None:
        print(f"{name} is at {done.label} alone (change {done.number}).")
    else:
        print(
            f"{name}: {done.canary_label} answers {100 * done.share:g}% of the callers, "
            f"{done.label} the others (change {done.number})."
        )


def _share(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise UsageError(f"{text!r} is no share.", fix="Write it as 10%.") from None


@app.command()
def rollback(
    name: Name, consent: Consent = None, folder: Folder = Path("."), json: AsJson = False
) -> None:
    """Take the last change back: the canary that runs, else the agent before."""
    from assay import project
    from assay.cli.consent import asking
    from assay.project import releases

    workspace = project.open_workspace(folder)
    done = asking(lambda agreed: releases.rollback(workspace, name, consent=agreed), consent)
    if json:
        as_json(done.to_dict())
    else:
        print(f"{name} is at {done.label} again (change {done.number}).")


@app.command()
def history(name: Name, folder: Folder = Path("."), json: AsJson = False) -> None:
    """Every change of a release, newest first."""
    from assay import project
    from assay.project import releases

    found = releases.history(project.open_workspace(folder), name)
    if json:
        as_json([change.to_dict() for change in found])
        return
    rows = table(None, "", "change", "agent", "canary", "on the word of", "by", "at")
    for change in found:
        running = f"{change.canary_label} {100 * change.share:g}%" if change.canary else ""
        word = f"comparison {change.comparison[:16]}" if change.comparison else ""
        rows.add_row(
            str(change.number),
            change.action,
            escape(change.label),
            escape(running),
            escape(f"forced: {change.reason}" if change.reason else word),
            escape(change.who),
            change.at.isoformat(),
        )
    console.print(rows)


@app.command("list")
def list_(folder: Folder = Path("."), json: AsJson = False) -> None:
    """Every release as it stands."""
    from assay import project
    from assay.project import releases

    found = releases.listed(project.open_workspace(folder))
    if json:
        as_json(found)
        return
    rows = table(None, "release", "agent", "canary", "traces", "since")
    for release in found:
        running = f"{release['canary']} {100 * release['share']:g}%" if release["canary"] else ""
        rows.add_row(
            release["name"],
            escape(release["agent"]),
            escape(running),
            "kept" if release["traces"] else "off",
            release["at"],
        )
    console.print(rows if found else "There are no releases; `assay release promote` makes one.")


def watch(
    name: Name,
    drop: Annotated[
        float, typer.Option(help="the fall of the score that is watched for; 0.1 is 10 points")
    ] = 0.1,
    against: Annotated[
        float | None, typer.Option(help="a score, where none was measured at promotion")
    ] = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Say whether a release has gone stale, or how many labels it takes to tell."""
    from assay import project
    from assay.project import releases

    found = releases.watch_release(project.open_workspace(folder), name, drop=drop, against=against)
    if json:
        as_json(found.to_dict())
        return
    print(f"{found.release} ({found.agent}): {found.sentence}")
    if found.skipped:
        print(
            f"{found.skipped} traces of the sample were skipped; if many were, doubt the figures."
        )
    if found.waiting:
        print(f"{found.waiting} traces wait for a label: `assay traces next {found.release}`.")
