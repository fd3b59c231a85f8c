"""The trainer as its caller sees it: what it refuses, what it keeps, how it stops and goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.tiny import EOS, SETTINGS, rows, tiny_loaded, train

from assay.config import Place
from assay.errors import DataError, ModelError, UsageError
from assay.place.processes import OneProcess
from assay.progress import Task
from assay.train import adapters, checkpoints, choices, estimate, loop, session
from assay.train.job import StepReport
from assay.train.schedule import learning_rate
from assay.train.sequences import TrainingSequence
from assay.train.session import TrainResult


class Watcher:
    """A Progress that keeps what is said and calls `after(steps done)` with every advance."""

    def __init__(self, after: Any = lambda done: None) -> None:
        self.lines: list[str] = []
        self.after = after
        self.done = 0.0
        self.info: list[dict[str, object]] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def task(self, label: str, total: float | None, unit: str) -> AbstractContextManager[Task]:
        return self._task()

    @contextmanager
    def _task(self) -> Iterator[Task]:
        yield self

    def advance(self, amount: float = 1, **info: object) -> None:
        self.done += amount
        self.info.append(info)
        self.after(self.done)


def run(folder: Path, **changes: Any) -> TrainResult:
    """A training of 10 rows, 2 epochs of 3 steps, with `changes` to train's arguments."""
    arguments: dict[str, Any] = {
        "loaded": tiny_loaded(),
        "train": rows(10),
        "validation": rows(4, seed=1),
        "settings": SETTINGS,
        "folder": folder,
        "compute": "float32",
        "checkpoint_seconds": 0.0,
    }
    return train(**{**arguments, **changes})


def test_it_learns_a_rule(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 25, "learning_rate": 2e-2, "patience": 25})
    result = run(tmp_path, train=rows(60), settings=settings, checkpoint_seconds=60.0)
    losses = [p.validation_loss for p in result.points if p.validation_loss is not None]
    assert len(losses) == 25
    assert result.best_validation_loss == min(losses) < 0.8 * losses[0]


def test_the_account_of_a_training(tmp_path: Path) -> None:
    watcher = Watcher()
    result = run(tmp_path, progress=watcher)
    assert result.steps == 6
    assert result.trained_tokens == 2 * 10 * 3
    assert result.tokens == 2 * sum(len(row.ids) for row in rows(10))
    assert result.tokens_per_s == pytest.approx(result.tokens / result.seconds)
    assert result.peak_bytes > 50 * 2**20
    assert [p.step for p in result.points] == [1, 2, 3, 4, 5, 6]
    assert [p.epoch for p in result.points] == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])
    assert [p.step for p in result.points if p.validation_loss is not None] == [3, 6]
    assert result.best_step in (3, 6)
    assert watcher.done == 6
    assert {"loss", "tokens_per_s"} <= set(watcher.info[1])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "adapter",
        "choices.json",
        "lock",
        "training.json",
    ]


def test_the_base_model_is_given_back_as_it_was(tmp_path: Path) -> None:
    loaded = tiny_loaded()
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    flags = [p.requires_grad for p in loaded.model.parameters()]
    run(tmp_path, loaded=loaded)
    after = loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert flags == [p.requires_grad for p in loaded.model.parameters()]
    assert not loaded.model.training
    run(tmp_path / "again", loaded=loaded)


def test_the_adapter_is_on_every_linear_map_but_the_head(tmp_path: Path) -> None:
    with adapters.adapt(tiny_loaded(tie_word_embeddings=False), SETTINGS) as model:
        names = {name.split(".")[-3] for name in adapters.trainable(model)}
        layers = {name.split("layers.")[1][0] for name in adapters.trainable(model)}
        assert {p.dtype for p in adapters.trainable(model).values()} == {torch.float32}
    maps = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert names == maps
    assert layers == {"0", "1"}


def test_a_bfloat16_base_keeps_adapter_and_moments_in_float32(tmp_path: Path) -> None:
    loaded = tiny_loaded()
    loaded.model.to(torch.bfloat16)
    result = run(tmp_path, loaded=replace(loaded, dtype="bfloat16"), compute=None)
    from safetensors.torch import load_file

    assert result.compute == "bfloat16"
    kept = load_file(result.adapter / adapters.WEIGHTS)
    assert {value.dtype for value in kept.values()} == {torch.float32}


