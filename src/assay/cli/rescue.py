"""`assay rescue`: what an account elsewhere holds and its models answer, before it is lost."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from rich.markup import escape

from assay.cli.options import AsJson, Folder, InputColumns, ask_consent, confirm
from assay.cli.output import as_json, console, print_table, shorten
from assay.cli.progress import Terminal
from assay.cli.recording import agree, print_parts, print_recorded, read_choices, terms
from assay.defaults import STARTER_MODEL
from assay.errors import UsageError
from assay.log_lines import printable

if TYPE_CHECKING:
    from assay.rescue.client import Access

app = typer.Typer(
    help="Fetch what an account holds, and replace its models, before they are lost.",
    no_args_is_help=True,
)
_SHOWN = 20


@app.callback()
def top() -> None:
    """Fetch what an account holds, and replace its models, before they are lost."""


@app.command()
def openai(
    to: Annotated[Path, typer.Option(help="Folder to write; a killed run goes on in it.")],
    base_url: Annotated[
        str | None,
        typer.Option(help="Base URL including /v1: https or loopback. Default: OpenAI's."),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option(help="Provider of the project whose address and key are used instead."),
    ] = None,
    folder: Folder = Path("."),
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
    same_account: Annotated[
        bool,
        typer.Option(
            "--same-account",
            help="The folder is of this account, though the key, organisation or project differs.",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Fetch fine-tuning jobs, evals, stored completions and their files from OpenAI.

    The key is read from OPENAI_API_KEY, or is that of --provider. Only GET requests are sent. The
    exit code is 1 if anything was not fetched; the same command then asks for that alone.
    """
    from assay.project.rescue.account import open_account, rescue

    access = open_account(base_url, provider, folder)
    _ask(access, to, provider, yes)
    report = rescue(access, to, Terminal(), same_account=same_account)
    if json:
        as_json(report)
    else:
        _print_report(report, to)
    if not report["complete"]:
        raise typer.Exit(1)


@app.command()
def record(
    model: Annotated[
        str, typer.Argument(help="The model as the provider calls it, or remote:PROVIDER/MODEL.")
    ],
    to: Annotated[Path, typer.Option(help="Folder to write; a killed run goes on in it.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--project",
            help="Project whose rows are recorded. Default: the current folder's, if any.",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="File of further inputs. Repeatable.")
    ] = None,
    input: InputColumns = None,
    part: Annotated[
        list[str] | None,
        typer.Option(help="holdout, validation, train or data. Repeatable. Default: all."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="Provider of the project that has the model.")
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="Base URL including /v1: https or loopback. Default: OpenAI's."),
    ] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(help="File with the system prompt of rows that bring none of their own."),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Maximum length of an answer, in tokens.")
    ] = None,
    no_logprobs: Annotated[
        bool, typer.Option("--no-logprobs", help="Keep the texts of answers only.")
    ] = False,
    batch: Annotated[
        bool,
        typer.Option(
            "--batch", help="Use the provider's batches: half the price, and up to a day."
        ),
    ] = False,
    most_usd: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="What all answers of this model may cost, earlier runs included, in USD.",
        ),
    ] = None,
    input_price: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1_000_000,
            help="USD per million prompt tokens, if the price is not listed.",
        ),
    ] = None,
    output_price: Annotated[
        float | None,
        typer.Option(min=0, max=1_000_000, help="USD per million answer tokens, likewise."),
    ] = None,
    consent: Annotated[
        list[str] | None,
        typer.Option(help="Provider that may receive this project's rows; remembered. Repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Send and pay without asking.")] = False,
    json: AsJson = False,
) -> None:
    """Keep the answers of a model that will end, to compare with and to learn from.

    It prints what they will take and asks first. The exit code is 1 if answers are missing; the
    same command then asks for these alone.
    """
    from assay.config import TokenPrice
    from assay.project import recording

    if (input_price is None) != (output_price is None):
        raise UsageError("--input-price and --output-price must be given together.")
    price = None
    if input_price is not None:
        price = TokenPrice(input=input_price, output=output_price)
    choices = replace(
        read_choices(folder, data, input, part, prompt, max_new_tokens, not no_logprobs),
        batch=batch,
    )
    at = folder or Path(".")

    def open_(agreed: list[str]) -> tuple[str, Access]:
        return recording.open_model(
            model, at, provider=provider, base_url=base_url, price=price, consent=agreed
        )

    name, access = ask_consent(open_, consent)
    draft = recording.draft_recording(name, access, to, choices, Terminal())
    if not json:
        print_parts(draft)
    for line in terms(draft, most_usd):
        print(printable(line), file=sys.stderr)
    if draft.requests:
        recording.check_budget(draft, most_usd)  # before anybody is asked
        agree(draft, most_usd, yes)
    report = recording.record(draft, most_usd=most_usd, progress=Terminal())
    if json:
        as_json(report | {"estimate": draft.to_dict()})
    else:
        print_recorded(report)
    if not report["complete"]:
        raise typer.Exit(1)


