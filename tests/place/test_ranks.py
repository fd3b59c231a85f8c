"""Ranks without Ray: what each computes, what is added up, and what several cannot train."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.train.killing import pairs
from tests.train.tiny import SETTINGS, rows, tiny_loaded, tiny_model
from torch import Tensor, nn
from torch.nn import functional

from assay.config import FineTune, Place
from assay.errors import ConfigError
from assay.place import processes
from assay.place.processes import check_agreed, check_requests_agreed, elsewhere
from assay.place.ranks import (
    PROBED_S,
    GlooRank,
    RankLostError,
    Ranks,
    SingleRank,
    first_store,
    listening,
    other_store,
)
from assay.place.ray import ranks as ray_ranks
from assay.progress import SILENT
from assay.train import choices, estimate
from assay.train.choices import Choices
from assay.train.follow import RankTask, follower
from assay.train.job import TrainingJob
from assay.train.methods import orpo
from assay.train.objective import AnyObjective, TokenObjective, of_tokens
from assay.train.preference import PairObjective
from assay.train.ranks import add_figures, add_gradients, check_place, own_part, take_first
from assay.train.sequences import TrainingSequence, Unit, alone, divisor
from assay.train.shared_base import SharedBase
from assay.train.step import step

HOST = "127.0.0.1"


class Numbered(SingleRank):
    """A rank that nothing is sent to."""

    def __init__(self, number: int, size: int) -> None:
        self.number, self.size = number, size  # type: ignore[misc]


def linked(size: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """What `work` returns in each of `size` ranks, a thread each."""
    with listening(HOST) as own, ThreadPoolExecutor(size) as threads:
        port = own.getsockname()[1]
        first = first_store(HOST, own, size)

        def one(number: int) -> Any:
            store = first if number == 0 else other_store(HOST, port, size)
            return work(GlooRank(number, size, HOST, store))

        return [*threads.map(one, range(size))]


@given(st.lists(st.integers(2, 40), min_size=1, max_size=20), st.integers(1, 5))
def test_every_unit_has_one_rank_and_neighbours_stay_together(
    lengths: list[int], size: int
) -> None:
    units = alone([TrainingSequence([n % 7] * n, [False, *[True] * (n - 1)]) for n in lengths])
    parts = [own_part(units, Numbered(number, size)) for number in range(size)]
    assert sorted(id(unit) for part in parts for unit in part) == sorted(map(id, units))
    if size > 1:
        ids = [unit.rows[0].ids for part in parts for unit in part]
        assert ids == sorted(ids)
    longest = max(n - 1 for n in lengths)
    shares = [sum(len(unit.rows[0].inputs) for unit in part) for part in parts]
    assert max(shares) <= sum(shares) / size + longest


def _focal(logits: Tensor, targets: Tensor) -> Tensor:
    losses = functional.cross_entropy(logits, targets, reduction="none")
    return (1 - torch.exp(-losses)) ** 2 * losses


@pytest.mark.parametrize("objective", [None, TokenObjective(_focal), PairObjective(orpo.loss, 0.1)])
def test_the_parts_of_a_step_are_the_step(objective: AnyObjective) -> None:
    tokens = of_tokens(objective)
    units: list[Unit] = [*(alone(rows(7)) if tokens else pairs(5, 3))]
    whole_model = tiny_model()
    loss, _ = step(whole_model, units, objective)

    models = [tiny_model() for _ in range(3)]

    def one(ranks: Ranks) -> tuple[float, nn.Module]:
        model = models[ranks.number]
        own = own_part(units, ranks)
        part = (
            step(model, own, objective, whole=divisor(units, of_tokens=tokens))[0] if own else 0.0
        )
        add_gradients(ranks, model.parameters())
        return add_figures(ranks, part)[0], model

    found = linked(3, one)
    assert [one for one, _ in found] == pytest.approx([loss] * 3, abs=1e-6)
    expected = [p.grad for p in whole_model.parameters()]
    for _, model in found:
        for ours, theirs in zip(model.parameters(), expected, strict=True):
            torch.testing.assert_close(ours.grad, theirs, rtol=1e-4, atol=1e-5)
    for mine, first in zip(found[2][1].parameters(), found[0][1].parameters(), strict=True):
        assert mine.grad is not None
        assert first.grad is not None
        assert torch.equal(mine.grad, first.grad)


def test_a_gradient_that_no_rank_has_stays_away_and_all_begin_as_the_first() -> None:
    def one(ranks: Ranks) -> tuple[list[Any], float]:
        parameters = [nn.Parameter(torch.full((2,), ranks.number + 1.0)) for _ in range(2)]
        if ranks.number == 1:
            parameters[0].grad = torch.ones(2)
        add_gradients(ranks, parameters)
        take_first(ranks, parameters)
        return [p.grad for p in parameters], float(parameters[1].detach().sum())

    for (used, unused), total in linked(2, one):
        assert used.tolist() == [1.0, 1.0]
        assert unused is None
        assert total == 2.0


def test_a_rank_with_another_training_method_is_refused(tmp_path: Path) -> None:
    job = TrainingJob(tiny_loaded(), alone(rows(3)), alone(rows(2)), FineTune(), tmp_path)
    task = RankTask.of(job, Choices("float32", 1, activation_checkpointing=False), None)
    assert task.method is None
    with pytest.raises(ConfigError, match=r"sft: a machine .* another training method"):
        follower(replace(task, method="0" * 64))


@pytest.mark.parametrize(("first", "own"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_a_rank_computes_in_the_number_format_that_the_first_has_chosen(
    first: str, own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its own machine would choose another one."""
    loaded = tiny_loaded()
    job = TrainingJob(loaded, alone(rows(6)), alone(rows(4, seed=1)), SETTINGS, tmp_path)
    monkeypatch.setattr(choices, "faster_format", lambda device: first)
    task = RankTask.of(job, choices.choose(job), None)

    computed = []

    def note(*_: object) -> None:
        lower = torch.is_autocast_enabled("cpu")
        computed.append(str(torch.get_autocast_dtype("cpu") if lower else torch.float32))

    loaded.model.get_decoder().register_forward_pre_hook(note)
    monkeypatch.setattr(SharedBase, "load", lambda base: loaded)
    monkeypatch.setattr(choices, "faster_format", lambda device: own)
    follower(task)(Numbered(1, 2))
    assert len(computed) >= 4  # two steps and a validation, of two epochs
    assert {*computed} == {f"torch.{first}"}


