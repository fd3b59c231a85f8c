"""Fine-tuned models by the names that they are served under: what needs one, and its removal."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from assay.store.tables import AgentRow, FineTuningCheckpointRow, ServedNameRow


def has_other_name(session: Session, version: str, name: str) -> bool:
    """Whether a version has another name than this (the same training twice makes one)."""
    named = select(ServedNameRow.name).where(
        ServedNameRow.target == f"version:{version}", ServedNameRow.name != name
    )
    return session.scalar(named.limit(1)) is not None


def has_agent(session: Session, version: str) -> bool:
    """Whether an agent answers with a version."""
    agent = select(AgentRow.id).where(AgentRow.body.contains(f"version:{version}"))
    return session.scalar(agent.limit(1)) is not None


def forget_name(session: Session, name: str) -> None:
    """Let a name stand for nothing any more, as a model and as a checkpoint."""
    kept = FineTuningCheckpointRow
    session.execute(delete(ServedNameRow).where(ServedNameRow.name == name))
    session.execute(delete(kept).where(kept.name == name))
