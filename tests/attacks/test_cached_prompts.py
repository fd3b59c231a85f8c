"""What one project has asked is told to no other, by a count or by what is computed again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.generate.llamacpp.server import SERVER, write_tiny
from tests.generate.tiny import byte_tokenizer, tiny_model
from tests.serve.running import STARTER, running

from assay.chat.template import Template
from assay.chat.tokens import Encoder
from assay.example import Message
from assay.generate.llamacpp.engine import AdapterServer, LlamaCppEngine
from assay.generate.stream import End, Sampling
from assay.generate.vllm.request import body_of

ASKED = [Message("user", "Is the merger of Acme and Umbrella off?")]
ONE = Sampling(max_new_tokens=1, logit_bias={258: -100.0})


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> LlamaCppEngine:
    tokenizer = byte_tokenizer()
    path = write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf", tiny_model())
    return LlamaCppEngine(AdapterServer(path, SERVER, 1 << 30), Template.of(tokenizer), tokenizer)


def cached(engine: LlamaCppEngine, owner: str) -> int:
    *_, end = engine.chat(ASKED, (), replace(ONE, owner=owner))
    assert isinstance(end, End)
    assert end.cached_tokens is not None
    return end.cached_tokens


def test_a_prompt_is_gone_on_from_for_its_own_project_alone(engine: LlamaCppEngine) -> None:
    prompt = len(engine.template.prompt(ASKED))
    slots = engine._adapter_server.settings.slots
    owners = [f"project {number}" for number in range(slots)]
    assert [cached(engine, owner) for owner in owners] == [0] * slots
    # Every slot holds the prompt by now, and each project has one.
    assert [cached(engine, owner) for owner in owners] == [prompt - 1] * slots
    # A newcomer gets another's slot, and nothing that is in it.
    assert [cached(engine, f"newcomer {number}") for number in range(8)] == [0] * 8


def test_a_vllm_server_is_told_whose_blocks_to_use() -> None:
    salts = [
        body_of("m", [1], replace(ONE, owner=owner), 10, ()).get("cache_salt")
        for owner in ("a", "b", "")
    ]
    assert salts == ["a", "b", None]


def test_texts_are_spelled_anew_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    spelled: list[str] = []
    spell = Encoder._spell

    def note(self: Encoder, text: str) -> list[int]:
        spelled.append(text)
        return spell(self, text)

    template = Template.of(byte_tokenizer())
    monkeypatch.setattr(Encoder, "_spell", note)
    counts = []
    for owner in ("a", "b", "a"):
        before = len(spelled)
        template.prompt(ASKED, (), owner)
        counts.append(len(spelled) - before)
    assert counts[0] == counts[1] > 0
    assert counts[2] == 0


def test_every_way_of_asking_says_for_whom(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        theirs = server.new_key("chat", project="theirs")
        for key, project in ((server.key, server.workspace.name), (theirs, "theirs")):
            client = server.client(key)
            before = len(server.engine.asked)
            client.chat.completions.create(
                model=STARTER, messages=[{"role": "user", "content": "a"}]
            )
            client.completions.create(model=STARTER, prompt="a")
            client.responses.create(model=STARTER, input="a")
            asked = server.engine.asked[before:]
            assert [sampling.owner for _, _, sampling in asked] == [project] * 3
