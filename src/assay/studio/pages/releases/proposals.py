"""Promotions that programs propose, such as coding agents by MCP: read here, decided by people."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from assay.accounts.authors import format_author
from assay.project.releases import proposals
from assay.project.releases.proposals import Proposal
from assay.studio import widgets as w
from assay.studio.session import PageContext
from assay.studio.shared.names import exact_label, typed_term
from assay.studio.words import format_time


async def proposals_card(context: PageContext) -> None:
    """What is proposed and not decided yet; nothing where nothing is."""
    found = await context.read(proposals.proposals)
    if found:
        _show(found)


def _show(found: Sequence[Proposal]) -> None:
    with (
        w.section(
            "Proposed promotions",
            "Programs propose these. Nothing changes until somebody promotes an agent, here or on "
            "the page Compare; a proposal ends when its release is changed.",
        ),
        w.table("Release", "Agent", "Why", "What speaks against it", "By", label="Proposals"),
    ):
        for one in found:
            with ui.element("tr"):
                w.text(one.release, tag="td")
                with ui.element("td"):
                    typed_term(exact_label(one.agent), one.agent)
                w.text(one.reason, tag="td")
                w.text(one.doubt or "Nothing: a comparison shows that it is fit.", tag="td")
                w.text(f"{format_author(one.who)}, {format_time(one.at)}", tag="td")
