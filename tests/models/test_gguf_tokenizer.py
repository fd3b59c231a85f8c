"""llama.cpp spells texts from our GGUF files as the tokenizer that they were written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.chat.families import FAMILIES, tokenizer_of
from tests.generate.llamacpp.server import SERVER
from tests.generate.tiny import tiny_model
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from assay.errors import ModelError
from assay.generate.llamacpp.server import LlamaCppServer
from assay.models.gguf_export import model_tensors, write_model

pytestmark = pytest.mark.slow

TEXTS = [
    "Hello world",
    "Where is my card? It should've arrived on Monday, 2024-12-31.",
    "  two spaces,\n\nlines\tand tabs  ",
    "für Elise, naïve café, Привет мир, 你好世界 🦊",
    '{"city": "Oslo", "temperature": 21.5}',
]


def _server(folder: Path, tokenizer: Any) -> LlamaCppServer:
    model = tiny_model(vocab_size=len(tokenizer) + 3, pad_token_id=0)
    write_model(
        folder / "m.gguf",
        model.config,
        model_tensors(model),
        tokenizer,
        name="tiny",
        chat_template=None,
        stop_ids={tokenizer.eos_token_id},
    )
    return LlamaCppServer(folder / "m.gguf", {}, SERVER)


def _post(server: LlamaCppServer, path: str, body: dict[str, Any]) -> Any:
    key = {"Authorization": f"Bearer {server.key}"}
    return httpx.post(server.address + path, json=body, headers=key, timeout=30).json()


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_texts_get_the_same_ids(name: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(name)
    server = _server(tmp_path, tokenizer)
    spaced = FAMILIES[name].sentencepiece and name != "gemma"
    for text in TEXTS:
        if spaced:  # llama.cpp puts a space in front even of one
            text = text.lstrip()
        ids = _post(server, "/tokenize", {"content": text, "add_special": True})["tokens"]
        assert ids == tokenizer(text).input_ids, text
        plain = [i for i in ids if i != tokenizer.bos_token_id]
        assert _post(server, "/detokenize", {"tokens": plain})["content"].lstrip() == text.lstrip()


def test_nobody_without_the_key_gets_an_answer(tmp_path: Path) -> None:
    server = _server(tmp_path, tokenizer_of("chatml"))
    for path in ("/completion", "/tokenize", "/lora-adapters", "/v1/chat/completions"):
        assert httpx.post(server.address + path, json={"content": "a"}).status_code == 401


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="b")
    with pytest.raises(ModelError, match="WordLevel"):
        _server(tmp_path, tokenizer)
    assert list(tmp_path.iterdir()) == []