def test_weights_in_a_file_leave_the_memory_before_and_after_they_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr(loop, "give_back_read", lambda some: given.append(len([*some])))
    run(tmp_path / "without a copy", compute="float32")
    assert given == []
    loaded = tiny_loaded()
    weights = len([*loaded.model.parameters()])
    run(tmp_path / "with one", loaded=loaded, compute="bfloat16")
    assert len(given) == 2
    assert all(count > weights for count in given)  # and the adapter's


def test_float16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="float16"):
        run(tmp_path, loaded=replace(tiny_loaded(), dtype="float16"), compute=None)


def test_the_best_epoch_is_kept_and_patience_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.9, 0.5, 0.7, 0.6, 0.1])
    seen: list[dict[str, torch.Tensor]] = []

    def scripted(model: Any, *_: Any, **__: Any) -> float:
        seen.append(adapters.weights(model))
        return next(losses)

    monkeypatch.setattr(loop, "evaluate", scripted)
    settings = SETTINGS.model_copy(update={"epochs": 5, "patience": 2})
    result = run(tmp_path, settings=settings)
    from safetensors.torch import load_file

    assert len(seen) == 4
    assert (result.best_step, result.best_validation_loss, result.steps) == (6, 0.5, 12)
    kept = load_file(result.adapter / adapters.WEIGHTS)
    assert all(torch.equal(kept[name], seen[1][name]) for name in kept)
    assert not all(torch.equal(kept[name], seen[3][name]) for name in kept)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine() -> None:
    settings = SETTINGS.model_copy(update={"learning_rate": 1.0, "warmup": 0.1})
    rates = [learning_rate(done, 100, settings) for done in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001
    assert learning_rate(0, 1, settings) == 1.0


def test_a_finished_training_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path)
    monkeypatch.setattr(loop, "step", lambda *_: pytest.fail("it trained again"))
    assert run(tmp_path) == first


def test_a_finished_training_whose_adapter_was_damaged_is_repeated(tmp_path: Path) -> None:
    first = run(tmp_path)
    file = first.adapter / adapters.WEIGHTS
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"\x7f")
    run(tmp_path)
    assert file.read_bytes() == whole


@pytest.mark.parametrize("account", ["", "[]", '{"weights": "0"}', "strip"])
def test_a_finished_training_whose_account_was_damaged_is_repeated(
    account: str, tmp_path: Path
) -> None:
    first = run(tmp_path)
    file = tmp_path / "training.json"
    raw = json.loads(file.read_text())
    del raw["result"]["steps"]
    file.write_text(json.dumps(raw) if account == "strip" else account)
    assert run(tmp_path).points == first.points


@pytest.mark.parametrize("what", ["settings", "train", "validation", "base", "compute"])
def test_other_settings_data_or_weights_start_afresh(tmp_path: Path, what: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=Watcher(_interrupt_at(2)))
    changes: dict[str, dict[str, Any]] = {
        "settings": {"settings": SETTINGS.model_copy(update={"learning_rate": 1e-3})},
        "train": {"train": rows(10, seed=7)},
        "validation": {"validation": rows(4, seed=8)},
        "base": {"loaded": replace(tiny_loaded(), weights_sha256="other")},
        "compute": {"compute": "bfloat16"},
    }
    watcher = Watcher()
    run(tmp_path, progress=watcher, **changes[what])
    assert watcher.lines == []
    assert watcher.info[0] == {}
    assert len([i for i in watcher.info if "loss" in i]) == 6


def _interrupt_at(step: int) -> Any:
    def after(done: float) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGINT)

    return after


@pytest.mark.parametrize("adapter", ["lora", "rslora", "dora", "full"])
def test_ctrl_c_finishes_the_step_and_the_same_call_goes_on(tmp_path: Path, adapter: str) -> None:
    own = SETTINGS.model_copy(update={"adapter": adapter})
    whole = run(tmp_path / "whole", settings=own)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(
            tmp_path / "a",
            settings=own,
            progress=Watcher(_interrupt_at(2)),
            checkpoint_seconds=1e9,
        )
    assert signal.getsignal(signal.SIGINT) is before
    assert [p.name for p in (tmp_path / "a" / "checkpoints").iterdir()] == ["step-00000002"]
    watcher = Watcher()
    result = run(tmp_path / "a", settings=own, progress=watcher)
    assert watcher.lines == ["Continuing after step 2 of 6."]
    assert _bytes(result) == _bytes(whole)
    assert result.points == whole.points
    assert (result.tokens, result.trained_tokens) == (whole.tokens, whole.trained_tokens)


