"""Texts become vectors whose dot product is their similarity; a cross-encoder reads the best
passages beside the question and orders them anew."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from hashlib import blake2b
from threading import Lock
from typing import Any, ClassVar, Literal, Self

import numpy as np
from tokenizers import Tokenizer

from assay import wait_policy
from assay.config import STARTER_EMBEDDER
from assay.errors import ModelError, first_line
from assay.models.encoder_folder import kind_of
from assay.models.pull import RECORD, cache_folder, folder_sha256, pull
from assay.models.quantization import load_bitsandbytes
from assay.models.quiet import exclusive_loading

STARTER = STARTER_EMBEDDER
BATCH_SIZE = 64
AT_ONCE = 8 * BATCH_SIZE
PAIRS = 32
"""Passages that are read beside a question at once."""
KEPT_BYTES = 32_000_000
"""Of vectors that are remembered, see `remember`."""
MOST_PIECES = 64
"""Of a text that is embedded in pieces; what is beyond them is cut."""

Vectors = np.ndarray[Any, np.dtype[np.float32]]
_Memory = OrderedDict[tuple[str, bytes], Vectors]  # by embedder and text, the latest last
_memory: ContextVar[_Memory | None] = ContextVar("memory", default=None)


@contextmanager
def remember() -> Iterator[None]:
    """Within the block, what this thread embeds again is not computed again.

    For the work of one project alone: among several callers, the time that an answer takes would
    tell one what another has asked.
    """
    token = _memory.set(OrderedDict())
    try:
        yield
    finally:
        _memory.reset(token)


class SentenceModel:
    """A model of sentence-transformers. Safe to call from many threads.

    Attributes:
        kind: what it is for.
        name: what it was asked for by.
        identity: a hash of its weights, tokenizer and settings: equal where what it gives is.
    """

    kind: ClassVar[Literal["embedder", "cross-encoder"]]

    def __init__(self, name: str, model: Any, identity: str) -> None:
        self.name, self._model, self.identity = name, model, identity
        self._lock = Lock()  # a tokenizer cannot be used by two threads at once

    @property
    def parameters(self) -> int:
        """How many weights it has."""
        return sum(weights.numel() for weights in self._model.parameters())

    def copy_model(self) -> Any:
        """A copy of the sentence-transformers model, to be trained."""
        with self._lock:
            return copy.deepcopy(self._model)

    def with_weights(self, name: str, identity: str, weights: Mapping[str, Vectors]) -> Self:
        """The same model with other weights.

        Args:
            name, identity: of the model that is made.
            weights: by their names in the model; what is not among them stays as it is.

        Raises:
            ValueError: the model has none of that name or shape.
        """
        import torch

        model = self.copy_model()
        own = dict(model.named_parameters())
        with torch.no_grad():
            for place, values in weights.items():
                if place not in own or own[place].shape != values.shape:
                    raise ValueError(f"{place} is not a weight of this {self.kind}")
                own[place].copy_(torch.from_numpy(values))
        return type(self)(name, model.eval(), identity)


class Embedder(SentenceModel):
    """Gives a text its vector.

    Attributes:
        dimension: length of a vector.
        limit: tokens of a text that are looked at; what is beyond them is cut.
        at_once: texts that it is best given together, where there are very many.
    """

    kind = "embedder"
    at_once: int = AT_ONCE

    def __init__(self, name: str, model: Any, identity: str) -> None:
        super().__init__(name, model, identity)
        self.dimension = int(model.get_embedding_dimension())
        self.limit = int(model.max_seq_length)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """[len(texts), dimension] float32 of length 1; texts beyond the model's limit are cut."""
        memory = _memory.get()
        if not texts or memory is None:
            return self._encode(texts)
        keys = [(self.identity, _digest(text)) for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in memory}
        memory |= zip(new, self._encode(list(new.values())), strict=True)
        for key in keys:
            memory.move_to_end(key)
        found: Vectors = np.stack([memory[key] for key in keys])
        while len(memory) > KEPT_BYTES // (4 * self.dimension):
            memory.popitem(last=False)
        return found

    def _encode(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        with self._lock:
            vectors: Vectors = self._model.encode(
                list(texts),
                batch_size=BATCH_SIZE,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            ).astype(np.float32, copy=False)
        return vectors

    def encode_in_pieces(self, texts: Sequence[str]) -> Vectors:
        """As `encode`, but of a text beyond the limit the mean of its pieces' vectors.

        A piece has as many tokens as the model looks at, the last one what is left; each counts
        by its tokens.
        """
        pieces = [self._pieces(text) for text in texts]
        vectors = self.encode([piece for of_text in pieces for piece, _ in of_text])
        means: Vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        start = 0
        for place, of_text in enumerate(pieces):
            own = vectors[start : start + len(of_text)]
            start += len(of_text)
            means[place] = np.array([tokens for _, tokens in of_text], dtype=np.float32) @ own
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        np.divide(means, lengths, out=means, where=lengths > 0)
        return means

    def is_cut(self, text: str) -> bool:
        """Whether a text is beyond the model's limit."""
        return len(self._pieces(text)) > 1

    def _pieces(self, text: str) -> list[tuple[str, int]]:
        """Consecutive parts of a text with their tokens; the whole text where it is not cut."""
        tokenizer = self._model.tokenizer
        room = self.limit - tokenizer.num_special_tokens_to_add()
        if len(text.encode("utf-8", "surrogatepass")) <= room or not tokenizer.is_fast:
            return [(text, 1)]  # a token is a byte or more
        with self._lock:
            spans = tokenizer(
                text,
                add_special_tokens=False,
                truncation=False,
                return_offsets_mapping=True,
                verbose=False,
            )["offset_mapping"]
        if len(spans) <= room:
            return [(text, 1)]
        starts = range(0, len(spans), room)[:MOST_PIECES]
        parts = [spans[start : start + room] for start in starts]
        return [(text[part[0][0] : part[-1][1]], len(part)) for part in parts]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, the cut ones and the special ones included."""
        with self._lock:
            found = self._model.tokenizer(
                list(texts), truncation=False, padding=False, verbose=False
            )
        return [len(ids) for ids in found["input_ids"]]

    def tokenizer_json(self) -> str:
        """Its tokenizer for others to count with: nothing is cut, nothing is filled up."""
        with self._lock:
            text = self._model.tokenizer.backend_tokenizer.to_str()
        plain = Tokenizer.from_str(text)
        plain.no_truncation()
        plain.no_padding()
        made: str = plain.to_str()
        return made


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


_SAFE: dict[str, Any] = {
    "trust_remote_code": False,
    "local_files_only": True,
    "model_kwargs": {"use_safetensors": True},
}
_UNLOADABLE = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, ImportError)
"""What a library raises of settings that do not fit one another."""


def load_embedder(ref: str = STARTER) -> Embedder:
    """The embedder of a catalogue name, a local folder or a hub id.

    A folder without modules.json is an encoder alone: sentence-transformers gives it the mean of
    its tokens' vectors (the last token's vector of a language model).

    Raises:
        ModelError: it cannot be found, fetched, trusted or loaded.
    """
    wait_policy.adapt()
    load_bitsandbytes()
    folder = pull(ref, wanted="encoder")
    try:
        with exclusive_loading():
            from sentence_transformers import SentenceTransformer

            model = SentenceTransformer(str(folder), **_SAFE)
    except _UNLOADABLE as error:
        raise ModelError(
            f"this embedder cannot be loaded ({first_line(error)}).",
            where=str(folder),
            fix=f"Use a sentence-transformers model, such as {STARTER}.",
        ) from None
    identity = folder_sha256(folder, cache_folder(), without=RECORD)
    return Embedder(ref, model.eval().float(), identity)


_loading: dict[str, Lock] = {}


def get_embedder(name: str) -> Embedder:
    """The embedder of that name, loaded at its first use, once; see `load_embedder`."""
    with _loading.setdefault(name, Lock()):  # threads that ask at once would each load it
        return _embedder(name)


@lru_cache(maxsize=4)
def _embedder(name: str) -> Embedder:
    return load_embedder(name)


class Reranker(SentenceModel):
    """A cross-encoder: reads a text beside a query."""

    kind = "cross-encoder"

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the query; larger is better, the scale is the model's own."""
        if not texts:
            return []
        with self._lock:
            found = self._model.predict(
                [(query, text) for text in texts], batch_size=PAIRS, show_progress_bar=False
            )
        return [float(score) for score in found]


