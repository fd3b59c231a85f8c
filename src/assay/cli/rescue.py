"""`assay rescue`: what an account elsewhere holds and its models answer, before it is lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from rich.markup import escape

from assay.cli.options import AsJson, Folder, InputColumns, ask_consent, confirm, parse_names
from assay.cli.output import as_json, console, print_table, shorten
from assay.cli.progress import Terminal
from assay.defaults import CONFIG_FILE, STARTER_MODEL
from assay.errors import UsageError
from assay.log_lines import printable

if TYPE_CHECKING:
    from assay.project.recording import RecordingChoices, RecordingDraft
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
    from assay.project import rescue

    access = rescue.open_account(base_url, provider, folder)
    _ask(access, to, provider, yes)
    report = rescue.rescue(access, to, Terminal(), same_account=same_account)
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
        typer.Option(min=0, help="USD per million prompt tokens, if the price is not listed."),
    ] = None,
    output_price: Annotated[
        float | None, typer.Option(min=0, help="USD per million answer tokens, likewise.")
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
        _choices(folder, data, input, part, prompt, max_new_tokens, not no_logprobs), batch=batch
    )
    at = folder or Path(".")

    def open_(agreed: list[str]) -> tuple[str, Access]:
        return recording.open_model(
            model, at, provider=provider, base_url=base_url, price=price, consent=agreed
        )

    name, access = ask_consent(open_, consent)
    draft = recording.draft_recording(name, access, to, choices, Terminal())
    if not json:
        _print_parts(draft)
    for line in _terms(draft, most_usd):
        print(printable(line), file=sys.stderr)
    if draft.requests:
        recording.check_budget(draft, most_usd)  # before anybody is asked
        _agree(draft, most_usd, yes)
    report = recording.record(draft, most_usd=most_usd, progress=Terminal())
    if json:
        as_json(report | {"estimate": draft.to_dict()})
    else:
        _print_recorded(report)
    if not report["complete"]:
        raise typer.Exit(1)


@app.command()
def plan(
    source: Annotated[
        Path, typer.Option("--from", help="Folder that `assay rescue openai` has written.")
    ],
    to: Annotated[Path, typer.Option(help="Folder to make the projects in.")],
    model: Annotated[
        str, typer.Option(help="The language model that the projects specialise.")
    ] = STARTER_MODEL,
    json: AsJson = False,
) -> None:
    """Make a project of each fine-tuning job, and a page that says what to run and to change.

    A project that is there already is left as it is.
    """
    from assay.project.rescue_plan import plan_rescue

    made = plan_rescue(source, to, model=model, progress=Terminal())
    if json:
        as_json(made)
        return
    for one in made["models"]:
        what = f"project {one['project']}" if one["project"] else f"no project: {one['reason']}"
        line = f"{one['model']} (ends {one['ends'] or 'unknown'}): {what}"
        console.print(escape(printable(line)), soft_wrap=True)
    if not made["models"]:
        print("There is no fine-tuned model in this account.")
    console.print(f"Page: {escape(str(to / 'plan.md'))}", soft_wrap=True)


def _choices(
    folder: Path | None,
    data: list[Path] | None,
    input: str | None,
    part: list[str] | None,
    prompt: Path | None,
    max_new_tokens: int | None,
    logprobs: bool,
) -> RecordingChoices:
    from assay import project
    from assay.config import Columns
    from assay.project import recording

    opened = None
    if folder is not None or Path(CONFIG_FILE).exists():
        opened = project.open(folder or Path("."))
    columns = None
    if input is not None:  # an output is needed by the form, and not read
        names = parse_names("--input", input)
        columns = Columns(input=names, output=names)
    return recording.RecordingChoices(
        project=opened,
        data=data or (),
        parts=part or recording.PARTS,
        columns=columns,
        prompt=None if prompt is None else prompt.read_text(encoding="utf-8").strip(),
        max_new_tokens=max_new_tokens,
        logprobs=logprobs,
    )


def _print_parts(draft: RecordingDraft) -> None:
    """What the recording will take, part by part in the order in which it is asked."""
    rows = [
        (
            *(one.part, one.rows, one.recorded, one.requests),
            *(one.prompt_tokens, one.completion_tokens),
            "not known" if one.usd is None else f"{one.usd:.4f}",
            one.best_for,
        )
        for one in draft.parts
    ]
    columns = ("part", "rows", "recorded", "requests", "prompt tokens", "answer tokens", "USD")
    print_table((*columns, "best for"), rows, numbers=columns[1:])


def _terms(draft: RecordingDraft, most_usd: float | None) -> Iterator[str]:
    from assay.compare.report.wording import usd

    origin = draft.access.provider.origin
    yield f"{draft.model} at {origin} is asked in this order; answers go to {draft.file}."
    if draft.is_most:
        yield "How long answers are is not known yet: each is counted as long as is allowed."
    cost = "at a price that is not known" if draft.usd is None else f"for about {usd(draft.usd)}"
    rate = "as answers came so far" if draft.rate_is_observed else "a guess until answers come"
    within = f"about {max(1, round(draft.seconds / 60))} minutes ({rate})"
    if draft.choices.batch:
        within = "batches that may take a day, at half the price of single requests"
    yield f"{draft.requests} requests {cost}, in {within}."
    if draft.spent_usd or most_usd is not None:
        most = "" if most_usd is None else f" of at most {usd(most_usd)}"
        yield f"Spent so far: {usd(draft.spent_usd)}{most}."
    private = ", ".join(f"{what}: {count}" for what, count in sorted(draft.private.items()))
    yield f"Secrets and personal data found in these inputs: {private or 'none'}."
    if any(one.part == "holdout" and one.requests for one in draft.parts):
        yield (
            "The holdout's outputs are not read here. Its inputs are sent without them; that is "
            "logged, and is no opening."
        )


def _agree(draft: RecordingDraft, most_usd: float | None, yes: bool) -> None:
    if yes:
        return
    if most_usd is None:
        raise UsageError(
            "there is no budget.",
            fix="Give --most-usd USD, or --yes to record everything without asking.",
        )
    unasked = UsageError(
        "without a terminal nobody can confirm this.", fix="To record without asking, give --yes."
    )
    confirm(f"Send them to {draft.access.provider.origin}?", unasked)


def _print_recorded(report: dict[str, Any]) -> None:
    from assay.compare.report.wording import usd

    cost = usd(report["usd"])
    if report["unpriced"]:
        cost += f", and {report['unpriced']} answers at a cost that is not known"
    print(f"{report['recorded']} answers recorded, {report['answers']} in all, for {cost}.")
    if report["cut"]:
        print(
            f"{report['cut']} were cut at the limit; a larger --max-new-tokens needs a new folder."
        )
    if report["refused"]:
        print(f"{report['refused']} inputs were refused by the model.")
    if report["left"]:
        console.print(
            escape(printable(f"{report['left']} are missing: {report['left_because']}.")),
            soft_wrap=True,
        )
    print(f"File: {report['file']}")


def _ask(access: Access, to: Path, provider: str | None, yes: bool) -> None:
    """Say what is about to be done, and go on only where that is meant."""
    from assay.project.rescue import FETCHED, TERMS

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
