"""What a fine-tuning job's settings at OpenAI are here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from assay.data.propose import Judgement

_EQUALS = {"n_epochs": "epochs", "batch_size": "rows_per_step", "beta": "beta", "seed": "seed"}
"""Settings of a job at OpenAI that `fine_tune` has, too."""
_METHODS = {"supervised": "sft", "dpo": "dpo"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a job, and what has become of it.

    Attributes:
        here: the setting of assay.yaml; None: it has no equal.
    """

    name: str
    value: Any
    here: str | None


def translate(job: Mapping[str, Any], proposed: Judgement) -> dict[str, Any]:
    """Settings of assay.yaml that are equal to the job's."""
    values: dict[str, Any] = {}
    method = _METHODS.get(str(_method(job))) if job else None  # else as the rows are
    if method is not None and proposed != "answers":  # only rows with two answers can be preferred
        values["fine_tune.method"] = method
    for setting in settings_of(job):
        if setting.here is not None:
            values[setting.here] = setting.value
    return values


def settings_of(job: Mapping[str, Any]) -> Iterator[Setting]:
    """The hyperparameters of a job and its seed, each with its equal here."""
    given = dict(_hyperparameters(job))
    if job.get("seed") is not None:
        given["seed"] = job["seed"]
    for name, value in given.items():
        here = _EQUALS.get(name)
        yield Setting(name, value, f"fine_tune.{here}" if here and _fits(name, value) else None)


def _fits(name: str, value: Any) -> bool:
    """Whether a value of OpenAI's is one here."""
    if value == "auto":
        return name in ("n_epochs", "batch_size")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if name == "beta":
        return value > 0
    return isinstance(value, int) and value >= (name != "seed")


def _hyperparameters(job: Mapping[str, Any]) -> Mapping[str, Any]:
    method = job.get("method")
    if isinstance(method, dict):
        inner = method.get(str(method.get("type")))
        if isinstance(inner, dict) and isinstance(inner.get("hyperparameters"), dict):
            found: dict[str, Any] = inner["hyperparameters"]
            return found
    older = job.get("hyperparameters")
    return older if isinstance(older, dict) else {}


def _method(job: Mapping[str, Any]) -> str | None:
    method = job.get("method")
    return method.get("type") if isinstance(method, dict) else "supervised"
