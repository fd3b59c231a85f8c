"""Agents of a workspace as people change them: the command line and the studio call this.

    draft = agents.read(workspace, "fine-tune")
    problems = agents.check(workspace, text)
    version = agents.save(workspace, "fine-tune", text, based_on=draft.hash, message="warmer")

What a release serves does not change with a save; `assay release promote` does that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from assay.agent import edits, texts
from assay.agent.agent import MOST_TEMPERATURE, Agent, Knowledge
from assay.agent.edits import Draft, StaleEditError
from assay.agent.passages import knowledge_base
from assay.agent.providers import provider_of
from assay.agent.routing import leaves
from assay.agent.texts import InvalidAgentError, Problem
from assay.agent.variables import find_unused
from assay.agent.versions import AgentVersion
from assay.agent.versions import history as versions_of
from assay.config import is_remote, split_reference
from assay.config.names import LONGEST_MESSAGE, check_text, same_name
from assay.data.json_schema import schema_validator
from assay.errors import AssayError, ModelError, UsageError
from assay.knowledge import records
from assay.models.embed import Reranker
from assay.models.lineage import compare_settings
from assay.models.pull import check_name
from assay.models.tuned_encoder import SCHEME, rows_behind_tuned
from assay.project import reach
from assay.project.answer_length import check_length
from assay.project.workspace import Workspace
from assay.store import blobs

NAME = re.compile(r"[^\W_][\w.-]*")
LONGEST_NAME = 100


def list_agents(workspace: Workspace) -> list[AgentVersion]:
    """The newest version of every agent, by name."""
    return edits.newest(workspace.store)


def read(workspace: Workspace, name: str) -> Draft:
    """An agent to be looked at or changed: the newest version of NAME, or NAME@VERSION.

    Raises:
        AssayError: there is none.
    """
    return edits.read_version(workspace.store, name)


def check(workspace: Workspace, text: str) -> list[Problem]:
    """Everything that keeps a text from being an agent that can answer here; empty: it is one."""
    agent, problems = texts.parse(text)
    if agent is None:
        return problems
    if workspace.web:
        beyond = [texts.problem_at(text, *said) for said in reach.of_agent(workspace, agent)]
        if beyond:
            return beyond  # before anything looks for what it names
    problems = [
        texts.problem_at(text, field, _sentence(error))
        for field, look in _looks(workspace, agent)
        if (error := _failure(look)) is not None
    ]
    for name in find_unused(agent.system_prompt, agent.variables):
        message = f"the system prompt has no {{{{{name}}}}}: add it there, or remove this variable."
        problems.append(texts.problem_at(text, f"variables.{name}", message))
    return problems


def save(
    workspace: Workspace,
    name: str,
    text: str,
    *,
    based_on: str | None,
    message: str,
    author: str | None = None,
) -> AgentVersion:
    """Keep a text as the next version; the very text that is there already adds none.

    Args:
        based_on: `Draft.hash` of what was read; None for an agent that is not there yet.
        author: who changed it; None: whoever runs this process.

    Raises:
        StaleEditError: somebody has saved since it was read.
        InvalidAgentError: the text is no agent that can answer here (`check`).
        UsageError: a new agent cannot be called so, or the message is none.
    """
    if based_on is None:
        check_new_name(name)
        for there in list_agents(workspace):
            if there.name != name and same_name(there.name, name):
                raise UsageError(
                    f"there is an agent {there.name} already.", fix="Choose another name."
                )
    if message:
        message = check_text(message, "the message", LONGEST_MESSAGE)
    if problems := check(workspace, text):
        raise InvalidAgentError(name, problems)
    return edits.save(
        workspace.store,
        name,
        text,
        based_on=based_on,
        message=message,
        author=author or workspace.who,
    )


def check_new_name(name: str) -> None:
    """See that an agent can be called so.

    Raises:
        UsageError: it cannot.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UsageError(
            f"{name!r} is not a valid agent name." if name else "the agent name is missing.",
            fix=f"Use at most {LONGEST_NAME} letters, digits, hyphens, dots and _; the first is a "
            "letter or a digit.",
        )


def set_values(text: str, settings: Sequence[str]) -> str:
    """A text with settings changed (`SETTING=VALUE` each), comments and all else as it was.

    Raises:
        UsageError: one is not written so.
        ConfigError: the text cannot be changed by program.
    """
    values = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign or not name:
            raise UsageError(f"--set {setting!r} is not of the form SETTING=VALUE.")
        values[name] = texts.value_of(name, value)
    return texts.edit(text, values)


def history(workspace: Workspace, name: str | None = None) -> list[AgentVersion]:
    """Every version of an agent, or of all, newest first.

    Raises:
        NotFoundError: there is no such agent.
    """
    if name is not None:
        edits.read(workspace.store, name)
    return versions_of(workspace.store, name)


def diff(workspace: Workspace, one: str, other: str) -> dict[str, Any]:
    """What two agents say differently, by setting; each is NAME (the newest) or NAME@VERSION.

    Returns:
        `{first, second, fields: {path: [one, other]}, texts: [one, other]}`, JSON-ready; the two
        first are `NAME@VERSION`, a setting that only one has is null in the other.

    Raises:
        AssayError: there is no such agent.
    """
    a, b = read(workspace, one), read(workspace, other)
    fields = compare_settings(a.agent.model_dump(mode="json"), b.agent.model_dump(mode="json"))
    return {
        "first": a.version.label,
        "second": b.version.label,
        "fields": {path: list(pair) for path, pair in fields.items()},
        "texts": [a.text, b.text],
    }


