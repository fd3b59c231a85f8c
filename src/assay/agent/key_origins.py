"""Keys in files and in the environment are good for the address that they were first used with.

A key that Assay keeps is bound to its provider's origin where it is encrypted. Of one that a
variable or a file holds, the origins it has gone to are remembered: settings that name it beside
another address get it once somebody at the command line has said so (`assay providers allow NAME`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assay import json_reader
from assay.config import Provider
from assay.config.names import names_in
from assay.errors import ConfigError
from assay.store.audit import record
from assay.store.store import Store
from assay.store.tables import SettingRow

_SENT = ("key_env", "key_file", "headers")
"""Settings whose variables and files a provider is sent."""


def check_origin(store: Store, project: str, who: str, name: str, provider: Provider) -> None:
    """See that what a provider is sent has gone to its address before, or nowhere.

    Args:
        who: for the log; what goes somewhere for the first time is written down there.

    Raises:
        ConfigError: it has gone elsewhere alone.
    """
    for what in _sent(provider):
        try:
            known = _first_or_known(store, project, who, name, what, provider.origin)
        except IntegrityError:  # another process was first
            known = _first_or_known(store, project, who, name, what, provider.origin)
        if provider.origin in known:
            continue
        raise ConfigError(
            f"{what} was used for {', '.join(known)}, but the address of {name} is now "
            f"{provider.origin}.",
            where=f"provider {name}",
            fix=f"If the new address is right, run `assay providers allow {name}`.",
        )


def allow(store: Store, project: str, who: str, name: str, provider: Provider) -> list[str]:
    """Let what a provider names go to its address, too; returns what that is."""
    found = list(_sent(provider))
    for what in found:
        _add(store, project, who, name, what, provider.origin)
    return found


def _sent(provider: Provider) -> Iterator[str]:
    for one in names_in(provider):
        if one.setting.split(".")[0] in _SENT:
            if one.kind == "file":
                yield f"the file {one.value}"
            for variable in one.variables:
                yield f"the variable {variable}"


def _row(what: str) -> str:
    return f"key origins {hashlib.sha256(what.encode()).hexdigest()}"


def _origins(session: Session, what: str) -> list[str]:
    row = session.get(SettingRow, _row(what))
    return [] if row is None else json_reader.read(row.value)


def _first_or_known(
    store: Store, project: str, who: str, name: str, what: str, origin: str
) -> list[str]:
    """The origins it has gone to; where there are none, this one, which is written down.

    Raises:
        IntegrityError: another process has written one down at the same moment.
    """
    with store.session() as session:
        if known := _origins(session, what):
            return known
        session.add(SettingRow(name=_row(what), value=json.dumps([origin])))
        _record(session, project, who, name, what, origin)
        return [origin]


def _add(store: Store, project: str, who: str, name: str, what: str, origin: str) -> None:
    with store.session() as session:
        known = _origins(session, what)
        if origin in known:
            return
        session.merge(SettingRow(name=_row(what), value=json.dumps([*known, origin])))
        _record(session, project, who, name, what, origin)


def _record(session: Session, project: str, who: str, name: str, what: str, origin: str) -> None:
    session.flush()
    record(session, project, who, "provider.key_origin", name, {"what": what, "origin": origin})
