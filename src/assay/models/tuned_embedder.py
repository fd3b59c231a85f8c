"""An embedder that was trained on a project's rows: the weights that changed, kept as one blob.

It is named `tuned:BLOB` wherever an embedder is named, and found in the store of its project. The
blob names the embedder that it was trained from by name and hash; the rest of it is read from
there, and another one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from assay.errors import ModelError, Step
from assay.models.embed import Embedder, get_embedder
from assay.models.tensor_blob import Array, dump_tensors, load_tensors, read_texts
from assay.store.store import Store

FORMAT = "assay-tuned-embedder-1"
SCHEME = "tuned:"

_in_use: WeakValueDictionary[str, Embedder] = WeakValueDictionary()
_opening = Lock()


def keep_tuned(
    store: Store, base: Embedder, weights: Mapping[str, Array], rows: str | None = None
) -> str:
    """Keep what was trained of an embedder; returns the name that it is opened by.

    Args:
        weights: by their names in the model.
        rows: that it was trained on (`models.lineage.keep_rows`); None: its user knows them.
    """
    document = {"embedder": base.name, "identity": base.identity, "rows": rows}
    return f"{SCHEME}{store.put(dump_tensors(FORMAT, document, weights))}"


def open_embedder(name: str, store: Store) -> Embedder:
    """The embedder of a name; one that was trained here, and is in use, is shared.

    Raises:
        ModelError: it is not there, or cannot be used.
    """
    if not name.startswith(SCHEME):
        return get_embedder(name)
    blob = name.removeprefix(SCHEME)
    with _opening:
        known = _in_use.get(blob) if store.has(blob) else None
        if known is None:
            known = _in_use[blob] = _load(name, store.get(blob))
        return known


def rows_behind_tuned(name: str, store: Store) -> str | None:
    """`rows` of `keep_tuned`.

    Raises:
        AssayError: the embedder is not there, or is damaged.
    """

    def parse(document: dict[str, Any], _: dict[str, Array]) -> str | None:
        rows = document.get("rows")
        return None if rows is None else str(rows)

    return load_tensors(store.get(name.removeprefix(SCHEME)), FORMAT, "trained embedder", parse)


def _load(name: str, data: bytes) -> Embedder:
    def parse(document: dict[str, Any], tensors: dict[str, Array]) -> Embedder:
        embedder, identity = read_texts([document["embedder"], document["identity"]])
        base = get_embedder(embedder)
        if base.identity != identity:
            raise ModelError(
                "this embedder is not the one that was trained.",
                where=embedder,
                fix="Restore its original files, or train it again with {step}.",
                step=Step.COMPARE,
            )
        return base.with_weights(name, name.removeprefix(SCHEME), tensors)

    return load_tensors(data, FORMAT, "trained embedder", parse)
