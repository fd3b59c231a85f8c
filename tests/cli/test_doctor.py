"""What is found on this machine, for people and for programs."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import typer
from tests.command import run

from assay.cli.doctor import doctor
from assay.config import Provider
from assay.models import hub
from assay.models.products import Products, forget
from assay.project import machine
from assay.project.estimate import (
    DECODE_TOKENS_PER_S,
    FLOAT32_WORTH,
    REFERENCE_FLOPS,
    TRAIN_TOKENS_PER_S,
)
from assay.project.machine import examine
from assay.project.workspace import Workspace


@pytest.mark.slow
def test_the_machine_is_told_to_programs_and_to_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    forget()  # what other tests have measured in this process, and kept elsewhere
    told = run("doctor", "--json")
    found = json.loads(told.stdout)
    assert told.returncode == (1 if found["problems"] else 0)
    assert found["libraries"]["torch"] == torch.__version__
    assert found["number_format"] in ("float32", "bfloat16")
    assert found["products"]["float32"] > 1e8
    assert found["wait_policy"] in ("assay", "environment", "library")
    assert Path(found["remembered_in"]).is_relative_to(tmp_path)
    kept = json.loads(Path(found["remembered_in"]).read_text())
    assert kept["products"] == found["products"]
    printed = run("doctor").stdout
    for value in (found["number_format"], found["processor"], str(tmp_path), "waiting threads"):
        assert value in printed
    assert f"{found['products']['float32'] / 1e9:.0f} GFLOP/s" in printed


def test_what_the_machine_could_do_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "products", lambda: Products(REFERENCE_FLOPS, None))
    monkeypatch.setattr(machine, "faster_format", lambda _: "float32")
    monkeypatch.setattr(machine, "best_device", lambda: "cpu")
    monkeypatch.setattr(machine, "available_bytes", lambda _: 10_400_000_000)
    monkeypatch.setattr(hub, "state", lambda: "the hub answers.")
    found = examine()
    assert found.training_tokens_per_s == pytest.approx(FLOAT32_WORTH * TRAIN_TOKENS_PER_S)
    assert found.answer_tokens_per_s == pytest.approx(FLOAT32_WORTH * DECODE_TOKENS_PER_S)
    assert found.largest_tuned == 2_500_000_000
    assert found.hub is None  # nobody is asked unasked
    with suppress(typer.Exit):
        doctor()
    told = capsys.readouterr().out
    for words in (
        "480 tokens/s in training",
        "2.5 billion parameters",
        "the hub answers.",
        "token ids",
    ):
        assert words in told
    monkeypatch.setattr(machine, "best_device", lambda: "cuda")
    assert examine().training_tokens_per_s is None


def test_the_database_and_the_providers_of_a_folder_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "products", lambda: Products(2e11, None))
    monkeypatch.setattr(machine, "faster_format", lambda _: "float32")
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    assert examine(tmp_path).database is None
    assert not (tmp_path / ".assay").exists()  # looking makes no state
    served = tmp_path / "served"
    served.mkdir()
    workspace = Workspace(served)
    workspace.providers.add("acme", Provider(base_url="https://acme.test/v1"), None)
    found = examine(served)
    assert found.database is not None
    assert found.database.startswith("sqlite")
    assert found.database.endswith("answers")
    told = found.providers["acme"]
    assert told.startswith("https://acme.test/v1, key: none (")
    assert "`assay providers add acme`" in told
    assert "consent: no (before it is sent anything: `assay providers consent acme`)" in told
    lacking = Provider(base_url="https://acme.test/v1", key_env="ACME_KEY_THAT_IS_NOT_SET")
    workspace.providers.add("other", lacking, None)
    assert (
        "ACME_KEY_THAT_IS_NOT_SET, which is not set: set it" in examine(served).providers["other"]
    )
    (served / "assay.yaml").write_text("name: [")
    assert any("cannot be used" in problem for problem in examine(served).problems)


def test_a_hub_that_is_not_there_is_a_sentence_with_what_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)
    assert "http://127.0.0.1:9 cannot be reached" in hub.state()
    assert "connect to a network" in hub.state()
    assert "starters" in hub.state()
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    assert "HF_HUB_OFFLINE is set: unset it" in hub.state()


def test_what_is_in_the_way_is_a_sentence_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "products", lambda: Products(2e11, 9e11))
    monkeypatch.setattr(machine, "faster_format", lambda _: "bfloat16")
    monkeypatch.setattr(machine, "available_bytes", lambda _: 10**12)
    monkeypatch.setattr(machine, "_disk_bytes", lambda _: 10**12)
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert examine().problems == ()
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setattr(machine, "available_bytes", lambda _: 10**8)
    monkeypatch.setattr(machine, "_disk_bytes", lambda _: 10**8)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "file" / "below"))
    found = examine().problems
    told = ("ASSAY_CACHE to another", "free some space", "end other programs", "unset OMP_WAIT")
    assert all(words in sentence for words, sentence in zip(told, found, strict=True))
    monkeypatch.setattr(machine, "_version", lambda _: None)
    assert any("install Assay again" in sentence for sentence in examine().problems)


def test_a_line_that_is_not_as_it_should_be_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "products", lambda: Products(2e11, None))
    monkeypatch.setattr(machine, "faster_format", lambda _: "float32")
    monkeypatch.setattr(machine, "cores", lambda: 10_000)
    monkeypatch.setattr(machine, "startup_code", lambda: {"odd.pth": None})
    monkeypatch.setattr(hub, "state", lambda: "the hub answers.")
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    with suppress(typer.Exit):
        doctor(folder=tmp_path)
    told = capsys.readouterr().out
    assert "unset OMP_NUM_THREADS=1 to use all" in told
    assert "ATEN_CPU_CAPABILITY=default; unset to use all instructions" in told
    assert "odd.pth (of no package: read it, and remove it" in told
