"""A version as files that other programs serve: `assay export 3f9a01 --to ollama`.

    adapter   PEFT's two files, with tokenizer and chat template
    merged    a whole transformers model
    gguf      one file for llama.cpp, 16-bit floats; gguf-8bit, gguf-4bit: coarser and smaller
    ollama    the same with a Modelfile
    vllm      an adapter or a merged model, with the command that serves it

Files are written to a draft; the parity gate looks at the draft; only then does the folder appear.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.agent.agent import Agent
from assay.chat.template import Template
from assay.errors import ModelError, Step, UsageError
from assay.evaluate.measure import Bench
from assay.evaluate.parity import POSITIONS, Parity, Target, parity
from assay.evaluate.targets import FolderTarget, GgufTarget
from assay.example import Example
from assay.generate.base import load_merged
from assay.generate.batch import Request
from assay.generate.llamacpp.files import write_merged
from assay.generate.llamacpp.server import ServerSettings
from assay.generate.vllm.adapters import RANKS, goes_beside_base
from assay.models.catalogue import CATALOGUE
from assay.models.load import LoadedModel, load, load_tokenizer, published_format
from assay.models.pull import pull
from assay.models.quiet import exclusive_loading
from assay.models.trust import read_json
from assay.models.versions import ADAPTER, ADAPTER_CONFIG, LocalVersion
from assay.release.forms import VersionForm
from assay.release.ollama import Turns, turns_of
from assay.store.files import new_folder, write_atomic

_GGUF_BITS = {"gguf": 16, "gguf-8bit": 8, "gguf-4bit": 4, "ollama": 16}
GGUF, MODELFILE, SERVE = "model.gguf", "Modelfile", "serve.sh"
_GRAMMARS = "--structured-outputs-config.backend guidance"
"""Grammars are asked for in llguidance's form. Left to itself, a vLLM server takes what suits its
first request with a grammar, and keeps to it for all others."""
_CONTEXT_STEP = 256
"""llama.cpp's contexts are multiples of it."""


@dataclass(frozen=True, slots=True)
class ModelExport:
    """What was written, and what the gate found.

    Attributes:
        command: how it is put to work; None where that is up to the program that takes it.
    """

    version: str
    form: VersionForm
    folder: Path
    files: tuple[str, ...]
    command: str | None
    parity: Parity


def export(
    version: LocalVersion,
    form: VersionForm,
    folder: Path,
    *,
    bench: Bench,
    agent: Agent,
    validation: Sequence[Example],
) -> ModelExport:
    """Write a version into `folder`, which appears only if the gate lets it pass.

    Args:
        folder: must not exist, or be empty.
        agent: the version as it was evaluated.
        validation: what the gate asks.

    Raises:
        UsageError: a folder that holds something.
        ModelError: it has no such form, or the gate refuses it.
    """
    check_free(folder)
    if form == "adapter" and version.whole:
        raise ModelError(
            "all weights of this version were trained, so it has no adapter.",
            fix=f"{Step.EXPORT_MERGED}.",
        )
    tokenizer, context = load_tokenizer(version.record.base)
    template = Template.from_dict(tokenizer, version.record.template)
    requests = bench.assemble(agent, validation)
    lengths = [
        len(template.prompt(r.messages, r.tools)) + max(r.max_new_tokens, POSITIONS)
        for r in requests
    ]
    with new_folder(folder) as draft:
        longest = min(context, max(lengths, default=1) + 1)
        target = _write(version, form, draft, template, tokenizer, longest)
        command = None
        if form == "ollama":
            turns = turns_of(template, _added_bos(tokenizer))
            _check_turns(turns, template, requests, tokenizer)
            stops = tokenizer.convert_ids_to_tokens(sorted(template.stop_ids))
            write_atomic(draft / MODELFILE, turns.modelfile(GGUF, stops, context))
            command = f"ollama create assay-{version.id[:12]} -f {MODELFILE}"
        if form == "vllm":
            command = _vllm(version, draft)
            write_atomic(draft / SERVE, f"#!/bin/sh\n{command}\n")
            (draft / SERVE).chmod(0o755)
        found = parity(bench, agent, validation, target)
        found.check()
        del target
        files = tuple(sorted(file.name for file in draft.iterdir()))
    return ModelExport(version.id, form, folder, files, command, found)


