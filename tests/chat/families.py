"""Small tokenizers that carry chat templates shaped like those of the common model families.

The templates are written for these tests: each shows what is particular about its family (who
writes BOS, who trims, who refuses a system prompt, who forgets reasoning), not all that it can do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

CHATML = """\
{%- for message in messages -%}
{%- if loop.first and message['role'] != 'system' -%}
{{- '<|im_start|>system\nYou are a small assistant.<|im_end|>\n' -}}
{%- endif -%}
{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""

LLAMA3 = """\
{{- bos_token -}}
{%- if not date_string is defined -%}
{%- if strftime_now is defined -%}{%- set date_string = strftime_now("%d %b %Y") -%}
{%- else -%}{%- set date_string = '26 Jul 2024' -%}{%- endif -%}
{%- endif -%}
{%- if messages[0]['role'] == 'system' -%}
{%- set system = messages[0]['content'] | trim -%}{%- set messages = messages[1:] -%}
{%- else -%}{%- set system = '' -%}{%- endif -%}
{{- '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + date_string + '\n\n' -}}
{{- system + '<|eot_id|>' -}}
{%- for message in messages -%}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' -}}
{{- message['content'] | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
{%- endif -%}
"""

MISTRAL = """\
{%- if messages[0]['role'] == 'system' -%}
{%- set system = messages[0]['content'] -%}{%- set turns = messages[1:] -%}
{%- else -%}{%- set turns = messages -%}{%- endif -%}
{{- bos_token -}}
{%- for message in turns -%}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('After the optional system message, roles must alternate user/assistant') -}}
{%- endif -%}
{%- if message['role'] == 'user' -%}
{%- if loop.last and system is defined -%}{{- '[INST] ' + system + '\n\n' -}}
{%- else -%}{{- '[INST] ' -}}{%- endif -%}
{{- message['content'] + '[/INST]' -}}
{%- else -%}{{- ' ' + message['content'] | trim + eos_token -}}{%- endif -%}
{%- endfor -%}
"""

GEMMA = """\
{{- bos_token -}}
{%- if messages[0]['role'] == 'system' -%}
{{- raise_exception('System role not supported') -}}
{%- endif -%}
{%- for message in messages -%}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('Conversation roles must alternate user/assistant') -}}
{%- endif -%}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
{{- '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\n' -}}{%- endif -%}
"""

PHI3 = """\
{%- for message in messages -%}
{{- '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>\n' -}}{%- else -%}{{- eos_token -}}{%- endif -%}
"""

QWEN3 = """\
{%- if tools -%}
{{- '<|im_start|>system\n' -}}
{%- if messages[0].role == 'system' -%}{{- messages[0].content + '\n\n' -}}{%- endif -%}
{{- '# Tools\n' -}}
{%- for tool in tools -%}{{- '\n' -}}{{- tool | tojson -}}{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- elif messages[0].role == 'system' -%}
{{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' -}}
{%- endif -%}
{%- set ns = namespace(last=0) -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{{- '<|im_start|>user\n' + message.content + '<|im_end|>\n' -}}
{%- elif message.role == 'assistant' -%}
{%- set content = message.content -%}{%- set thought = '' -%}
{%- if '</think>' in content -%}
{%- set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') -%}
{%- set content = content.split('</think>')[-1].lstrip('\n') -%}
{%- endif -%}
{{- '<|im_start|>assistant\n' -}}
{%- if loop.index0 > ns.last and (loop.last or thought) -%}
{{- '<think>\n' + thought + '\n</think>\n\n' -}}
{%- endif -%}
{{- content -}}
{%- for call in message.tool_calls or [] -%}
{%- if not loop.first or content -%}{{- '\n' -}}{%- endif -%}
{{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' -}}
{{- call.function.arguments | tojson -}}{{- '}\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- elif message.role == 'tool' -%}
{{- '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\n' -}}
{%- if enable_thinking is defined and enable_thinking is false -%}
{{- '<think>\n\n</think>\n\n' -}}
{%- endif -%}
{%- endif -%}
"""

# A template that forgets to end the turn with a token, as many home-made ones do.
OPEN_ENDED = """\
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}{{- 'Answer: ' + message['content'] + '\n\n' -}}
{%- else -%}{{- 'Question: ' + message['content'] + '\n\n' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'Answer: ' -}}{%- endif -%}
"""


@dataclass(frozen=True, slots=True)
class Family:
    """One family: its template, its tokens, and what is expected of it.

    Attributes:
        special, written: special tokens, and added ones that are not special.
        sentencepiece: spelled in the manner of SentencePiece instead of byte-level BPE.
        stripping: special tokens that swallow the white space after them.
        stop: the token that ends an answer.
        trims: answers are stripped of white space at both ends.
        opening: what the template puts in front of the last answer.
        one_bos: BOS opens the text and appears nowhere else.
        split: how text is cut before byte-level BPE; None is GPT-2's way.
        adds_bos: the tokenizer itself puts BOS in front.
    """

    name: str
    template: str | None
    special: tuple[str, ...]
    stop: str
    bos: str | None = None
    eos: str | None = None
    written: tuple[str, ...] = ()
    sentencepiece: bool = False
    stripping: tuple[str, ...] = ()
    trims: bool = False
    opening: str = ""
    one_bos: bool = False
    split: str | None = None
    adds_bos: bool = False


# Of Llama 3; unlike GPT-2's it keeps line breaks together whatever follows them.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CHATML_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_THINKING = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>")

FAMILIES = {
    family.name: family
    for family in (
        Family(
            "chatml",
            CHATML,
            _CHATML_TOKENS,
            stop="<|im_end|>",
            bos="<|im_start|>",
            eos="<|im_end|>",
        ),
        Family(
            "llama3",
            LLAMA3,
            ("<|begin_of_text|>", "<|end_of_text|>", *_HEADERS),
            stop="<|eot_id|>",
            bos="<|begin_of_text|>",
            eos="<|end_of_text|>",
            split=_SPLIT,
            trims=True,
            one_bos=True,
        ),
        Family(
            "mistral",
            MISTRAL,
            ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
            stop="</s>",
            bos="<s>",
            eos="</s>",
            sentencepiece=True,
            trims=True,
            opening=" ",
            one_bos=True,
        ),
        Family(
            "gemma",
            GEMMA,
            ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
            stop="<end_of_turn>",
            bos="<bos>",
            eos="<eos>",
            sentencepiece=True,
            trims=True,
            one_bos=True,
        ),
        Family(
            "phi3",
            PHI3,
            ("<s>", "</s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
            stop="<|end|>",
            bos="<s>",
            eos="<|endoftext|>",
            sentencepiece=True,
            stripping=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        ),
        Family(
            "qwen3",
            QWEN3,
            _CHATML_TOKENS,
            stop="<|im_end|>",
            eos="<|im_end|>",
            written=_THINKING,
            split=_SPLIT,
            opening="<think>\n\n</think>\n\n",
        ),
        Family("open-ended", OPEN_ENDED, ("<s>", "</s>"), stop="</s>", bos="<s>", eos="</s>"),
        Family(
            "base",
            None,
            ("<s>", "</s>"),
            stop="</s>",
            bos="<s>",
            eos="</s>",
            one_bos=True,
            adds_bos=True,
        ),
    )
}

_CORPUS = (
    "The quick brown fox jumps over the lazy dog. Which label fits this message best?",
    "Answer: card_arrival. Question: where is my card? It should have arrived on Monday.",
    "system user assistant model tool im_start im_end end_of_turn INST think\n\n\n   spaces",
    'für Elise, naïve café, Привет мир, 你好世界, {"city": "Oslo", "temperature": 21.5}',
)


@cache
def tokenizer_of(name: str) -> Any:
    """The tokenizer of a family, with its template. Shared: do not change it."""
    return tokenizer_for(FAMILIES[name])


def tokenizer_for(family: Family) -> Any:
    """A new tokenizer of a family, with its template."""
    backend = _sentencepiece(family.name) if family.sentencepiece else _byte_level(family.split)
    backend.add_special_tokens(
        [
            AddedToken(t, special=True, normalized=False, rstrip=t in family.stripping)
            for t in family.special
        ]
    )
    backend.add_tokens([AddedToken(t, special=False, normalized=False) for t in family.written])
    if family.adds_bos:
        from tokenizers.processors import TemplateProcessing

        bos = (family.bos or "", backend.token_to_id(family.bos or ""))
        backend.post_processor = TemplateProcessing(f"{bos[0]} $A", None, [bos])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token=family.eos,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = family.template
    return tokenizer


def _byte_level(split: str | None) -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(_CORPUS * 3, trainer)
    return backend


def _sentencepiece(name: str) -> Tokenizer:
    """BPE with bytes for unknown characters; Gemma writes no space in front, the others do."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    metaspace = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    if name != "gemma":
        backend.pre_tokenizer = metaspace
    else:
        backend.normalizer = normalizers.Replace(" ", "\u2581")
    trainer = BpeTrainer(vocab_size=500, special_tokens=["<unk>"], show_progress=False)
    backend.train_from_iterator([line.replace(" ", "\u2581") for line in _CORPUS * 3], trainer)
    raw = json.loads(backend.to_str())
    vocabulary = raw["model"]["vocab"]
    for byte in range(256):
        vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    raw["added_tokens"] = []
    backend = Tokenizer.from_str(json.dumps(raw))
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    if name != "gemma":
        steps.append(decoders.Strip(" ", 1, 0))
    backend.decoder = decoders.Sequence(steps)
    return backend
