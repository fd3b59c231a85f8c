"""A base model as another process finds it: by its name, held against its hash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assay.errors import ConfigError, ModelError
from assay.models.load import LoadedModel, load
from assay.models.quantization import Quantization
from assay.version import VERSION


@dataclass(frozen=True, slots=True)
class SharedBase:
    """The base that one process has loaded, for another one, perhaps on another machine.

    Attributes:
        version: of Assay.
        ref, weights_sha256, dtype, quantization: as in `LoadedModel`.
    """

    version: str
    ref: str
    weights_sha256: str
    dtype: str
    quantization: Quantization

    @classmethod
    def of(cls, loaded: LoadedModel) -> SharedBase:
        """The base that this process has loaded."""
        path = Path(loaded.ref)
        ref = str(path.resolve()) if path.exists() else loaded.ref
        return cls(VERSION, ref, loaded.weights_sha256, loaded.dtype, loaded.quantization)

    def load(self) -> LoadedModel:
        """The same in this process.

        Raises:
            ConfigError: another version of Assay is installed here.
            ModelError: the base is not here, or is another one.
        """
        if self.version != VERSION:
            raise ConfigError(
                f"a machine of the cluster has Assay {VERSION}, but this one has {self.version}.",
                fix="Install the same version on all of them.",
            )
        loaded = load(self.ref, dtype=self.dtype, quantization=self.quantization)
        if loaded.weights_sha256 != self.weights_sha256:
            raise ModelError(
                "a machine of the cluster has other weights under this name.",
                where=self.ref,
                fix="Pull the model again on all machines (`assay models pull`).",
            )
        return loaded
