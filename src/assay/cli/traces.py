"""`assay traces`: on, off, list, show, feedback, next, label, to-data."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from assay.cli.options import Folder, open_workspace, with_json
from assay.cli.output import print_table, shorten
from assay.errors import AssayError
from assay.quantities import say_count, say_share, say_time

app = typer.Typer(
    help="Manage traces: requests that are kept with their answers, feedback and labels.",
    no_args_is_help=True,
)

Id = Annotated[str, typer.Argument(help="Id of a trace, as `assay traces list` shows it.")]
Release = Annotated[str, typer.Argument(help="The name of the release.")]

SHOWN = 60  # characters of a text in a list


@app.command()
def on(
    release: Release,
    sample: Annotated[
        float, typer.Option(help="Share drawn at random for labelling, 0 to 1.")
    ] = 0.1,
    days: Annotated[int, typer.Option(help="Days after which a trace is deleted.")] = 30,
    most: Annotated[
        int, typer.Option(help="Maximum number of traces; the oldest are deleted first.")
    ] = 10_000,
    folder: Folder = Path("."),
) -> None:
    """Start keeping traces of a release, with personal data replaced.

    Prints how many labels `assay watch` will need, as far as a score was measured.
    """
    from assay.project import releases

    releases.traces_on(open_workspace(folder), release, sample=sample, days=days, most=most)
    print(
        f"Requests to {release} are kept for {say_count(days, 'day')}, at most {most}; "
        f"{say_share(sample)} are drawn for labelling."
    )
    with suppress(AssayError):  # promoted without a score that answers can be held against
        watched = releases.watch_release(open_workspace(folder), release)
        if watched.needed is not None:
            requests = round(watched.needed / sample) if sample else None
            print(
                f"`assay watch {release}` needs about {say_count(watched.needed, 'label')} to "
                f"notice a fall of {100 * watched.drop:g} points"
                + (f", so about {say_count(requests, 'request')}." if requests else ".")
            )


@app.command()
def off(
    release: Release,
    delete: Annotated[
        bool, typer.Option("--delete", help="Also delete the traces that there are.")
    ] = False,
    folder: Folder = Path("."),
) -> None:
    """Stop keeping traces of a release."""
    from assay.project import releases

    gone = releases.traces_off(open_workspace(folder), release, delete=delete)
    print(
        f"Requests to {release} are no longer kept."
        + (f" {say_count(gone, 'trace')} deleted." if delete else "")
    )


def _say(message: dict[str, Any]) -> str:
    from assay.chat.plain_calls import say_turn
    from assay.example import Message

    return say_turn(Message.from_dict(message))


def _print_traces(found: Any) -> None:
    rows = []
    for trace in found:
        said = [trace.thumb, "corrected" if trace.corrected is not None else None]
        rows.append(
            (
                trace.id,
                trace.release,
                shorten(_say(trace.messages[-1]), SHOWN),
                shorten(_say(trace.answer), SHOWN),
                ", ".join(word for word in said if word),
                "yes" if trace.sampled else "",
                trace.at,
            )
        )
    columns = ("trace", "release", "asked", "answer", "feedback", "sample", "at")
    print_table(
        columns,
        rows,
        none="There are no traces yet. `assay traces on RELEASE` starts keeping them.",
    )


@app.command("list")
@with_json(_print_traces)
def list_(
    release: Annotated[str | None, typer.Argument(help="The release. Default: all.")] = None,
    count: Annotated[
        int, typer.Option("-n", min=1, max=100_000, help="Number of traces, newest first.")
    ] = 20,
    corrected: Annotated[
        bool, typer.Option("--corrected", help="Only traces with a corrected answer.")
    ] = False,
    folder: Folder = Path("."),
) -> Any:
    """List traces, newest first, of one release or of all."""
    from assay.project import releases

    return releases.list_traces(open_workspace(folder), release, count=count, corrected=corrected)


def _print_trace(trace: Any) -> None:
    print(f"# {trace.id}, {trace.release}, {say_time(trace.at)}")
    for message in [*trace.messages, trace.answer]:
        print(f"{message['role']}: {_say(message)}")
    if trace.masked:
        print(f"(secrets or items of personal data replaced: {trace.masked})")
    if trace.thumb:
        print(f"thumb: {trace.thumb}")
    if trace.corrected is not None:
        print(f"corrected answer: {trace.corrected}")


@app.command()
@with_json(_print_trace)
def show(id: Id, folder: Folder = Path(".")) -> Any:
    """Show a whole trace: its conversation, answer and labels."""
    from assay.project import releases

    return releases.show_trace(open_workspace(folder), id)


@app.command()
@with_json(lambda trace: f"Saved with {trace.id}.")
def feedback(
    id: Id,
    thumb: Annotated[str | None, typer.Option(help="up or down.")] = None,
    answer: Annotated[str | None, typer.Option(help="The right answer.")] = None,
    folder: Folder = Path("."),
) -> Any:
    """Attach a thumb or the right answer to a trace."""
    from assay.project import releases, row_forecast

    said, workspace = cast(Any, thumb), open_workspace(folder)
    trace = releases.give_feedback(workspace, id, thumb=said, corrected=answer)
    if answer is not None and (odd := row_forecast.warn_of_spelling(workspace, answer)):
        typer.echo(odd, err=True)
    return trace


def _print_next(found: Any) -> None:
    if found is None:
        print("All traces of the sample are labelled.")
    else:
        _print_trace(found)


@app.command("next")
@with_json(_print_next)
def next_(release: Release, folder: Folder = Path(".")) -> Any:
    """Show the next trace of the random sample to label for `assay watch`."""
    from assay.project import releases

    return releases.next_to_label(open_workspace(folder), release)


@app.command()
@with_json(lambda d: "Skipped." if d["score"] is None else f"Labelled: {d['score']:g}.")
def label(
    id: Id,
    right: Annotated[bool, typer.Option("--right", help="The answer is right.")] = False,
    answer: Annotated[str | None, typer.Option(help="The right answer.")] = None,
    skip: Annotated[
        bool, typer.Option("--skip", help="Skip a trace that cannot be judged.")
    ] = False,
    folder: Folder = Path("."),
) -> Any:
    """Label an answer of the sample, strictly in the order of `assay traces next`."""
    from assay.project import releases

    workspace = open_workspace(folder)
    score = releases.label_trace(workspace, id, right=right, answer=answer, skip=skip)
    return {"trace": id, "score": score}


def _print_examples(done: Any) -> None:
    written = say_count(done.written, "example")
    print(f"{written} written to {done.file}." if done.file else f"{written}.")
    if done.masked:
        print(f"In {done.masked} of them personal data was replaced; check these.")
    if done.rejected:
        print(
            f"{say_count(done.rejected, 'was', 'were')} rejected; for the reasons see "
            f"{done.rejected_file}."
        )
    for code, count in done.counts.items():
        print(f"  {code}: {count}")
    if done.prompt:
        print(f"{done.prompt[:1].upper()}{done.prompt[1:]}")


@app.command("to-data")
@with_json(_print_examples)
def to_data(
    to: Annotated[Path, typer.Argument(help="The file of examples to write.")],
    release: Annotated[str | None, typer.Option(help="The release. Default: all.")] = None,
    folder: Folder = Path("."),
) -> Any:
    """Write corrected traces to a file of examples; rejected ones go to a file beside it."""
    from assay.project.releases import corrections

    return corrections.export(open_workspace(folder), to, release)