def test_ctrl_c_during_validation_loses_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole")
    real, calls = loop.evaluate, []

    def interrupted_once(*arguments: Any, **named: Any) -> float:
        calls.append(1)
        if len(calls) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments, **named)

    monkeypatch.setattr(loop, "evaluate", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", checkpoint_seconds=1e9)
    watcher = Watcher()
    result = run(tmp_path / "a", progress=watcher)
    assert watcher.lines == ["Continuing after step 3 of 6."]
    assert _bytes(result) == _bytes(whole)
    assert result.points == whole.points


def test_ctrl_c_during_the_last_save_is_heeded_and_nothing_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checkpoints.save

    def stopped(folder: Path, key: str, state: checkpoints.State, *kept: Any) -> None:
        real(folder, key, state, *kept)
        if state.step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(checkpoints, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, checkpoint_seconds=1e9)
    watcher = Watcher()
    assert run(tmp_path, progress=watcher).steps == 6
    assert watcher.lines == ["Continuing after step 6 of 6."]
    assert not [told for told in watcher.info if "loss" in told or "validation_loss" in told]


def test_a_thread_that_gets_no_signals_trains_too(tmp_path: Path) -> None:
    results: list[TrainResult] = []
    thread = threading.Thread(target=lambda: results.append(run(tmp_path)))
    thread.start()
    thread.join()
    assert results[0].steps == 6


def _bytes(result: TrainResult) -> bytes:
    return adapters.weights_file(result.adapter).read_bytes()


@pytest.mark.parametrize("part", [checkpoints.WEIGHTS, checkpoints.OPTIMIZER, checkpoints.STATE])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path: Path, part: str, damage: str
) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", progress=Watcher(_interrupt_at(5)))
    file = tmp_path / "a" / "checkpoints" / "step-00000005" / part
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    watcher = Watcher()
    result = run(tmp_path / "a", progress=watcher)
    assert "step-00000005/" in watcher.lines[0]
    assert "damaged" in watcher.lines[0]
    assert watcher.lines[1] == "Continuing after step 4 of 6."
    assert _bytes(result) == _bytes(whole)


def test_a_disk_that_takes_no_more_is_said_and_the_same_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole")
    real, writes = checkpoints.new_folder, []

    def full_at_the_third(*arguments: Any) -> Any:
        writes.append(1)
        if len(writes) == 3:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(checkpoints, "new_folder", full_at_the_third)
    with pytest.raises(ModelError, match=r"step-00000003.*No space left.*Free some space"):
        run(tmp_path / "a")
    watcher = Watcher()
    result = run(tmp_path / "a", progress=watcher)
    assert watcher.lines == ["Continuing after step 2 of 6."]
    assert _bytes(result) == _bytes(whole)


def test_the_last_two_checkpoints_and_the_best_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "clear", lambda folder: None)
    losses = iter([0.5, 0.9, 0.8])
    monkeypatch.setattr(loop, "evaluate", lambda *_, **__: next(losses))
    settings = SETTINGS.model_copy(update={"epochs": 3})
    run(tmp_path, settings=settings)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000003", "step-00000008", "step-00000009"]


