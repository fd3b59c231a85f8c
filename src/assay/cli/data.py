"""`assay data`: check, import, overlap, split, show, approve, second-look, renew-holdout."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from assay.cli.options import (
    AsJson,
    Folder,
    IdColumn,
    InputColumns,
    OutputColumns,
    TaskOption,
    open_workspace,
    with_json,
)
from assay.cli.output import as_json, print_check, print_overlap, print_split
from assay.cli.progress import Terminal
from assay.config import Columns, TaskKind
from assay.errors import UsageError

app = typer.Typer(help="Check, import, split and look at examples.", no_args_is_help=True)

GroupColumn = Annotated[str | None, typer.Option("--group", help="column that names a row's group")]
Format = Annotated[str | None, typer.Option("--format", help="found by content when not given")]


def parse_columns(
    input: str | None, output: str | None, group: str | None = None, id: str | None = None
) -> Columns | None:
    """Columns from options; None when none were given."""
    if input is None and output is None:
        return None
    if input is None or output is None:
        raise UsageError("--input and --output go together.", fix="Give both.")
    return Columns(input=input.split(","), output=output.split(","), id=id, group=group)


def parse_task(task: str | None) -> TaskKind | None:
    """The kind of task that `--task` names; None when it was not given."""
    if task not in (None, "label", "json", "text"):
        raise UsageError(f"--task is {task!r}.", fix="Use label, json or text.")
    return cast("TaskKind | None", task)


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="a file; none: the project's data")] = None,
    input: InputColumns = None,
    output: OutputColumns = None,
    group: GroupColumn = None,
    id: IdColumn = None,
    format: Format = None,
    task: TaskOption = None,
    model: Annotated[str | None, typer.Option(help="count tokens as this model does")] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for problems.jsonl and rejected.jsonl")
    ] = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Find every problem of a file of examples; exit code 1 when there are errors."""
    from assay import project

    report = project.check_file(
        file,
        folder=folder,
        format=format,
        columns=parse_columns(input, output, group, id),
        task=parse_task(task),
        model=model,
        out=out,
        progress=Terminal(),
    )
    if json:
        as_json(report)
    else:
        print_check(report)
    if report.has_errors:
        raise typer.Exit(1)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="a file in any known format, or hf:ORG/NAME")],
    to: Annotated[Path, typer.Argument(help="the file of conversations that is written")],
    input: InputColumns = None,
    output: OutputColumns = None,
    group: GroupColumn = None,
    id: IdColumn = None,
    format: Format = None,
    json: AsJson = False,
) -> None:
    """Turn a file into OpenAI's JSONL; rejected rows are kept beside it with their reason."""
    from assay import project

    done = project.import_file(
        file,
        to,
        format=format,
        columns=parse_columns(input, output, group, id),
        progress=Terminal(),
    )
    if json:
        as_json(done)
        return
    print(f"{done['written']} examples written to {to} ({done['format']}).")
    if done["rejected"]:
        print(f"{done['rejected']} rows were rejected: {done['rejected_file']} says why.")


@app.command()
@with_json(print_overlap)
def overlap(
    train: Annotated[Path, typer.Argument(help="the training file")],
    holdout: Annotated[Path, typer.Argument(help="the holdout file")],
    input: Annotated[str | None, typer.Option("--input", help="column that is compared")] = None,
) -> Any:
    """Find holdout rows whose twin stands in the training file."""
    from assay import project

    return project.overlap_files(train, holdout, input=input, progress=Terminal())


@app.command()
@with_json(print_split)
def split(folder: Folder = Path(".")) -> Any:
    """Divide the project's examples, lock the holdout, and say what was done."""
    from assay import project

    return project.open(folder).split(progress=Terminal())


def _print_examples(examples: Any) -> None:
    for example in examples:
        print(f"# {example.id}")
        for message in example.messages:
            print(f"{message.role}: {message.content}")
            for call in message.tool_calls:
                print(f"  calls {call.name}({call.arguments})")
        print()


