"""The settings that are left to Assay: a documented rule of model size and number of rows.

    auto.choose(config.fine_tune, parameters=134.5e6, rows=770)   # a FineTune without "auto"

**Learning rate.** 1e-3 at 135 million parameters, falling with the power 0.4 of the size:
4e-4 at 1.2 billion, 2e-4 at 7, 1e-4 at 33, 8e-5 at 65. It passes through what is known to work with
low-rank adapters on every linear map: 2e-4 at 7 and 13 billion and 1e-4 at 33 and 65 (QLoRA,
arXiv:2305.14314, table 9), and it lies within a factor of two of Tinker's rule 5e-4 · (2000 /
hidden size)^0.781 for Llama models (tinker-docs.thinkingmachines.ai, supervised learning
hyperparameters: 4.9e-4 at 1 billion, 2.9e-4 at 8). Smaller models get no more. All weights at once
take a tenth of it ("LoRA Without Regret", Schulman et al. 2025), and preferences a twentieth (the
ratio of TRL's defaults for SFT and DPO; ORPO, which also learns the answers, a quarter). With the
scale alpha / rank the best rate does not depend on the rank (same source).

Adapters that learn rows in at most 150 steps take twice as much. After 100 steps the starter was
better for it on three of four jobs and hardly worse on the fourth, after 300 it was not
(docs/training.md); the same source sees the best rate of short runs at 1.5 times that of long ones.

**Rank.** 16, which holds far more than a few thousand short answers say (an adapter parameter
stores about two bits, same source), twice as much for every four times the rows above 10,000.

**Epochs.** Few rows are repeated more often, so that there are steps enough to learn in: about 800
rows in all, at most 12 epochs. Early stopping keeps the best epoch. From 200 to 2000 rows 4, then
3, 2 and 1.

**Rows per step.** 8; low-rank adapters lose more than full training by large steps (same source).
Fewer than 100 rows are given 4, for twice the steps; above 2000 there are steps enough for 16, and
above 10,000 for 32.
"""

from __future__ import annotations

import math
from typing import Any

from assay.config import FineTune, FineTuneSection
from assay.train.methods import registry, sft
from assay.train.methods.spec import MethodSpec

REFERENCE_PARAMETERS = 135e6
REFERENCE_RATE = 1e-3
SIZE_POWER = 0.4
_OF_FULL = 1 / 10
SHORT_STEPS = 150
_OF_SHORT = 2.0


def choose(
    section: FineTuneSection,
    *,
    parameters: float,
    rows: int,
    units: int | None = None,
    method: MethodSpec | None = None,
) -> FineTune:
    """The settings with a number wherever `auto` stood.

    Args:
        parameters: of the base model.
        rows: training examples.
        units: what an epoch steps through, with rows that are mixed in; None: the rows.
        method: None: the one that `section.method` names.
    """
    method = method or registry.find(section.method)
    if method.reinforces:
        own = section.reinforcement
        section = section.model_copy(
            update={
                "learning_rate": own.learning_rate,
                "rows_per_step": own.prompts_per_step,
                "epochs": 1,
            }
        )
    of_rank = rank(rows) if section.rank == "auto" else section.rank
    of_rows = rows_per_step(rows) if section.rows_per_step == "auto" else section.rows_per_step
    of_epochs = epochs(rows) if section.epochs == "auto" else section.epochs
    steps = of_epochs * math.ceil((rows if units is None else units) / of_rows)
    rate = learning_rate(parameters, method, section.adapter, steps)
    if section.adapter == "rslora":  # its update is √rank times lora's at the same rate
        rate = float(f"{rate / math.sqrt(of_rank):.1e}")
    rule: dict[str, Any] = {
        "rank": of_rank,
        "learning_rate": rate,
        "epochs": of_epochs,
        "rows_per_step": of_rows,
    }
    stated = section.model_dump(include=set(FineTune.model_fields))
    decided = {name: value for name, value in rule.items() if stated[name] == "auto"}
    return FineTune.model_validate(stated | decided)


def learning_rate(
    parameters: float,
    method: MethodSpec = sft.SPEC,
    adapter: str = "lora",
    steps: float = math.inf,
) -> float:
    """The highest rate of the schedule, two digits.

    Args:
        parameters: of the base model.
        steps: of the whole training.
    """
    size = max(1.0, parameters / REFERENCE_PARAMETERS)
    rate = REFERENCE_RATE * size**-SIZE_POWER * method.rate
    if adapter == "full":
        rate *= _OF_FULL
    elif method.learns_from == "answers" and not method.reinforces and steps <= SHORT_STEPS:
        rate *= _OF_SHORT
    return float(f"{rate:.1e}")


def rank(rows: int) -> int:
    """Of the adapter, at most 128."""
    found = 16
    while rows > 10_000 and found < 128:
        found, rows = 2 * found, rows // 4
    return found


def epochs(rows: int) -> int:
    """At most so many; early stopping may end sooner."""
    if rows <= 2_000:
        return min(12, max(4, -(-800 // max(1, rows))))
    return 3 if rows <= 10_000 else 2 if rows <= 50_000 else 1


def rows_per_step(rows: int) -> int:
    """Rows whose gradients make one step."""
    if rows < 100:
        return 4
    return 8 if rows <= 2_000 else 16 if rows <= 10_000 else 32
