"""What tests of the limit of requests at once share."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from assay.accounts import request_leases
from assay.serve import request_limit
from assay.serve.request_limit import RequestLimit
from assay.store.store import Store
from assay.store.tables import RequestLeaseRow
from assay.store.tables.clock import database_time


async def never(_: RequestLimit) -> None:
    """In the place of looks in the background: they come when the test says so."""


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that does other work as well."""
    monkeypatch.setattr(request_limit, "WAIT_S", 60.0)
    monkeypatch.setitem(request_leases._BOUNDS, "statement_timeout", "60s")


def held(store: Store) -> list[tuple[int, timedelta]]:
    """By each server: how many requests, and for how long."""
    query = select(RequestLeaseRow.amount, RequestLeaseRow.expires, database_time())
    with store.engine.connect() as connection:
        return [(amount, until - now) for amount, until, now in connection.execute(query)]
