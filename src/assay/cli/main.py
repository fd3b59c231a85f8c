"""The `assay` command: parses, calls `assay.project`, prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from assay.cli import (
    agent,
    backup,
    data,
    doctor,
    imported_traces,
    jobs,
    keys,
    knowledge,
    mcp,
    models,
    people,
    promptfoo,
    providers,
    release,
    rescue,
    start,
    state,
    traces,
    versions,
)
from assay.cli import export as exporting
from assay.cli import serve as serving
from assay.cli import train as training
from assay.cli.options import (
    AsJson,
    Folder,
    ask_consent,
)
from assay.cli.output import as_json, print_estimate
from assay.cli.place import PlaceOption, WorkersOption, set_place
from assay.cli.progress import Terminal
from assay.cli.rollout import RolloutOption, ToolsOption, set_rollout
from assay.errors import AssayError, UsageError, is_full
from assay.interpreter import keep_folder_off_paths
from assay.interrupt import heard
from assay.log_lines import printable
from assay.quantities import say_count

INTERRUPTED = 130

app = typer.Typer(
    help="Find out which way of specialising a language model is worth its cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
for name, of_traces in imported_traces.COMMANDS.items():
    traces.app.command(name)(of_traces)
for group in (
    *(data, knowledge, models, versions, agent, release),
    *(traces, keys, providers, people, jobs, rescue, state, promptfoo),
):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2])
for command in (
    training.train,
    exporting.export,
    serving.serve,
    mcp.mcp,
    jobs.worker,
    release.watch,
    backup.backup,
    backup.restore,
    doctor.doctor,
):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        from assay.version import VERSION

        print(f"assay {VERSION}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Find out which way of specialising a language model is worth its cost."""


app.command()(start.init)


@app.command()
def compare(
    folder: Folder = Path("."),
    predictions: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FILE: answers of another model, JSONL of {id, output}, or a log of Inspect "
            "or lm-eval. Repeatable."
        ),
    ] = None,
    agent: Annotated[
        list[str] | None,
        typer.Option(help="NAME@VERSION of a saved agent to include. Repeatable."),
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Why the holdout is opened; recorded in its log.")
    ] = "assay compare",
    trust_code: Annotated[
        bool,
        typer.Option("--trust-code", help="Allow the project's own Python code to run."),
    ] = False,
    redact: Annotated[
        bool,
        typer.Option("--redact", help="Leave inputs, references and answers out of the report."),
    ] = False,
    consent: Annotated[
        list[str] | None,
        typer.Option(help="Provider that may receive this project's rows; remembered. Repeatable."),
    ] = None,
    on: PlaceOption = None,
    workers: WorkersOption = None,
    rollout: RolloutOption = False,
    tools: ToolsOption = None,
    json: AsJson = False,
) -> None:
    """Compare all candidates on the locked holdout and recommend one."""
    from assay import project
    from assay.compare.report.terminal import print_result
    from assay.project import queued_comparisons
    from assay.project.comparison import Comparison
    from assay.project.forecast import Forecast, measure_pace

    outside: dict[str, Path] = {}
    for item in predictions or ():
        name, sign, file = item.partition("=")
        if not sign or not name or not file:
            raise UsageError(f"--predictions {item!r} is not of the form NAME=FILE.")
        outside[name] = Path(file)
    terminal = Terminal()
    opened = project.open(folder)
    set_place(opened, on, workers=workers)
    set_rollout(opened, rollout, tools)
    if said := queued_comparisons.describe_alive(opened.store, opened.root):
        terminal.say(said)
    earlier = project.EarlierRun(terminal, opened)
    estimate = None if json else earlier.left_of(opened.estimate(pace=measure_pace()))
    if estimate is not None:
        print_estimate(estimate, earlier.share)

    def act(agreed: list[str]) -> Comparison:
        # Its clock starts here: the time that somebody thinks about consent is not work.
        progress = terminal if estimate is None else Forecast(earlier, estimate)
        return opened.compare(
            predictions=outside,
            agents=agent or (),
            reason=reason,
            trust_code=trust_code,
            redact=redact,
            consent=agreed,
            progress=progress,
        )

    comparison = ask_consent(act, consent)
    if json:
        print(comparison.result.model_dump_json(indent=2))
        return
    print_result(comparison.result)
    print(f"\nReport: {comparison.report}")


@app.command()
def curve(
    folder: Folder = Path("."),
    candidate: Annotated[
        str, typer.Option(help="The candidate whose learning curve is measured.")
    ] = "fine-tune",
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
    on: PlaceOption = None,
    workers: WorkersOption = None,
    json: AsJson = False,
) -> None:
    """Estimate what more data would bring, from scores on validation at five sizes."""
    from assay import project
    from assay.cli.output import print_curve

    terminal = Terminal()
    opened = project.open(folder)
    set_place(opened, on, workers=workers)
    seconds = opened.curve_seconds(candidate, progress=terminal)
    minutes = say_count(max(1, round(seconds / 60)), "minute")
    terminal.say(f"This will take about {minutes}.")
    if not yes and sys.stdin.isatty() and not typer.confirm("Continue?", default=True, err=True):
        raise typer.Exit(1)
    drawn = opened.curve(candidate, progress=terminal)
    if json:
        as_json(drawn.to_dict())
    else:
        print_curve(drawn)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to create the project in.")] = Path("demo"),
    json: AsJson = False,
) -> None:
    """Run three built-in projects: labels, records, and questions about a handbook.

    With --json, print a list of their results.
    """
    from assay import project
    from assay.cli.output import print_next_steps
    from assay.compare.report.terminal import print_result
    from assay.project.forecast import Forecast

    terminal = Terminal()
    results, reports = [], []
    jobs = project.DemoJobs(folder, terminal)
    for opened in jobs:
        earlier = project.EarlierRun(terminal, opened)
        estimate = earlier.left_of(opened.estimate(pace=jobs.pace))
        if not json:
            print_estimate(estimate, earlier.share)
        forecast = Forecast(earlier, estimate)
        comparison = opened.compare(reason="assay demo", progress=forecast)
        jobs.pace = forecast.pace()
        results.append(comparison.result.model_dump(mode="json"))
        reports.append(comparison.report)
        if not json:
            print_result(comparison.result)
            print(f"\nReport: {comparison.report}\n")
    if json:
        as_json(results)
    else:
        print_next_steps(reports)


def _stopped() -> NoReturn:
    print(
        "assay: stopped. Finished work is kept; run the same command again to continue.",
        file=sys.stderr,
    )
    sys.exit(INTERRUPTED)


def run() -> None:
    """The entry point: errors become sentences and exit codes."""
    keep_folder_off_paths()
    try:
        with heard():
            app()
    except AssayError as error:
        said = "\n".join(map(printable, str(error).split("\n")))  # in part the words of others
        print(f"assay: {said}", file=sys.stderr)
        sys.exit(error.exit_code)
    except UnicodeEncodeError as error:  # bytes of an argument that are no text, on their way out
        print(
            f"assay: an argument is not UTF-8 text: {ascii(error.object)[:200]}.", file=sys.stderr
        )
        sys.exit(UsageError.exit_code)
    except KeyboardInterrupt:
        _stopped()
    except SystemExit as end:
        if end.code == INTERRUPTED:  # Typer has caught Ctrl-C and says nothing
            _stopped()
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.filename is None and not is_full(error):
            raise
        place = "" if error.filename is None else f"{error.filename}: "
        print(f"assay: {place}{error.strerror}.", file=sys.stderr)
        sys.exit(AssayError.exit_code)


if __name__ == "__main__":
    run()
