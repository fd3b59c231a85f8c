"""What follows from changed settings for what was measured, in sentences. No files, no store."""

from __future__ import annotations

from typing import Any

from assay.compare.identity import costs_open
from assay.config import Config
from assay.data.locked import MOST_NAMED, changes_of_holdout, describe_lost, lost_labels
from assay.data.split import SplitManifest

DIVIDES = ("data", "task", "labels", "output_schema", "model", "system_prompt")
"""Settings that decide which rows can be used and how they are divided (`data.gather`)."""
MEASURES = ("graders", "primary")
CONCLUDES = ("margin", "margin_for_cheaper", "good_enough", "unlabelled")
COSTS = ("monthly_requests", "costs")
BUILDS = (
    *("model", "system_prompt", "candidates", "route", "few_shot", "fine_tune", "knowledge"),
    *("prompt_search", "generate", "remote", "recorded"),
)


def set_differently(before: Config, after: Config) -> list[str]:
    """Paths of the settings that differ (`data.split.holdout`); lists are one setting each."""
    return differing(before.model_dump(mode="json"), after.model_dump(mode="json"))


def is_cost(path: str, config: Config) -> bool:
    """Whether a setting says what a candidate costs, and nothing else (`compare.identity`). Where a
    search for a prompt ends with its budget, prices decide which prompt is found."""
    if _is_price(path):
        return config.prompt_search.budget_usd is None
    return path.partition(".")[0] in COSTS


def _is_price(path: str) -> bool:
    section, _, rest = path.partition(".")
    return section == "providers" and ".prices" in rest


def stops(after: Config, openings: int, split: SplitManifest | None) -> list[str]:
    """Why nothing could be compared or trained any more after a save, in sentences.

    Args:
        openings: of the present holdout.
        split: the present one.
    """
    if split is None or not openings or split.generation > 1:
        return []
    clauses = changes_of_holdout(split.drawn_by, split.classes, after)
    if not clauses:
        return []
    return [
        *(f"{clause[:1].upper()}{clause[1:]}." for clause in clauses),
        f"The holdout, which was opened {_times(openings)}, would change: comparison and training "
        "would fail until you undo this or replace the holdout (Data).",
    ]


def follows(
    before: Config,
    after: Config,
    openings: int,
    split: SplitManifest | None = None,
    *,
    comparing: bool = False,
) -> list[str]:
    """What a save of `after` means for what was measured under `before`; most weighty first.

    Args:
        openings: of the present holdout.
        split: the present one.
        comparing: a comparison waits or is running, which goes by the settings of before and may
            still open the holdout, and then does so first.
    """
    changed = set_differently(before, after)
    sections = {path.split(".")[0] for path in changed}
    sentences = []
    if sections & set(DIVIDES):
        stopped = stops(after, openings, split)
        sentences += stopped or [*_rejected(after, split), _divided(openings, comparing=comparing)]
    if sections & set(MEASURES):
        sentences.append(
            "Answers will be scored differently: scores of earlier comparisons "
            f"({before.primary}) and of later ones ({after.primary}) cannot be "
            "compared. " + _opens(openings, comparing=comparing)
        )
    has_costs = any(is_cost(path, after) for path in changed)
    if any(_is_price(path) and not is_cost(path, after) for path in changed):
        sections.add("prompt_search")
    if sections & set(CONCLUDES) or (has_costs and costs_open(after)):
        sentences.append(
            "The next comparison evaluates its results again, as a new comparison. "
            + _opens(openings, comparing=comparing)
            if openings or comparing
            else "The next comparison's verdict goes by it."
        )
    elif has_costs and openings and not sections & {*DIVIDES, *MEASURES, *BUILDS}:
        sentences.append(
            "The next comparison works out anew which candidate is the cheapest. If nothing else "
            "has changed, answers and scores stay as they are, and the holdout is not opened again."
        )
    if {"vllm", "vllm.base_url"} & set(changed):
        sentences.append(
            "Another engine will answer for the project's model: where it takes part, the next "
            "comparison asks for its answers again. " + _opens(openings, comparing=comparing)
        )
    if sections & set(BUILDS):
        sentences.append(
            "Releases do not change. Candidates that use the changed settings are built again at "
            "the next comparison or training."
        )
    return sentences


def _rejected(after: Config, split: SplitManifest | None) -> list[str]:
    """The labels that rows have and settings do not."""
    if split is None:
        return []
    lost = [describe_lost(label, split.classes) for label in lost_labels(split.classes, after)]
    return [f"{one[:1].upper()}{one[1:]}: they will be rejected." for one in lost[:MOST_NAMED]]


def _times(openings: int) -> str:
    return "once" if openings == 1 else f"{openings} times"


def _divided(openings: int, *, comparing: bool) -> str:
    if not openings and comparing:
        return (
            "The examples will be checked and split again. If the comparison that waits or is "
            "running opens the holdout first and this changes the rows in it, comparison and "
            "training fail until you undo this or replace the holdout (Data)."
        )
    if not openings:
        return (
            "The examples will be checked and split again, which takes a while with many rows. "
            "The holdout was not opened yet, so nothing is lost."
        )
    return (
        "The examples will be checked and split again. The holdout was opened "
        f"{_times(openings)}: if its rows would change, comparison and training fail until you "
        "undo this or replace the holdout (Data)."
    )


def _opens(openings: int, *, comparing: bool) -> str:
    if not openings and not comparing:
        return "The holdout was not opened yet."
    later = (
        f", or the {_ordinal(openings + 2)} if the comparison that waits or is running opens it "
        "first"
    )
    return (
        f"It will open the holdout for the {_ordinal(openings + 1)} time"
        f"{later if comparing else ''}. Each opening makes a verdict harder to reach."
    )


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ending}"


def differing(before: Any, after: Any, path: str = "") -> list[str]:
    """Paths of what differs between two dumps; lists are one value each."""
    if before == after:
        return []
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [path]
    names = dict.fromkeys([*before, *after])
    prefix = f"{path}." if path else ""
    return [
        one
        for name in names
        for one in differing(before.get(name), after.get(name), f"{prefix}{name}")
    ]