def test_the_best_checkpoint_of_a_fallback_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 6 is a new best; should it be damaged, step 5 needs the old best, step 3."""
    monkeypatch.setattr(checkpoints, "clear", lambda folder: None)
    losses = iter([0.5, 0.4])
    monkeypatch.setattr(loop, "evaluate", lambda *_, **__: next(losses))
    run(tmp_path)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000003", "step-00000005", "step-00000006"]


GOOD = rows(3)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (TrainingSequence([5, 6, EOS], [False] * 3, name="row-9"), "no tokens to train on"),
        (TrainingSequence([5], [True], name="row-9"), "no tokens to train on"),
        (TrainingSequence([5] * 65, [True] * 65, name="row-9"), "1 more than the limit of 64"),
        (TrainingSequence([5, 6], [True] * 2, -1.0, "row-9"), "weight is -1.0"),
        (TrainingSequence([5, 6], [True] * 2, float("nan"), "row-9"), "weight is nan"),
    ],
)
@pytest.mark.parametrize("kind", ["train", "validation"])
def test_a_row_that_cannot_be_trained_on_is_named(
    tmp_path: Path, bad: TrainingSequence, message: str, kind: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        run(tmp_path, **{kind: [*GOOD, bad]})
    assert "row 4 (row-9)" in str(caught.value)
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["train", "validation"])
def test_an_empty_set_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match="set is empty"):
        run(tmp_path, **{kind: []})
    unweighted = [replace(row, weight=0.0) for row in GOOD]
    with pytest.raises(DataError, match="weight 0"):
        run(tmp_path, **{kind: unweighted})


def test_the_context_of_the_model_counts_too(tmp_path: Path) -> None:
    long = TrainingSequence([5] * 40, [True] * 40)
    with pytest.raises(DataError, match="8 more than the limit of 32"):
        run(tmp_path, loaded=replace(tiny_loaded(), context_length=32), train=[long])


def test_rows_of_weight_0_are_left_out(tmp_path: Path) -> None:
    extra = [replace(row, weight=0.0) for row in rows(5, seed=9)]
    result = run(tmp_path / "a", train=[*rows(10), *extra])
    assert _bytes(result) == _bytes(run(tmp_path / "b"))


def test_too_little_memory_is_said_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "available_bytes", lambda model: 2**18)
    with pytest.raises(ModelError, match=r"0 MiB is free.*max_tokens"):
        run(tmp_path)


def test_too_little_memory_is_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choices, "faster_format", lambda *_: pytest.fail("it was measured"))
    monkeypatch.setattr(estimate, "available_bytes", lambda model: 2**18)
    full = SETTINGS.model_copy(update={"adapter": "full"})
    with pytest.raises(ModelError, match="is free"):
        run(tmp_path, settings=full, compute=None)


def test_memory_that_is_gone_by_the_time_a_run_goes_on_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=Watcher(_interrupt_at(2)))
    monkeypatch.setattr(estimate, "available_bytes", lambda model: 2**18)
    with pytest.raises(ModelError, match="is free"):
        run(tmp_path)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError(), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate")],
)
def test_memory_that_runs_out_later_is_no_traceback(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object, **__: object) -> tuple[float, int]:
        raise error

    monkeypatch.setattr(loop, "step", out_of_memory)
    with pytest.raises(ModelError, match=r"ran out.*Set fine_tune.tokens_per_pass: 2048"):
        run(tmp_path)


def test_another_error_of_torch_is_not_called_a_lack_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> tuple[float, int]:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(loop, "step", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        run(tmp_path)


def test_a_model_whose_prefixes_are_not_shared_is_named(tmp_path: Path) -> None:
    from transformers import GraniteConfig, GraniteForCausalLM

    torch.manual_seed(0)
    config = GraniteConfig(**tiny_loaded().model.config.to_diff_dict() | {"model_type": "granite"})
    loaded = replace(tiny_loaded(), model=GraniteForCausalLM(config).eval())
    watcher = Watcher()
    run(tmp_path, loaded=loaded, progress=watcher)
    assert watcher.lines == [
        "Prefixes of GraniteForCausalLM cannot be shared yet: rows are computed whole, "
        "one after the other."
    ]


def test_a_run_goes_on_where_some_weights_have_had_no_gradient(tmp_path: Path) -> None:
    """The experts that no token has met, the picture part of a model that reads text."""

    def spare() -> Any:
        loaded = tiny_loaded()
        torch.manual_seed(0)
        loaded.model.model.layers[0].mlp.spare = torch.nn.Linear(8, 8)
        return loaded

    def stop(done: float) -> None:
        if done == 2:
            raise KeyboardInterrupt

    whole = run(tmp_path / "a", loaded=spare())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", loaded=spare(), progress=Watcher(stop))
    again = run(tmp_path / "b", loaded=spare())
    assert again.points == whole.points
    names = [result.adapter / adapters.WEIGHTS for result in (whole, again)]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_a_loss_that_is_no_number_names_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = loop.step, []

    def spoilt(*arguments: Any, **named: Any) -> tuple[float, int]:
        loss, tokens = real(*arguments, **named)
        calls.append(loss)
        return (float("nan") if len(calls) == 3 else loss), tokens

    monkeypatch.setattr(loop, "step", spoilt)
    with pytest.raises(ModelError, match=r"step 3: the loss is no longer.*learning_rate"):
        run(tmp_path)


def test_weights_that_explode_are_noticed(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"learning_rate": 1e30, "epochs": 5})
    with pytest.raises(ModelError, match="finite number"):
        run(tmp_path, settings=settings)


def test_an_adapter_without_effect_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS.model_copy(update={"learning_rate": 1e-30})
    with pytest.raises(ModelError, match="no effect"):
        run(tmp_path, settings=settings)


def test_a_model_with_an_adapter_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path)
    from peft import PeftModel

    loaded = tiny_loaded()
    adapted = PeftModel.from_pretrained(loaded.model, str(result.adapter))
    with pytest.raises(ModelError, match="already has an adapter"):
        run(tmp_path / "b", loaded=replace(loaded, model=adapted))


def test_an_architecture_with_another_head_is_refused(tmp_path: Path) -> None:
    loaded = tiny_loaded()
    model = loaded.model
    plain = model.forward
    model.forward = lambda *a, **k: _scaled(plain(*a, **k))
    with pytest.raises(ModelError, match="LlamaForCausalLM computes its logits"):
        run(tmp_path, loaded=loaded)


def _scaled(out: Any) -> Any:
    out.logits = out.logits * 1.5
    return out


def test_half_written_folders_are_swept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=Watcher(_interrupt_at(2)))
    source = tmp_path / "checkpoints" / "step-00000002"
    shutil.copytree(source, tmp_path / "checkpoints" / ".step-00000003.abc.part")
    shutil.copytree(source, tmp_path / ".adapter.abc.part")
    run(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "adapter",
        "choices.json",
        "lock",
        "training.json",
    ]


def test_a_training_is_stopped_as_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of the second epoch; what was made until then is measured, kept and found."""
    asked: list[tuple[int, bool]] = []

    def at_five(report: StepReport) -> str | None:
        asked.append((report.step, report.validation))
        return "enough" if report.step == 5 else None

    settings = SETTINGS.model_copy(update={"epochs": 3})
    watcher = Watcher()
    stopped = run(tmp_path, settings=settings, stop_when=at_five, progress=watcher)
    assert (stopped.stopped, stopped.steps, stopped.points[-1].step) == ("enough", 5, 5)
    assert stopped.points[-1].validation_loss is not None
    assert watcher.lines[-1] == "Stopped after step 5 of 9: enough"
    assert asked == [(1, False), (2, False), (3, False), (3, True), (4, False), (5, False)]
    with monkeypatch.context() as patched:
        patched.setattr(loop, "step", lambda *_, **__: pytest.fail("it trained again"))
        assert run(tmp_path, settings=settings, stop_when=at_five) == stopped


