"""What a project is measured on where a vLLM server answers for it.

    served = VllmBatches(store, settings, "Qwen/Qwen3-0.6B")
    if served.answers_for("version:3f9a01"):
        served.engine("version:3f9a01").answer(requests)

What is measured is what serves: the same prompts as token ids, the same grammars, from the same
server, as many requests at once as `vllm.at_once`.
"""

from __future__ import annotations

from functools import cached_property
from ipaddress import ip_address
from urllib.parse import urlsplit

from assay.config import Vllm
from assay.errors import ConfigError, ModelError, OutageError
from assay.generate.remote.addresses import resolve
from assay.generate.stream_batch import StreamBatchEngine
from assay.generate.vllm.adapters import goes_beside_base
from assay.generate.vllm.pool import VllmPool
from assay.models.versions import load_version, version_bits, version_id
from assay.store.store import Store


class VllmBatches:
    """Batch engines of the models that a project's vLLM server serves.

    Args:
        store: of the project, whose folder the server must see under the same path.
        base: the project's model, which the server holds.
        owner: the project that asks, see `Sampling`.
    """

    def __init__(self, store: Store, settings: Vllm, base: str, owner: str = "") -> None:
        self.settings, self._store, self._base, self._owner = settings, store, base, owner
        self._engines: dict[str, StreamBatchEngine] = {}
        self._is_served: dict[str, bool] = {}
        self._version = ""

    def answers_for(self, model: str) -> bool:
        """Whether the server is asked: for the project's model, and for its versions that are
        adapters which vLLM puts beside it. The rest is answered on this machine."""
        if model not in self._is_served:
            self._is_served[model] = self._serves(model)
        return self._is_served[model]

    def engine(self, model: str) -> StreamBatchEngine:
        """The engine of such a model.

        Raises:
            ConfigError: the server does not hold the model, or cannot.
            OutageError: it does not answer.
        """
        if model not in self._engines:
            try:
                self._engines[model] = self._open(model)
            except OutageError:
                raise
            except ModelError as error:  # to go on without the model would be another comparison
                raise ConfigError(error.what, where=error.where, fix=error.fix) from None
        return self._engines[model]

    def _serves(self, model: str) -> bool:
        if (id := version_id(model)) is None:
            return model == self._base
        if version_bits(model) < 16:
            return False
        version = load_version(self._store, id)
        return version.record.base == self._base and goes_beside_base(version)

    @property
    def about(self) -> str:
        """The server's version of vLLM and address; empty while it has answered for no model."""
        if not self._engines:
            return ""
        return f"{self._version or 'of a version that it does not say'} at {self.settings.base_url}"

    @property
    def waits(self) -> int:
        """How often a request has waited for the server, which had no room for it."""
        return sum(engine.waits for engine in self._engines.values())

    @property
    def is_elsewhere(self) -> bool:
        """Whether the server is on another machine, as its address says: not at a loopback one."""
        parts = urlsplit(self.settings.provider().origin)
        try:
            found = resolve(str(parts.hostname), int(parts.port or 0))
        except OSError:
            return True
        return not all(ip_address(one.partition("%")[0]).is_loopback for one in found)

    @cached_property
    def _pool(self) -> VllmPool:
        return VllmPool(self._store, self.settings)

    def _open(self, model: str) -> StreamBatchEngine:
        served = self._pool.engine(model)
        self._version = self._version or self._pool.server.version()
        identity = {  # without the version: as at a provider, answers stay through an update
            "engine": "vllm",
            "base_url": self.settings.base_url,
            "served": served.name,
            "model": self._base,
            "weights": served.weights,
            "template": served.template.sha256,
            "context": str(served.context_length),
        }
        return StreamBatchEngine(
            served,
            served.template,
            identity,
            self.settings.at_once,
            is_confident=True,
            owner=self._owner,
        )
