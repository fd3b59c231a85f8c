"""What can be asked about fine-tuned versions: which there are, what made them, what they saw."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from assay.agent.agent import Agent
from assay.agent.lineage import rows_held
from assay.errors import AssayError, DataError, Step
from assay.example import Example
from assay.models.lineage import (
    differences,
    find_learned,
    find_uses,
    rows_of,
    rows_seen,
    unknown_rows,
)
from assay.models.versions import Version, find_version, list_versions, load_version, version_id
from assay.quantities import say_count
from assay.store.store import Store
from assay.store.tables import AgentRow, AgentVersionRow

SHORT = 12
"""Digits of an id that is shown to people."""


def versions(store: Store) -> list[dict[str, Any]]:
    """Every version, oldest first: id, base, how and when it was trained, what uses it."""
    used = _agents_by_version(store)
    return [
        {
            "id": version.id,
            "base": version.record.base,
            "method": version.record.settings.get("method"),
            "saved_at": version.saved_at,
            "metrics": version.record.metrics,
            "parent": version.record.parent,
            "agents": used.get(version.id, []),
        }
        for version in list_versions(store)
    ]


def version(store: Store, id: str) -> dict[str, Any]:
    """All that made a version; its files are checked against their hashes.

    Raises:
        ModelError: there is no such version, or a file is not as it was saved.
    """
    found = load_version(store, id)
    return {
        "id": found.id,
        "folder": str(found.folder) if store.bucket is None else None,
        "bucket": store.bucket,
        "saved_at": found.saved_at,
        "whole": found.whole,
        "bytes": sum(file.stat().st_size for file in found.folder.iterdir()),
        "rows": {part: _count(store, data) for part, data in rows_seen(found).items()},
        "agents": _agents_by_version(store).get(found.id, []),
        "record": found.record.model_dump(mode="json"),
    }


def facts(found: dict[str, Any]) -> dict[str, Any]:
    """What `version` has found, a line each, in the order and the words for people."""
    record = found["record"]
    return {
        "version": found["id"],
        "folder": found["folder"] or found["bucket"],
        "saved": datetime.fromisoformat(found["saved_at"]),
        "holds": "all weights" if found["whole"] else "an adapter",
        "bytes": found["bytes"],
        "agents": ", ".join(found["agents"]) or "none",
        "base": record["base"],
        "base weights": record["base_sha256"],
        **{
            f"data, {part}": _rows_named(hash, found["rows"], part)
            for part, hash in sorted(record["data"].items())
        },
        "split (holdout)": record["split"],
        "seed": record["seed"],
        "code": f"assay {record['code']}",
        "template": record["template_sha256"],
        "parent": record["parent"] or "none",
        **({} if record["stopped"] is None else {"stopped": record["stopped"]}),
        **{name.replace("_", " "): value for name, value in record["metrics"].items()},
        **{f"settings.{name}": value for name, value in record["settings"].items()},
    }


def _rows_named(hash: str, rows: dict[str, int | None], part: str) -> str:
    if part not in rows:  # a teacher's distributions
        return hash
    return (
        f"{hash} ({'rows not kept' if (count := rows[part]) is None else say_count(count, 'row')})"
    )


def diff(store: Store, one: str, other: str) -> dict[str, Any]:
    """What two records say differently, and which rows only one of the versions saw.

    Raises:
        ModelError: there is no such version.
    """
    a, b = find_version(store, one), find_version(store, other)
    rows = {}
    for part in sorted(rows_seen(a).keys() | rows_seen(b).keys()):
        before, after = _rows(store, a, part), _rows(store, b, part)
        if before is not None and after is not None:
            rows[part] = {"only_first": len(before - after), "only_second": len(after - before)}
    return {
        "first": a.id,
        "second": b.id,
        "fields": {path: list(pair) for path, pair in differences(a, b).items()},
        "rows": rows,
    }


def find_uses_of(store: Store, examples: Sequence[Example], id: str) -> dict[str, Any]:
    """The versions that saw an example of train or validation, and the agents that hold it.

    Args:
        examples: of train and validation as they are now.
        id: of an example; or the first 8 or more digits of its content's hash, which still finds
            one that is no longer there.

    Raises:
        DataError: neither an example nor the rows of a version go by that name.
    """
    named = [example.content_hash() for example in examples if example.id == id]
    there = list_versions(store)
    hashes = named or _by_hash(store, there, id)
    if not hashes:
        raise DataError(
            f"there is no example {id!r} in train or validation.",
            fix=f"Give an id that {Step.SHOW_DATA} shows, or the hash of its content.",
        )
    used = _agents_by_version(store)
    return {
        "example": id,
        "sha256": hashes[0],
        "versions": [
            {
                "id": use.version.id,
                "saved_at": use.version.saved_at,
                "as": sorted(use.parts),
                "agents": used.get(use.version.id, []),
            }
            for use in find_uses(store, there, hashes)
        ],
        "agents": _agents_made_of(store, set(hashes)),
        "unknown": [version.id for version in unknown_rows(store, there)],
    }


def describe_removed(
    store: Store, before: Sequence[Example], after: Sequence[Example]
) -> str | None:
    """A sentence on the versions that were trained on rows that are gone now, and the agents that
    show them, look them up or have learned from them; None: there are none.

    Args:
        before, after: train and validation of the split as it was and as it is.
    """
    gone = {e.content_hash() for e in before} - {e.content_hash() for e in after}
    if not gone:
        return None
    versions = [
        f"version {use.version.id[:SHORT]} ({say_count(sum(use.parts.values()), 'row')})"
        for use in find_uses(store, list_versions(store), gone)
    ]
    users = versions + [f"agent {label}" for label in _agents_made_of(store, gone)]
    if not users:
        return None
    are = say_count(len(gone), "example is", "examples are")
    return (
        f"{are} no longer in train or validation. These still contain or "
        f"use some of them: {_listed(users)}."
    )


def describe_learned(store: Store, files: Collection[str]) -> str | None:
    """A sentence on the versions that have learned texts of files that were removed, and the agents
    that answer with them; None: there are none.

    Args:
        files: sha256 (hex) of each.
    """
    found = find_learned(store, list_versions(store), files)
    if not found:
        return None
    used = _agents_by_version(store)
    users = [f"version {id[:SHORT]}" for id in found]
    users += [f"agent {label}" for id in found for label in used.get(id, ())]
    return (
        "The weights of these have learned text of what was removed, and keep it: "
        f"{_listed(users)}. Train again without it, and use the new version in their place."
    )


def _listed(users: Sequence[str]) -> str:
    more = f" and {len(users) - 10} more" if len(users) > 10 else ""
    return f"{', '.join(users[:10])}{more}"


def _by_hash(store: Store, there: Sequence[Version], digits: str) -> list[str]:
    if len(digits) < 8 or not set(digits) <= set("0123456789abcdef"):
        return []
    data = {d for v in there for d in rows_seen(v).values()}
    known = [set(rows_of(store, d) or ()) for d in data]
    known += [_held(agent, store) for _, agent in _saved_agents(store)]
    found = {row for rows in known for row in rows if row.startswith(digits)}
    return sorted(found)[:1] if len(found) == 1 else []


def _rows(store: Store, version: Version, part: str) -> set[str] | None:
    data = version.record.data.get(part)
    known = [] if data is None else rows_of(store, data)
    return None if known is None else set(known)


def _count(store: Store, data: str) -> int | None:
    rows = rows_of(store, data)
    return None if rows is None else len(rows)


def agents_of(store: Store, version: str) -> list[str]:
    """`NAME@VERSION` of the saved agents that name a version, as their model or a part of it."""
    return [label for label, _ in _saved_agents(store, f"version:{version}")]


def _agents_by_version(store: Store) -> dict[str, list[str]]:
    """`NAME@VERSION` of the saved agents that answer with each version."""
    used: dict[str, list[str]] = {}
    for label, agent in _saved_agents(store, '"model":"version:'):
        used.setdefault(version_id(agent.model) or "", []).append(label)
    return used


def _agents_made_of(store: Store, hashes: set[str]) -> list[str]:
    """`NAME@VERSION` of the saved agents that hold one of these rows themselves."""
    saved = _saved_agents(store)
    agents = {agent.id: agent for _, agent in saved}  # one may be saved under several names
    holding = {id for id, agent in agents.items() if not hashes.isdisjoint(_held(agent, store))}
    return [label for label, agent in saved if agent.id in holding]


def _held(agent: Agent, store: Store) -> set[str]:
    """`rows_held`; of an agent whose files are gone or damaged none, for it cannot answer."""
    try:
        return set(rows_held(agent, store))
    except AssayError:
        return set()


def _saved_agents(store: Store, containing: str = "") -> list[tuple[str, Agent]]:
    """Every saved agent by its `NAME@VERSION`, oldest first.

    Args:
        containing: only those in whose text this stands.
    """
    with store.session() as session:
        rows = session.execute(
            select(AgentVersionRow.name, AgentVersionRow.version, AgentRow.body)
            .join(AgentRow, AgentRow.id == AgentVersionRow.agent)
            .where(AgentRow.body.contains(containing))
            .order_by(AgentVersionRow.key)
        ).all()
    return [(f"{name}@{number}", Agent.model_validate_json(body)) for name, number, body in rows]
