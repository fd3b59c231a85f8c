"""Batches of requests, answered by workers (`assay.place.workers`).

A batch is what `evaluate.run` has planned; a worker answers it as the engine here would, with as
many threads to the bit. What is sent are requests: whoever sends them keeps the expected answers,
and grades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.config import CONFIG_FILE
from assay.errors import ConfigError
from assay.evaluate.run import AnswerBatches, OnBatch
from assay.generate.batch import Answer, BatchEngine, Request
from assay.generate.remake import Remake
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.models.device import available_bytes
from assay.place.kept import keep
from assay.place.opening import LazyWorkers
from assay.place.processes import on_this_machine
from assay.place.workers import Tell, Workers
from assay.quantities import say_count
from assay.store.store import Store
from assay.train.device import readable
from assay.train.estimate import bytes_of


@dataclass(frozen=True, slots=True)
class AnsweringWork:
    """One batch, for a worker."""

    remake: Remake
    requests: Sequence[Request]
    threads: int
    kept_bytes: int

    def run(self, tell: Tell) -> list[Answer]:
        """In the worker: answer, by the engine that the last batch had if it is the same."""
        import torch

        torch.set_num_threads(self.threads)
        return keep(self.remake.key, self.remake.open).answer(self.requests)


def answer_by_workers(
    workers: LazyWorkers, model: str, engine: BatchEngine, store: Store
) -> AnswerBatches | None:
    """What answers batches for a model by workers.

    None where its engine is here alone: of a provider, who is asked by this process and paid once;
    of a classical model, which is fast; on a GPU; of a version in fewer bits.
    """
    if not isinstance(engine, TransformersBatchEngine) or engine.device != "cpu":
        return None

    def together(batches: Sequence[Sequence[Request]], answered: OnBatch, _folder: Path) -> bool:
        if len(batches) < 2:
            return False
        weights = bytes_of(engine.model)
        found = workers.to_answer(sum(len(batch) for batch in batches))
        _check_memory(engine, weights, found)
        remake = Remake.of(model, engine, store, with_files=bool(found.elsewhere))
        works = [AnsweringWork(remake, batch, workers.threads, weights) for batch in batches]

        def ended(place: int, outcome: list[Answer] | Exception) -> None:
            if isinstance(outcome, Exception):
                raise outcome
            answered(place, outcome)

        found.run(works, lambda place, event: None, ended)
        return True

    return together


def _check_memory(engine: TransformersBatchEngine, weights: int, workers: Workers) -> None:
    """Refuse more copies of a model than fit here; those of other machines are theirs to refuse.

    Each copy takes the place of the model that its worker had before.

    Raises:
        ConfigError: they do not fit.
    """
    here = on_this_machine(workers.count)
    needed = here * weights - workers.held(here)
    available = available_bytes(engine.model.device)
    if needed > available:
        raise ConfigError(
            f"{say_count(here, 'worker')} on this machine would load {readable(needed)} of weights "
            f"more, in addition to the copy that is here, but only {readable(available)} is free.",
            where=f"{CONFIG_FILE}, place.workers",
            fix="Use fewer workers (`--workers`) or `--on here`.",
        )
