"""No finished batch is generated twice, whatever happens, and the result is the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.scripted import ScriptedEngine, echo, request

from assay.evaluate.run import Plan, plan, run, run_key
from assay.example import Message, ToolCall
from assay.generate.batch import Answer, Request

ROOT = Path(__file__).parents[2]
REQUESTS = [request(f"question {n} " + "x" * (n * 7 % 13)) for n in range(40)]
BATCH = 4

CHILD = """
import time
from pathlib import Path
from assay.evaluate.run import run
from tests.evaluate.scripted import ScriptedEngine, echo
from tests.invariants.test_run import BATCH, REQUESTS

def slow(asked, call):
    time.sleep(0.02)
    return echo(asked, call)

engine = ScriptedEngine(rule=slow, log=Path({log!r}))
run(REQUESTS, engine, agent_id="a", batch_size=BATCH, folder=Path({folder!r}))
"""


def start(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    code = CHILD.format(log=str(log), folder=str(folder))
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)


def generated(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def finished(folder: Path) -> list[Path]:
    return sorted(folder.rglob("0*.json"))


def go(engine: ScriptedEngine, folder: Path) -> list[Answer]:
    return run(REQUESTS, engine, agent_id="a", folder=folder, batch_size=BATCH)


def test_after_kill_9_no_finished_batch_is_generated_again_and_the_result_is_the_same(
    tmp_path: Path,
) -> None:
    folder, log = tmp_path / "runs", tmp_path / "log"
    for wanted in (2, 5):  # killed twice
        child = start(folder, log)
        deadline = time.monotonic() + 60
        while len(finished(folder)) < wanted and time.monotonic() < deadline:
            assert child.poll() is None
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        child.wait()
    done = finished(folder)
    assert 5 <= len(done) < 10
    kept = {file: file.read_bytes() for file in done}
    in_kept = BATCH * len(done)

    engine = ScriptedEngine()
    resumed = go(engine, folder)

    assert sum(len(call) for call in engine.calls) == len(REQUESTS) - in_kept
    asked_again = {text for call in engine.calls for text in call}
    again_in_kept = [
        position
        for number, batch in enumerate(plan(REQUESTS, engine, batch_size=BATCH).batches)
        if any(file.name == f"{number:05d}.json" for file in done)
        for position in batch
        if REQUESTS[position].messages[-1].content in asked_again
    ]
    assert again_in_kept == []
    assert all(file.read_bytes() == content for file, content in kept.items())
    assert resumed == go(ScriptedEngine(), tmp_path / "undisturbed")
    # At most the batch under way is lost at each of the two kills.
    assert len(generated(log)) <= in_kept + 2 * BATCH


def test_two_processes_on_one_run_share_it_without_generating_twice(tmp_path: Path) -> None:
    folder, log = tmp_path / "runs", tmp_path / "log"
    children = [start(folder, log), start(folder, log)]
    assert [child.wait(timeout=120) for child in children] == [0, 0]
    assert len(generated(log)) == len(REQUESTS)
    engine = ScriptedEngine()
    assert go(engine, folder) == [echo(asked, 1) for asked in REQUESTS]
    assert engine.calls == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: raw.replace(b"to question", b"no question", 1),
        lambda raw: raw.replace(b'"stop"', b'"length"', 1),
        lambda raw: b"\xff\xfe" + raw,
        lambda raw: b"[]",
        lambda raw: json.dumps({"sha256": "", "body": None}).encode(),
    ],
    ids=["cut", "empty", "text changed", "finish changed", "not UTF-8", "a list", "no body"],
)
def test_a_damaged_file_is_never_used(tmp_path: Path, damage: Any) -> None:
    whole = go(ScriptedEngine(), tmp_path)
    file = finished(tmp_path)[3]
    good = file.read_bytes()
    file.write_bytes(damage(good))
    engine = ScriptedEngine()
    assert go(engine, tmp_path) == whole
    assert [len(call) for call in engine.calls] == [BATCH]
    assert file.read_bytes() == good


def test_a_file_of_another_batch_or_run_is_never_used(tmp_path: Path) -> None:
    whole = go(ScriptedEngine(), tmp_path)
    files = finished(tmp_path)
    files[3].write_bytes(files[4].read_bytes())
    other = run(REQUESTS, ScriptedEngine(), agent_id="b", folder=tmp_path / "b", batch_size=BATCH)
    assert len(other) == len(whole)
    files[5].write_bytes(finished(tmp_path / "b")[5].read_bytes())
    engine = ScriptedEngine()
    assert go(engine, tmp_path) == whole
    assert [len(call) for call in engine.calls] == [BATCH, BATCH]


BASE = Request(
    messages=(Message("system", "Be kind."), Message("user", "Hello")),
    tools=({"type": "function", "function": {"name": "look_up"}},),
    max_new_tokens=20,
    schema={"properties": {"a": {}, "b": {}}},
)
CALL = Message("assistant", "", tool_calls=(ToolCall("1", "look_up", "{}"),))


def key(
    *requests: Request,
    agent: str = "a",
    identity: dict[str, str] | None = None,
    batches: tuple[tuple[int, ...], ...] = ((0,),),
) -> str:
    engine = ScriptedEngine(identity=identity or {"engine": "e", "model": "m", "dtype": "float32"})
    return run_key(requests, engine, Plan(batches), agent)


@pytest.mark.parametrize(
    "other",
    [
        lambda: key(BASE, agent="b"),
        lambda: key(BASE, identity={"engine": "e", "model": "m", "dtype": "bfloat16"}),
        lambda: key(BASE, identity={"engine": "e", "model": "m2", "dtype": "float32"}),
        lambda: key(BASE, batches=((0,), ())),
        lambda: key(BASE, BASE),
        lambda: key(replace(BASE, messages=BASE.messages[1:])),
        lambda: key(replace(BASE, messages=(*BASE.messages, CALL))),
        lambda: key(replace(BASE, tools=())),
        lambda: key(replace(BASE, max_new_tokens=21)),
        lambda: key(replace(BASE, schema=None)),
        lambda: key(replace(BASE, schema={"properties": {"b": {}, "a": {}}})),
        lambda: key(replace(BASE, choices=("a", "b"))),
        lambda: key(replace(BASE, calls=True)),
        lambda: key(replace(BASE, temperature=0.5)),
        lambda: key(replace(BASE, seed=1)),
        lambda: key(replace(BASE, logprobs=0)),
    ],
    ids=[
        "agent",
        "dtype",
        "model",
        "plan",
        "number of requests",
        "messages",
        "tool call",
        "tools",
        "max_new_tokens",
        "no schema",
        "order of the schema's properties",
        "choices",
        "calls",
        "temperature",
        "seed",
        "logprobs",
    ],
)
def test_the_key_changes_with_all_that_can_change_an_answer(other: Any) -> None:
    assert other() != key(BASE)


def test_every_field_of_a_request_is_in_the_key() -> None:
    tried = {"messages", "tools", "max_new_tokens", "schema", "choices", "temperature", "seed"}
    tried |= {"calls", "logprobs"}
    assert set(Request.__slots__) == tried  # a new field needs a case above and a part in the key


def test_the_key_does_not_depend_on_the_order_of_the_identity() -> None:
    identity = {"dtype": "float32", "model": "m", "engine": "e"}
    assert key(BASE, identity=identity) == key(BASE)
