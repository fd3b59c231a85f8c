"""A project of many short rows, a few of them wrong, and what its holdout says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from assay.config.yaml_text import edit
from assay.project.workspace import Workspace

CONFIG = """version: 1
name: tickets
task: label
labels: [label 0, label 1, label 2]
model: smollm2-135m-instruct
data:
  file: tickets.csv
  columns: {input: [text], output: [label]}
candidates: [prompt]
graders: [{name: label-accuracy}]
primary: label-accuracy
"""


def _words(number: int) -> str:
    syllables = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe")
    parts, rest = [], number * 7919 + 104729
    while rest:
        rest, place = divmod(rest, len(syllables))
        parts.append(syllables[place] * 2)
    return " ".join(parts)


def project(folder: Path, count: int) -> Workspace:
    """A folder with a label task of many rows: two are wrong, two are alike."""
    with (folder / "tickets.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["text", "label"])
        for number in range(count):
            out.writerow([f"Ticket {number}: {_words(number)}", f"label {number % 3}"])
        out.writerow(["Write to ann.example@mail.example.com about it", "label 1"])
        out.writerow(["A row whose answer was never written", ""])
        alike = "My parcel has been lying in the depot of the carrier since Monday of last week"
        out.writerow([alike, "label 2"])
        out.writerow([f"{alike}.", "label 2"])
    (folder / "assay.yaml").write_text(CONFIG, encoding="utf-8")
    return Workspace(folder)


def held(workspace: Workspace) -> set[str]:
    """The inputs that no page may show."""
    assert workspace.project is not None
    file = workspace.project.split_folder / "holdout.jsonl"
    return {json.loads(line)["messages"][-2]["content"] for line in file.read_text().splitlines()}


def misspell(folder: Path) -> Workspace:
    """A folder with a label task that cannot be divided: one row has a label of its own."""
    project(folder, 90)
    file, settings = folder / "tickets.csv", folder / "assay.yaml"
    with file.open("a", encoding="utf-8", newline="") as out:
        out.write("The odd one out,Label 0\r\n")
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace("label 2]", "label 2, Label 0]"), encoding="utf-8")
    return Workspace(folder)


def remote_project(folder: Path, port: int) -> Workspace:
    """A project whose provider `far`, of the model `big-1`, is a local server."""
    workspace = project(folder, 3)
    provider = {
        "base_url": f"http://127.0.0.1:{port}/v1",
        "consent": True,
        "private_network": True,
        "retries": 0,
        # Tests hold answers back until something has happened, on machines that do other work.
        "timeout_s": 300.0,
        "stall_s": 300.0,
        "prices": {"big-1": {"input": 1.0, "output": 2.0}},
    }
    file = folder / "assay.yaml"
    file.write_text(edit(file.read_text(), {"providers": {"far": provider}}))
    return workspace