def test_a_rank_that_is_gone_is_noticed() -> None:
    gone = threading.Event()

    def one(ranks: Ranks) -> None:
        if ranks.number == 1:
            ranks._group = None  # type: ignore[attr-defined]
            gone.set()
            return
        gone.wait(10)
        ranks.add(torch.ones(3))

    with pytest.raises(RankLostError, match="is gone"):
        linked(2, one)


def test_what_several_processes_cannot_train(monkeypatch: pytest.MonkeyPatch) -> None:
    dropout = SETTINGS.model_copy(update={"dropout": 0.1})
    check_place(Place(), dropout)
    with pytest.raises(ConfigError, match="dropout"):
        check_place(Place(on="ray", ranks=2), dropout)
    monkeypatch.setattr(processes, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'assay\[ray\]'"):
        check_place(Place(on="ray", ranks=2), SETTINGS)


def test_other_machines_of_a_cluster_are_seen() -> None:
    nodes = [
        {"NodeManagerAddress": "10.0.0.1", "Alive": True},
        {"NodeManagerAddress": "10.0.0.2", "Alive": False},
        {"NodeManagerAddress": "10.0.0.3", "Alive": True},
    ]
    assert elsewhere(nodes, "10.0.0.1") == ["10.0.0.3"]


def test_rows_and_requests_leave_with_a_consent_of_their_own() -> None:
    away = ["10.0.0.3"]
    agreed = Place(on="ray", consent=True)
    check_agreed(Place(on="ray"), [], 10, SILENT)
    check_agreed(agreed, away, 10, SILENT)
    with pytest.raises(ConfigError, match="10 rows of train and validation, with their answers"):
        check_agreed(Place(on="ray"), away, 10, SILENT)
    check_requests_agreed(Place(on="ray"), [], 10, SILENT)
    for place in (Place(on="ray", consent_to_answer=True), agreed):
        with pytest.raises(ConfigError, match=r"10 requests, with inputs of .* the holdout"):
            check_requests_agreed(place, away, 10, SILENT)
    both = agreed.model_copy(update={"consent_to_answer": True})
    check_requests_agreed(both, away, 10, SILENT)


@pytest.mark.parametrize("consent", [True, False])
def test_ranks_without_consent_stay_where_machines_join_while_they_wait(
    consent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a Ray that only notes which room it is asked for."""
    asked: list[dict[str, float]] = []

    def placement_group(bundles: list[dict[str, float]], strategy: str) -> Any:
        asked.extend(bundles)
        return SimpleNamespace(wait=lambda seconds: True)

    util = SimpleNamespace(
        get_node_ip_address=lambda: "10.0.0.1",
        placement_group=placement_group,
        remove_placement_group=lambda group: None,
    )
    nodes = [{"NodeManagerAddress": "10.0.0.1", "Alive": True}]
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(util=util, nodes=lambda: nodes))
    monkeypatch.setitem(sys.modules, "ray.util", util)
    place = Place(on="ray", ranks=3, consent=consent)
    ray_ranks._Processes(place, 1, 10, SILENT)._room()
    assert ["node:10.0.0.1" in one for one in asked] == [True, not consent, not consent]
    nodes.append({"NodeManagerAddress": "10.0.0.3", "Alive": True})
    if not consent:
        with pytest.raises(ConfigError, match="10 rows of train and validation"):
            ray_ranks._Processes(place, 1, 10, SILENT)
    with pytest.raises(ConfigError, match="texts of its documents"):
        ray_ranks._Processes(place, 1, 10, SILENT, documents=True)


def test_the_system_asks_whether_other_ranks_are_there() -> None:
    def probed(rank: Ranks) -> int:
        rank.add(torch.ones(1))  # both are connected
        here.wait()
        found = 0
        for file in [int(name) for name in os.listdir("/dev/fd")]:
            with suppress(OSError), socket.socket(fileno=os.dup(file)) as one:
                every = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
                alive = one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                found += alive and every == PROBED_S
        here.wait()
        return found

    here = threading.Barrier(2)
    assert min(linked(2, probed)) >= 2  # each end of the connection, both in this process


def test_ranks_of_this_machine_share_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert processes.threads_of_each(1, 4) == 4
    assert processes.threads_of_each(3, 4) == 1
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert processes.threads_of_each(3, 4) == 4


def test_ranks_that_this_machine_cannot_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    with (
        pytest.raises(ConfigError, match="has 4 processors, too few for 5 processes"),
        ray_ranks.ranks(Place(on="ray", ranks=5), 1, 10, SILENT),
    ):
        pass
    model, units = tiny_model(), alone(rows(4))
    needed = estimate.training_bytes(model, units, SETTINGS)
    monkeypatch.setattr(estimate, "available_bytes", lambda _: 2 * needed)
    estimate.check_memory(model, units, SETTINGS, "float32")
    for setting, copies in (("ranks", 1), ("workers", 2)):
        count = processes.on_this_machine(2)
        with pytest.raises(ConfigError, match=rf"place\.{setting}: 2 processes .* need about"):
            estimate.check_memory(
                model, units, SETTINGS, "float32", count, copies=copies, setting=setting
            )
    # Workers that hold their base since the training before do not load it again.
    held = 2 * estimate.bytes_of(model)
    estimate.check_memory(model, units, SETTINGS, "float32", 2, copies=2, held=held)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert processes.on_this_machine(2) == 1
