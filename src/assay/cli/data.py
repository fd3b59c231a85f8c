"""`assay data`: what is done to a project's examples, and the log of its holdout."""

from __future__ import annotations

import json as jsonlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from assay.accounts.authors import format_author
from assay.cli.options import (
    AsJson,
    Folder,
    IdColumn,
    InputColumns,
    OutputColumns,
    TaskOption,
    open_workspace,
    parse_names,
    with_json,
)
from assay.cli.output import as_json, print_check, print_overlap, print_split, print_table
from assay.cli.progress import Terminal
from assay.errors import UsageError
from assay.quantities import say_count, say_number

if TYPE_CHECKING:
    from assay.config import Columns, TaskKind

app = typer.Typer(help="Check, import, add, split and show examples.", no_args_is_help=True)
GroupColumn = Annotated[str | None, typer.Option("--group", help="Column with the group of a row.")]
Format = Annotated[
    str | None,
    typer.Option("--format", help="Format of the file. Default: detected from its content."),
]


def parse_columns(
    input: str | None, output: str | None, group: str | None = None, id: str | None = None
) -> Columns | None:
    """Columns from options; None when none were given."""
    from assay.config import Columns

    if input is None and output is None:
        return None
    if input is None or output is None:
        raise UsageError("--input and --output must be given together.", fix="Give both.")
    return Columns(
        input=parse_names("--input", input),
        output=parse_names("--output", output),
        id=id,
        group=group,
    )


def parse_task(task: str | None) -> TaskKind | None:
    """The kind of task that `--task` names; None when it was not given."""
    if task not in (None, "label", "json", "text", "tools"):
        raise UsageError(
            f"--task {task!r} is not a kind of task.", fix="Use label, json, text or tools."
        )
    return cast("TaskKind | None", task)


@app.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(help="The file to check. Default: the project's data.")
    ] = None,
    input: InputColumns = None,
    output: OutputColumns = None,
    group: GroupColumn = None,
    id: IdColumn = None,
    format: Format = None,
    task: TaskOption = None,
    model: Annotated[
        str | None, typer.Option(help="Count tokens with the tokenizer of this model.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for problems.jsonl and rejected.jsonl.")
    ] = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Check a file of examples and list its problems; exits with 1 if there are errors."""
    from assay import project

    report = project.check_file(
        file,
        folder=folder,
        format=format,
        columns=parse_columns(input, output, group, id),
        find_numbers=True,
        task=parse_task(task),
        guess_task=True,
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
    file: Annotated[Path, typer.Argument(help="A file in any supported format, or hf:ORG/NAME.")],
    to: Annotated[Path, typer.Argument(help="The JSONL file of conversations to write.")],
    input: InputColumns = None,
    output: OutputColumns = None,
    group: GroupColumn = None,
    id: IdColumn = None,
    format: Format = None,
    json: AsJson = False,
) -> None:
    """Convert a file to OpenAI's JSONL; rejected rows go to a file beside it, with the reason."""
    from assay import project

    done = project.import_file(
        file,
        to,
        format=format,
        columns=parse_columns(input, output, group, id),
        find_numbers=True,
        progress=Terminal(),
    )
    if json:
        as_json(done)
        return
    print(f"{say_count(done['written'], 'example')} written to {to} ({done['format']}).")
    if done["rejected"]:
        were = say_count(done["rejected"], "row was", "rows were")
        print(f"{were} rejected; for the reasons see {done['rejected_file']}.")


@app.command()
@with_json(print_overlap)
def overlap(
    train: Annotated[Path, typer.Argument(help="The training file.")],
    holdout: Annotated[Path, typer.Argument(help="The holdout file.")],
    input: Annotated[str | None, typer.Option("--input", help="Column to compare.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", help="Column with the answers, compared as well.")
    ] = None,
    knowledge: Annotated[
        list[Path] | None,
        typer.Option(help="Documents, or a folder of them, to look for answers in; repeatable."),
    ] = None,
) -> Any:
    """Find holdout rows that are also in the training file, exactly or nearly.

    Answers that stand word for word in training rows, or with their question in a document, are
    counted.
    """
    from assay import project

    return project.overlap_files(
        train,
        holdout,
        input=input,
        output=output,
        knowledge=knowledge or (),
        progress=Terminal(),
    )


@app.command()
@with_json(print_split)
def split(folder: Folder = Path(".")) -> Any:
    """Split the project's examples into train, validation and holdout, and lock the holdout."""
    from assay import project

    return project.open(folder).split(progress=Terminal())


def _print_examples(examples: Any) -> None:
    from assay.chat.plain_calls import say_turn

    for example in examples:
        print(f"# {example.id}")
        for message in example.messages:
            print(f"{message.role}: {say_turn(message)}")
        print()


@app.command()
@with_json(_print_examples)
def show(
    part: Annotated[str, typer.Argument(help="train or validation.")] = "train",
    count: Annotated[int, typer.Option("-n", min=1, help="Number of examples to print.")] = 5,
    folder: Folder = Path("."),
) -> Any:
    """Print examples of train or validation; the holdout is never shown."""
    from assay import project

    return project.open(folder).show(part, count, progress=Terminal())


