"""What is left of a training when its process is killed, and how it goes on from there.

    <folder>/checkpoints/step-00000040/
        weights.safetensors     what is trained: the adapter, or all weights
        optimizer.safetensors   moments and step count of the optimiser, by parameter
        state.json              where the run is, its log, the hashes of the two files and of itself

A checkpoint appears by rename, whole or not at all. The last two are kept, and the best of each.
There is no generator state in it: the order of the rows is a function of (seed, epoch), dropout of
(seed, step).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from assay.errors import ModelError, first_line
from assay.progress import Progress, RunKeeper
from assay.store.files import new_folder, sha256_file
from assay.train import sealed
from assay.train.reinforce.figures import RewardPoint

WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"
FORMAT = 2
_KEPT = 2
MOST_KEPT = 2 * _KEPT
"""The last ones, and the best as each of them knows it."""


@dataclass(slots=True)
class Point:
    """One point of the training curve; losses in nats per trained token.

    Attributes:
        step: steps done.
        epoch: rows seen / rows of an epoch.
        train_loss: mean over the trained tokens since the point before.
        validation_loss: at the end of an epoch, else None.
        score: of some validation rows by the primary grader, at the end of an epoch where it was
            asked for.
    """

    step: int
    epoch: float
    train_loss: float | None = None
    validation_loss: float | None = None
    score: float | None = None


@dataclass(slots=True)
class State:
    """Where a run is.

    Attributes:
        step: steps done.
        evaluated_step: the last step after which validation was measured.
        best_step, best_validation_loss: of the best such step; 0 and None before the first.
        stale_epochs: measurements of validation since the best; an encoder has several an epoch.
        points: the log.
        window_loss, window_tokens: sum of loss x tokens, and tokens, since the last point (a
            preference method: units).
        trained_tokens: that have carried a loss.
        tokens: that have gone through the model, padding not counted.
        seconds: of work in all processes so far, what a kill has undone not counted.
        peak_bytes: the most memory a process of this run had.
        rewards: of a training that learns from graders.
        window_groups, window_taught: groups since the last of `rewards`, and those of them whose
            answers were not all worth the same.
        window_reward: the sum of the mean rewards of these groups.
        stopped: why it is to end before its last step; None: it is not.
    """

    step: int = 0
    evaluated_step: int = 0
    best_step: int = 0
    best_validation_loss: float | None = None
    stale_epochs: int = 0
    points: list[Point] = field(default_factory=list)
    window_loss: float = 0.0
    window_tokens: int = 0
    trained_tokens: int = 0
    tokens: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    rewards: list[RewardPoint] = field(default_factory=list)
    window_groups: int = 0
    window_taught: int = 0
    window_reward: float = 0.0
    stopped: str | None = None

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> State:
        """The state that `dataclasses.asdict` has written."""
        points = [Point(**point) for point in raw["points"]]
        rewards = [RewardPoint(**point) for point in raw.get("rewards", ())]
        return cls(**{**raw, "points": points, "rewards": rewards})


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was read and found whole."""

    state: State
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def save(
    folder: Path,
    key: str,
    state: State,
    weights: dict[str, Tensor],
    optimizer: dict[str, Tensor],
) -> None:
    """Write a checkpoint of `state.step` and drop those no longer needed.

    Args:
        folder: of the run.
        key: hash of all that the run depends on.

    Raises:
        ModelError: the disk takes no more; the checkpoints before this one are whole.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with new_folder(_path(folder, state.step)) as draft:
            save_file(weights, draft / WEIGHTS)
            save_file(optimizer, draft / OPTIMIZER)
            files = {name: sha256_file(draft / name) for name in (WEIGHTS, OPTIMIZER)}
            body = {"format": FORMAT, "key": key, "state": asdict(state), "files": files}
            sealed.write(draft / STATE, body)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"the checkpoint cannot be written ({first_line(error)}).",
            where=str(_path(folder, state.step)),
            fix="Free some space, then run the same command again; it continues from the "
            "previous checkpoint.",
        ) from None
    _prune(folder)


def latest(folder: Path, key: str, progress: Progress) -> Checkpoint | None:
    """The last whole checkpoint of this run, or None; a damaged one is named and passed over.

    A checkpoint counts as whole only if the best one that it refers to is whole, too. Checkpoints
    of another run in the same folder, and those behind the one that is returned, are removed.
    """
    for unfinished in (folder / "checkpoints").glob(".step-*"):
        shutil.rmtree(unfinished)
    steps = _steps(folder)
    found = None
    while steps and found is None:
        found = _whole(folder, steps[-1], key, progress)
        if found is None:
            shutil.rmtree(_path(folder, steps.pop()))
    return found


def _whole(folder: Path, step: int, key: str, progress: Progress) -> Checkpoint | None:
    path = _path(folder, step)
    try:
        raw = _read_state(path)
        if raw["key"] != key:
            return None
        state = State.from_dict(raw["state"])
        if state.best_step not in (0, step):
            best = _path(folder, state.best_step)
            _check(best, WEIGHTS, _read_state(best))
        return Checkpoint(
            state, _read_tensors(path, WEIGHTS, raw), _read_tensors(path, OPTIMIZER, raw)
        )
    except ModelError as error:
        progress.say(f"{error} Continuing from the previous checkpoint, if there is one.")
        return None


def read_weights(folder: Path, step: int) -> dict[str, Tensor]:
    """The weights of one checkpoint.

    Raises:
        ModelError: it is missing or damaged.
    """
    path = _path(folder, step)
    return _read_tensors(path, WEIGHTS, _read_state(path))


def last_step(folder: Path) -> int:
    """The step of the last checkpoint; 0 where there is none."""
    return max(_steps(folder), default=0)


def clear(folder: Path) -> None:
    """Remove every checkpoint of a run."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def bring(folder: Path, progress: Progress) -> None:
    """Fetch the last checkpoint of a run from where whoever had the work last has kept it."""
    if isinstance(progress, RunKeeper):
        progress.bring_run(folder)


