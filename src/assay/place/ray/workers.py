"""Workers: processes of a cluster that this one sends work to, see `assay.place.workers`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from assay.place.processes import elsewhere
from assay.place.ray.cluster import cluster, on_node, value
from assay.place.worker_process import WorkerProcess
from assay.place.workers import News, Workers, WorkItem
from assay.progress import Progress


@contextmanager
def workers(count: int, threads: int, gpus: int, progress: Progress) -> Iterator[Workers]:
    """Workers of the cluster at hand, or of one that is started, see `opening.LazyWorkers`.

    Args:
        threads: of each.
        gpus: of each.
    """
    with cluster(count, "workers", threads, progress, gpus=gpus):
        found = Workers(_Cluster(threads, gpus), count, progress)
        try:
            yield found
        finally:
            found.close()


class _Cluster:
    """The one that this process is connected to, as workers are had from it."""

    def __init__(self, processors: int, gpus: int) -> None:
        import ray

        self._processors, self._gpus = processors, gpus
        self._host = ray.util.get_node_ip_address()

    def elsewhere(self) -> list[str]:
        import ray

        return elsewhere(ray.nodes(), self._host)

    def start(self, *, may_leave: bool) -> _Worker:
        where = {} if may_leave else on_node(self._host)
        return _Worker(self._processors, self._gpus, where)

    def wait(self, workers: Sequence[Any], seconds: float) -> None:
        import ray

        pending = [one for one in workers if not (one.ready and one.end is None)]
        ray.wait([one.end for one in pending], timeout=seconds)


class _Worker:
    """A process of the cluster, see `workers.Worker`."""

    def __init__(self, processors: int, gpus: int, resources: dict[str, float]) -> None:
        import ray

        kind = ray.remote(WorkerProcess)
        self._actor: Any = kind.options(
            num_cpus=processors,
            num_gpus=gpus,
            resources=resources,
            max_restarts=0,
            max_concurrency=2,
            scheduling_strategy="SPREAD",
        ).remote(gpus)
        self._started = False
        self.end: Any = self._actor.is_there.remote()
        """What `_Cluster.wait` waits for; None: nothing is done."""

    @property
    def ready(self) -> bool:
        import ray

        if not self._started and ray.wait([self.end], timeout=0)[0]:
            self._started, self.end = True, None
        return self._started

    def begin(self, work: WorkItem) -> None:
        self.end = self._actor.run.remote(work)

    def news(self) -> News:
        import ray

        done = bool(ray.wait([self.end], timeout=0)[0])
        told: list[object] = []
        try:
            told = value(self._actor.told.remote())
            if not done:
                return News(told)
            end, self.end = self.end, None
            return News(told, done, value(end))
        except Exception as error:
            return News(told, done=True, error=error)

    def stop(self) -> None:
        self._actor.stop.remote()

    def kill(self) -> None:
        import ray

        ray.kill(self._actor, no_restart=True)
