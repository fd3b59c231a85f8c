"""A base model whose linear maps are kept in 4 bits while an adapter beside them is trained.

QLoRA (Dettmers et al. 2023, arXiv:2305.14314): blocks of 64 weights as NF4, their scales quantised
as well, by bitsandbytes. Embeddings, norms and the head stay as they are.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from assay.errors import ConfigError

if TYPE_CHECKING:  # it takes seconds to import, and knowledge bases read this file without it
    import torch
    from torch import Tensor, nn

Quantization = Literal["none", "nf4"]


@dataclass(frozen=True, slots=True)
class QuantizedWeight:
    """The frozen weight [O, I] of a linear map in 4 bits.

    Attributes:
        packed: two weights a byte.
        state: bitsandbytes' scales, with the format that `dense` gives.
    """

    packed: Tensor
    state: Any

    @classmethod
    def of(cls, linear: Any, dtype: torch.dtype) -> QuantizedWeight:
        """Of a linear map for which `is_quantized` holds.

        Args:
            dtype: that `dense` gives.
        """
        state = copy.copy(linear.weight.quant_state)
        state.dtype = dtype
        return cls(linear.weight.data, state)

    @property
    def dtype(self) -> torch.dtype:
        """The format that `dense` gives."""
        found: torch.dtype = self.state.dtype
        return found

    def dense(self) -> Tensor:
        """The weight [O, I], made anew each time: kept, it would take what was saved."""
        from bitsandbytes.functional import dequantize_4bit

        made: Tensor = dequantize_4bit(self.packed, self.state)
        return made


def is_quantized(linear: nn.Module) -> bool:
    """Whether a linear map keeps its weight in 4 bits."""
    return getattr(getattr(linear, "weight", None), "quant_state", None) is not None


def shape_of(linear: Any) -> tuple[int, int]:
    """Outputs and inputs of a linear map, however its weight is kept."""
    outputs, inputs = (
        linear.weight.quant_state.shape if is_quantized(linear) else linear.weight.shape
    )
    return outputs, inputs


def nf4_options(dtype: torch.dtype, device: str) -> dict[str, Any]:
    """What transformers' `from_pretrained` takes to load a model so.

    Args:
        dtype: of the products with what is not trained, outside a training's own.

    Raises:
        ConfigError: bitsandbytes is not installed.
    """
    if not load_bitsandbytes():
        raise ConfigError(
            "a base in 4 bits needs the package bitsandbytes, which is not installed.",
            where="assay.yaml, fine_tune.quantization",
            fix="Install it with `pip install 'assay[qlora]'`, or set quantization: none.",
        )
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": config, "device_map": {"": device}}


def load_bitsandbytes() -> bool:
    """Import bitsandbytes, if it is installed, without what it would fetch; whether it is.

    PEFT imports it wherever it is installed: to be called before any model is loaded.
    """
    if find_spec("bitsandbytes") is None:
        return False
    with _without_fetched_kernels():
        import bitsandbytes  # noqa: F401
    return True


@contextmanager
def _without_fetched_kernels() -> Iterator[None]:
    """On some processors bitsandbytes, as it is imported, fetches machine code from a hub and runs
    it where the package `kernels` is installed, and complains where it is not."""
    log = logging.getLogger("bitsandbytes.backends.cpu.ops")
    level, known = log.level, sys.modules.get("kernels")
    log.setLevel(logging.ERROR)
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        log.setLevel(level)
        del sys.modules["kernels"]
        if known is not None:
            sys.modules["kernels"] = known


def keep_packing(model: nn.Module) -> None:
    """Let no forward pass pack the weights otherwise, as bitsandbytes does on some processors: what
    a training has taken hold of would then be read in the wrong order."""
    for module in model.modules():
        if is_quantized(module):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
