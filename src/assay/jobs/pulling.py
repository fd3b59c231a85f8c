"""Fetching a model as a job: minutes of downloading that nobody has to sit by."""

from __future__ import annotations

from typing import Any

from assay.jobs.worker import Work

PULL = "pull"


def pull(work: Work) -> dict[str, Any]:
    """Fetch, check and keep the model of a job, see `assay.models.show.fetch`."""
    from assay.models.show import fetch

    model = work.payload["model"]
    return {"model": model, "folder": str(fetch(model, progress=work))}
