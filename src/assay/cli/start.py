"""`assay init`: a project out of a file of examples, or out of documents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from assay.cli import knowledge
from assay.cli.data import parse_task
from assay.cli.options import IdColumn, InputColumns, OutputColumns, TaskOption, parse_names
from assay.cli.output import console, describe_columns, print_estimate
from assay.cli.progress import Terminal
from assay.defaults import CONFIG_FILE, STARTER_MODEL
from assay.errors import UsageError
from assay.quantities import say_count


def init(
    name: Annotated[str, typer.Argument(help="Project name and folder: a-z, 0-9, hyphens.")],
    data: Annotated[Path | None, typer.Option(help="File of examples.")] = None,
    docs: Annotated[
        Path | None, typer.Option(help="File or folder of documents, with or without --data.")
    ] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(help="File with the system prompt; only with --docs and without --data."),
    ] = None,
    holdout: Annotated[
        Path | None, typer.Option(help="Official test file, if there is one.")
    ] = None,
    input: InputColumns = None,
    output: OutputColumns = None,
    group: Annotated[
        str | None, typer.Option(help="Column whose equal values keep rows in the same split.")
    ] = None,
    document: Annotated[
        str | None, typer.Option(help="Column with the document that answers the row.")
    ] = None,
    abstain: Annotated[
        str | None, typer.Option(help="The answer expected where no document answers the question.")
    ] = None,
    id: IdColumn = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="Of conversations: openai-turns (each turn of the assistant is a row) or "
            "openai-chat (the last one alone)."
        ),
    ] = None,
    task: TaskOption = None,
    model: Annotated[str, typer.Option(help="The model to specialise.")] = STARTER_MODEL,
    train_rows: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of training rows.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write the project without asking.")] = False,
) -> None:
    """Create a project from a file of examples, or from documents alone (--docs).

    The format and the task are detected and shown before anything is written.
    """
    from assay import project
    from assay.compare.report import assumptions
    from assay.project.start.init import Choices

    _check_beside(name)
    if data is None:
        _init_from_documents(name, docs, prompt, model)
        return
    if prompt is not None:
        raise UsageError(
            "--prompt cannot be used with --data.", fix="Edit the prompt in assay.yaml afterwards."
        )
    terminal = Terminal()
    choices = Choices(
        data=data,
        holdout=holdout,
        input=parse_names("--input", input) if input else None,
        output=parse_names("--output", output) if output else None,
        group=group,
        id=id,
        format=format,
        task=parse_task(task),
        model=model,
        train_rows=train_rows,
        docs=docs,
        document=document,
        abstain=abstain,
    )
    drafted = project.draft(name, choices, progress=terminal)
    print_draft(drafted)
    if not yes and sys.stdin.isatty() and not typer.confirm(f"Write {name}/?", default=True):
        raise typer.Exit(1)
    made = project.create_divided(drafted, progress=terminal)
    print_estimate(made.estimate())
    config = made.config
    print(f"Costs assume {assumptions.say(config.costs, config.monthly_requests)}.")
    print(f"\nCreated {made.root}/assay.yaml. Check the settings, then run:")
    print(f"  cd {made.root} && assay compare")


def _check_beside(name: str) -> None:
    """Refuse a project within another one, where its owner would hardly look for it.

    Raises:
        UsageError: the current folder is a project.
    """
    if Path(CONFIG_FILE).exists():
        raise UsageError(
            f"this folder is a project already ({CONFIG_FILE} is in it), and a project is one "
            "task.",
            fix=f"For another task run this in the folder above (`cd ..`): {name} then stands "
            f"beside this project and has a server of its own, `assay serve --folder {name} "
            "--port 8001`.",
        )


def _init_from_documents(name: str, docs: Path | None, prompt: Path | None, model: str) -> None:
    from assay.project.start.from_documents import create_from_documents

    if docs is None:
        raise UsageError(
            "init needs examples or documents.", fix="Give --data FILE, --docs FOLDER, or both."
        )
    made = create_from_documents(name, docs, prompt=prompt, model=model, progress=Terminal())
    knowledge.print_added(made.added)
    print(
        f"Release {made.release} serves agent {made.agent.label}, which answers from the documents."
    )
    state = made.review_state
    drafted = say_count(state.waiting, "question was", "questions were")
    print(f"{drafted} drafted. {state.sentence.capitalize()}")
    print(f"\n  cd {made.project.root}\n  assay serve\n  assay data approve")


def print_draft(draft: Any) -> None:
    """What init found and proposes, and why."""
    from assay.project.start.document_rows import list_readable

    found, proposal = draft.detected, draft.proposal
    console.print(f"[bold]{escape(str(draft.choices.data))}[/]: {found.format}")
    if draft.columns is not None:
        console.print(f"  {escape(describe_columns(draft.columns))}")
    rejected = f", {draft.rejected} unusable" if draft.rejected else ""
    console.print(f"  {say_count(len(draft.examples), 'example')} checked{rejected}")
    if docs := draft.choices.docs:
        console.print(f"  {say_count(len(list_readable(docs)), 'document')} in {escape(str(docs))}")
    for reason in proposal.reasons:
        console.print(f"  {escape(reason)}")
    for warning in proposal.warnings:
        console.print(f"  Check: {escape(warning)}")
    console.print(
        f"Proposal: task {proposal.task}, primary grader {proposal.primary}, "
        f"candidates {', '.join(proposal.candidates)}."
    )
