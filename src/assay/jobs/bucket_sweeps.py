"""What moves from the folder into a bucket, and follows what other servers have removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from assay.store.store import Store


def bucket_sweeps(store: Store) -> Sequence[Callable[[Store], None]]:
    """One a kind; none where there is no bucket, so that nothing is loaded for them."""
    if store.bucket is None:
        return ()
    from assay.compare import shared_results
    from assay.data import shared_split
    from assay.jobs import kept_runs, shared_answers
    from assay.knowledge import build_transfer
    from assay.models.versions import sweep_versions
    from assay.store import blobs

    return (
        blobs.sweep,
        sweep_versions,
        shared_split.sweep,
        build_transfer.sweep,
        shared_results.sweep,
        kept_runs.sweep,
        shared_answers.sweep,
    )
