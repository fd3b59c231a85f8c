"""Memory that may be counted on."""

from __future__ import annotations

import platform
from pathlib import Path
from threading import Thread

import psutil
import pytest
import torch

from assay.models import device
from assay.models.device import available_bytes, give_back_freed, give_back_read


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("5000", 5000 - 3000 + 400), ("2000", 0), ("max", None), ("9" * 18, None)],
)
def test_a_container_has_what_its_limit_leaves(
    limit: str, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of files in memory do not count: they are given up when memory is short."""
    monkeypatch.setattr(device, "GROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 2600\ninactive_file 400\n")
    found = available_bytes(torch.device("cpu"))
    if expected is None:
        assert found == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    else:
        assert found == expected


def test_what_torch_keeps_of_freed_memory_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"mem_get_info": (100, 1000), "memory_reserved": 700, "memory_allocated": 400}
    for name, value in known.items():
        monkeypatch.setattr(torch.cuda, name, lambda _device, value=value: value)
    assert available_bytes(torch.device("cuda", 0)) == 100 + 700 - 400


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it by thread")
def test_memory_that_another_thread_asked_for_goes_back_to_the_system() -> None:
    blocks: list[bytes] = []
    thread = Thread(target=lambda: blocks.extend(b"x" * (100_000 + n) for n in range(2000)))
    thread.start()
    thread.join()
    kept = blocks[::50]  # so that the rest is not one piece at the end of the heap
    blocks.clear()
    before = psutil.Process().memory_info().rss
    give_back_freed()
    assert before - psutil.Process().memory_info().rss > 100e6
    assert len(kept) == 40


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux tells what is mapped")
@pytest.mark.parametrize(
    ("changed", "asked", "goes"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_weights_that_are_mapped_leave_the_memory_unless_they_were_changed(
    changed: bool, asked: bool, goes: bool, tmp_path: Path
) -> None:
    file = tmp_path / "model.safetensors"
    whole = torch.arange(16e6, dtype=torch.float32)
    whole.numpy().tofile(file)
    mapped = torch.from_file(str(file), shared=False, size=len(whole), dtype=torch.float32)
    assert torch.equal(mapped, whole)
    if changed:
        mapped[7_000_000] = whole[7_000_000] = -1.0

    def resident() -> int:
        return sum(m.rss for m in psutil.Process().memory_maps() if m.path == str(file))

    assert resident() > 0
    give_back_read([mapped[5_000_000:]] if asked else [whole])
    assert (resident() == 0) is goes
    assert torch.equal(mapped, whole)
