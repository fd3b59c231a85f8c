"""Keeps transformers from writing bars and warnings over the command line's own output."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

# Read by the libraries when they are first imported.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


_LOADING = RLock()


@contextmanager
def exclusive_loading() -> Iterator[None]:
    """Quiet, and no other thread is in such a block.

    While a model is built, transformers replaces functions of torch for the whole process (those
    that initialise and tie weights, the default number format) and puts back what it found: two
    threads at once leave models without their weights, and torch broken from then on.
    """
    with _LOADING, silent_libraries():
        yield


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Within the block the model libraries print nothing but errors; settings are put back."""
    from transformers.utils import logging as chatter

    level, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    hub.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatter.set_verbosity(level)
        hub.setLevel(hub_level)
        if bars:
            chatter.enable_progress_bar()
