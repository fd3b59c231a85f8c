"""An embedder or a cross-encoder is trained, and what was trained of it is kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from assay.models.device import ran_out
from assay.models.tuned_encoder import SCHEME, keep_tuned
from assay.progress import Progress
from assay.store import blobs
from assay.store.store import Store
from assay.train import checkpoints, sealed
from assay.train.checkpoints import Point
from assay.train.encoder.job import EncoderJob, no_memory
from assay.train.encoder.loop import BODY, EncoderRun

_RESULT = "trained.json"


@dataclass(frozen=True, slots=True)
class EncoderResult:
    """What a training has made.

    Attributes:
        name: of the trained model, as `open_embedder` or `open_reranker` takes it.
        points: the training curve; losses per row, see the objective.
        seconds: of work, over all processes that took part.
    """

    name: str
    points: tuple[Point, ...]
    best_step: int
    seconds: float


def train_encoder(job: EncoderJob, store: Store) -> EncoderResult:
    """Train, and keep the weights with the best loss on validation.

    A training that was finished before is not made again.

    Raises:
        DataError: there is nothing to learn in the rows.
        ModelError: not enough memory, nothing to train, or a loss that is not a number.
        KeyboardInterrupt: stopped by the user; the same call goes on from there.
    """
    key = job.key()
    folder = job.folder / f"encoder-{key[:16]}"
    finished = _finished(folder / _RESULT, key, store, job.progress)
    if finished is not None:
        return finished
    run = EncoderRun(job, folder, key)
    try:
        run.to_the_end()
    except (RuntimeError, MemoryError) as error:
        if ran_out(error):
            raise no_memory("training ran out of memory.", job) from error
        raise
    state = run.state
    best = checkpoints.read_weights(folder, state.best_step)
    weights = {
        name.removeprefix(BODY): tensor.numpy()
        for name, tensor in best.items()
        if name.startswith(BODY)
    }
    name = keep_tuned(store, job.base, weights, job.rows)
    result = EncoderResult(name, tuple(state.points), state.best_step, state.seconds)
    sealed.write(folder / _RESULT, {"key": key, "result": asdict(result)})
    checkpoints.clear(folder)
    return result


def _finished(path: Path, key: str, store: Store, progress: Progress) -> EncoderResult | None:
    body = sealed.read(path, key, progress)
    if body is None or not blobs.has(store, body["result"]["name"].removeprefix(SCHEME)):
        return None
    return EncoderResult(
        **{**body["result"], "points": tuple(Point(**point) for point in body["result"]["points"])}
    )
