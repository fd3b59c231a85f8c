"""How fast this processor multiplies matrices in each number format: measured once, remembered.

    <cache>/products/<digest>.json      what it was measured on, operations a second of each format

What is timed is the thread's own work, not the clock on the wall, in many products of which the
best counts: so that other work on the machine changes neither the figures nor what is chosen.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from assay import json_reader
from assay.errors import AssayError
from assay.models.device import emulates_bfloat16, native_bfloat16
from assay.models.pull import cache_folder
from assay.store.files import write_json

NumberFormat = Literal["float32", "bfloat16"]

WORTH_IT = 0.7
"""A product in bfloat16 must take at most this share of float32's time. About two thirds of a
step's time are products, so a step then takes at most four fifths, for which its rounding is
accepted. Processors take about a quarter (AMX), a half (AVX-512) or as long: none is near."""
SIZE = 1024
ENOUGH_S, LONGEST_S = 0.15, 1.0  # of the thread's work, both formats together
LEAST = 8  # products of each format
_VARYING = {
    "processor",
    "cpu mhz",
    "bogomips",
    "core id",
    "apicid",
    "initial apicid",
    "physical id",
}
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
"""Variables that keep torch's libraries from instructions that the processor has."""


@dataclass(frozen=True, slots=True)
class Products:
    """Operations a second of a large product on all threads, by number format."""

    float32: float
    bfloat16: float | None
    """None where it would be emulated: it is many times slower, and not measured."""


def faster_format(kind: str) -> NumberFormat:
    """What a training multiplies in on a kind of device ("cpu", "cuda"): bfloat16 where it is
    clearly faster."""
    if emulates_bfloat16(kind):  # a product could take long
        return "float32"
    if kind != "cpu":
        return "bfloat16" if native_bfloat16(kind) else "float32"
    return chosen_of(products())


def chosen_of(found: Products) -> NumberFormat:
    """What these speeds speak for."""
    clearly = found.bfloat16 is not None and found.float32 <= WORTH_IT * found.bfloat16
    return "bfloat16" if clearly else "float32"


@cache
def products() -> Products:
    """As measured before on such a processor, by this torch, on as many threads; else now.

    Takes a fifth of a second then.
    """
    key = subject()
    memo = remembered_in()
    if (known := _read(memo, key)) is not None:
        return known
    found = measure()
    with suppress(OSError, AssayError):  # a cache that cannot be written costs time, no more
        write_json(memo, {"key": key, "products": asdict(found)})
    return found


def remembered_in() -> Path:
    """The file that keeps what was measured on this processor."""
    text = json.dumps(subject(), sort_keys=True)
    return cache_folder() / "products" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def forget() -> None:
    """Measure anew when it is asked for next."""
    products.cache_clear()
    remembered_in().unlink(missing_ok=True)


def subject() -> dict[str, Any]:
    """All that the figures depend on."""
    import torch

    return {
        "processor": processor(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "limits": {name: os.environ[name] for name in LIMITS if name in os.environ},
    }


@cache
def processor() -> dict[str, str]:
    """What tells kinds of processors apart; a name alone does not where it is a virtual one."""
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text("utf-8", "replace").split("\n\n")[0]
        pairs = (line.partition(":") for line in first.splitlines())
        named = {name.strip(): value.strip() for name, _, value in pairs}
        if found := {k: v for k, v in named.items() if k.lower() not in _VARYING}:
            return found
    return {"model name": platform.processor(), "machine": platform.machine()}


def measure() -> Products:
    """The formats in turn, the best of many products each; what warms up is never the best."""
    import torch

    names = ["float32"] if emulates_bfloat16("cpu") else ["float32", "bfloat16"]
    matrices = {name: torch.ones(SIZE, SIZE, dtype=getattr(torch, name)) for name in names}
    best = dict.fromkeys(names, math.inf)
    spent, rounds = 0.0, 0
    while spent < LONGEST_S and (rounds < LEAST or spent < ENOUGH_S):
        for name, matrix in matrices.items():
            began = time.thread_time()
            matrix @ matrix
            took = time.thread_time() - began
            best[name] = min(best[name], took)
            spent += took
        rounds += 1
    speed = {name: 2 * SIZE**3 / seconds for name, seconds in best.items()}
    return Products(speed["float32"], speed.get("bfloat16"))


def _read(memo: Path, key: dict[str, Any]) -> Products | None:
    """None where nothing is remembered, or the file is damaged."""
    try:
        raw = json_reader.read(memo.read_text("utf-8"))
        found = Products(**raw["products"])
        sound = all(0 < speed < 1e18 for speed in (found.float32, found.bfloat16 or 1.0))
        return found if raw["key"] == key and sound else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
