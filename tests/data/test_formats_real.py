"""Public files in their original formats: each imports, or is refused for a true reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from assay.data.read import detect, read
from assay.errors import DataError

FILES = {
    "llamafactory_formats/alpaca_en_demo.json": ("alpaca", 999),
    "llamafactory_formats/identity.json": ("alpaca", 91),
    "llamafactory_formats/glaive_toolcall_en_demo.json": ("sharegpt", 300),
    "llamafactory_formats/dpo_en_demo.json": ("sharegpt", 300),
    "llamafactory_formats/kto_en_demo.json": ("kto", 300),
    "llamafactory_formats/reason_tool_use_demo_50.jsonl": ("openai-chat", 50),
    "sharegpt_dummy/dummy_conversation.json": ("sharegpt", 500),
    "self_instruct_human/seed_tasks.jsonl": ("self-instruct", 175),
    "self_instruct_human/user_oriented_instructions.jsonl": ("self-instruct", 252),
    "banking77/train.jsonl": ("jsonl-objects", 10003),
    "banking77/test.jsonl": ("jsonl-objects", 3080),
    "snips/test.jsonl": ("jsonl-objects", 700),
    "mts_dialog/train.jsonl": ("jsonl-objects", 1201),
}
REFUSED = {"llamafactory_formats/dataset_info.json": "one JSON object"}


@pytest.mark.parametrize("name", FILES)
def test_every_row_imports(data_folder: Path, name: str) -> None:
    format, rows = FILES[name]
    assert detect(data_folder / name).format == format
    read_rows = list(read(data_folder / name))
    assert sum(row.example is not None for row in read_rows) == len(read_rows) == rows
    assert not [p for row in read_rows for p in row.problems if p.severity != "notice"]
    assert all(
        r.example.prompt and r.example.target.role == "assistant" for r in read_rows if r.example
    )


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(data_folder: Path, name: str) -> None:
    with pytest.raises(DataError, match=REFUSED[name]):
        detect(data_folder / name)


def test_no_file_is_left_out(data_folder: Path) -> None:
    for folder in ("llamafactory_formats", "sharegpt_dummy", "self_instruct_human"):
        names = {f"{folder}/{p.name}" for p in (data_folder / folder).iterdir()}
        assert names - {f"{folder}/SOURCE.txt"} <= FILES.keys() | REFUSED.keys()


def test_tools_and_preferences_are_kept(data_folder: Path) -> None:
    folder = data_folder / "llamafactory_formats"
    tools = [r.example for r in read(folder / "glaive_toolcall_en_demo.json") if r.example]
    assert sum(len(m.tool_calls) for e in tools for m in e.messages) == 211
    assert sum(m.role == "tool" for e in tools for m in e.messages) == 211
    pairs = [r.example for r in read(folder / "dpo_en_demo.json") if r.example]
    assert all(len(e.rejected) == 1 for e in pairs)
    thumbs = Counter(r.example.desirable for r in read(folder / "kto_en_demo.json") if r.example)
    assert set(thumbs) == {True, False}
    reasoned = list(read(folder / "reason_tool_use_demo_50.jsonl"))
    assert {p.code for r in reasoned for p in r.problems} == {"reasoning-left-out"}
    assert any(r.example.target.tool_calls for r in reasoned if r.example)
