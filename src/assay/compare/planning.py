"""What is fixed before the holdout is opened, and what the holdout can show. Pure but for the date.

Everything here comes from validation or from the configuration; nobody here can read a holdout.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from assay.candidates.building import Candidate
from assay.compare.entries import Terms
from assay.compare.findings import LEAST_UNITS
from assay.compare.result import OpeningRecord, Plan
from assay.config import Config
from assay.evaluate import stats
from assay.evaluate.multiplicity import FIRST_SHARE
from assay.evaluate.stats import UNKNOWN_DISCORDANCE, opening_alpha
from assay.example import canonical_json

ALPHA = 0.05
SERVER_DECIDES_NOTHING = {"key_env", "at_once", "timeout_s", "consent"}
"""Settings of `vllm` that change no answer."""


def write_plan(
    built: Sequence[Candidate],
    config: Config,
    *,
    rows: int,
    groups: int | None,
    opening: int,
    judge_error: float | None = None,
    unlabelled: int | None = None,
    tests: str | None = None,
) -> Plan:
    """All that is fixed before the holdout is opened.

    Args:
        rows, groups: of the holdout; None where no two rows share a group.
        opening: which opening of it this will be, from 1.
        judge_error: of the judge that decides; None where none does.
        unlabelled: inputs that a model labels; None where there are none.
        tests: see `Identity`.
    """
    rollout = config.rollout
    seen, ranked = discordance(built), ranked_on_validation(built)
    best = ranked[0] if ranked else None
    graded = any(score not in (0, 1) for one in ranked[:2] for score in one.scores)
    tuned = sum(one.fine_tuned for one in built) if best is not None and best.fine_tuned else 0
    terms = Terms(
        margin=config.margin,
        margin_for_cheaper=config.margin_for_cheaper,
        alpha=ALPHA,
        opening=opening,
        good_enough=config.good_enough,
        monthly_requests=config.monthly_requests,
        discordance=seen,
    )
    fields = {
        "candidates": [candidate.name for candidate in built],
        "tested_first": None if best is None else best.name,
        "primary": config.primary,
        "margin": terms.margin,
        "margin_for_cheaper": terms.margin_for_cheaper,
        "alpha": ALPHA,
        "level": opening_alpha(ALPHA, terms.opening),
        "opening": terms.opening,
        "good_enough": terms.good_enough,
        "monthly_requests": terms.monthly_requests,
        "judge_error": judge_error,
        "unlabelled": unlabelled,
        "rollout": rollout and ("recorded" if rollout.tools is None else "tools"),
        "tests": tests,
        "holdout": rows,
        "groups": groups,
        "minimum_detectable_effect": planned_effect(
            rows, groups, terms, tuned=tuned, graded=graded
        ),
        "stated_effect": detectable_effect(config, rows, groups, terms.opening),
        "stated_discordance": UNKNOWN_DISCORDANCE,
        "discordance": UNKNOWN_DISCORDANCE if seen is None else seen,
    }
    return _signed(fields)


def restate_plan(opened: OpeningRecord, plan: Plan, config: Config) -> Plan:
    """The plan of a comparison that opened the holdout, for one in which only costs differ: what is
    tested and in which order stays as it was written before the opening, at the level of its line
    in the log."""
    fields = plan.model_dump(mode="json", exclude={"sha256", "written_at"})
    changed = {
        "monthly_requests": config.monthly_requests,
        "opened_by": opened.comparison,
        "opening": opened.number,
        "level": opened.alpha,
    }
    return _signed(fields | changed)


def _signed(fields: Mapping[str, Any]) -> Plan:
    dated = {**fields, "written_at": datetime.now(UTC).isoformat(timespec="seconds")}
    digest = hashlib.sha256(canonical_json(dated).encode()).hexdigest()
    return Plan.model_validate(dated | {"sha256": digest})


def dump_settings(config: Config) -> dict[str, Any]:
    """The settings as a result keeps them: without what is sent along to providers, which may be a
    secret."""
    secret: dict[str, Any] = {
        "providers": {"__all__": {"headers", "query", "proxy"}},
        "place": True,
        "state": True,
        "mcp": True,  # says who may ask, and nothing of what is measured
        "vllm": SERVER_DECIDES_NOTHING,
    }
    for name in ("rollout", "recorded"):
        if getattr(config, name) is None:  # as before there were any
            secret[name] = True
    whole = config.model_dump(mode="json", exclude=secret)
    for name, provider in config.providers.items():  # null and false are one to a comparison
        whole["providers"][name]["batch"] = provider.asks_batches(can_wait=False)
    return whole | {"fine_tune": config.fine_tune.identity(tracking=True)}


def detectable_effect(config: Config, rows: int, groups: int | None, opening: int) -> float:
    """`planned_effect` before anything is built: how often the candidates will disagree is not
    known yet, nor whether the best of them will be fine-tuned."""
    terms = Terms(margin=config.margin, alpha=ALPHA, opening=opening)
    return planned_effect(rows, groups, terms)


def planned_effect(
    rows: int, groups: int | None, terms: Terms, *, tuned: int = 0, graded: bool = False
) -> float:
    """The smallest lead, 0 to 1, with which the best candidate, tested first, would be recommended
    with a power of 0.8; 0 where candidates that are equal are shown to be within the margin.

    Args:
        rows, groups: of the holdout; groups are taken to be of like size, since before the opening
            no more is known of them than how many there are. None where no two rows share one.
        tuned: fine-tuned candidates, where the best is one of them, which must also show its gain
            over every way without training (`Findings.is_gain_shown`); else 0.
        graded: scores are not all 0 or 1, so that collapses that were not seen are allowed for.
    """
    seen = UNKNOWN_DISCORDANCE if terms.discordance is None else terms.discordance
    sizes = [rows // groups + (i < rows % groups) for i in range(groups)] if groups else []

    counted = None if graded else stats.counted_design_effect(sizes)
    effect = stats.design_effect(sizes) if counted is None else counted

    def find_least(level: float, margin: float) -> float:
        return stats.minimum_detectable_effect(
            rows,
            level,
            margin=margin,
            # The score test of "worse by the margin" reckons with as much disagreement as that
            # would take, so that candidates which hardly disagree are not shown with fewer rows.
            discordance=seen if graded else max(seen, 2 * terms.margin),
            design_effect=effect,
            unseen=graded,
        )

    level = opening_alpha(terms.alpha, terms.opening)
    lead = find_least(FIRST_SHARE * level, terms.margin)
    if not tuned:
        return lead
    return max(lead, find_least(min(level / tuned, terms.alpha / 2), 0.0))


def ranked_on_validation(built: Sequence[Candidate]) -> list[Candidate]:
    """Those that can be recommended and were scored on enough of validation, the best first.

    Equal scores go by name. Outside answers have no scores on validation.
    """
    scored = [c for c in built if len(c.scores) >= LEAST_UNITS and not c.floor]
    return sorted(scored, key=lambda one: (-fmean(one.scores), one.name))


def discordance(built: Sequence[Candidate]) -> float | None:
    """Mean squared difference of scores on validation, of the two best: it is between them that
    the holdout will have to decide.

    None when unknown: from a handful of examples nothing can be said, and candidates that never
    differ say nothing about how those that do would.
    """
    best = ranked_on_validation(built)[:2]
    if len(best) < 2:
        return None
    pairs = zip(best[0].scores, best[1].scores, strict=True)
    return fmean((x - y) ** 2 for x, y in pairs) or None