@pytest.mark.parametrize("at", [4, 7])
def test_what_was_measured_for_a_stop_is_nothing_to_the_planned_run(
    at: int, tmp_path: Path
) -> None:
    """At a rate where validation rises: one measurement more would end the run by its patience, or
    be the best one."""
    settings = SETTINGS.model_copy(update={"epochs": 8, "patience": 1, "learning_rate": 5e-2})

    def outcome(folder: Path, result: TrainResult) -> tuple[Any, ...]:
        weights = (folder / "adapter" / adapters.WEIGHTS).read_bytes()
        return result.stopped, result.steps, result.best_step, result.points, weights

    whole = outcome(tmp_path / "whole", run(tmp_path / "whole", settings=settings))
    cut = tmp_path / "cut"

    def stop(report: StepReport) -> str | None:
        return "enough" if report.step == at else None

    def interrupt(*_: object) -> None:
        measured.append(True)
        if len(measured) > at // 3:  # behind those of the epochs, the one for the stop
            raise KeyboardInterrupt

    measured: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        run(cut, settings=settings, stop_when=stop, score=interrupt)
    assert run(cut, settings=settings, stop_when=stop).stopped == "enough"
    watcher = Watcher()
    assert outcome(cut, run(cut, settings=settings, progress=watcher)) == whole
    assert f"Continuing after step {at} of 24." in watcher.lines
    assert not (cut / "checkpoints").exists()


def test_the_place_is_told_whether_documents_are_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def opened(*_: object, documents: bool) -> AbstractContextManager[OneProcess]:
        told.append(documents)
        return nullcontext(OneProcess())

    monkeypatch.setattr(session, "open_place", opened)
    for method in ("sft", "text"):
        settings = SETTINGS.model_copy(update={"method": method, "epochs": 1})
        run(tmp_path / method, settings=settings)
    assert told == [False, True]


@pytest.mark.parametrize("answer", [False, True, ""])
def test_stop_when_gives_a_reason_or_none(answer: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"stop_when returned {answer!r}.*neither None nor"):
        run(tmp_path, stop_when=lambda report: answer)


def test_stop_when_is_refused_where_several_processes_train(tmp_path: Path) -> None:
    """The others would not hear that rank 0 stops. Said before any of them is started."""
    with pytest.raises(UsageError, match="stop_when is asked in one process"):
        run(tmp_path, stop_when=lambda report: None, place=Place(on="ray", ranks=2))
