"""Tools: agents and versions, and a changed prompt or other examples as a new version."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel, Field

from assay.agent.agent import Agent
from assay.agent.texts import as_yaml, edit
from assay.compare.holdout import is_program
from assay.errors import StateError, UsageError
from assay.mcp.access import Access, find_own_agent
from assay.mcp.data import READS
from assay.mcp.jobs import STARTS
from assay.mcp.texts import OneLine
from assay.project import agents, versions
from assay.project.releases.scores import find_latest_scores
from assay.project.workspace import Workspace, project_of

MOST_PROMPT, MOST_EXAMPLE, MOST_SHOWN = 50_000, 10_000, 50
MOST_VERSIONS = 1000
"""That programs may save, all of them together."""


class AgentLine(BaseModel):
    """The newest version of an agent.

    Attributes:
        score: in the newest comparison that measured it; null: none has.
    """

    agent: str
    author: str
    message: str
    at: str
    score: float | None


class VersionLine(BaseModel):
    """A fine-tuned version of a model, and the agents that use it."""

    version: str
    base: str
    saved_at: str
    agents: list[str]


class AgentList(BaseModel):
    """Agents, and what was trained."""

    agents: list[AgentLine]
    versions: list[VersionLine]


class AgentText(BaseModel):
    """An agent as YAML: model, system prompt, examples that are shown, sampling."""

    agent: str
    text: str


class ShownExample(BaseModel):
    """An example that is shown to the model before every input."""

    input: Annotated[str, Field(min_length=1, max_length=MOST_EXAMPLE)]
    output: Annotated[str, Field(min_length=1, max_length=MOST_EXAMPLE)]


class SavedAgent(BaseModel):
    """What was saved."""

    agent: str
    next_step: str


def add_tools(server: MCPServer[Any], access: Access) -> None:
    """Give a server these tools."""

    @server.tool(title="List agents", annotations=READS)
    def list_agents(context: Context) -> AgentList:
        """List saved agents at their newest version, with their scores, and fine-tuned versions of
        models. Comparisons save one agent for each candidate."""
        workspace = access.workspace(context)
        saved = agents.list_agents(workspace)
        measured = find_latest_scores(workspace, [one.label for one in saved])
        return AgentList(
            agents=[
                AgentLine(
                    agent=one.label,
                    author=one.author,
                    message=one.message[:300],
                    at=one.at.isoformat(timespec="seconds"),
                    score=measured[one.label].score if one.label in measured else None,
                )
                for one in saved[:200]
            ],
            versions=[
                VersionLine(
                    version=one["id"],
                    base=one["base"],
                    saved_at=str(one["saved_at"]),
                    agents=one["agents"],
                )
                for one in versions.versions(workspace.store)[-100:]
            ],
        )

    @server.tool(title="Show an agent", annotations=READS)
    def show_agent(
        context: Context,
        agent: Annotated[str, Field(max_length=140, description="NAME or NAME@VERSION.")],
    ) -> AgentText:
        """Show an agent as it was saved: its system prompt, the examples that it shows, its
        model."""
        found = agents.read(access.workspace(context), agent)
        return AgentText(agent=found.version.label, text=found.text[:MOST_PROMPT])

    @server.tool(title="Save a changed agent", annotations=STARTS)
    def save_agent(
        context: Context,
        name: Annotated[
            str,
            Field(
                max_length=100,
                description="Under which it is saved; one that is new, or a program's.",
            ),
        ],
        message: Annotated[
            OneLine,
            Field(min_length=3, max_length=300, description="What was changed, and why."),
        ],
        based_on: Annotated[
            str | None,
            Field(
                max_length=140,
                description="NAME or NAME@VERSION that is changed; left out: the project's model "
                "with its system prompt.",
            ),
        ] = None,
        system_prompt: Annotated[
            str | None, Field(max_length=MOST_PROMPT, description="Left out: stays as it is.")
        ] = None,
        shown: Annotated[
            list[ShownExample] | None,
            Field(max_length=MOST_SHOWN, description="Examples shown every time (few-shot)."),
        ] = None,
        nearest: Annotated[
            int | None,
            Field(ge=1, le=50, description="How many of the most similar examples are shown."),
        ] = None,
    ) -> SavedAgent:
        """Save an agent with another system prompt or other examples as a new version. Nothing is
        served or measured by that: try_agent scores it on validation, start_comparison on the
        holdout."""
        workspace = access.workspace(context)
        before = find_own_agent(workspace, name)
        base = _base(workspace, based_on)
        if base.kind != "chat":
            raise UsageError(
                f"{based_on} asks no language model, so it has neither prompt nor examples.",
                fix="Base the change on an agent that does, such as few-shot.",
            )
        values: dict[str, Any] = {}
        if system_prompt is not None:
            values["system_prompt"] = system_prompt
        if shown is not None:
            values["shown"] = [
                [
                    {"role": "user", "content": one.input},
                    {"role": "assistant", "content": one.output},
                ]
                for one in shown
            ]
        if nearest is not None:
            if base.nearest is None:
                raise UsageError(
                    "this agent looks for no similar examples.",
                    fix="Base the change on few-shot-nearest, or give the examples in `shown`.",
                )
            values["nearest.k"] = nearest
        if not values:
            raise UsageError("nothing was changed.", fix="Give system_prompt, shown or nearest.")
        text = edit(as_yaml(base), values)
        _check_room(workspace, text)
        saved = agents.save(
            workspace,
            name,
            text,
            based_on=None if before is None else before.hash,
            message=message,
        )
        return SavedAgent(
            agent=saved.label,
            next_step=f"try_agent with {saved.label} scores it on validation.",
        )


def _base(workspace: Workspace, label: str | None) -> Agent:
    if label is not None:
        return agents.read(workspace, label).agent
    config = project_of(workspace).config
    return Agent(
        model=config.model,
        system_prompt=config.system_prompt,
        max_new_tokens=config.generate.max_new_tokens,
    )


def _check_room(workspace: Workspace, text: str) -> None:
    """See that a program may keep one more text.

    Raises:
        StateError: programs have saved as many as they may.
        QuotaError: the project may not have more.
    """
    if sum(is_program(one.author) for one in agents.history(workspace)) >= MOST_VERSIONS:
        raise StateError(
            f"programs have saved {MOST_VERSIONS} versions of agents here, which is all they may.",
            fix="Go on with those that are there, or let the owner save another.",
        )
    workspace.quota.check(workspace.name, len(text.encode(errors="surrogatepass")))
