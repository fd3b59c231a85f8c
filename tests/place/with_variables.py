"""A job whose worker has variables of its own: a test's, on a node that was started before it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

from assay.jobs.cluster_workers import JobWork
from assay.place.workers import Tell


@dataclass(frozen=True)
class WithVariables:
    """Does the job, as its process would that was started with these variables."""

    work: JobWork
    variables: Mapping[str, str]
    kept_bytes: int = 0

    def run(self, tell: Tell) -> str:
        os.environ.update(self.variables)
        tempfile.tempdir = None  # it is a variable, too
        return self.work.run(tell)
