"""Sentences on a learning curve, as `LearningCurve.to_dict` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay.compare.reasons import signed


def doubled(curve: Mapping[str, Any]) -> str:
    """What twice the data would bring; none where the fit to half of the rows did not foresee the
    score of all."""
    test, gain = curve["backtest"], curve["doubling"]
    if not test["covered"]:
        said = test["prediction"]
        return (
            f"No forecast for twice the data: a forecast for {curve['candidate']} from half of the "
            f"rows was {100 * said['low']:.1f} to {100 * said['high']:.1f} of 100 "
            f"({curve['primary']} on validation), but with all {said['size']} of them it scored "
            f"{100 * test['observed']:.1f}. The measured points are valid."
        )
    now, then = gain["now"], gain["then"]
    return (
        f"Twice the data ({then['size']} rows) would bring {curve['candidate']} from "
        f"{100 * now['score']:.1f} to about {100 * then['score']:.1f} of 100 ({curve['primary']} "
        f"on validation): {signed(gain['gain'])} points, likely between "
        f"{signed(gain['gain_low'])} and {signed(gain['gain_high'])}."
    )


def foreseen(curve: Mapping[str, Any]) -> str:
    """Whether such a forecast would have been right before."""
    held = "predicted" if curve["backtest"]["covered"] else "did not predict"
    return f"Checked: the fit to half of the rows {held} the score of all of them."
