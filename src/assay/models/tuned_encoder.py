"""An embedder or cross-encoder that was trained on a project's rows: what changed, as one blob.

It is named `tuned:BLOB` wherever such a model is named, and found in the store of its project. The
blob names the model that it was trained from by name and hash; the rest of it is read from there,
and another one is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from assay.errors import ModelError, Step
from assay.models.embed import Embedder, Reranker, SentenceModel, get_embedder, get_reranker
from assay.models.tensor_blob import Array, dump_tensors, load_tensors, read_texts
from assay.store import blobs
from assay.store.store import Store

SCHEME = "tuned:"
Model = TypeVar("Model", bound=SentenceModel)

_in_use: WeakValueDictionary[tuple[str, str], Any] = WeakValueDictionary()  # by kind and blob
_opening = Lock()


def keep_tuned(
    store: Store, base: SentenceModel, weights: Mapping[str, Array], rows: str | None = None
) -> str:
    """Keep what was trained of a model; returns the name that it is opened by.

    Args:
        weights: by their names in the model.
        rows: that it was trained on (`models.lineage.keep_rows`); None: its user knows them.
    """
    document = {base.kind: base.name, "identity": base.identity, "rows": rows}
    return f"{SCHEME}{blobs.put(store, dump_tensors(_format(base.kind), document, weights))}"


def open_embedder(name: str, store: Store) -> Embedder:
    """The embedder of a name; one that was trained here, and is in use, is shared.

    Raises:
        ModelError: it is not there, or cannot be used.
    """
    return _open(name, store, Embedder, get_embedder)


def open_reranker(name: str, store: Store) -> Reranker:
    """The cross-encoder of a name, as `open_embedder`."""
    return _open(name, store, Reranker, get_reranker)


def rows_behind_tuned(name: str, store: Store, kind: type[SentenceModel]) -> str | None:
    """`rows` of `keep_tuned`.

    Raises:
        AssayError: the model is not there, is of another kind, or is damaged.
    """

    def parse(document: dict[str, Any], _: dict[str, Array]) -> str | None:
        rows = document.get("rows")
        return None if rows is None else str(rows)

    return _read(blobs.get(store, name.removeprefix(SCHEME)), kind, parse)


def _open(name: str, store: Store, kind: type[Model], get: Callable[[str], Model]) -> Model:
    if not name.startswith(SCHEME):
        return get(name)
    blob = name.removeprefix(SCHEME)
    with _opening:
        known: Model | None = _in_use.get((kind.kind, blob)) if blobs.has(store, blob) else None
        if known is None:
            known = _in_use[kind.kind, blob] = _load(name, blobs.get(store, blob), kind, get)
        return known


def _load(name: str, data: bytes, kind: type[Model], get: Callable[[str], Model]) -> Model:
    def parse(document: dict[str, Any], tensors: dict[str, Array]) -> Model:
        origin, identity = read_texts([document[kind.kind], document["identity"]])
        base = get(origin)
        if base.identity != identity:
            raise ModelError(
                f"this {kind.kind} is not the one that was trained.",
                where=origin,
                fix=f"Restore its original files, or train it again with {Step.COMPARE}.",
            )
        return base.with_weights(name, name.removeprefix(SCHEME), tensors)

    return _read(data, kind, parse)


Found = TypeVar("Found")


def _read(
    data: bytes, kind: type[SentenceModel], parse: Callable[[Any, dict[str, Array]], Found]
) -> Found:
    return load_tensors(data, _format(kind.kind), f"trained {kind.kind}", parse)


def _format(kind: str) -> str:
    return f"assay-tuned-{kind}-1"