def check_free(folder: Path) -> None:
    """See that an export can be written into a folder.

    Raises:
        UsageError: it holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            "the folder is not empty.", where=str(folder), fix="Name another with --out."
        )


def _write(
    version: LocalVersion,
    form: VersionForm,
    draft: Path,
    template: Template,
    tokenizer: Any,
    longest: int,
) -> Target:
    """Fill the draft; returns what answers from it, up to `longest` tokens."""
    if (bits := _GGUF_BITS.get(form)) is not None:
        write_merged(draft / GGUF, version, template, bits)
        settings = ServerSettings(context=-(-longest // _CONTEXT_STEP) * _CONTEXT_STEP)
        return GgufTarget(draft / GGUF, template, tokenizer, settings, bits)
    beside = form == "adapter" or (form == "vllm" and _serves_adapter(version))
    loaded = _write_adapter(version, draft) if beside else _write_merged(version, draft, template)
    _write_tokenizer(loaded, template, draft)
    from transformers import AutoTokenizer

    with exclusive_loading():
        read = AutoTokenizer.from_pretrained(draft, local_files_only=True)
    return FolderTarget(loaded, Template.of(read))


def _write_adapter(version: LocalVersion, draft: Path) -> LoadedModel:
    for name in (ADAPTER, ADAPTER_CONFIG):
        shutil.copyfile(version.folder / name, draft / name)
    return load(version.record.base, dtype="float32", adapter=draft)


def _write_merged(version: LocalVersion, draft: Path, template: Template) -> LoadedModel:
    whole = load_merged(version, template, published_format(pull(version.record.base)))
    with exclusive_loading():
        whole.model.save_pretrained(draft)
    return load(version.record.base, dtype="float32", weights=draft)


def _write_tokenizer(loaded: LoadedModel, template: Template, draft: Path) -> None:
    tokenizer = loaded.tokenizer
    before, tokenizer.chat_template = tokenizer.chat_template, template.text
    try:
        with exclusive_loading():
            tokenizer.save_pretrained(draft)
    finally:
        tokenizer.chat_template = before


def _added_bos(tokenizer: Any) -> str | None:
    """The beginning-of-text token, where llama.cpp is told to put it before every text."""
    bos: str | None = tokenizer.bos_token
    begins = bos is not None and tokenizer("a").input_ids[0] == tokenizer.bos_token_id
    return bos if begins else None


def _check_turns(
    turns: Turns, template: Template, requests: Sequence[Request], tokenizer: Any
) -> None:
    bos = _added_bos(tokenizer)
    for place, request in enumerate(requests):
        ours = template.prompt_text(request.messages, request.tools)
        ours = ours.removeprefix(bos) if bos else ours
        if request.tools or turns.write(request.messages) != ours:
            raise ModelError(
                f"Ollama's template would write validation prompt {place + 1} differently from how "
                f"it was evaluated: {ours[-120:]!r}.",
                fix="Export it as gguf, which carries the template itself.",
            )


def _serves_adapter(version: LocalVersion) -> bool:
    """Whether vLLM can put the adapter beside a base that it can fetch or read itself."""
    base = version.record.base
    if base in CATALOGUE or base.endswith(".gguf"):
        return False
    return goes_beside_base(version)


def _vllm(version: LocalVersion, draft: Path) -> str:
    name = f"assay-{version.id[:12]}"
    if not (draft / ADAPTER).exists():
        return f"vllm serve . --served-model-name {name} {_GRAMMARS}"
    rank = int(read_json(version.folder / ADAPTER_CONFIG)["r"])
    fitting = next(r for r in RANKS if r >= rank)
    return (
        f"vllm serve {shlex.quote(version.record.base)} --enable-lora --max-lora-rank {fitting} "
        f"--lora-modules {name}=. --chat-template chat_template.jinja {_GRAMMARS}"
    )
