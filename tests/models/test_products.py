"""How fast products are: measured, chosen by, remembered."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from assay.models import products as module
from assay.models.products import Products, chosen_of, faster_format, forget, products


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and nothing remembered in the process."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    products.cache_clear()
    return tmp_path


def _measuring(monkeypatch: pytest.MonkeyPatch, *found: Products) -> list[Products]:
    left = list(found)
    monkeypatch.setattr(module, "measure", lambda: left.pop(0))
    return left


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.23, "bfloat16"), (0.5, "bfloat16"), (0.69, "bfloat16"), (0.71, "float32"), (1, "float32")],
)
def test_the_format_is_the_one_that_is_clearly_faster(share: float, expected: str) -> None:
    assert chosen_of(Products(share * 1e11, 1e11)) == expected
    assert chosen_of(Products(1e11, None)) == "float32"


def test_what_would_be_emulated_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "emulates_bfloat16", lambda _: True)
    assert module.measure().bfloat16 is None
    monkeypatch.setattr(module, "measure", lambda: pytest.fail("it multiplied"))
    assert faster_format("cpu") == "float32"


@pytest.mark.parametrize(("native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_elsewhere_the_device_says_it(
    native: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "native_bfloat16", lambda _: native)
    monkeypatch.setattr(module, "measure", lambda: pytest.fail("it multiplied"))
    assert faster_format("cuda") == expected


def test_it_is_measured_once_and_remembered(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Products(2e11, 9e11), Products(3e11, 3e11)
    left = _measuring(monkeypatch, first, second)
    assert products() == first
    products.cache_clear()  # as in another process
    assert products() == first
    assert [file.parent.name for file in empty_cache.rglob("*.json")] == ["products"]
    forget()
    assert products() == second
    assert left == []


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"key": 1, "products": 2}', "negative", "words", "cut", "other"]
)
def test_a_damaged_file_is_measured_again(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _measuring(monkeypatch, Products(2e11, 9e11), Products(4e11, None))
    products()
    file = module.remembered_in()
    text = file.read_text()
    changed = json.loads(text)
    if damage == "negative":
        changed["products"]["float32"] = -1.0
    elif damage == "words":
        changed["products"]["bfloat16"] = "fast"
    elif damage == "other":
        changed["key"]["torch"] = "1.0"
    named = damage in ("negative", "words", "other")
    file.write_text(json.dumps(changed) if named else text[:50] if damage == "cut" else damage)
    products.cache_clear()
    assert products() == Products(4e11, None)
    products.cache_clear()
    assert products() == Products(4e11, None)  # written anew


def test_other_threads_libraries_and_limits_are_measured_for_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {module.remembered_in()}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    files.add(module.remembered_in())
    monkeypatch.setattr(torch, "__version__", "99")
    files.add(module.remembered_in())
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    files.add(module.remembered_in())
    monkeypatch.setattr(module, "processor", lambda: {"model name": "another"})
    files.add(module.remembered_in())
    assert len(files) == 5


def test_a_cache_that_cannot_be_written_costs_time_alone(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_cache / "file").write_text("")
    monkeypatch.setenv("ASSAY_CACHE", str(empty_cache / "file"))
    _measuring(monkeypatch, Products(2e11, 9e11))
    assert products() == Products(2e11, 9e11)
    assert os.listdir(empty_cache) == ["file"]
