"""Fine-tuning jobs of a folder, done on the machines of a Ray cluster."""

from __future__ import annotations

import os

from assay.config import CONFIG_FILE, STATE_FOLDER, Place
from assay.errors import ConfigError
from assay.jobs.cluster_workers import ClusterSupervisor
from assay.jobs.service import ending_on_signals
from assay.place.opening import workers_of
from assay.place.processes import ADDRESS
from assay.progress import Progress
from assay.project.workspace import Workspace
from assay.quantities import say_count
from assay.store.database import KEPT, read_record
from assay.store.object_place import objects_of


def work_on_cluster(
    workspace: Workspace, place: Place, progress: Progress, *, consent: bool, gpu: bool = False
) -> None:
    """Have fine-tuning jobs done on a cluster until SIGINT or SIGTERM comes.

    Args:
        place: on Ray, with workers.
        consent: whether files of jobs, of all projects, may go to other machines of the cluster.
        gpu: whether each job asks the cluster for a GPU, to train on it.

    Raises:
        ConfigError: the state is not where other machines reach it, Ray is not installed or cannot
            be reached, or jobs would leave this machine without consent.
    """
    files = _files_of(workspace)
    if gpu:
        _check_gpus(place.at_once)
    with ending_on_signals(), workers_of(place, progress, gpus=int(gpu)) as workers:
        if workers is None:
            raise ConfigError(
                "jobs are shared out whole, and ranks share each training.",
                where=f"{CONFIG_FILE}, place.ranks",
                fix="Say how many jobs run at once: --on ray --workers 2.",
            )
        found = workers.to_do_jobs(agreed=consent)
        supervisor = ClusterSupervisor(
            workspace.store,
            found.cluster,
            files,
            most=found.count,
            may_leave=found.may_leave,
        )
        progress.say(
            f"At most {say_count(found.count, 'job is', 'jobs are')} done at once. Ctrl-C ends it."
        )
        supervisor.run()


def _check_gpus(workers: int) -> None:
    import torch  # takes a second

    if os.environ.get(ADDRESS) or (have := torch.cuda.device_count()) >= workers:
        return
    raise ConfigError(
        f"this machine is the whole cluster, and torch finds {say_count(have, 'GPU')} here for "
        f"{say_count(workers, 'worker')}.",
        where="--gpu",
        fix="Use fewer workers (`--workers`), leave --gpu out, or start a cluster of machines with "
        f"GPUs and name it in {ADDRESS}.",
    )


def _files_of(workspace: Workspace) -> dict[str, str]:
    """What another machine needs to find the state; no secret is in it, and no setting."""
    record = read_record(workspace.store.folder)
    if record is None or record.database is None or workspace.store.bucket is None:
        raise ConfigError(
            "workers of a cluster need a state that every machine reaches, and this folder's is in "
            "the folder.",
            where=str(workspace.root),
            fix="Name a database and a bucket: `state: {database: postgresql://…, objects: s3://…}`"
            " in assay.yaml, or ASSAY_DATABASE and ASSAY_OBJECTS; then `assay state move`.",
        )
    objects_of(workspace.store)  # whoever opens the state next finds the bucket by it
    return {f"{STATE_FOLDER}/{KEPT}": (workspace.store.folder / KEPT).read_text("utf-8")}