@app.command()
def plan(
    to: Annotated[Path, typer.Option(help="Folder to make the projects in.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Folder that `assay rescue openai` has written."),
    ] = None,
    job: Annotated[
        str | None,
        typer.Option(help="Name of a model (ft:...) whose training file is here already."),
    ] = None,
    training: Annotated[
        Path | None, typer.Option(help="The file that --job was trained on, as OpenAI took it.")
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="The validation file of --job, if it had one.")
    ] = None,
    successor: Annotated[
        str | None,
        typer.Option(help="PROVIDER/MODEL that takes part, with the old prompt and with examples."),
    ] = None,
    folder: Annotated[
        Path, typer.Option("--project", help="Project whose provider --successor may name.")
    ] = Path("."),
    model: Annotated[
        str, typer.Option(help="The language model that the projects specialise.")
    ] = STARTER_MODEL,
    json: AsJson = False,
) -> None:
    """Make a project of each fine-tuning job, and a page that says what to run and to change.

    Jobs are those of --from, and those named with --job in this or an earlier call. Nothing is
    sent. A project that is there already is left as it is.
    """
    from assay.project.rescue.files import name_files
    from assay.project.rescue.plan import plan_rescue
    from assay.project.rescue.successor import name_successor

    if (job is None) != (training is None) or (validation is not None and job is None):
        raise UsageError("--job and --training must be given together.", fix="Give both.")
    if source is None and job is None:
        raise UsageError(
            "there is nothing to make projects of.",
            fix="Give --from FOLDER, or --job ft:NAME and --training FILE.",
        )
    files = None if job is None or training is None else name_files(job, training, validation)
    there = None if successor is None else name_successor(successor, source, folder)
    made = plan_rescue(source, to, model=model, files=files, successor=there, progress=Terminal())
    if json:
        as_json(made)
        return
    for one in made["models"]:
        what = f"project {one['project']}" if one["project"] else f"no project: {one['reason']}"
        line = f"{one['model']} (ends {one['ends'] or 'unknown'}): {what}"
        console.print(escape(printable(line)), soft_wrap=True)
    if not made["models"]:
        print("There is no fine-tuned model in this account.")
    if there is None and any(one["project"] and not one["successor"] for one in made["models"]):
        print("Without --successor PROVIDER/MODEL no successor takes part; the page says more.")
    console.print(f"Page: {escape(str(to / 'plan.md'))}", soft_wrap=True)


def _ask(access: Access, to: Path, provider: str | None, yes: bool) -> None:
    """Say what is about to be done, and go on only where that is meant."""
    from assay.project.rescue.account import FETCHED, TERMS

    address = access.provider.base_url
    key = f"of the provider {provider}" if provider else "in OPENAI_API_KEY"
    for line in (
        f"This reads the account of the key {key} at {address} and writes to {to}:",
        *(f"  {line}" for line in FETCHED),
        *TERMS,
        f"The key goes to {access.provider.origin} only, and is not shown; a salted hash is kept.",
        "The folder will hold your users' data; only you can read it.",
    ):
        print(printable(line), file=sys.stderr)
    if yes:
        return
    unasked = UsageError(
        "without a terminal nobody can confirm this.", fix="To fetch without asking, give --yes."
    )
    confirm("Fetch it?", unasked)


def _print_report(report: dict[str, Any], to: Path) -> None:
    from assay.rescue.report import LABELS, count_missing

    rows = [
        (
            LABELS[one["kind"]],
            one["complete"],
            one["missing"],
            one["objects"],
            decimal(one["bytes"]),
        )
        for one in report["kinds"]
    ]
    columns = ("what", "complete", "missing", "objects", "size")
    print_table(columns, rows, numbers=columns[1:])
    for one in report["fine_tuned_models"]:
        end = f"ends {one['ends']}" if one["ends"] else "end unknown"
        line = printable(f"{one['model']}, on {one['base']}: {end} ({one['ends_according_to']})")
        console.print(escape(line), soft_wrap=True)
    missing = report["missing"]
    if missing:
        console.print(f"{count_missing(report)}:")
    for one in missing[:_SHOWN]:
        line = f"  {LABELS[one['kind']]}: {shorten(one['id'], 60)}: {one['reason']}"
        console.print(escape(printable(line)), soft_wrap=True)
    if len(missing) > _SHOWN:
        console.print(f"  ... and {len(missing) - _SHOWN} more, in the report.")
    console.print(f"Report: {escape(str(to / 'report.md'))}", soft_wrap=True)
    for step in report["next"]:
        console.print(escape(printable(step)), soft_wrap=True)