def rollback(
    workspace: Workspace,
    name: str,
    to: int | None = None,
    *,
    message: str | None = None,
    author: str | None = None,
) -> AgentVersion:
    """Make an earlier version the newest one again, as a new version; None: the one before.

    Raises:
        AssayError: there is no such agent or version, or it says the same as the newest.
    """
    return edits.rollback(
        workspace.store, name, to, message=message, author=author or workspace.who
    )


def _looks(workspace: Workspace, agent: Agent) -> list[tuple[str, Callable[[], object]]]:
    """What an agent needs that is not in it, by the setting that names it."""
    looks: list[tuple[str, Callable[[], object]]] = [
        ("route", lambda: leaves(agent, workspace.store))
        if agent.route is not None
        else ("model", lambda: _check_model(workspace, agent))
    ]
    if agent.nearest is not None:
        nearest = agent.nearest
        looks.append(("nearest.pool", lambda: _check_blob(workspace, nearest.pool, "examples")))
    if agent.knowledge is not None:
        of = agent.knowledge
        base = knowledge_base(workspace.store, workspace.name, of.name)
        looks.append(("knowledge.name", base.documents))
        if of.embedder is not None:
            looks.append(("knowledge.embedder", lambda: _check_embedder(workspace, of)))
        if (rerank := of.rerank) is not None:
            looks.append(("knowledge.rerank", lambda: _check_reranker(workspace, rerank)))
    if (schema := agent.output_schema) is not None:
        looks.append(("output_schema", lambda: _check_schema(schema, enforced=agent.constrained)))
    elif agent.constrained and agent.choices is None:
        looks.append(("constrained", lambda: _check_calls(workspace)))
    if (choices := agent.choices) is not None:
        looks.append(("choices", lambda: _check_choices(choices)))
    if agent.kind == "chat":
        length, model = agent.max_new_tokens, agent.model
        looks.append(("max_new_tokens", lambda: check_length(workspace.store, length, model)))
    looks.append(("temperature", lambda: _check_temperature(agent.temperature)))
    return looks


def _check_model(workspace: Workspace, agent: Agent) -> None:
    from assay.generate.registry import CLASSICAL, scheme_of
    from assay.models.versions import find_version, version_bits, version_id

    scheme, _, name = agent.model.partition(":")
    kinds = {**dict.fromkeys(CLASSICAL, "classical"), "outside": "outside"}
    if kinds.get(scheme) != (agent.kind if agent.kind in kinds else None):
        raise UsageError(f"an agent of kind {agent.kind} cannot use this model.")
    if scheme in kinds:
        _check_blob(workspace, name, "model")
    elif (id := version_id(agent.model)) is not None:
        version_bits(agent.model)  # refuses what no file has
        find_version(workspace.store, id)
    elif is_remote(agent.model):
        provider_of(workspace.providers, split_reference(agent.model)[0])
    elif not scheme_of(agent.model):  # else another package's engine judges it when it is opened
        check_name(agent.model)


def _check_blob(workspace: Workspace, name: str, what: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", name) or not blobs.has(workspace.store, name):
        raise ModelError(f"there is no stored {what} of that name.")


def _check_embedder(workspace: Workspace, of: Knowledge) -> None:
    """That a trained embedder is there, and vectors of the documents by it."""
    assert of.embedder is not None
    _check_blob(workspace, of.embedder.removeprefix(SCHEME), "embedder")
    copy = knowledge_base(workspace.store, workspace.name, of.name, of.embedder)
    if copy.name not in records.names(workspace.store, workspace.name):
        raise UsageError(
            f"the documents of {of.name} have no vectors of this embedder.",
            fix="Remove it, or compare rag-tuned again.",
        )


def _check_reranker(workspace: Workspace, name: str) -> None:
    """That it can be looked for; of a trained one, that it is there and what it is."""
    if name.startswith(SCHEME):
        _check_blob(workspace, name.removeprefix(SCHEME), "cross-encoder")
        rows_behind_tuned(name, workspace.store, Reranker)
    else:
        check_name(name)


def _check_schema(schema: dict[str, Any], *, enforced: bool) -> None:
    """That it is one, and can be enforced where it is to be."""
    from assay.generate.constrained import check_schema

    schema_validator(schema, "the schema")
    if enforced:
        check_schema(schema)


def _check_choices(choices: Sequence[str]) -> None:
    if not choices or not all(choices):
        raise UsageError("write at least one allowed answer, and leave none empty.")


def _check_calls(workspace: Workspace) -> None:
    """That there are calls to be held to tools, where neither schema nor choices are given."""
    config = workspace.config
    if config is not None and config.task != "tools":
        raise UsageError(
            "constrained needs output_schema or choices; only in a project of tools it holds calls "
            "to the tools of each request."
        )


def _check_temperature(temperature: float) -> None:
    """As of a request: stored agents of before are read as they are, and not saved again."""
    if temperature > MOST_TEMPERATURE:
        raise UsageError(f"it should be at most {MOST_TEMPERATURE:g}.")


def _failure(look: Callable[[], object]) -> AssayError | None:
    try:
        look()
    except AssayError as error:
        return error
    return None


def _sentence(error: AssayError) -> str:
    return f"{error.what} {error.fix}" if error.fix else error.what


__all__ = [
    "Draft",
    "InvalidAgentError",
    "Problem",
    "StaleEditError",
    "check",
    "check_new_name",
    "diff",
    "history",
    "list_agents",
    "read",
    "rollback",
    "save",
    "set_values",
]
