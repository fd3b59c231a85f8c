"""`assay knowledge`: add, list, remove, search, check, rebuild."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape

from assay.cli.options import AsJson, open_served, open_workspace, with_json
from assay.cli.output import as_json, console, print_table
from assay.cli.place import PlaceOption, WorkersOption, place_of
from assay.cli.progress import Terminal
from assay.errors import UsageError
from assay.quantities import say_count

if TYPE_CHECKING:
    from assay.knowledge.base import KnowledgeBase

app = typer.Typer(
    help="Manage knowledge bases: documents whose passages are searched.", no_args_is_help=True
)

Folder = Annotated[
    Path, typer.Option("--project", help="The project's folder, or the folder that is served.")
]
Name = Annotated[str, typer.Argument(help="The name of the knowledge base, such as manuals.")]
EmbedderName = Annotated[
    str | None, typer.Option("--embedder", help="Embedding model: a starter, a folder or a hub id.")
]
ChunkTokens = Annotated[
    int | None,
    typer.Option(
        "--chunk-tokens", min=16, max=100_000, help="Maximum length of a passage, in tokens."
    ),
]
Language = Annotated[
    str | None,
    typer.Option("--language", help="Language of the documents for BM25, such as German."),
]
SHOWN = 300
"""Characters of a passage on a terminal."""


def print_added(added: Any) -> None:
    """What was found in documents that were added, and which could not be read."""
    unchanged = f" ({added.unchanged} unchanged)" if added.unchanged else ""
    documents = say_count(added.documents, "document")
    print(f"{documents}{unchanged}, {say_count(added.passages, 'passage')}.")
    _print_failed(added.failed)


def _print_addition(addition: Any) -> None:
    print_added(addition.added)
    if addition.warning:
        print(f"Warning: {addition.warning}")


@app.command()
@with_json(_print_addition)
def add(
    name: Name,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.")],
    label: Annotated[
        list[str] | None,
        typer.Option(help="Label of the documents; keys can be restricted to labels. Repeatable."),
    ] = None,
    embedder: EmbedderName = None,
    chunk_tokens: ChunkTokens = None,
    language: Language = None,
    on: PlaceOption = None,
    workers: WorkersOption = None,
    folder: Folder = Path("."),
) -> Any:
    """Add files to a knowledge base; unchanged files are not read again."""
    from assay.project import knowledge

    return knowledge.add(
        folder,
        name,
        paths,
        labels=label or (),
        embedder=embedder,
        chunk_tokens=chunk_tokens,
        language=language,
        place=place_of(open_served(folder), on, workers),
        progress=Terminal(),
    )


@app.command("list")
def list_(
    name: Annotated[
        str | None, typer.Argument(help="The name of the knowledge base. Default: list all.")
    ] = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """List all knowledge bases, or the documents of one."""
    if name is None:
        from assay.project.knowledge import documents as project

        workspace = open_workspace(folder)
        bases = [project.base(workspace, one).describe() for one in project.names(workspace)]
        if json:
            as_json(bases)
        else:
            columns = ("name", "documents", "passages", "embedder")
            rows = [[one[column] for column in columns] for one in bases]
            none = "There are no knowledge bases."
            print_table(columns, rows, numbers=["documents"], none=none)
        return
    base = _base(folder, name)
    documents, failed = base.documents(), base.failures()
    if json:
        as_json({**base.describe(), "documents": documents, "failed": failed})
        return
    print_table(
        ("document", "pages", "passages", "labels"),
        [(one.path, one.pages, one.passages, ", ".join(one.labels)) for one in documents],
        numbers=["pages", "passages"],
    )
    _print_failed(failed)


@app.command()
def remove(
    name: Name,
    documents: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DOCUMENT...",
            help="Documents as `list` shows them; a folder stands for all below it.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Remove the whole knowledge base.")
    ] = False,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Erase documents from the index, from all earlier snapshots and from disk."""
    from assay.project.knowledge import removal
    from assay.project.versions import describe_learned

    workspace = open_workspace(folder)
    if everything == bool(documents):
        raise UsageError("nothing to remove was given.", fix="Give either documents or --all.")
    if everything:
        removed = removal.remove_all(workspace, name, Terminal())
    else:
        removed = removal.remove(workspace, name, documents or (), Terminal())
    if json:
        as_json(
            {
                "removed": list(removed.documents),
                "left": removed.left,
                "learned": describe_learned(workspace.store, removed.files),
                "held": removed.is_held,
            }
        )
        return
    print(f"{say_count(len(removed.documents), 'document')} removed, {removed.left} left.")
    for document in removal.coming_back(workspace, name, removed.documents):
        print(f"Warning: the file of {document} still exists; the next comparison adds it again.")
    for warning in removal.warnings(workspace, removed):
        print(f"Warning: {warning}")


