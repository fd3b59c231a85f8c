"""Tools: releases, and promotions put before the owner. Nothing here changes a release."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel, Field

from assay.mcp.access import Access
from assay.mcp.data import READS
from assay.mcp.jobs import STARTS, Label
from assay.mcp.texts import OneLine
from assay.project import releases
from assay.project.releases import proposals
from assay.project.releases.proposals import Proposal
from assay.project.workspace import Workspace


class ReleaseLine(BaseModel):
    """A name that is served, and the agent behind it.

    Attributes:
        promoted_on: what the agent was promoted on, in a sentence.
    """

    release: str
    agent: str
    canary: str | None
    canary_share: float
    since: str
    promoted_on: str


class ProposalLine(BaseModel):
    """A promotion that waits for the owner.

    Attributes:
        doubt: why the owner would have to give a reason; null: a comparison shows that the agent is
            fit.
    """

    release: str
    agent: str
    reason: str
    who: str
    at: str
    doubt: str | None
    next_step: str


class ReleaseList(BaseModel):
    """Releases, and what is proposed."""

    releases: list[ReleaseLine]
    proposals: list[ProposalLine]


def add_tools(server: MCPServer[Any], access: Access) -> None:
    """Give a server these tools."""

    @server.tool(title="List releases", annotations=READS)
    def list_releases(context: Context) -> ReleaseList:
        """List the names under which agents are served, and promotions that wait for the owner."""
        workspace = access.workspace(context)
        return ReleaseList(
            releases=[_release(workspace, one) for one in releases.list_releases(workspace)[:100]],
            proposals=[_proposal(one) for one in proposals.proposals(workspace)],
        )

    @server.tool(title="Propose a promotion", annotations=STARTS)
    def propose_promotion(
        context: Context,
        release: Annotated[str, Field(max_length=100, description="Such as support.")],
        agent: Label,
        reason: Annotated[OneLine, Field(min_length=3, max_length=1000)],
    ) -> ProposalLine:
        """Propose that a release should serve an agent. It changes nothing: the owner decides, and
        promotes. Tell the owner what you propose, and the command in next_step."""
        return _proposal(proposals.propose(access.workspace(context), release, agent, reason))


def _release(workspace: Workspace, one: dict[str, Any]) -> ReleaseLine:
    history = releases.history(workspace, one["name"])
    return ReleaseLine(
        release=one["name"],
        agent=one["agent"],
        canary=one["canary"],
        canary_share=one["share"],
        since=one["at"],
        promoted_on=releases.describe_promotion(workspace, history),
    )


def _proposal(one: Proposal) -> ProposalLine:
    return ProposalLine(
        release=one.release,
        agent=one.agent,
        reason=one.reason,
        who=one.who,
        at=one.at.isoformat(timespec="seconds"),
        doubt=one.doubt,
        next_step=f"The owner promotes it with `assay release promote {one.release} {one.agent}`.",
    )
