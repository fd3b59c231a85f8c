"""Token ids of OpenAI's tokenizer `cl100k_base`, which its clients send in place of texts.

Read from the file that `tiktoken` keeps: a line a token, its bytes in base64 and its id. Not by
`tiktoken` itself, which fetches the file when it is not there, and a request would wait for that.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from assay.errors import ModelError
from assay.models.pull import cache_folder

URL = "https://openaipublic.blob.core.windows.net/encodings/cl100k_base.tiktoken"
IDS = 100_256
"""How many there are, from 0; those above stand for marks that no text has."""
_BYTES = 1_681_126
_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
_NAME = hashlib.sha1(URL.encode(), usedforsecurity=False).hexdigest()  # as tiktoken calls the file


def decode(ids: Sequence[int]) -> str:
    """The text of ids; where a character was cut, a replacement mark.

    Args:
        ids: from 0 to `IDS` - 1.

    Raises:
        ModelError: the vocabulary is not on this machine, or is damaged.
    """
    tokens = _tokens()
    return b"".join([tokens[id] for id in ids]).decode("utf-8", "replace")


def vocabulary_file() -> Path | None:
    """Where the vocabulary is on this machine; None: nowhere."""
    return next((file for file in _places() if _is_whole(file)), None)


def fetch_command() -> str:
    """What brings the vocabulary to where it is looked for."""
    return f"curl --fail --create-dirs -o '{cache_folder() / 'tiktoken' / _NAME}' {URL}"


def _places() -> Iterator[Path]:
    """Where Assay would have it, and where a program that uses tiktoken has left it."""
    yield cache_folder() / "tiktoken" / _NAME
    named = os.environ.get("TIKTOKEN_CACHE_DIR")
    yield Path(named or Path(tempfile.gettempdir()) / "data-gym-cache") / _NAME


def _is_whole(file: Path) -> bool:
    try:
        return file.is_file() and file.stat().st_size == _BYTES
    except OSError:
        return False


@lru_cache(1)
def _tokens() -> list[bytes]:
    for file in filter(_is_whole, _places()):
        with suppress(OSError):  # another user's
            data = file.read_bytes()
            if hashlib.sha256(data).hexdigest() == _SHA256:
                return [base64.b64decode(line.split(b" ")[0]) for line in data.splitlines()]
    raise ModelError(
        "token ids cannot be read here: the vocabulary of OpenAI's cl100k_base is not on this "
        "machine.",
        fix="`assay doctor` says how to get it.",
    )
