"""A project that begins with documents and no examples: an agent at once, questions to approve.

made = create_from_documents("manuals", Path("docs"))
made.agent.label, made.release          # manuals@1, served as `manuals`
made.review_state.sentence                  # not measured: 0 of 50 questions are approved.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.agent.agent import Agent, Knowledge
from assay.agent.versions import AgentVersion, save_agent
from assay.candidates.shared.documents import available_characters_of
from assay.config import CONFIG_FILE, STARTER_MODEL, read_config
from assay.errors import DataError, UsageError
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.intake import AddResult
from assay.knowledge.sources import SourceFile, sources
from assay.models.pull import check_available
from assay.progress import SILENT, Progress
from assay.project.project import Project
from assay.project.questions import ABSTAIN, FILE, ReviewState, draft_questions, review
from assay.project.start.init import (
    KNOWLEDGE,
    MACHINE_HOUR_USD,
    MACHINE_HOURS,
    SCHEMA_FILE,
    knowledge_lines,
    project_folder,
)
from assay.project.start.yaml_lines import block, cost_lines, flow
from assay.project.workspace import Workspace
from assay.release import changes, releases

PROMPT = (
    "Answer the question from the passages, as short as they allow. Add nothing that they do not "
    "say."
)
K = 3
"""Passages of the first agent; a comparison chooses the number on validation."""


@dataclass(frozen=True, slots=True)
class DocumentProject:
    """What came of documents.

    Attributes:
        added: documents and passages, and the files without text.
        agent: answers from the documents; `release` points at it.
    """

    project: Project
    added: AddResult
    agent: AgentVersion
    release: str
    review_state: ReviewState

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return {
            "folder": str(self.project.root),
            **self.added.to_dict(),
            "agent": self.agent.label,
            "release": self.release,
            "questions": self.review_state.to_dict(),
        }


def create_from_documents(
    name: str,
    docs: Path,
    *,
    prompt: Path | None = None,
    model: str = STARTER_MODEL,
    folder: Path | None = None,
    progress: Progress = SILENT,
) -> DocumentProject:
    """Write a project (its folder is its name, in the current one) that answers from documents.

    What a stopped call has left is gone on with by the same call.

    Args:
        docs: a file or a folder; copied into the project.
        prompt: a file with the system prompt; None: `PROMPT`.

    Raises:
        UsageError: the folder is there and holds something else, or the prompt cannot be read.
        DataError: there are no documents, or no text came out of any.
        ModelError: the model cannot be had; nothing is written then.
    """
    check_available(model)
    said = PROMPT if prompt is None else _read(prompt)
    text = _yaml(name, model, said)
    read_config(text, CONFIG_FILE)  # says what is wrong with the name
    root = folder or Path(name)
    if root.exists():
        file = root / CONFIG_FILE
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            raise UsageError(
                f"{root} already exists.",
                fix="Choose another name.",
            )
    else:
        with project_folder(root, text, docs):
            pass
    return _set_up(Workspace(root), progress)


def _set_up(workspace: Workspace, progress: Progress) -> DocumentProject:
    """Index the documents, save the agent, point a release at it, draft questions."""
    project = workspace.project
    assert project is not None
    store, owner, config = workspace.store, workspace.name, project.config
    section = config.knowledge
    assert section is not None
    base = KnowledgeBase(store, owner, section.name)
    files, _ = sources([project.root / KNOWLEDGE])
    named = [SourceFile(os.path.relpath(s.file, workspace.root), s.file) for s in files]
    added = base.add(named, progress=progress)
    for one in added.failed:
        progress.say(f"Not added: {one.file}: {one.reason}")
    if not added.documents:
        raise DataError(
            "no document contains text that can be read.",
            where=str(project.root / KNOWLEDGE),
            fix="Add documents with text, and run the same command again.",
        )
    texts = list(_texts(base))
    agent = Agent(
        model=config.model,
        system_prompt=config.system_prompt,
        knowledge=Knowledge(
            name=base.name,
            k=K,
            characters=available_characters_of(config, [text[:2000] for _, text in texts[:200]]),
            abstain=section.abstain,
        ),
        max_new_tokens=config.generate.max_new_tokens,
    )
    saved = save_agent(store, owner, agent, message="assay init: answers from the documents")
    draft_questions(project, texts)
    now = review(project) or ReviewState(0, 0, 0)
    if owner not in {release.name for release in releases.releases(store, owner)}:
        changes.promote(
            store, owner, owner, saved.label, who=workspace.who, force=f"assay init: {now.sentence}"
        )
    return DocumentProject(project, added, saved, owner, now)


def _texts(base: KnowledgeBase) -> Iterator[tuple[str, str]]:
    for document in base.documents():
        yield document.path, "\n\n".join(base.pages(document.path))


def _read(prompt: Path) -> str:
    try:
        said = prompt.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the prompt cannot be read ({error}).", where=str(prompt)) from None
    if not said:
        raise UsageError("the prompt is empty.", where=str(prompt))
    return said


def _yaml(name: str, model: str, prompt: str) -> str:
    lines = [
        f"# yaml-language-server: $schema=./{SCHEMA_FILE}",
        "# A project that began with documents. Everything here can be changed; what each setting",
        "# means: docs/reference/config.md of Assay.",
        "version: 1",
        f"name: {name}",
        "task: text",
        f"model: {flow(model)}  # the language model that answers",
        "",
        "# `assay data approve` writes the file when enough questions are approved; until then",
        "# nothing is measured.",
        "data:",
        f"  file: {FILE}",
        "  format: jsonl-objects",
        "  columns: {input: [question], output: [answer], id: id, document: document}",
        "  split: {seed: 0, validation: 0.3, holdout: 0.5}  # nothing is trained",
        "",
        "# What every request begins with; the passages come with the question.",
        *block("system_prompt", prompt),
        "",
        "graders:",
        "  - name: token-f1",
        "  - name: rouge-l",
        "  - name: exact",
        "primary: token-f1",
        "# good_enough: 0.5  # below this score no candidate is worth having; yours to say",
        "margin: 0.02",
        "monthly_requests: 10000",
        "",
        "candidates:  # what is compared",
        *(f"  - {name}" for name in ("prompt", "few-shot", "rag", "rag-few-shot")),
        "",
        *knowledge_lines(ABSTAIN),
        "few_shot: {ks: [1, 3]}",
        "generate: {max_new_tokens: 64, constrained: auto}",
        "",
        *cost_lines(MACHINE_HOUR_USD, MACHINE_HOURS),
    ]
    return "\n".join(lines) + "\n"
