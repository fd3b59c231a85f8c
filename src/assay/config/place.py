"""Where the work of a command runs: in one process, or in several on a Ray cluster."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from assay.config.strict import Strict
from assay.defaults import MOST_PROCESSES


class Place(Strict):
    """Where versions are trained, requests of a comparison answered, and documents embedded
    (docs/scale.md)."""

    on: Literal["here", "ray"] = Field(
        "here",
        description="here: the process of the command; ray: that process and others on Ray.",
    )
    workers: int = Field(
        2,
        ge=1,
        le=MOST_PROCESSES,
        description="With `on: ray` and `ranks: 1`: how many trainings run, batches of requests "
        "are answered, or parts of documents embedded, at once.",
    )
    ranks: int = Field(
        1,
        ge=1,
        le=MOST_PROCESSES,
        description="With `on: ray`: how many processes share the rows of each step of a training.",
    )
    consent: bool = Field(
        False,
        description="Whether rows of train and validation, with their answers and the passages of "
        "documents that a candidate puts into them, may go to other machines of a Ray cluster.",
    )
    consent_to_answer: bool = Field(
        False,
        description="Whether inputs of validation and holdout, without their answers, may go to "
        "other machines of a Ray cluster, to be answered there; `consent` is needed as well.",
    )

    consent_for_documents: bool = Field(
        False,
        description="Whether texts of documents may go to other machines of a Ray cluster, to be "
        "embedded there, or to be learned by a method that learns documents; for that `consent` is "
        "needed as well.",
    )

    @model_validator(mode="after")
    def _has_workers_or_ranks(self) -> Self:
        if self.ranks > 1 and self.workers != type(self).model_fields["workers"].default:
            raise ValueError("workers has no effect with ranks above 1; leave one of them out")
        return self

    def agrees_to_train(self, *, documents: bool) -> bool:
        """Whether what is trained on may go to other machines.

        Args:
            documents: whether texts of documents are, and not rows alone.
        """
        return self.consent and (self.consent_for_documents or not documents)

    @property
    def size(self) -> int:
        """How many processes train one version."""
        return self.ranks if self.on == "ray" else 1

    @property
    def at_once(self) -> int:
        """How many workers train, each a version of its own, answer and embed; 0: this process
        does."""
        return self.workers if self.on == "ray" and self.ranks == 1 else 0
