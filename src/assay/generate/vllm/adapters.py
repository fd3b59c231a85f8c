"""Which versions vLLM can put beside a base that it holds, as adapters."""

from __future__ import annotations

from assay.config.training import TrainingSettings
from assay.models.trust import read_json
from assay.models.versions import ADAPTER_CONFIG, LocalVersion

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as --max-lora-rank."""


def goes_beside_base(version: LocalVersion) -> bool:
    """Whether it is an adapter of a kind that vLLM has; others are served merged."""
    if version.whole or version.has_layers:
        return False
    config = read_json(version.folder / ADAPTER_CONFIG)
    return not config.get("use_dora") and int(config["r"]) <= RANKS[-1]


def will_go_beside_base(settings: TrainingSettings) -> bool:
    """Whether what is trained with these settings will be one of them."""
    return settings.adapter in ("lora", "rslora") and settings.embeddings == "frozen"
