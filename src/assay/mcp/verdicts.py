"""Tools: what comparisons have found, in words and figures; never the rows they were found on."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel, Field

from assay.compare.naming import with_named_range
from assay.compare.report import next_step, wording, worth
from assay.compare.result import Result
from assay.errors import NotFoundError
from assay.mcp.access import Access
from assay.mcp.data import READS
from assay.project import comparisons
from assay.project.programs import count_openings

ComparisonId = Annotated[
    str,
    Field(max_length=64, pattern=r"^[0-9a-f]*$", description="How its id begins; else the newest."),
]


class ComparisonLine(BaseModel):
    """One finished comparison."""

    comparison: str
    at: str
    headline: str
    opening: int
    candidates: int


class CandidateFigures(BaseModel):
    """One candidate; scores are between 0 and 1.

    Attributes:
        agent: `NAME@VERSION` that can be proposed.
        eligible: whether it is shown to be no worse than any other, by the margin.
    """

    name: str
    agent: str | None
    score: float | None
    low: float | None
    high: float | None
    validation: float | None
    eligible: bool | None
    baseline: bool
    status: str
    yearly_usd: float | None
    latency_p50_s: float | None


class PairFigures(BaseModel):
    """Two candidates; `call`: `a` is better, worse, equivalent, or it cannot be told."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p_adjusted: float
    call: str


class VerdictSummary(BaseModel):
    """What a comparison has found.

    Attributes:
        outcome: recommend, none or cannot_tell.
        recommend: the candidate to use.
        use_meanwhile: the one to use for now where it cannot be told.
        level: at which the verdict was reached; the first opening's is the highest.
    """

    comparison: str
    created_at: str
    headline: str
    reason: str
    next_step: str
    fine_tuning: str
    outcome: str
    recommend: str | None
    use_meanwhile: str | None
    grader: str
    margin: float
    holdout: int
    opening: int
    level: float
    minimum_detectable_effect: float
    candidates: list[CandidateFigures]
    pairs: list[PairFigures]
    warnings: list[str]


class OpeningLine(BaseModel):
    """One opening of the present holdout."""

    number: int
    at: str
    who: str | None
    reason: str
    level: float
    comparison: str


class OpeningSummary(BaseModel):
    """The log of the present holdout, and what it leaves.

    Attributes:
        by_programs: how many programs have asked for, all together.
        allowed: of these; the owner sets it.
        next_level: at which the next verdict would be reached.
    """

    log: list[OpeningLine]
    by_programs: int
    allowed: int
    left: int
    next_level: float


def add_tools(server: MCPServer[Any], access: Access) -> None:
    """Give a server these tools."""

    @server.tool(title="List comparisons", annotations=READS)
    def list_comparisons(context: Context) -> list[ComparisonLine]:
        """List finished comparisons, the newest first (at most 50)."""
        found = comparisons.summaries(access.workspace(context))
        return [
            ComparisonLine(
                comparison=one.id,
                at=one.at.isoformat(timespec="seconds"),
                headline=wording.headline(one.verdict),
                opening=one.opening,
                candidates=one.candidates,
            )
            for one in found[:50]
        ]

    @server.tool(title="Read a verdict", annotations=READS)
    def read_verdict(context: Context, comparison: ComparisonId = "") -> VerdictSummary:
        """Read what a finished comparison has found: the recommendation in words, each candidate's
        score with its interval, all pairs, costs, and what to do next. A difference that is not
        called better or worse is not shown. Rows of the holdout and answers to them are for the
        owner's report alone."""
        workspace = access.workspace(context)
        found = [
            one.id for one in comparisons.summaries(workspace) if one.id.startswith(comparison)
        ]
        if not found:
            raise NotFoundError(
                f"there is no finished comparison {comparison!r}."
                if comparison
                else "there is no finished comparison yet.",
                fix="list_comparisons lists them; start_comparison makes one.",
            )
        result = with_named_range(comparisons.result(workspace, found[0]))
        agents = comparisons.labels(workspace, [one.agent for one in result.candidates])
        return _summary(result, agents)

    @server.tool(title="Read the log of openings", annotations=READS)
    def read_openings(context: Context) -> OpeningSummary:
        """Read who has opened the present holdout, when and why, at which level the next verdict
        would be reached, and how many openings are left to you. Only the owner can change that."""
        found = count_openings(access.workspace(context))
        return OpeningSummary(
            log=[
                OpeningLine(
                    number=one.number,
                    at=one.at,
                    who=one.who,
                    reason=one.reason[:500],
                    level=one.alpha,
                    comparison=one.comparison,
                )
                for one in found.log[-100:]
            ],
            by_programs=found.by_programs,
            allowed=found.most,
            left=found.left,
            next_level=found.next_level,
        )


def _summary(result: Result, agents: dict[str, str]) -> VerdictSummary:
    verdict = result.verdict
    return VerdictSummary(
        comparison=result.comparison,
        created_at=result.created_at,
        headline=wording.headline(verdict),
        reason=verdict.reason,
        next_step=next_step.say(result),
        fine_tuning=worth.fine_tuning(result),
        outcome=verdict.outcome,
        recommend=verdict.recommend,
        use_meanwhile=verdict.use_meanwhile,
        grader=result.primary,
        margin=result.margin,
        holdout=result.data.holdout,
        opening=result.opening.number,
        level=result.opening.alpha,
        minimum_detectable_effect=result.minimum_detectable_effect,
        candidates=[
            CandidateFigures(
                name=one.name,
                agent=agents.get(one.agent),
                score=one.score,
                low=one.low,
                high=one.high,
                validation=next((v.score for v in one.validation if v.chosen), None),
                eligible=one.eligible,
                baseline=one.baseline,
                status=one.status,
                yearly_usd=one.yearly_cost,
                latency_p50_s=one.latency_p50_s,
            )
            for one in wording.rank(result)
        ],
        pairs=[
            PairFigures(
                a=pair.a,
                b=pair.b,
                difference=pair.difference,
                low=pair.low,
                high=pair.high,
                p_adjusted=pair.p_adjusted,
                call=pair.call,
            )
            for pair in result.pairs
        ],
        warnings=result.warnings,
    )