def keep(folder: Path, progress: Progress, *, is_left: Callable[[], bool]) -> None:
    """Let other machines go on from the last checkpoint of a run, where the work may move there.

    Args:
        is_left: whether it is left now, which may come about meanwhile.
    """
    if isinstance(progress, RunKeeper):
        progress.keep_run(folder, _needed(folder), is_left=is_left)


def _needed(folder: Path) -> dict[str, Path]:
    """What a run goes on from: the last checkpoint, its best weights, and the files beside."""
    step = last_step(folder)
    files = [*folder.glob("*.json"), *_path(folder, step).iterdir()]
    best = _read_state(_path(folder, step))["state"]["best_step"]
    if best not in (0, step):
        files += [_path(folder, best) / name for name in (WEIGHTS, STATE)]
    return {file.relative_to(folder).as_posix(): file for file in files}


def _path(folder: Path, step: int) -> Path:
    return folder / "checkpoints" / f"step-{step:08d}"


def _steps(folder: Path) -> list[int]:
    found = (folder / "checkpoints").glob("step-*")
    return sorted(int(path.name.removeprefix("step-")) for path in found)


def _read_state(path: Path) -> dict[str, Any]:
    raw = sealed.read_whole(path / STATE)
    if raw.get("format") != FORMAT:
        raise ModelError(
            "this checkpoint was written by another version of Assay.", where=str(path)
        )
    return raw


def _check(path: Path, name: str, raw: dict[str, Any]) -> None:
    file = path / name
    if not file.is_file() or sha256_file(file) != raw["files"][name]:
        raise ModelError("this checkpoint file is damaged.", where=str(file))


def _read_tensors(path: Path, name: str, raw: dict[str, Any]) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    _check(path, name, raw)
    tensors: dict[str, Tensor] = load_file(path / name)
    return tensors


def _prune(folder: Path) -> None:
    """Keep the last two checkpoints and the best of each: should the last one turn out damaged,
    the one before it still finds its own best."""
    last = _steps(folder)[-_KEPT:]
    kept = set(last)
    for step in last:
        try:
            raw = _read_state(_path(folder, step))
        except ModelError:
            continue
        kept.add(raw["state"]["best_step"])
    for step in _steps(folder):
        if step not in kept:
            shutil.rmtree(_path(folder, step), ignore_errors=True)
