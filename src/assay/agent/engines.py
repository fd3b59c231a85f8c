"""Finds the engine that answers for an agent, and keeps loaded models for the next one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial

from assay.agent.agent import Agent
from assay.agent.consent import check_agreed
from assay.agent.providers import Providers, provider_of
from assay.config import REMOTE, Provider
from assay.errors import ModelError
from assay.generate.batch import Engine
from assay.generate.remote import split_reference
from assay.models.device import fast_dtype
from assay.store.store import Store


class Engines:
    """Engines by model; each is loaded at its first use.

    Args:
        store: where versions and classical models are.
        dtype: of local models; `auto` is bfloat16 where this machine multiplies it natively (about
            twice as fast), else float32. It is part of the engine's identity.
        keep: how many local models stay in memory (a base and the version being judged).
        providers: whose models `remote:PROVIDER/MODEL` names.
        owner: the project that asks; arms of a route look into its documents alone.
    """

    def __init__(
        self,
        store: Store,
        *,
        dtype: str = "auto",
        keep: int = 2,
        providers: Mapping[str, Provider] | None = None,
        owner: str = "",
    ) -> None:
        self.store, self.keep, self.owner = store, keep, owner
        given = providers if providers is not None else {}
        self.providers = given if isinstance(given, Providers) else Providers(given, store)
        self._dtype = dtype
        self._loaded: dict[str, Engine] = {}

    @cached_property
    def dtype(self) -> str:
        """The number format of local models, `auto` resolved."""
        return fast_dtype() if self._dtype == "auto" else self._dtype

    def for_agent(self, agent: Agent) -> Engine:
        """The engine of the agent's model.

        Raises:
            ConfigError: the model is at a provider that nobody has described, or has agreed to.
            ModelError: the model is not there or cannot be used.
        """
        if agent.route is not None:
            from assay.agent.routed import RoutedEngine

            return RoutedEngine(agent, self.store, self.for_agent, self.owner)
        if agent.model.startswith(REMOTE):
            check_agreed(split_reference(agent.model)[0], self.providers)
        if agent.model not in self._loaded:
            while len(self._loaded) >= self.keep:
                del self._loaded[next(iter(self._loaded))]
            self._loaded[agent.model] = self._load(agent.model)
        engine = self._loaded.pop(agent.model)
        self._loaded[agent.model] = engine
        return engine

    def _load(self, model: str) -> Engine:
        scheme, _, name = model.partition(":")
        if scheme == "classical":
            from assay.generate.classical import ClassicalEngine, load_classical

            return ClassicalEngine(load_classical(self.store.get(name)))
        if model.startswith(REMOTE):
            from assay.generate.remote.batch import RemoteEngine

            provider, name = split_reference(model)
            described = provider_of(self.providers, provider)
            key = partial(self.providers.key, provider, described)
            return RemoteEngine(provider, name, described, key=key)
        if scheme == "outside":
            raise ModelError("the answers of an outside model cannot answer new questions.")
        from assay.chat.template import Template
        from assay.generate.transformers.batch import LocalEngine
        from assay.models.load import load

        if scheme == "version":
            from assay.generate.base import load_merged
            from assay.models.load import load_tokenizer
            from assay.models.versions import load_version

            version = load_version(self.store.folder, name)
            tokenizer, _ = load_tokenizer(version.record.base)
            template = Template.from_dict(tokenizer, version.record.template)
            loaded = load_merged(version, template, self.dtype)
        else:
            loaded = load(model, dtype=self.dtype)
            template = Template.of(loaded.tokenizer)
        return LocalEngine(loaded, template)