@app.command()
def search(
    name: Name,
    query: Annotated[str | None, typer.Argument(help="A question or keywords.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help='File of queries, one {"query": "..."} per line.')
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=1000, help="Number of passages to return.")] = 5,
    mode: Annotated[str, typer.Option(help="bm25, dense or hybrid.")] = "hybrid",
    weight: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Weight of the vectors in hybrid mode. Default: fusion by rank."
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Minimum cosine (in bm25 mode: BM25 score) of a relevant passage."),
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option(help="Cross-encoder that reranks the best passages: a folder or a hub id."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Search only documents with one of these labels. Repeatable."),
    ] = None,
    folder: Folder = Path("."),
    json: AsJson = False,
) -> None:
    """Search a knowledge base for passages; the result may be empty."""
    from assay.knowledge.search import Mode
    from assay.project import knowledge

    if (query is None) == (queries is None):
        raise UsageError(
            "nothing to search for was given.", fix="Give either QUERY or --queries FILE."
        )
    asked = [query] if query is not None else knowledge.read_queries(cast(Path, queries))
    found = _base(folder, name).search(
        asked,
        k=top,
        mode=cast(Mode, mode),
        weight=weight,
        threshold=threshold,
        rerank=rerank,
        labels=frozenset(label) if label else None,
    )
    answers = [
        {"query": one, "passages": [passage.to_dict() for passage in passages]}
        for one, passages in zip(asked, found, strict=True)
    ]
    if json:
        as_json(answers[0] if query is not None else answers)
        return
    for answer in answers:
        _print_answer(answer, named=query is None)


@app.command()
def check(name: Name, folder: Folder = Path("."), json: AsJson = False) -> None:
    """Compare a knowledge base with its files and check its index; exits with 1 on damage."""
    found = _base(folder, name).check(Terminal())
    if json:
        as_json(found)
    else:
        documents = say_count(found.documents, "document")
        print(f"{documents}, {say_count(found.passages, 'passage')}.")
        for path in found.changed:
            print(f"changed on disk: {path}")
        for path in found.vanished:
            print(f"no longer on disk: {path}")
        _print_failed(found.failed)
        for sentence in found.damage:
            print(f"damaged: {sentence}")
        if found.leftovers:
            print(f"{say_count(found.leftovers, 'unused file')}, which the next change removes.")
        if not found.damage:
            print("The index is intact.")
    if found.damage:
        raise typer.Exit(1)


@app.command()
@with_json(lambda made: f"{say_count(made['passages'], 'passage')}.")
def rebuild(
    name: Name,
    embedder: EmbedderName = None,
    chunk_tokens: ChunkTokens = None,
    language: Language = None,
    on: PlaceOption = None,
    workers: WorkersOption = None,
    folder: Folder = Path("."),
) -> Any:
    """Rebuild all passages: after damage, or with another embedder or passage length."""
    from assay.project.knowledge import documents

    made = documents.rebuild(
        open_workspace(folder),
        name,
        embedder=embedder,
        chunk_tokens=chunk_tokens,
        language=language,
        place=place_of(open_served(folder), on, workers),
        progress=Terminal(),
    )
    return {"snapshot": made.snapshot, "passages": made.passages}


def _print_failed(failed: Any) -> None:
    for one in failed:
        print(f"failed: {one.file}: {one.reason}")


def _print_answer(answer: dict[str, Any], *, named: bool) -> None:
    if named:
        console.print(f"[bold]{escape(answer['query'])}[/]")
    if not answer["passages"]:
        print("No relevant passages.")
    for passage in answer["passages"]:
        page = "" if passage["page"] is None else f", page {passage['page']}"
        console.print(f"[bold]{escape(passage['document'])}[/]{page}  ({passage['score']:.3f})")
        text = " ".join(passage["text"].split())
        console.print("  " + escape(text[:SHOWN] + ("…" if len(text) > SHOWN else "")))


def _base(folder: Path, name: str) -> KnowledgeBase:
    from assay.project.knowledge import documents

    return documents.base(open_workspace(folder), name)
