"""Ways of specialising, one file each; a new way is a new file and its line here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from assay.candidates.building import Candidate, Context
from assay.errors import ConfigError

WAYS = {
    "prompt": "the system prompt alone",
    "few-shot": "the same few examples shown before every input",
    "few-shot-nearest": "the examples most like the input shown before it",
    "fine-tune": "a LoRA adapter trained on the examples",
    "remote": "the system prompt on a provider's model (`remote` in assay.yaml)",
    "baseline-majority": "always the most frequent label (label tasks; always takes part)",
    "baseline-tfidf": "TF-IDF and logistic regression (label tasks; always takes part)",
}
BASELINES = ("baseline-majority", "baseline-tfidf")


def ways(names: list[str], task: str) -> list[str]:
    """The candidates of a project: those named, and for labels both baselines.

    Raises:
        ConfigError: a name is not known, or a baseline is named for a task without labels.
    """
    for name in names:
        if name not in WAYS:
            raise ConfigError(
                f"there is no candidate {name!r}.",
                where="assay.yaml, candidates",
                fix=f"Use some of: {', '.join(WAYS)}.",
            )
        if name in BASELINES and task != "label":
            raise ConfigError(
                f"{name} needs a label task.", where="assay.yaml, candidates", fix="Remove it."
            )
    extra = [name for name in BASELINES if task == "label" and name not in names]
    return list(dict.fromkeys([*extra, *names]))


def builder(name: str) -> Callable[[Context], Candidate]:
    """The function that builds a candidate (its module is imported now, not before)."""
    module = import_module(f"assay.candidates.{name.replace('-', '_')}")
    build: Callable[[Context], Candidate] = module.build
    return build
