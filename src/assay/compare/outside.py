"""Candidates of which only answers are here: given outside Assay to the rows of the holdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.candidates import registry
from assay.candidates.building import Candidate
from assay.compare.holdout import holdout_keys
from assay.errors import UsageError
from assay.example import canonical_json
from assay.extensions import NAME
from assay.generate.replay import read_predictions, recorded_model
from assay.progress import Progress
from assay.store import blobs
from assay.store.store import Store


def read_outside(
    predictions: Mapping[str, Path], split: Path, holdout: str, progress: Progress
) -> dict[str, list[str]]:
    """Outside answers in the order of the holdout, refused before anything is built or opened.

    Args:
        holdout: sha256 that it was locked with.

    Raises:
        UsageError: a name is taken, or none that a candidate can have.
        AssayError: answers do not fit the holdout.
    """
    taken = registry.specs()
    for name in predictions:
        if name in taken or not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be used as the name of outside answers.",
                fix="Use small letters, digits and hyphens, and not the name of a candidate.",
            )
    if not predictions:
        return {}
    ids, inputs = zip(*holdout_keys(split, holdout), strict=True)
    return {
        name: read_predictions(path, ids, inputs, progress) for name, path in predictions.items()
    }


def build_outside(name: str, path: Path, outputs: Sequence[str], store: Store) -> Candidate:
    """The answers of an outside model, as a candidate; what they cost is not known.

    It is known by its answers to the holdout, so that a recording may grow without becoming another
    candidate, and another opening.
    """
    blob = blobs.put(store, canonical_json(outputs).encode())
    agent = Agent(kind="outside", model=f"outside:{blob}")
    save_agent(store, name, agent, message=f"answers of {path.name}")
    title, model = "answers from outside Assay", recorded_model(path)
    return Candidate(agent, (), (), name=name, kind="outside", title=title, recorded=model)
