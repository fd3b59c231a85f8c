"""Tools: a project from a file of examples."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from assay.config import CONFIG_FILE, STARTER_MODEL, TaskKind
from assay.config.names import check_project_name
from assay.errors import StateError, UsageError
from assay.mcp.access import LocalAccess
from assay.models.show import list_models
from assay.project.start.creation import create_divided
from assay.project.start.init import Choices, draft

Column = Annotated[str, Field(min_length=1, max_length=200)]


class CreatedProject(BaseModel):
    """A project that was written.

    Attributes:
        folder: in the folder that the server was started for.
        task: what the outputs are: label, json, text or tools.
        candidates: ways that will be compared; the owner changes them in assay.yaml.
        labels: possible outputs of a label task, the first 200.
    """

    folder: str
    task: TaskKind
    format: str
    train: int
    validation: int
    holdout: int
    candidates: list[str]
    labels: list[str] | None
    next_step: str


def add_tools(server: MCPServer[Any], access: LocalAccess) -> None:
    """Give a server these tools."""

    @server.tool(title="Create a project", annotations=ToolAnnotations(destructive_hint=False))
    def create_project(
        name: Annotated[str, Field(max_length=63, description="a-z, 0-9 and hyphens.")],
        data: Annotated[
            str,
            Field(
                max_length=1000,
                description="File of examples (CSV, JSONL, Parquet, XLSX, chat), by its path below "
                "the folder that this server was started for.",
            ),
        ],
        input: Annotated[
            list[Column] | None,
            Field(max_length=20, description="Input columns, where they are not clear."),
        ] = None,
        output: Annotated[
            list[Column] | None,
            Field(max_length=20, description="Output columns; given together with input."),
        ] = None,
        group: Annotated[
            Column | None,
            Field(description="Column whose equal values (customer, document) stay together."),
        ] = None,
        id: Annotated[Column | None, Field(description="Column with a unique id.")] = None,
        task: Annotated[
            TaskKind | None, Field(description="What the outputs are; detected where left out.")
        ] = None,
        model: Annotated[
            str, Field(max_length=200, description="Model to specialise, one of this machine.")
        ] = STARTER_MODEL,
    ) -> CreatedProject:
        """Create an Assay project from a file of examples (input and expected output of one job)
        and lock its holdout. Format and task are detected. Only where the folder holds no project:
        another one, which would have a fresh holdout, is the owner's to create."""
        check_project_name(name)
        ready = sorted(line.ref for line in list_models() if line.ready)
        if model not in ready:
            raise UsageError(
                f"{model!r} is not a model of this machine.", fix=f"There are: {', '.join(ready)}."
            )
        file = _inside(access.root, data)
        choices = Choices(
            data=file, input=input, output=output, group=group, id=id, task=task, model=model
        )
        with access.lock:  # of two calls at once the second finds the first one's project
            _check_free(access, file)
            made = create_divided(draft(name, choices), access.root / name)
        manifest = made.split()
        labels = made.config.labels
        return CreatedProject(
            folder=name,
            task=made.config.task,
            format=manifest.format,
            train=manifest.train,
            validation=manifest.validation,
            holdout=manifest.holdout,
            candidates=made.config.candidates,
            labels=None if labels is None else labels[:200],
            next_step=f"Look at the data, read the estimate, and let the owner check "
            f"{name}/assay.yaml before you start a comparison.",
        )


def _check_free(access: LocalAccess, file: Path) -> None:
    """See that no project is in the folder, around it, or beside the file and the folders it is in.

    Raises:
        StateError: one is.
    """
    within = [folder for folder in file.parents if folder.is_relative_to(access.root)]
    if any((folder / CONFIG_FILE).exists() for folder in (*access.root.parents, *within)) or any(
        any(folder.glob(f"*/{CONFIG_FILE}")) for folder in within
    ):
        raise StateError(
            "there is a project already, and a second one of the same job would have a "
            "holdout that nobody has opened.",
            fix="Use the project that is there; the owner creates another one with `assay init`.",
        )


def _inside(root: Path, path: str) -> Path:
    """A file below the root, links resolved, none of it hidden.

    Raises:
        UsageError: it is none.
    """
    parts = PurePath(path).parts
    try:
        found = (root / path).resolve()
        inside = found.is_relative_to(root) and not any(
            part.startswith((".", "~")) for part in (*parts, *found.relative_to(root).parts)
        )
        if inside and found.is_file():
            return found
    except (OSError, RuntimeError, ValueError):
        inside = False
    raise UsageError(
        "there is no such file." if inside else "this is not a visible file in the folder.",
        where=path,
        fix="Name a file of examples below the folder that this server was started for.",
    )
