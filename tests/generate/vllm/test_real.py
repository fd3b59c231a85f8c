"""A real vLLM, which is asked what the small server is asked: what differs there differs here.

    ASSAY_TEST_VLLM=/opt/vllm/bin/vllm pytest tests/generate/vllm/test_real.py

It names vLLM's executable, in an environment of its own: Assay does not depend on vLLM.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.generate.test_local_pool import ASKED, LETTERS, _evaluated, _text, _version
from tests.generate.tiny import byte_tokenizer, tiny_model
from tests.generate.vllm.fake import fake_vllm

from assay.config import Vllm
from assay.errors import ModelError
from assay.generate.stream import End, Piece, Sampling
from assay.generate.vllm.pool import VllmPool
from assay.models.load import load
from assay.models.tuned import load_tuned
from assay.models.versions import load_version
from assay.store.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("ASSAY_TEST_VLLM" not in os.environ, reason="ASSAY_TEST_VLLM is not set"),
]
START_S = 300


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    # vLLM's attention on a CPU has heads of 32 and more.
    tiny_model(hidden_size=64, num_attention_heads=2, num_key_value_heads=1, head_dim=32,
               max_position_embeddings=512).save_pretrained(folder)  # fmt: skip
    byte_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def settings(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """Of a server that was started as docs/models.md says, for a CPU.

    Its adapters have a place more than versions are asked for: on a CPU, vLLM 0.32.0 computes the
    base with the last one where both are in one batch (vllm-project/vllm#48421).
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log"
    command = [
        os.environ["ASSAY_TEST_VLLM"], "serve", base, "--host", "127.0.0.1", "--port", str(port),
        "--enable-lora", "--max-lora-rank", "64", "--max-loras", "3", "--dtype", "float32",
        "--structured-outputs-config.backend", "guidance", "--enforce-eager",
    ]  # fmt: skip
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME")
    } | {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, stdout=out, stderr=out, env=environment, start_new_session=True
        )
    made = Vllm(base_url=f"http://127.0.0.1:{port}/v1", timeout_s=120)
    try:
        _wait(server, made, base, log)
        yield made
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def _wait(server: subprocess.Popen[bytes], settings: Vllm, base: str, log: Path) -> None:
    pool, until = VllmPool(None, settings), time.monotonic() + START_S
    while True:
        try:
            pool.engine(base)
            return
        except ModelError as error:
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"{error}\n{log.read_text()[-4000:]}")
            time.sleep(1)
        finally:
            pool.close()


def test_base_and_versions_answer_as_they_were_evaluated_one_by_one_and_at_once(
    base: str, settings: Vllm, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    ids = [_version(state, base, "rslora", tmp_path / f"made{n}", seed=n) for n in range(2)]
    store, pool = Store(state), VllmPool(Store(state), settings)
    engines = [pool.engine(ref) for ref in (base, *(f"version:{id}" for id in ids))]
    wanted = [_evaluated(load(base))]
    wanted += [_evaluated(load_tuned(load_version(store, id))) for id in ids]
    assert len(set(wanted)) == len(wanted)
    assert [_text(engine) for engine in engines] == wanted
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(_text, engines * 6)) == wanted * 6
    pool.close()


LETTERS_ONLY = dict.fromkeys(byte_tokenizer().convert_tokens_to_ids(list("abcdefgh")), 50.0)


@pytest.mark.parametrize(
    "rules", [{"logit_bias": LETTERS_ONLY}, {"schema": LETTERS}, {"choices": ("cat", "dog")}]
)
def test_answers_and_their_confidence_are_those_of_the_small_server(
    base: str, settings: Vllm, rules: dict[str, Any]
) -> None:
    asked = Sampling(max_new_tokens=12, temperature=0, confidence=True, **rules)
    ends = []
    with fake_vllm(base) as fake:
        for one in (settings, fake.settings):
            pool = VllmPool(None, one)
            *pieces, end = pool.engine(base).chat(ASKED, (), asked)
            assert isinstance(end, End)
            text = "".join(piece.text for piece in pieces if isinstance(piece, Piece))
            ends.append((text, end))
            pool.close()
    (text, real), (expected, small) = ends
    assert (text, real.finish) == (expected, small.finish)
    assert real.scored_tokens == small.scored_tokens
    assert real.logprob == pytest.approx(small.logprob, abs=1e-3)
