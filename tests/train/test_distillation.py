"""A teacher's distribution as the target: exact against dense torch, kept, and gone on with."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.generate.tiny import byte_tokenizer
from tests.rounding import rounding
from tests.train.test_session import Watcher
from tests.train.tiny import SETTINGS, VOCABULARY, rows, tiny_loaded, tiny_model, train

from assay.generate.batch import AnswerToken
from assay.train import teacher
from assay.train.sequences import TeacherDistribution, TrainingSequence, alone, fingerprint
from assay.train.step import evaluate, step
from assay.train.teacher import match_tokens, read_top, spellings

ROWS = rows(9)


def _teacher(**changes: Any) -> Any:
    return tiny_model(7, **changes)


def _dense(model: Any, row: TrainingSequence) -> torch.Tensor:
    """Logits [n, V] before the trained tokens of one row, by the model alone."""
    logits = model(input_ids=torch.tensor([row.ids]), use_cache=False).logits[0]
    places = [i - 1 for i, trained in enumerate(row.trained) if trained and i]
    return logits[places]


def _read(
    folder: Path, sequences: list[TrainingSequence] = ROWS, **changes: Any
) -> list[TeacherDistribution]:
    fields: dict[str, Any] = {
        "identity": {"model": "seven"},
        "vocabulary": VOCABULARY,
        "tokens": 64,
        "progress": Watcher(),
    }
    return read_top(_teacher(), sequences, folder, **{**fields, **changes})[0]


def _taught(folder: Path, top: int) -> list[TrainingSequence]:
    """Rows of unlike weight, the last of them without a teacher."""
    known = _read(folder, top=top)
    weights = [1.0, 2.0, 0.5]
    made = [
        replace(row, taught=taught, weight=weights[i % 3])
        for i, (row, taught) in enumerate(zip(ROWS, known, strict=True))
    ]
    return [*made[:-1], replace(made[-1], taught=None)]


@pytest.mark.parametrize("top", [1, 5, 20, VOCABULARY])
def test_loss_and_gradients_are_those_of_a_dense_computation(tmp_path: Path, top: int) -> None:
    units = alone(_taught(tmp_path, top))
    ours, theirs = tiny_model(1), tiny_model(1)
    loss, count = step(ours, units, tokens=64)

    total, weight = torch.zeros((), dtype=torch.float64), 0.0
    for unit in units:
        (row,) = unit.rows
        logq = _dense(theirs, row).double().log_softmax(1)
        targets = [t for t, trained in zip(row.ids[1:], row.trained[1:], strict=True) if trained]
        for place, (target, each) in enumerate(zip(targets, logq, strict=True)):
            ids, probs = [target], [1.0]
            if row.taught is not None:
                ids = row.taught.ids[place].tolist()
                probs = row.taught.probs[place].astype(float).tolist()
            loss_here = -sum(p * each[i] for p, i in zip(probs, ids, strict=True))
            rest = 1 - sum(probs)
            if rest > 1e-6:
                others = [i for i in range(VOCABULARY) if i not in ids]
                loss_here = loss_here - rest * each[others].logsumexp(0)
            total = total + row.weight * loss_here
            weight += row.weight
    (total / weight).backward()
    assert loss == pytest.approx(float((total / weight).detach()), rel=rounding(ours))
    assert count == sum(unit.rows[0].trained_tokens for unit in units)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        assert float((mine.grad - other.grad).norm() / other.grad.norm()) <= rounding(
            ours, backward=True
        )
    assert evaluate(tiny_model(1), units) == pytest.approx(loss, rel=rounding(ours))


def test_nothing_pulls_at_a_student_that_agrees_with_its_teacher(tmp_path: Path) -> None:
    """The rest is a bucket of its own; renormalised probabilities would make it surer."""
    known = _read(tmp_path, top=3)
    sequences = [replace(r, taught=t) for r, t in zip(ROWS, known, strict=True)]
    pulled, agreed = tiny_model(1), _teacher()
    for model in (pulled, agreed):
        step(model, alone(sequences))
    norms = [sum(float(p.grad.norm()) for p in m.parameters()) for m in (pulled, agreed)]
    assert norms[1] < 1e-4 * norms[0]


def test_what_is_read_is_the_teachers_softmax(tmp_path: Path) -> None:
    for row, taught in zip(ROWS, _read(tmp_path, top=4), strict=True):
        best = _dense(_teacher(), row).softmax(1).topk(4, dim=1)
        assert taught.ids.tolist() == best.indices.tolist()
        np.testing.assert_allclose(taught.probs, best.values.detach(), rtol=1e-4)


def test_under_a_constraint_it_is_the_softmax_of_what_was_allowed(tmp_path: Path) -> None:
    def allowed(place: int) -> np.ndarray[Any, Any] | None:
        if place != 2:
            return None
        mask = np.zeros((ROWS[2].trained_tokens, VOCABULARY), dtype=np.bool_)
        mask[:, [5, 7, 11]] = True
        return mask

    taught = _read(tmp_path, allowed=allowed, top=6)[2]
    wanted = _dense(_teacher(), ROWS[2])[:, [5, 7, 11]].softmax(1)
    for place, probs in enumerate(wanted.tolist()):
        found = dict(zip(taught.ids[place].tolist(), taught.probs[place].tolist(), strict=True))
        assert [found[i] for i in (5, 7, 11)] == pytest.approx(probs, rel=1e-4)
        assert sum(found.values()) == pytest.approx(1.0)


def test_a_killed_reading_goes_on_where_it_was_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "BLOCK", 2)
    whole = _read(tmp_path / "whole")
    made: list[int] = []
    real = teacher._block

    def until(last: int) -> Any:
        def block(*args: Any) -> Any:
            if len(made) == last:
                raise KeyboardInterrupt
            made.append(args[2])
            return real(*args)

        return block

    monkeypatch.setattr(teacher, "_block", until(3))
    with pytest.raises(KeyboardInterrupt):
        _read(tmp_path / "cut")
    (tmp_path / "cut" / "00001.safetensors").write_bytes(b"torn")
    monkeypatch.setattr(teacher, "_block", until(99))
    found = _read(tmp_path / "cut")
    assert made == [0, 2, 4, 2, 6, 8]
    for a, b in zip(whole, found, strict=True):
        assert (a.ids.tobytes(), a.probs.tobytes()) == (b.ids.tobytes(), b.probs.tobytes())
    made.clear()
    _read(tmp_path / "cut")
    assert made == []
    _read(tmp_path / "cut", identity={"model": "eight"})
    assert made == [0, 2, 4, 6, 8]


def test_seconds_add_up_over_all_readings(tmp_path: Path) -> None:
    fields: dict[str, Any] = {
        "identity": {},
        "vocabulary": VOCABULARY,
        "tokens": 64,
        "progress": Watcher(),
    }
    first = read_top(_teacher(), ROWS, tmp_path, **fields)[1]
    assert 0 < first == read_top(_teacher(), ROWS, tmp_path, **fields)[1]


def test_what_a_teacher_says_is_part_of_what_a_run_is(tmp_path: Path) -> None:
    taught = _taught(tmp_path, 3)
    assert fingerprint(taught) != fingerprint([replace(row, taught=None) for row in taught])
    first = taught[0].taught
    assert first is not None
    other = replace(taught[0], taught=TeacherDistribution(first.ids, first.probs * np.float32(0.5)))
    assert fingerprint(taught) != fingerprint([other, *taught[1:]])


def test_a_training_with_a_teacher_goes_down_and_is_found_again(tmp_path: Path) -> None:
    sequences = _taught(tmp_path / "teacher", 8)
    settings = SETTINGS.model_copy(update={"epochs": 3})
    run = tmp_path / "run"
    result = train(tiny_loaded(1), sequences, sequences, settings, run)
    assert result.best_validation_loss < evaluate(tiny_model(1), alone(sequences))
    assert train(tiny_loaded(1), sequences, sequences, settings, run) == result
    plain = [replace(row, taught=None) for row in sequences]
    assert train(tiny_loaded(1), plain, plain, settings, run) != result


SPELLED = spellings(byte_tokenizer())


def _told(text: bytes, **top: float) -> list[AnswerToken]:
    likely = tuple((name.encode().hex(), math.log(p)) for name, p in top.items())
    return [AnswerToken(bytes([b]).hex(), math.log(0.5), likely) for b in text]


def test_what_a_provider_told_is_mapped_token_by_token() -> None:
    tokenizer = byte_tokenizer()
    answer = tokenizer.encode("no", add_special_tokens=False)
    stop = tokenizer.eos_token_id
    row = TrainingSequence([9, 9, *answer, stop], [False, False, True, True, True])
    taught = match_tokens(row, _told(b"no", y=0.25, maybe=0.2), SPELLED)
    assert taught is not None
    found = [
        {i: round(p, 5) for i, p in zip(ids, probs, strict=True) if p}
        for ids, probs in zip(taught.ids.tolist(), taught.probs.tolist(), strict=True)
    ]
    (yes,) = tokenizer.encode("y", add_special_tokens=False)
    assert found == [{answer[0]: 0.5, yes: 0.25}, {answer[1]: 0.5, yes: 0.25}, {stop: 1.0}]


def test_tokens_that_are_not_the_students_are_not_learned() -> None:
    answer = byte_tokenizer().encode("no", add_special_tokens=False)
    row = TrainingSequence([9, *answer, 2], [False, True, True, True])
    whole = [AnswerToken(b"no".hex(), -0.5, ((b"no".hex(), -0.5),))]
    assert match_tokens(row, whole, SPELLED) is None
    assert match_tokens(row, _told(b"na", y=0.1), SPELLED) is None
    assert match_tokens(row, _told(b"nooo", y=0.1), SPELLED) is None
    assert match_tokens(row, _told(b"no"), SPELLED) is None  # no distribution was told