def load_reranker(ref: str) -> Reranker:
    """The cross-encoder of a local folder or a hub id.

    Raises:
        ModelError: it cannot be found, fetched, trusted or loaded, or does not give one score.
    """
    load_bitsandbytes()
    folder = pull(ref, wanted="encoder")
    if kind_of(folder) == "embedder":  # sentence-transformers would give it a head at random
        raise ModelError(
            "this is an embedder, which gives texts vectors: it has no weights that give a pair of "
            "texts a score.",
            where=ref,
            fix="Use a sentence-transformers cross-encoder with one label.",
        )
    try:
        with exclusive_loading():
            from sentence_transformers import CrossEncoder

            model = CrossEncoder(str(folder), **_SAFE)
            if model.num_labels != 1:
                raise ValueError(f"it gives {model.num_labels} scores, not one")
    except _UNLOADABLE as error:
        raise ModelError(
            f"this cross-encoder cannot be loaded ({first_line(error)}).",
            where=str(folder),
            fix="Use a sentence-transformers cross-encoder with one label.",
        ) from None
    identity = folder_sha256(folder, cache_folder(), without=RECORD)
    return Reranker(ref, model.eval().float(), identity)


def get_reranker(name: str) -> Reranker:
    """The cross-encoder of that name, loaded at its first use, once; see `load_reranker`."""
    with _loading.setdefault(name, Lock()):
        return _reranker(name)


@lru_cache(maxsize=2)
def _reranker(name: str) -> Reranker:
    return load_reranker(name)