@app.command()
@with_json(_print_examples)
def show(
    part: Annotated[str, typer.Argument(help="train or validation")] = "train",
    count: Annotated[int, typer.Option("-n", min=1, help="how many")] = 5,
    folder: Folder = Path("."),
) -> Any:
    """Print examples; the holdout is never printed."""
    from assay import project

    return project.open(folder).show(part, count, progress=Terminal())


@app.command()
def approve(
    ids: Annotated[list[str] | None, typer.Argument(help="of questions; none: list them")] = None,
    reject: Annotated[bool, typer.Option("--reject", help="say no to them instead")] = False,
    edit: Annotated[
        bool, typer.Option("--edit", help="with --question or --answer: better words for one")
    ] = False,
    add: Annotated[
        bool,
        typer.Option("--add", help="a question of your own; without --answer, one that none has"),
    ] = False,
    question: Annotated[str | None, typer.Option(help="its words")] = None,
    answer: Annotated[str | None, typer.Option(help="the right answer")] = None,
    document: Annotated[
        str, typer.Option(help="with --add: the document that holds the answer")
    ] = "",
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Say which drafted questions are fit to be measured on; 50 are needed."""
    from assay import project
    from assay.accounts import keys
    from assay.project import questions

    if reject + edit + add > 1:
        raise UsageError("--reject, --edit and --add exclude each other.", fix="Give one.")
    opened, who = project.open(folder), keys.local_user()
    if add:
        if question is None or ids:
            raise UsageError("--add takes --question and no id.")
        questions.add(opened, question, who, answer=answer, document=document)
    elif edit:
        if not ids or len(ids) != 1 or (question is None and answer is None):
            raise UsageError("--edit takes one id, and --question or --answer.")
        questions.change(opened, ids[0], who, question=question, answer=answer)
    elif ids:
        questions.decide(opened, ids, "rejected" if reject else "approved", who)
    elif reject:
        raise UsageError("--reject takes ids.", fix="`assay data approve` lists them.")
    now = questions.review(opened)
    if now is None:
        raise UsageError(
            "this project brought its own examples; there are no drafted questions.",
            fix="`assay init NAME --docs FOLDER` drafts them from documents.",
        )
    done = bool(ids) or add
    waiting = [] if done else questions.questions(opened.store, opened.owner, "waiting")
    if json:
        everything = questions.questions(opened.store, opened.owner)
        as_json({**now.to_dict(), "questions": everything})
        return
    for one in waiting:
        print(f"{one.id}  {one.question}\n      {one.answer}  ({one.document})")
    print(now.sentence.capitalize())


def _print_doubtful(review: Any) -> None:
    print(review.sentence)
    for row in review.rows:
        print(f"\n# {row.id}\n{row.input}\nlabel: {row.label}")
        for answer, names in row.said.items():
            print(f"  {', '.join(names)}: {answer}")
    if review.advice:
        print(f"\n{review.advice}")


@app.command("second-look")
@with_json(_print_doubtful)
def second_look(
    comparison: Annotated[
        str, typer.Argument(help="how its id begins; none: the newest comparison")
    ] = "",
    folder: Folder = Path("."),
) -> Any:
    """List rows of an opened holdout whose label the candidates agree against."""
    from assay.project import comparisons

    return comparisons.review_labels(open_workspace(folder), comparison)


@app.command("renew-holdout")
def renew_holdout(
    file: Annotated[Path, typer.Argument(help="new examples, in the form of the project's data")],
    folder: Folder = Path("."),
) -> None:
    """Start afresh with a new holdout; the old one may be trained on from now on."""
    from assay import project

    manifest = project.open(folder).renew_holdout(file, progress=Terminal())
    print_split(manifest)


@app.command()
def schema() -> None:
    """Print the JSON Schema of assay.yaml, for editors."""
    from assay.config import config_schema

    print(jsonlib.dumps(config_schema(), indent=2))
