"""Two servers on one PostgreSQL, whose machines' clocks are 20 minutes apart: what they decide by a
time is decided by the database's."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select, update
from tests.databases import new_database
from tests.serve.process import ASSAY, Server
from tests.serve.two_servers import TOKENS, USD, Pair, long_answer, soon, two_servers

from assay.accounts.costs import budgets, set_budget
from assay.accounts.keys import create_key
from assay.accounts.leases import LASTS
from assay.accounts.people import LINK_LASTS, SESSION_LASTS
from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.release import changes
from assay.store.store import Store
from assay.store.tables import (
    BudgetLeaseRow,
    FileRow,
    SessionRow,
    SignInRow,
    Table,
    UploadRow,
)
from assay.store.tables.clock import database_time
from assay.store.uploads import LIFETIME

pytestmark = pytest.mark.slow
SKEW = timedelta(minutes=10)
"""One clock is so much behind, the other so much ahead."""
FILES, LASTS_S = "/v1/files", 3600
BUDGET = 0.05
SOURCE = Path(__file__).parent.parent / "serve" / "skewed.c"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[Pair]:
    """The first is behind, the second ahead. Once for both tests, in their order: fresh
    interpreters, for the clock is the loader's, and the second test kills one."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here")
    folder = tmp_path_factory.mktemp("skewed")
    clock = folder / "skewed.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", clock, SOURCE], check=True, timeout=60)
    commands = [
        ("env", f"LD_PRELOAD={clock}", f"ASSAY_TEST_SKEW_S={seconds:.0f}", *ASSAY)
        for seconds in (-SKEW.total_seconds(), SKEW.total_seconds())
    ]
    url = new_database(postgres).replace("+psycopg", "")
    with (
        pytest.MonkeyPatch.context() as patch,
        two_servers(folder, *commands, url=url, monkeypatch=patch) as servers,
    ):
        yield servers


def left(store: Store, table: type[Table]) -> list[timedelta]:
    """Of each row the time that it has left, by the database's clock."""
    expires = table.__table__.c.expires
    with store.session() as session:
        found = session.execute(select(expires, database_time()).order_by(expires)).all()
    return [until - now for until, now in found]


def set_left(store: Store, table: type[Table], time: timedelta) -> None:
    with store.session() as session:
        session.execute(update(table).values(expires=database_time(time)))


def lasts(times: list[timedelta], whole: timedelta) -> bool:
    """Whether they were given as much, not long ago."""
    return bool(times) and all(whole - SKEW / 2 < one <= whole for one in times)


def statuses(pair: Pair, path: str, **asked: dict[str, str]) -> list[int]:
    """By the first and the second server."""
    return [httpx.get(one.url + path, timeout=90, **asked).status_code for one in pair.servers]  # type: ignore[arg-type]


def lease_ids(store: Store) -> set[str]:
    with store.session() as session:
        return set(session.scalars(select(BudgetLeaseRow.id)))


def link(one: Server) -> str:
    """The secret of the link that a server has printed."""
    [secret] = re.findall(r"once=(\S+)", one.output.read_text())
    return str(secret)


def enter(one: Server, secret: str) -> httpx.Response:
    return httpx.get(f"{one.url}/studio/enter", params={"once": secret}, timeout=90)


SOON, PAST = timedelta(minutes=2), timedelta(seconds=-5)
"""What has this left is good everywhere, also where the clock is ahead; what has that, nowhere."""


