"""Sentences on a learning curve, as `LearningCurve.to_dict` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def doubled(curve: Mapping[str, Any]) -> str:
    """What twice the data would bring; none where the fit to half of the rows did not foresee the
    score of all."""
    test, gain = curve["backtest"], curve["doubling"]
    if not test["covered"]:
        said = test["prediction"]
        return (
            f"What twice the data would bring cannot be said: half of the rows foresaw "
            f"{100 * said['low']:.1f} to {100 * said['high']:.1f} of 100 ({curve['primary']} on "
            f"validation) for {curve['candidate']}, and all {said['size']} of them brought "
            f"{100 * test['observed']:.1f}. What was measured stands."
        )
    now, then = gain["now"], gain["then"]
    return (
        f"Twice the data ({then['size']} rows) would bring {curve['candidate']} from "
        f"{100 * now['score']:.1f} to about {100 * then['score']:.1f} of 100 ({curve['primary']} "
        f"on validation): {100 * gain['gain']:+.1f} points, likely between "
        f"{100 * gain['gain_low']:+.1f} and {100 * gain['gain_high']:+.1f}."
    )


def foreseen(curve: Mapping[str, Any]) -> str:
    """Whether such a forecast would have been right before."""
    held = "foresaw" if curve["backtest"]["covered"] else "did not foresee"
    return f"Checked: the fit to half of the rows {held} the score of all of them."