@app.command()
def approve(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Ids of questions to approve. Default: list them.")
    ] = None,
    reject: Annotated[bool, typer.Option("--reject", help="Reject the questions instead.")] = False,
    edit: Annotated[
        bool, typer.Option("--edit", help="Change one question by --question, --answer or both.")
    ] = False,
    add: Annotated[
        bool,
        typer.Option(
            "--add",
            help="Add a question of your own; without --answer, one that no document answers.",
        ),
    ] = False,
    question: Annotated[str | None, typer.Option(help="The text of the question.")] = None,
    answer: Annotated[str | None, typer.Option(help="The right answer.")] = None,
    document: Annotated[
        str, typer.Option(help="With --add: the document that contains the answer.")
    ] = "",
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Approve drafted questions for use as examples; a comparison needs 50."""
    from assay import project
    from assay.accounts import keys
    from assay.project import questions

    if reject + edit + add > 1:
        raise UsageError(
            "--reject, --edit and --add cannot be used together.", fix="Use one of them."
        )
    opened, who = project.open(folder), keys.local_user()
    if add:
        if question is None or ids:
            raise UsageError("--add needs --question and takes no ids.")
        questions.add(opened, question, who, answer=answer, document=document)
    elif edit:
        if not ids or len(ids) != 1 or (question is None and answer is None):
            raise UsageError("--edit needs one id, and --question or --answer.")
        questions.change(opened, ids[0], who, question=question, answer=answer)
    elif ids:
        questions.decide(opened, ids, "rejected" if reject else "approved", who)
    elif reject:
        raise UsageError(
            "--reject needs the ids of questions.", fix="`assay data approve` lists them."
        )
    now = questions.review(opened)
    if now is None:
        raise UsageError(
            "this project has its own examples; no questions were drafted for it.",
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
    from assay.chat.plain_calls import say_answer

    print(review.sentence)
    for row in review.rows:
        print(f"\n# {row.id}\n{row.input}\nlabel: {say_answer(row.label, review.task)}")
        for answer, names in row.said.items():
            print(f"  {', '.join(names)}: {say_answer(answer, review.task)}")
    if review.advice:
        print(f"\n{review.advice}")


@app.command("second-look")
@with_json(_print_doubtful)
def second_look(
    comparison: Annotated[
        str,
        typer.Argument(help="The id of the comparison or its beginning. Default: the newest one."),
    ] = "",
    folder: Folder = Path("."),
) -> Any:
    """List rows of an opened holdout where the candidates agree on another label."""
    from assay.project import comparisons

    return comparisons.review_labels(open_workspace(folder), comparison)


def _print_addition(addition: Any) -> None:
    print(addition.sentence)
    if addition.private or addition.contradicting:
        print("  `assay data check` gives the lines.")
    if addition.private:
        print(
            f"  They stand in {addition.file} as they are. To mask them, remove their rows "
            "there and add the file again with `--mask`."
        )
    for sentence in addition.spelled_otherwise:
        print(f"  {sentence}")
    for row in addition.rejected_rows:
        for found in row["problems"]:
            print(f"  line {row['line']}: {found['message']} {found['fix']}")
    if addition.untold:
        print(f"  {addition.untold}")


@app.command()
@with_json(_print_addition)
def add(
    file: Annotated[
        Path,
        typer.Argument(
            help="Examples with the columns or in the format of the project's data, or "
            "conversations."
        ),
    ],
    mask: Annotated[
        bool,
        typer.Option(
            "--mask", help="Replace secrets and personal data in new rows before they are added."
        ),
    ] = False,
    folder: Folder = Path("."),
) -> Any:
    """Add the rows of a file to the project's examples, and split them again.

    The holdout stays as it is once a comparison has opened it: new rows are for training and
    validation.
    """
    from assay.project import row_edits

    private: row_edits.Private = "mask" if mask else "keep"
    return row_edits.add(open_workspace(folder), file, progress=Terminal(), private=private)


def _print_openings(found: Any) -> None:
    rows = []
    for one in found.log:
        at, who = datetime.fromisoformat(one.at), format_author(one.who or "")
        rows.append((one.number, at, who, one.reason, say_number(one.alpha, 3)))
    none = "The holdout has not been opened."
    print_table(("", "when", "by", "reason", "level"), rows, none=none)
    print(
        f"Programs (MCP) have opened it {found.by_programs} of {say_count(found.most, 'time')} "
        "that `mcp` in assay.yaml allows. The next verdict is reached at level "
        f"{say_number(found.next_level, 3)}."
    )


@app.command()
@with_json(_print_openings)
def openings(folder: Folder = Path(".")) -> Any:
    """List who opened the present holdout, when and why, and what the next opening would cost."""
    from assay.project import programs

    return programs.count_openings(open_workspace(folder))


@app.command("renew-holdout")
def renew_holdout(
    file: Annotated[
        Path,
        typer.Argument(
            help="New examples, in the format of the project's data, or as another table or plain "
            "objects with its columns."
        ),
    ],
    folder: Folder = Path("."),
) -> None:
    """Replace the holdout by new examples; the old ones may then be used for training."""
    from assay import project

    manifest = project.open(folder).renew_holdout(file, progress=Terminal())
    print_split(manifest)


@app.command()
def schema() -> None:
    """Print the JSON Schema of assay.yaml for use in an editor."""
    from assay.config import config_schema

    print(jsonlib.dumps(config_schema(), indent=2))
