"""Providers of a project: those of assay.yaml and those added at the command line, with their keys.

    providers = Providers(config.providers, store, "support")
    providers["openai"].base_url, providers.key("openai")

What assay.yaml says about a name counts; a key kept for it is used where assay.yaml names none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from assay.agent.key_origins import check_origin
from assay.agent.versions import user
from assay.config import Provider
from assay.config.sentences import sentence
from assay.errors import ConfigError, Step, UsageError
from assay.generate.remote.outbound import read_key
from assay.store import secrets
from assay.store.audit import record
from assay.store.store import Store
from assay.store.tables import ConsentRow, ProviderRow

Described = Callable[[], Mapping[str, Provider]]
REMEMBERED_S = 1.0
"""A key, an address or a consent that was right is taken to be right for so long."""


@dataclass(slots=True)
class _AddedProviders:
    """Providers that the store has, and until when they are taken to be all."""

    until: float = 0.0
    providers: dict[str, Provider] = field(default_factory=dict)


class Providers(Mapping[str, Provider]):
    """Who is spoken to, and with which keys.

    Args:
        described: those of assay.yaml, or what says them as they are now.
        project: whose providers, keys and consents these are.
    """

    def __init__(
        self, described: Mapping[str, Provider] | Described, store: Store, project: str = "default"
    ) -> None:
        self._describe = described if callable(described) else lambda: described
        self.store, self.project = store, project
        self.who = f"cli:{user()}"
        self._keys: dict[str, tuple[float, Provider, str | None]] = {}
        self._consents: dict[str, tuple[float, str | None]] = {}
        self._added = (
            _AddedProviders()
        )  # one for all that `by` makes: what one changes, all see at once

    @property
    def from_config(self) -> Mapping[str, Provider]:
        """The providers that assay.yaml describes, by name."""
        return self._describe()

    def __getitem__(self, name: str) -> Provider:
        found = self.from_config.get(name) or self._from_store().get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter({**self._from_store(), **self.from_config})

    def __len__(self) -> int:
        return len(list(iter(self)))

    def by(self, who: str) -> Providers:
        """The same, where changes are put to somebody's name."""
        other = copy(self)
        other.who = who
        return other

    def key(self, name: str, provider: Provider | None = None) -> str | None:
        """The provider's key; None where it needs none.

        Args:
            provider: as whoever will send the key knows it, so that none goes to an address that
                it was not given for; None: as it is now.

        Raises:
            ConfigError: the configuration names a place without a key, or one whose key has gone to
                another address (`assay.agent.key_origins`).
            SecretError: the kept key cannot be read, or is good for another address.
        """
        provider = provider or self[name]
        until, whose, key = self._keys.get(name, (0.0, provider, None))
        if until < time.monotonic() or (whose is not provider and whose != provider):
            check_origin(self.store, self.project, self.who, name, provider)
            key = read_key(name, provider)
            if key is None:
                key = secrets.read(self.store, self.project, name, provider.origin)
            self._keys[name] = time.monotonic() + REMEMBERED_S, provider, key
        return key

    def check(self, name: str, settings: Mapping[str, Any] | None) -> Provider:
        """What `add` would keep, or has (None), under this name.

        Raises:
            UsageError: there is no such provider yet, or assay.yaml describes it otherwise.
            ConfigError: settings that no provider can have.
        """
        if settings is None:
            if name not in self:
                raise UsageError(
                    f"there is no provider {name!r} yet.", fix="Give its address: --url https://"
                )
            return self[name]
        if name in self.from_config:
            raise UsageError(
                f"assay.yaml describes {name} already.",
                fix="Change it there. Without --url, only the key is stored.",
            )
        return _provider(name, settings)

    def add(
        self,
        name: str,
        settings: Mapping[str, Any] | None,
        key: str | None,
        *,
        keyless: bool = False,
    ) -> Provider:
        """Keep a provider's settings (None: assay.yaml has them, or they stay), its key, or both.

        Args:
            keyless: it needs no key, so one that is kept is erased.

        Raises:
            UsageError, ConfigError: as `check`.
            SecretError: the key cannot be kept.
        """
        provider = self.check(name, settings)
        told: dict[str, Any] = {"origin": provider.origin, "key": key is not None}
        with self._changing("provider.add", name, told) as session:
            if keyless and secrets.forget(session, self.project, name):
                told["key_erased"] = True
            if key is not None:
                secrets.keep(session, self.project, name, provider.origin, key)
            if settings is not None:
                row = ProviderRow(project=self.project, name=name, settings=dict(settings))
                session.merge(row)
        return provider

    def remove(self, name: str) -> None:
        """Forget settings, key and consent of a provider; what assay.yaml says stays.

        Raises:
            UsageError: nothing is kept of it.
        """
        with self._changing("provider.remove", name) as session:
            had = secrets.forget(session, self.project, name)
            for table, column in (
                (ConsentRow, ConsentRow.provider),
                (ProviderRow, ProviderRow.name),
            ):
                mine = (table.project == self.project) & (column == name)
                had |= bool(session.scalars(delete(table).where(mine).returning(column)).all())
            if not had:
                raise UsageError(
                    f"nothing is stored for a provider {name!r}.",
                    fix=f"{Step.LIST_PROVIDERS} shows all providers.",
                )

    def rotate(self, name: str, key: str) -> None:
        """Put another key in the place of the kept one.

        Raises:
            UsageError: none is kept.
            SecretError: the key cannot be kept.
        """
        if name not in self or name not in secrets.list_origins(self.store, self.project):
            store = Step.GIVE_KEY if name in self else Step.ADD_PROVIDER
            raise UsageError(
                f"no key of {name!r} is stored here.", fix=f"Store one {store.of(name)}."
            )
        with self._changing("provider.rotate", name) as session:
            secrets.keep(session, self.project, name, self[name].origin, key)

    def agree(self, name: str) -> None:
        """Keep the consent that this project's rows may go to a provider, at its present address.

        Raises:
            UsageError: there is no such provider.
        """
        if name not in self:
            raise UsageError(
                f"there is no provider {name!r}.", fix=f"{Step.LIST_PROVIDERS} shows all providers."
            )
        origin = self[name].origin
        row = {"project": self.project, "provider": name, "origin": origin, "who": self.who}
        with self._changing("provider.consent", name, {"origin": origin}) as session:
            session.merge(ConsentRow(**row))

    def has_consent(self, name: str) -> bool:
        """Whether rows may be sent there: by assay.yaml, or by a kept consent to this address."""
        provider = self[name]
        if provider.consent:
            return True
        until, origin = self._consents.get(name, (0.0, None))
        if until < time.monotonic():
            with self.store.session() as session:
                row = session.get(ConsentRow, (self.project, name))
            origin = None if row is None else row.origin
            self._consents[name] = time.monotonic() + REMEMBERED_S, origin
        return origin == provider.origin

    def _from_store(self) -> dict[str, Provider]:
        if self._added.until < time.monotonic():
            with self.store.session() as session:
                rows = session.scalars(
                    select(ProviderRow).where(ProviderRow.project == self.project)
                )
                root = self.store.folder.parent
                self._added.providers = {
                    r.name: _provider(r.name, r.settings).located(root) for r in rows
                }
            self._added.until = time.monotonic() + REMEMBERED_S
        return self._added.providers

    @contextmanager
    def _changing(
        self, action: str, name: str, details: dict[str, Any] | None = None
    ) -> Iterator[Session]:
        """The transaction of a change with its line of the log; then nothing is remembered."""
        with self.store.session() as session:
            yield session
            record(session, self.project, self.who, action, name, details)
        self._keys.pop(name, None)
        self._consents.pop(name, None)
        self._added.until = 0.0


def provider_of(providers: Mapping[str, Provider], name: str) -> Provider:
    """The provider of that name.

    Raises:
        ConfigError: there is none.
    """
    try:
        return providers[name]
    except KeyError:
        known = f"The providers are: {', '.join(sorted(providers))}." if providers else ""
    raise ConfigError(
        f"there is no provider {name!r}. {known}".strip(),
        where="assay.yaml, providers",
        fix=f"Add it {Step.ADD_PROVIDER.of(name)}.",
    )


def _provider(name: str, settings: Mapping[str, Any]) -> Provider:
    try:
        return Provider.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        message = sentence(first)
        raise ConfigError(
            f"{field}: {message}" if field else message, where=f"provider {name}"
        ) from None