def test_links_sessions_files_and_uploads_end_at_the_same_moment_everywhere(pair: Pair) -> None:
    store, (behind, ahead) = pair.workspace.store, pair.servers
    [key] = [one.key for one in pair.servers if one.key]
    admin = {"Authorization": f"Bearer {key}"}

    # The clocks are what they are said to be.
    for one, skew in zip(pair.servers, (-SKEW, SKEW), strict=True):
        made = httpx.post(
            f"{one.url}{FILES}",
            files={"file": ("a.txt", b"hello")},
            data={
                "purpose": "user_data",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": str(LASTS_S),
            },
            headers=admin,
            timeout=90,
        )
        assert made.status_code == 200, made.text
        assert made.json()["expires_at"] - made.json()["created_at"] == LASTS_S
        part = httpx.post(
            f"{one.url}/v1/uploads",
            json={
                "filename": "b.txt",
                "bytes": 5,
                "mime_type": "text/plain",
                "purpose": "user_data",
            },
            headers=admin,
            timeout=90,
        )
        assert part.status_code == 200, part.text
        upload = part.json()
        assert upload["expires_at"] - upload["created_at"] == LIFETIME.total_seconds()
        told = httpx.post(
            f"{one.url}/v1/uploads/{upload['id']}/parts",
            files={"data": b"hello"},
            headers=admin,
            timeout=90,
        )
        assert told.status_code == 200, told.text
        wrong = told.json()["created_at"] - time.time()  # by the machine's clock: only shown
        assert abs(wrong - skew.total_seconds()) < SKEW.total_seconds() / 2
    assert lasts(left(store, FileRow), timedelta(seconds=LASTS_S))
    assert lasts(left(store, UploadRow), LIFETIME)
    for time_left, expected in ((SOON, 200), (PAST, 404)):
        set_left(store, FileRow, time_left)
        path = f"{FILES}/{made.json()['id']}"
        assert statuses(pair, path, headers=admin) == [expected, expected]

    # An upload that the one behind would go on with, or the one ahead end.
    parts = f"/v1/uploads/{upload['id']}/parts"
    for time_left, expected in ((SOON, 200), (PAST, 400)):
        set_left(store, UploadRow, time_left)
        for one in pair.servers:
            told = httpx.post(one.url + parts, files={"data": b"hello"}, headers=admin, timeout=90)
            assert told.status_code == expected, told.text

    # Links: each was made by one server and is used at the other.
    assert lasts(left(store, SignInRow), LINK_LASTS)
    assert len(left(store, SignInRow)) == 2
    set_left(store, SignInRow, SOON)
    entered = enter(ahead, link(behind))
    assert entered.status_code == 303, entered.text
    set_left(store, SignInRow, PAST)
    assert enter(behind, link(ahead)).status_code == 403

    # The session that was begun at the one ahead.
    assert lasts(left(store, SessionRow), SESSION_LASTS)
    [session] = entered.cookies.values()
    names = [f"assay_session_{httpx.URL(one.url).port}" for one in pair.servers]
    cookies = dict.fromkeys(names, session)
    set_left(store, SessionRow, SOON)
    assert statuses(pair, "/studio/", cookies=cookies) == [200, 200]
    set_left(store, SessionRow, PAST)
    soon(lambda: 200 not in statuses(pair, "/studio/", cookies=cookies))  # known for a second


def test_the_lease_of_a_server_that_lives_stays_and_that_of_a_dead_one_ends(pair: Pair) -> None:
    store, name = pair.workspace.store, pair.workspace.name
    behind, ahead = pair.servers
    save_agent(store, "echo", Agent(model="remote:far/big-1", system_prompt="Hi."), message="test")
    changes.promote(store, name, "support", "echo@1", who="test", force="a test")
    key, secret = create_key(store, name, "budgeted", ["chat"])
    set_budget(store, key.id, BUDGET)

    # The one ahead leases as well, and so takes back what has ended: not what the other holds.
    with long_answer(behind, secret):
        [mine] = lease_ids(store)
        assert lasts(left(store, BudgetLeaseRow), LASTS)
        assert pair.post(1, secret, max_tokens=TOKENS).status_code == 200
        assert mine in lease_ids(store)
        soon(lambda: budgets(store)[key.id].spent > 0)  # of the short answer
        assert budgets(store)[key.id].spent == pytest.approx(USD)
        assert mine in lease_ids(store)
    soon(lambda: not lease_ids(store))  # both have given back what they do not need
    spent = budgets(store)[key.id].spent

    # The one ahead is killed: the other waits a minute for it, not eleven; here, for two seconds.
    with long_answer(ahead, secret):
        [dead] = lease_ids(store)
        ahead.process.kill()
    ahead.process.wait(30)
    assert pair.post(0, secret, max_tokens=TOKENS).status_code == 200
    assert dead in lease_ids(store)
    with store.session() as session:
        lease = session.get_one(BudgetLeaseRow, dead)
        amount, risk = lease.amount / 1e9, lease.risk / 1e9
        rest = session.scalar(select(lease.expires - func.statement_timestamp()))
        lease.expires = database_time(timedelta(seconds=2))
    assert rest is not None
    assert rest <= LASTS
    time.sleep(2.5)
    assert pair.post(0, secret, max_tokens=TOKENS).status_code == 200
    assert dead not in lease_ids(store)
    soon(lambda: budgets(store)[key.id].spent > spent + min(amount, risk) + 1.5 * USD)
    assert budgets(store)[key.id].spent == pytest.approx(spent + min(amount, risk) + 2 * USD)
