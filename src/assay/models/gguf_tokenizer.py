"""A tokenizer as the metadata of a GGUF file, as llama.cpp reads it.

Two kinds are known: byte-level BPE (GPT-2's way: Llama 3, Qwen, SmolLM) and BPE made from
SentencePiece with single bytes to fall back on (Llama 2, Mistral, Gemma). Assay itself gives
llama.cpp token ids; what is written here lets it turn tokens into text, and lets other programs
that get an exported file spell prompts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from gguf import GGUFWriter, TokenType

from assay import json_reader
from assay.errors import ModelError

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {_LLAMA3: "llama-bpe", _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"): "qwen2"}
"""How text is cut before it is merged -> llama.cpp's name for that."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def write_tokenizer(
    writer: GGUFWriter,
    tokenizer: Any,
    vocabulary: int,
    *,
    chat_template: str | None,
    stop_ids: Collection[int],
) -> None:
    """Add a tokenizer (a PreTrainedTokenizerFast) to a file that is being written.

    Args:
        vocabulary: rows of the model's embeddings; those beyond the tokenizer's are never used.
        stop_ids: the tokens that end an answer, at most one beside EOS.

    Raises:
        ModelError: a kind of tokenizer that llama.cpp does not know, or one that does not fit.
    """
    backend = json_reader.read(tokenizer.backend_tokenizer.to_str())
    model = backend["model"]
    if model["type"] != "BPE":
        raise _refused(f"llama.cpp does not support a tokenizer of type {model['type']}")
    texts = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    if len(texts) > vocabulary:
        raise _refused(f"it has {len(texts)} tokens, but the model has only {vocabulary}")
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    sentencepiece = bool(model.get("byte_fallback"))
    texts = [text if text is not None else f"[UNUSED{i}]" for i, text in enumerate(texts)]
    texts += [f"[UNUSED{i}]" for i in range(len(texts), vocabulary)]
    writer.add_tokenizer_model("llama" if sentencepiece else "gpt2")
    writer.add_tokenizer_pre("default" if sentencepiece else _split(backend["pre_tokenizer"]))
    writer.add_token_list(texts)
    writer.add_token_types(_types(tokenizer, texts, sentencepiece))
    if sentencepiece:
        writer.add_token_scores(_scores(texts, merges))
        writer.add_add_space_prefix(_leads_with_space(backend))
    else:
        # A vocabulary of single bytes has none, and llama.cpp wants one: of two that never meet.
        writer.add_token_merges(merges or ["\u0120\u0120 \u0120\u0120"])
        writer.add_add_space_prefix(False)
    _special(writer, tokenizer, stop_ids)
    if chat_template is not None:
        writer.add_chat_template(chat_template)


def _types(tokenizer: Any, texts: list[str], sentencepiece: bool) -> list[TokenType]:
    types = [TokenType.UNUSED if t.startswith("[UNUSED") else TokenType.NORMAL for t in texts]
    if sentencepiece:
        for place, text in enumerate(texts):
            if _BYTE.fullmatch(text):
                types[place] = TokenType.BYTE
    for place, token in tokenizer.added_tokens_decoder.items():
        types[place] = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
    if sentencepiece and tokenizer.unk_token_id is not None:
        types[tokenizer.unk_token_id] = TokenType.UNKNOWN
    return types


def _scores(texts: list[str], merges: list[str]) -> list[float]:
    """SentencePiece joins the pair with the highest score first: the earliest merge."""
    rank: dict[str, int] = {}
    for place, merge in enumerate(merges):
        rank.setdefault(merge.replace(" ", ""), place)
    last = float(len(merges))
    return [-float(rank.get(text, last)) for text in texts]


def _leads_with_space(backend: dict[str, Any]) -> bool:
    """Whether a text gets a space in front, said by either of two parts of a tokenizer."""
    if "Prepend" in json.dumps(backend["normalizer"]):
        return True
    before = backend["pre_tokenizer"] or {}
    parts = before.get("pretokenizers", [before])
    return any(p.get("prepend_scheme") in ("first", "always") for p in parts)


def _special(writer: GGUFWriter, tokenizer: Any, stop_ids: Collection[int]) -> None:
    eos = tokenizer.eos_token_id
    others = sorted(set(stop_ids) - {eos})
    if eos is None:
        eos, *others = others
    if len(others) > 1:
        raise _refused(f"{len(stop_ids)} tokens can end an answer, but llama.cpp supports only two")
    writer.add_eos_token_id(eos)
    if others:
        writer.add_eot_token_id(others[0])
    for add, token in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
    ):
        if token is not None:
            add(token)
    begins = tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]
    writer.add_add_bos_token(begins)


def _split(before: Any) -> str:
    """llama.cpp's name for how text is cut before it is merged; `default` where it has none."""
    parts = before["pretokenizers"] if before and before["type"] == "Sequence" else [before]
    cuts = [part for part in parts if part]
    patterns = [p["pattern"].get("Regex") for p in cuts if p["type"] == "Split"]
    by_regex = any(p["type"] == "ByteLevel" and p.get("use_regex", True) for p in cuts)
    if len(patterns) == 1 and not by_regex:
        return _SPLITS.get(patterns[0], "default")
    if patterns or not by_regex:
        return "default"
    apart = [p for p in cuts if p["type"] == "Digits"]
    if apart:
        return "smollm" if apart[0].get("individual_digits") else "default"
    return "gpt-2"


def _refused(why: str) -> ModelError:
    return ModelError(
        f"this tokenizer cannot be written to a GGUF file: {why}.",
        fix="Use the transformers engine, or export the version as an adapter or merged model.",
    )
