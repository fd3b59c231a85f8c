"""The real thing: a process in an empty folder, the starter model, the unmodified clients."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from assay.config.hosts import is_loopback
from assay.errors import AssayError, UsageError
from assay.jobs import queue
from assay.jobs.fine_tuning import TRAIN
from assay.project.workspace import Workspace
from assay.serve.server import serve
from assay.store.store import Store
from tests.command import run, sentence
from tests.serve.process import ASSAY, Server, server
from tests.serve.running import PATIENCE_S, STARTER
from tests.serve.scripted import ScriptedEngines
from tests.small import small_project

FRANCE: Any = [{"role": "user", "content": "What is the capital of France? One word."}]
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("empty")) as running:
        yield running


@pytest.fixture
def client(real: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{real.url}/v1", api_key=real.key, max_retries=0)


@slow
def test_an_empty_folder_has_the_starter(client: openai.OpenAI) -> None:
    assert any("smollm2" in model.id for model in client.models.list())


@slow
def test_it_answers(client: openai.OpenAI) -> None:
    made = client.chat.completions.create(
        model=STARTER, messages=FRANCE, temperature=0, max_tokens=12
    )
    assert "Paris" in (made.choices[0].message.content or "")
    assert made.usage is not None
    assert made.usage.prompt_tokens > 10
    stream = client.chat.completions.create(
        model=STARTER, messages=FRANCE, temperature=0, max_tokens=12, stream=True
    )
    parts = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(parts) == made.choices[0].message.content
    answer = client.responses.create(
        model=STARTER, input=FRANCE, temperature=0, max_output_tokens=12
    )
    assert answer.output_text == made.choices[0].message.content


class Person(BaseModel):
    name: str
    age: int


@slow
def test_structured_outputs_and_forced_tools_hold_for_a_small_model(client: openai.OpenAI) -> None:
    turns: Any = [{"role": "user", "content": "Ann is 7 years old. As JSON."}]
    made = client.chat.completions.parse(
        model=STARTER, messages=turns, temperature=0, max_tokens=60, response_format=Person
    )
    assert made.choices[0].message.parsed == Person(name="Ann", age=7)
    city = {"type": "string", "enum": ["Paris", "Oslo"]}
    parameters = {"type": "object", "properties": {"city": city}, "required": ["city"]}
    function = {"name": "weather", "parameters": parameters | {"additionalProperties": False}}
    tools: Any = [{"type": "function", "function": function}]
    called = client.chat.completions.create(
        model=STARTER,
        messages=FRANCE,
        tools=tools,
        tool_choice="required",
        temperature=0,
        max_tokens=60,
    )
    [call] = called.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Oslo")  # type: ignore[union-attr]


@slow
def test_curl(real: Server) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl here")
    body = {"model": STARTER, "messages": FRANCE, "temperature": 0, "max_tokens": 8}
    for stream in (False, True):
        told = subprocess.run(
            [
                curl, "-sN", f"{real.url}/v1/chat/completions",
                "-H", f"Authorization: Bearer {real.key}",
                "-H", "Content-Type: application/json",
                "-d", json.dumps(body | {"stream": stream}),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        ).stdout  # fmt: skip
        assert "Paris" in told
        assert not stream or told.endswith("data: [DONE]\n\n")


@slow
def test_llm_with_an_extra_model_file(real: Server, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: starter\n  model_name: {STARTER}\n  api_base: {real.url}/v1\n"
        "  api_key_name: assay\n"
    )
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path)}
    for options in ((), ("--no-stream",)):
        told = subprocess.run(
            [
                sys.executable, "-m", "llm", "prompt", FRANCE[0]["content"], "-m", "starter",
                "--key", real.key, "-o", "temperature", "0", "-o", "max_tokens", "12", *options,
            ],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert "Paris" in told.stdout, told.stderr


@slow
def test_the_key_is_shown_once_and_a_signal_ends_it_well(tmp_path: Path) -> None:
    with server(tmp_path, command=ASSAY) as first:
        lines = [line for line in first.output.read_text().splitlines() if first.key in line]
        assert len(lines) == 1
        assert first.stop() == 0
        assert first.output.read_text().endswith("30 s to end.\nStopped.\n")
    with server(tmp_path, "--no-train") as second:
        assert second.key == ""
        headers = {"Authorization": f"Bearer {first.key}"}
        assert (
            httpx.get(f"{second.url}/v1/models", headers=headers, timeout=PATIENCE_S).status_code
            == 200
        )
        made = json.loads(_keys(tmp_path, "create", "ci", "--scope", "chat", "--json"))
        headers = {"Authorization": f"Bearer {made['key']}"}
        assert (
            httpx.get(f"{second.url}/v1/models", headers=headers, timeout=PATIENCE_S).status_code
            == 200
        )
        assert made["key"] not in _keys(tmp_path, "list", "--json")
        _keys(tmp_path, "revoke", made["id"])
        assert httpx.get(
            f"{second.url}/v1/models", headers=headers, timeout=PATIENCE_S
        ).status_code in (200, 401)
        queue.enqueue(Store(tmp_path / ".assay"), tmp_path.name, TRAIN, {})
        assert second.stop() == 0
        assert second.output.read_text().endswith("\nStopped.\n")  # none that it would do
        assert made["key"] not in second.output.read_text()


def _keys(folder: Path, *words: str) -> str:
    done = run("keys", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("thread", ["asyncio", "anyio"])
def test_a_signal_does_not_wait_for_work_in_a_thread(
    thread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a hundred thousand rows for a page takes minutes, and can be done again."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
    asleep = (sys.executable, "-m", "tests.serve.asleep", thread)
    with server(tmp_path, command=asleep) as running:
        with pytest.raises(httpx.TimeoutException):
            httpx.get(f"{running.url}/healthz", timeout=0.5)
        began = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - began < 30


def test_whatever_ends_it_its_process_is_told_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("assay.serve.server._Server.run", lambda *_, **__: None)
    for error in (None, KeyboardInterrupt, OSError):  # a second Ctrl-C, or a disk that is full

        @contextmanager
        def supervisor(*_: object, error: Any = error, **__: object) -> Iterator[None]:
            yield
            if error:
                raise error

        monkeypatch.setattr("assay.serve.server.WorkerSupervisor", supervisor)
        with pytest.raises(error) if error else nullcontext():
            serve(Workspace(tmp_path), ScriptedEngines(), print, port=0, end=codes.append)
    signal.signal(signal.SIGTERM, before)
    assert codes == [0, 130, 1]


@pytest.mark.parametrize(("trains", "said"), [(True, "Stopped. Jobs wait"), (False, "Stopped.")])
def test_a_stop_is_told_and_ends_well_where_nobody_reads_it(
    trains: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, lines = signal.getsignal(signal.SIGTERM), list[str]()
    monkeypatch.setattr("assay.serve.server._Server.run", lambda *_, **__: None)
    monkeypatch.setattr("assay.serve.server.WorkerSupervisor", lambda *_, **__: nullcontext())
    workspace = Workspace(tmp_path)
    queue.enqueue(workspace.store, workspace.name, TRAIN, {})

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith("Stopped"):
            raise BrokenPipeError

    codes: list[int] = []
    serve(workspace, ScriptedEngines(), say, port=0, trains=trains, end=codes.append)
    signal.signal(signal.SIGTERM, before)
    assert lines[-1].startswith(said)
    assert ("Jobs" in lines[-1]) == trains
    assert codes == [0]


@slow
def test_tls(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl here")
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1", "-addext",
            "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem",
        ],
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    with server(tmp_path, "--tls-cert", "cert.pem", "--tls-key", "key.pem") as running:
        assert running.url.startswith("https://")
        import ssl

        trusted = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        assert httpx.get(f"{running.url}/healthz", verify=trusted, timeout=PATIENCE_S).json() == {
            "status": "ok"
        }


def test_plain_http_stays_on_this_machine(tmp_path: Path) -> None:
    said: list[str] = []
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for options in (
        {"host": "0.0.0.0"},
        {"host": "::"},
        {"host": "10.0.0.1"},
        {"tls_cert": tmp_path / "c"},
        {"tls_cert": tmp_path / "c", "tls_key": tmp_path / "k"},
        {"tls_cert": junk, "tls_key": junk},
    ):
        with pytest.raises(UsageError):
            serve(Workspace(tmp_path), ScriptedEngines(), said.append, port=0, **options)  # type: ignore[arg-type]
    assert not said
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("example.org")


def test_a_port_that_is_taken_is_a_sentence_with_what_to_do(tmp_path: Path) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AssayError, match=f"127.0.0.1:{port}: .*give another --port"):
            serve(Workspace(tmp_path), ScriptedEngines(), said.append, port=port)
    with pytest.raises(AssayError, match="Give --host an address of this machine"):
        serve(
            Workspace(tmp_path),
            ScriptedEngines(),
            said.append,
            host="192.0.2.1",
            insecure_http=True,
        )
    assert not said


@slow
def test_a_broken_configuration_is_told_and_the_last_good_one_served(tmp_path: Path) -> None:
    made = small_project(tmp_path)
    assert made.store.folder.is_dir()  # its use keeps what is good
    (made.root / "assay.yaml").write_text("nonsense: [", encoding="utf-8")
    with server(made.root) as running:
        ready = httpx.get(f"{running.url}/readyz", timeout=PATIENCE_S).json()
        assert ready == {"status": "ready", "configuration": "last_good"}
        said = running.output.read_text()
    assert "the text is not YAML" in said
    assert "last valid configuration" in said
    assert "the text is not YAML" in sentence(run("data", "show", cwd=made.root), 1)
