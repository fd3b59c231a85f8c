"""`assay traces`: on, off, list, show, feedback, next, label, to-data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.markup import escape

from assay.cli.output import as_json, console, table

app = typer.Typer(
    help="Requests that were served and kept, and what is said of them.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Option("--project", help="the project's folder")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
Id = Annotated[str, typer.Argument(help="of a trace")]
Release = Annotated[str, typer.Argument(help="the release's name")]

SHOWN = 60  # characters of a text in a list


@app.command()
def on(
    release: Release,
    sample: Annotated[
        float, typer.Option(help="share drawn at random to be labelled, 0 to 1")
    ] = 0.1,
    days: Annotated[int, typer.Option(help="deleted after so many")] = 30,
    most: Annotated[int, typer.Option(help="kept at most; the oldest go first")] = 10_000,
    folder: Folder = Path("."),
) -> None:
    """Keep the requests of a release from now on, with personal data replaced."""
    from assay import project
    from assay.project import releases

    workspace = project.open_workspace(folder)
    releases.traces_on(workspace, release, sample=sample, days=days, most=most)
    print(
        f"Requests to {release} are kept for {days} days, {most} at most; {100 * sample:g}% are "
        "drawn to be labelled."
    )


@app.command()
def off(
    release: Release,
    delete: Annotated[bool, typer.Option("--delete", help="those that were kept, too")] = False,
    folder: Folder = Path("."),
) -> None:
    """Keep no more requests of a release."""
    from assay import project
    from assay.project import releases

    gone = releases.traces_off(project.open_workspace(folder), release, delete=delete)
    print(f"Requests to {release} are not kept any more." + (f" {gone} deleted." if delete else ""))


@app.command("list")
def list_(
    release: Annotated[str | None, typer.Argument(help="of one release; none: of all")] = None,
    count: Annotated[
        int, typer.Option("-n", min=1, max=100_000, help="how many, newest first")
    ] = 20,
    corrected: Annotated[
        bool, typer.Option("--corrected", help="only those with a corrected answer")
    ] = False,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """List the newest traces first."""
    from assay import project
    from assay.project import releases

    workspace = project.open_workspace(folder)
    found = releases.list_traces(workspace, release, count=count, corrected=corrected)
    if json:
        as_json([trace.to_dict() for trace in found])
        return
    rows = table(None, "trace", "release", "asked", "answer", "feedback", "sample", "at")
    for trace in found:
        said = [trace.thumb, "corrected" if trace.corrected is not None else None]
        rows.add_row(
            trace.id,
            trace.release,
            _short(trace.messages[-1].get("content")),
            _short(trace.answer.get("content")),
            ", ".join(word for word in said if word),
            "yes" if trace.sampled else "",
            trace.at.isoformat(),
        )
    console.print(rows if found else "No traces are kept; `assay traces on RELEASE` keeps them.")


def _short(text: Any) -> str:
    line = " ".join(str(text or "").split())
    return escape(line if len(line) <= SHOWN else f"{line[: SHOWN - 3]}...")


@app.command()
def show(id: Id, folder: Folder = Path("."), json: AsJson = False) -> None:
    """Show a trace, whole: its conversation, answer and labels."""
    from assay import project
    from assay.project import releases

    _print(releases.show_trace(project.open_workspace(folder), id), json)


def _print(trace: Any, json: bool) -> None:
    if json:
        as_json(trace.to_dict())
        return
    print(f"# {trace.id}, {trace.release}, {trace.at.isoformat()}")
    for message in [*trace.messages, trace.answer]:
        print(f"{message['role']}: {message.get('content') or ''}")
        for call in message.get("tool_calls") or ():
            print(f"  calls {call['function']['name']}({call['function']['arguments']})")
    if trace.masked:
        print(f"({trace.masked} secrets and items of personal data were replaced)")
    if trace.thumb:
        print(f"thumb: {trace.thumb}")
    if trace.corrected is not None:
        print(f"should have been: {trace.corrected}")


@app.command()
def feedback(
    id: Id,
    thumb: Annotated[str | None, typer.Option(help="up or down")] = None,
    answer: Annotated[str | None, typer.Option(help="what would have been right")] = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Attach a thumb or the right answer to a trace."""
    from assay import project
    from assay.project import releases

    workspace = project.open_workspace(folder)
    said = releases.give_feedback(workspace, id, thumb=cast(Any, thumb), corrected=answer)
    if json:
        as_json(said.to_dict())
    else:
        print(f"Kept with {id}.")


@app.command("next")
def next_(release: Release, folder: Folder = Path("."), json: AsJson = False) -> None:
    """The trace of the random sample that is to be labelled next, for `assay watch`."""
    from assay import project
    from assay.project import releases

    found = releases.next_to_label(project.open_workspace(folder), release)
    if found is not None:
        _print(found, json)
    elif json:
        as_json(None)
    else:
        print("Every trace of the sample has its label.")


@app.command()
def label(
    id: Id,
    right: Annotated[bool, typer.Option("--right", help="the answer is as it should be")] = False,
    answer: Annotated[str | None, typer.Option(help="what it should have been")] = None,
    skip: Annotated[bool, typer.Option("--skip", help="it cannot be told")] = False,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Say what a sampled answer is worth; strictly in the order of `assay traces next`."""
    from assay import project
    from assay.project import releases

    workspace = project.open_workspace(folder)
    score = releases.label_trace(workspace, id, right=right, answer=answer, skip=skip)
    if json:
        as_json({"trace": id, "score": score})
    else:
        print("Skipped." if score is None else f"Labelled: {score:g}.")


@app.command("to-data")
def to_data(
    to: Annotated[Path, typer.Argument(help="the file of examples that is written")],
    release: Annotated[str | None, typer.Option(help="of one release; none: of all")] = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Turn corrected traces into examples; what the data checks reject is kept with its reason."""
    from assay import project
    from assay.project import releases

    done = releases.traces_to_data(project.open_workspace(folder), to, release)
    if json:
        as_json(done.to_dict())
        return
    print(f"{done.written} examples" + (f" written to {done.file}." if done.file else "."))
    if done.masked:
        print(f"In {done.masked} of them personal data stands replaced; look at these.")
    if done.rejected:
        print(f"{done.rejected} were rejected: {done.rejected_file} says why.")
    for code, count in done.counts.items():
        print(f"  {code}: {count}")
