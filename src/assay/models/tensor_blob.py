"""Named arrays and a JSON document as one safetensors blob, as all but language models are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from assay import json_reader
from assay.errors import ModelError, Step

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")


def dump_tensors(format: str, document: Mapping[str, Any], tensors: Mapping[str, Array]) -> bytes:
    """Named arrays as one safetensors blob, with a JSON document in its metadata.

    Args:
        format: name and version of what it holds, which `load_tensors` asks for.
    """
    from safetensors.numpy import save

    text = json.dumps({"format": format, **document}, ensure_ascii=False)
    contiguous = {name: np.ascontiguousarray(t) for name, t in sorted(tensors.items())}
    blob: bytes = save(contiguous, metadata={"assay": text})
    return blob


def load_tensors(
    blob: bytes, format: str, what: str, parse: Callable[[Any, dict[str, Array]], T]
) -> T:
    """What `parse` makes of document and arrays of a blob that `dump_tensors` has written.

    Args:
        what: it is, in the error's message.
        parse: raises ValueError, KeyError, TypeError, IndexError or AttributeError where they are
            not as they should be.

    Raises:
        ModelError: the blob has another format, or is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(blob)
        header = json_reader.read(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
        document = json_reader.read(header["__metadata__"]["assay"])
        if document["format"] != format:
            raise ValueError(document["format"])
        return parse(document, tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise ModelError(
            f"this is not a {what} that Assay has written, or it is damaged.",
            fix=f"Train it again with {Step.COMPARE}.",
        ) from None


def read_texts(value: Any) -> tuple[str, ...]:
    """The texts of a JSON list; TypeError where it is something else."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError("no list of texts")
    return tuple(value)


def check_arrays(tensors: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """See that these arrays and no others are there, in these shapes, of finite numbers.

    Args:
        shapes: by name; -1: any length.

    Raises:
        ValueError: they are not.
    """
    if set(tensors) != set(shapes):
        raise ValueError("its arrays are others")
    for name, shape in shapes.items():
        found = tensors[name]
        same = len(shape) == found.ndim and all(
            wanted in (-1, length) for wanted, length in zip(shape, found.shape, strict=True)
        )
        if not same or found.dtype.kind not in "fi" or not np.isfinite(found).all():
            raise ValueError(f"{name} is not as it should be")
