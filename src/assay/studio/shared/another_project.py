"""How a second project begins: beside the one that is served, in a folder of its own.

A server holds the state, the keys and the people of one folder, which is one project.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import urlsplit

from nicegui import ui

from assay.config import CONFIG_FILE
from assay.studio import widgets as w
from assay.studio.session import PageContext

MOST_NAMED = 10


def another_project(context: PageContext) -> None:
    """What to do for another task, folded in."""
    if not context.may("editor"):
        return
    with w.details("Start a project for another task"), ui.element("div").classes("stack"):
        w.text(
            "A project is one task, in one folder, behind one server. This one stays as it is. For "
            "another task, run this at a terminal of the machine that serves this page, and open "
            "the link that it prints:"
        )
        folder = _unused(context.workspace.root.parent)
        made = shlex.quote(str(folder))
        w.code(f"mkdir {made}\n{serve_command(context, folder)}", "Commands for another project")
        w.text("Folder and port are yours to choose.", "soft note")


def projects_within(context: PageContext) -> None:
    """The projects in folders of this one, which is none, and how they are opened."""
    if not context.may("editor"):
        return
    found = sorted(path.parent for path in context.workspace.root.glob(f"*/{CONFIG_FILE}"))
    if not found:
        return
    names = ", ".join(path.name for path in found[:MOST_NAMED])
    if len(found) > MOST_NAMED:
        names += f" and {len(found) - MOST_NAMED} more"
    with w.section(
        "Projects in this folder",
        f"This folder is no project, but it has some: {names}. Each has a server of its own, such "
        "as this one:",
    ):
        w.code(serve_command(context, found[0]), "Command for a project in this folder")


def serve_command(context: PageContext, folder: Path) -> str:
    """The command that serves a folder beside this server."""
    return f"assay serve --folder {shlex.quote(str(folder))} --port {next_port(context)}"


def next_port(context: PageContext) -> int:
    """The port that `serve_command` names."""
    return (urlsplit(context.address).port or 8000) + 1


def _unused(parent: Path) -> Path:
    number = 2
    while (parent / f"project-{number}").exists():
        number += 1
    return parent / f"project-{number}"
