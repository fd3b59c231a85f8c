"""What is on this machine and what a model is: for `assay models list` and `assay models show`."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

from assay.models.catalogue import CATALOGUE
from assay.models.encoder_folder import Kind, kind_of
from assay.models.load import context_length, text_defaults, weights_sha256
from assay.models.pull import cache_folder, entry_folder, is_ready, pull, read_record
from assay.models.trust import header, read_json, weight_files
from assay.progress import SILENT, Progress

_USES: dict[Kind, str] = {
    "chat": "{} is a language model: name it in `model`.",
    "embedder": "{} is an embedder: name it in `classifier.embedder` or `--embedder`.",
    "cross-encoder": "{} is a cross-encoder: name it in `knowledge.rerank` if it gives one score.",
}


@dataclass(frozen=True, slots=True)
class ModelListing:
    """One line of the list: a starter, or a model that was pulled.

    Attributes:
        kind: what it was made for: answers, vectors of texts, or how well a text fits another.
        ready: whether it is on this machine and whole.
        disk_bytes: what it takes on disk, or would take.
    """

    ref: str
    kind: Kind
    ready: bool
    disk_bytes: int
    licence: str | None
    summary: str
    folder: Path


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What `assay models show` prints.

    Attributes:
        kind: see `ModelListing`.
        architecture: the class of transformers that runs it.
        parameters: numbers in its weights (tied ones counted once).
        context_length: in tokens.
        revision: the hub's commit that was fetched; None of other models.
        sha256: of the weights, see `weights_sha256`.
        template_sha256: of the text of its chat template; None for a base model.
    """

    ref: str
    folder: Path
    kind: Kind
    architecture: str
    parameters: int
    context_length: int
    disk_bytes: int
    licence: str | None
    revision: str | None
    sha256: str
    template_sha256: str | None


def list_models() -> list[ModelListing]:
    """The starters, then the other models in the cache, by name."""
    out = []
    starters = set()
    for entry in CATALOGUE.values():
        folder = entry_folder(entry)
        starters.add(folder)
        ready = is_ready(folder)
        size = _disk_bytes(folder) if ready else entry.disk_bytes
        out.append(
            ModelListing(entry.name, entry.kind, ready, size, entry.licence, entry.summary, folder)
        )
    cache = cache_folder()  # where hashes are kept too, one for each file that was ever loaded
    for folder in sorted([*cache.glob("models/*"), *cache.glob("gguf/*")]):
        if folder in starters or folder.name.startswith(".") or not is_ready(folder):
            continue
        record = read_record(folder)
        size, where = _disk_bytes(folder), "from the hub" if record.get("hub") else "from a file"
        kind, licence = record.get("kind", "chat"), record.get("licence")
        out.append(ModelListing(record["source"], kind, True, size, licence, where, folder))
    return out


def fetch(ref: str, progress: Progress = SILENT) -> Path:
    """Make a model ready that is wanted for whatever it was made for, and say what that is.

    Raises:
        ModelError: as `pull`.
    """
    folder = pull(ref, progress, "any")
    progress.say(_USES[kind_of(folder)].format(ref))
    return folder


def describe(ref: str, progress: Progress = SILENT) -> ModelInfo:
    """All there is to say about a model; pulls it first where it is not on this machine.

    Raises:
        ModelError: as `pull`.
    """
    folder = pull(ref, progress, "any")
    config = read_json(folder / "config.json")
    shapes = [t["shape"] for file in weight_files(folder) for t in header(file).values()]
    template = _template(folder)
    record = read_record(folder) if is_ready(folder) else {}
    return ModelInfo(
        ref=ref,
        folder=folder,
        kind=kind_of(folder),
        architecture=(config.get("architectures") or [config.get("model_type")])[0],
        parameters=sum(math.prod(shape) for shape in shapes),
        context_length=context_length(config),
        disk_bytes=_disk_bytes(folder),
        licence=record.get("licence"),
        revision=record.get("revision"),
        sha256=weights_sha256(folder),
        template_sha256=hashlib.sha256(template.encode()).hexdigest() if template else None,
    )


def embedding_parameters(ref: str, progress: Progress = SILENT) -> int:
    """Numbers in the input embeddings and the head of a model, counted once where they are tied.

    Raises:
        ModelError: as `pull`.
    """
    folder = pull(ref, progress, "any")
    config = read_json(folder / "config.json")
    text = {**text_defaults(config), **config, **(config.get("text_config") or {})}
    shapes = [t["shape"] for file in weight_files(folder) for t in header(file).values()]
    numbers = [math.prod(shape) for shape in shapes if text.get("vocab_size") in shape]
    # A file may hold the head of tied ones, too.
    return max(numbers, default=0) if text.get("tie_word_embeddings") else sum(numbers)


def _template(folder: Path) -> str | None:
    text = folder / "chat_template.jinja"
    if text.is_file():
        return text.read_text(encoding="utf-8")
    settings = folder / "tokenizer_config.json"
    value = read_json(settings).get("chat_template") if settings.is_file() else None
    return value if isinstance(value, str) else None


def _disk_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
