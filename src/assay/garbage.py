"""Keeps garbage collections of a long-running process short.

A full collection visits every object that can be part of a cycle, with the interpreter held: 0.4 s
where torch and transformers are loaded, and any request may be the one that sets it off. What a
process has loaded stays for as long as it runs, so it is exempted from collections.
"""

from __future__ import annotations

import gc


def exempt() -> None:
    """Exempt all objects that exist now from garbage collections; reference counts still free them.

    Call it after something large was loaded that stays.
    """
    gc.freeze()


def reclaim() -> None:
    """Free the garbage among the exempted objects, after something large was unloaded.

    Takes as long as one full collection.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
