"""A release that is watched by the clock: who is told what, when, and that nothing is opened."""

from __future__ import annotations

import email
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email import policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests.attacks.certificates import Authority
from tests.release.shelf import compared, right, shelf

from assay.errors import StoreError, UsageError
from assay.jobs import queue, recovery
from assay.jobs.events import read_events
from assay.jobs.service import QUICK, WATCH
from assay.jobs.worker import Worker
from assay.project import jobs
from assay.project.jobs import watching
from assay.project.releases import notices
from assay.project.workspace import Workspace
from assay.release import changes
from assay.store.tables import JobRow, OpeningRow

LOCAL = ["127.0.0.0/8"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = Workspace(tmp_path)
    store, (a, b, _) = shelf(tmp_path / ".assay")
    compared(store, {a: right(0.5), b: right(0.9)})
    changes.promote(found.store, found.name, "pets", "tuned@2", who="ann")
    return found


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        assert isinstance(server.server_address, tuple)
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def mail_server(taken: list[EmailMessage], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """On this machine; it says yes to everything, and offers nothing."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                if line.upper().startswith(b"DATA"):
                    self.wfile.write(b"354 go on\r\n")
                    lines = []
                    while (part := self.rfile.readline()) != b".\r\n":
                        lines.append(part)
                    taken.append(email.message_from_bytes(b"".join(lines), policy=policy.default))
                self.wfile.write(
                    b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 ok\r\n"
                )

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    with serving(server) as port:
        yield port


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EmailMessage]]:
    """What a mail server has taken, which is the one that messages go to."""
    taken: list[EmailMessage] = []
    with mail_server(taken) as port:
        monkeypatch.setenv(notices.SMTP_URL, f"smtp://127.0.0.1:{port}")
        monkeypatch.setenv(notices.MAIL_FROM, "assay@acme.test")
        yield taken


@contextmanager
def hook(answers: list[int]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook's address, and what it was told; it answers with these statuses, then with 204."""
    told: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            told[-1]["path"] = self.path
            self.send_response(answers.pop(0) if answers else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}", told


def look(workspace: Workspace, *, is_due: bool = True) -> queue.Job | None:
    """What a worker does now, or once the time has come."""
    if is_due:
        with workspace.store.session() as session:
            was_due = JobRow.due.is_not(None)
            session.execute(update(JobRow).where(was_due).values(due=JobRow.created))
    return Worker(workspace.store, jobs.handlers(workspace), "test").once()


def test_what_is_new_is_told_once_by_mail_and_webhook(
    workspace: Workspace, mails: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "s3cret")
    with hook([500]) as (url, told):
        watched = watching.watch_every(
            workspace,
            "pets",
            "1d",
            mail=["ops@acme.test"],
            webhooks=[url + "/${HOOK}?a=1"],
            networks=LOCAL,
        )
        job = look(workspace)
        assert job is not None
        assert job.result is not None
        assert job.due is not None
        assert (job.id, job.status, job.kind in QUICK) == (watched.id, "queued", True)
        assert job.result["failed"] == {"webhook 1": "the webhook answered HTTP 500."}
        assert look(workspace, is_due=False) is None  # not before its time
        assert look(workspace) is not None
        assert told[-1]["path"] == "/s3cret?a=1"
        assert (told[-1]["release"], told[-1]["outcome"]) == ("pets", "open")
        (mail,) = mails  # the webhook alone was told again
        assert (mail["To"], mail["Subject"]) == ("ops@acme.test", "Assay: pets is undecided")
        assert "judged answers" in mail.get_content()
        assert "--every off" in mail.get_content()

        look(workspace)
        assert (len(told), len(mails)) == (2, 1)  # nothing is new
        opened = OpeningRow(
            holdout="0" * 64, number=9, comparison="c", reason="r@here <a>\nTo end it", alpha=0.1
        )
        opened.who = "mcp:coder"
        with workspace.store.session() as session:
            session.add(opened)
        job = look(workspace)
        assert "by mcp:coder: “r＠here ‹a›\\nTo end it”" in mails[-1].get_content()
        assert mails[-1]["Subject"].endswith("was opened")
        assert [one["number"] for one in told[-1]["openings"]] == [9]
        assert job is not None
        assert "s3cret" not in json.dumps([job.result, job.payload])
        events = [event.message for event in read_events(workspace.store, job.id)]
        assert "s3cret" not in " ".join(events)
        assert events.count("Started.") == 1  # of four looks

        again = watching.watch_every(workspace, "pets", "2w", mail=["ops@acme.test"])
        states = {one.id: one.status for one in jobs.list_jobs(workspace, WATCH)}
        assert states == {watched.id: "cancelled", again.id: "queued"}
        assert watching.watch_no_more(workspace, "pets") == 1
        assert look(workspace) is None
        with workspace.store.session() as session:
            assert session.query(OpeningRow).count() == 1  # none but that above


def test_who_cannot_be_told_is_refused_or_tried_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(every: str = "1d", **given: Any) -> str:
        with pytest.raises(UsageError) as error:
            watching.watch_every(workspace, "pets", every, **given)
        return str(error.value)

    assert "--mail or --webhook" in refused()
    for every in ("1", "1m", "9999d", "d", "-1d"):
        assert "30m, 12h" in refused(every, mail=["a@b.test"])
    for address in ("ann", "a@b\r\nBcc: c@d", "Ann <a@b.test>", "a@b, c@d"):
        assert "e-mail address" in refused(mail=[address])
    for url in (
        "ftp://a.test/x",
        "http://127.0.0.1/x",
        "https://u:p@a.test/",
        "https://a.test/ x",
        "http://[foo/",
    ):
        assert "no address of a webhook" in refused(webhooks=[url])

    monkeypatch.delenv(notices.SMTP_URL, raising=False)
    with hook([302]) as (url, told):
        port = url.rpartition(":")[2]
        hooks = [f"https://127.0.0.1:{port}/", url + "/${NOT_SET}", url]
        given = {"mail": ["a@b.test"], "webhooks": hooks}
        watching.watch_every(workspace, "pets", "1d", networks=["10.0.0.0/8"], **given)
        job = look(workspace)
        assert job is not None
        assert job.result is not None
        assert job.due is not None
        failed = job.result["failed"]
        assert notices.SMTP_URL in failed["mail 1"]
        assert "--webhook-network" in failed["webhook 1"]
        assert "NOT_SET" in failed["webhook 2"]
        assert "--webhook-network" in failed["webhook 3"]
        assert not told
        assert job.taken is not None
        assert job.due - job.taken < watching.AGAIN + timedelta(minutes=1)
        with pytest.raises(notices.NoticeError, match="302"):
            notices.send_webhook(notices.Notice("1", "a", "b", {}), url, LOCAL)


@pytest.mark.parametrize("password", ["Hunter2\u2100pw", "p[Hunter2", "Hunter2:\n", "Hunter2@x:y"])
def test_no_password_is_told_of_an_address_that_cannot_be_read(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    password: str,
) -> None:
    monkeypatch.setenv(notices.SMTP_URL, f"smtps://assay:{password}@127.0.0.1:x")
    monkeypatch.setenv("HOOK", password)
    hooks = ["https://${HOOK}/"]
    watching.watch_every(workspace, "pets", "1d", mail=["ops@acme.test"], webhooks=hooks)
    job = look(workspace)
    assert job is not None
    assert job.status == "queued"
    assert job.result is not None
    assert set(job.result["failed"]) == {"mail 1", "webhook 1"}
    events = [event.message for event in read_events(workspace.store, job.id)]
    assert "Hunter2" not in json.dumps([job.result, job.error, events]) + caplog.text


def test_no_fault_ends_a_watch(
    workspace: Workspace, mails: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    watching.watch_every(workspace, "pets", "1h", mail=["ops@acme.test"])
    job = look(workspace)
    assert job is not None
    assert job.due is not None
    assert timedelta(minutes=59) < job.due - job.created < timedelta(minutes=61)

    faults: list[Exception] = [StoreError("away."), ValueError("x"), StoreError("away.")]
    real, waits = watching.opened_holdouts, []
    monkeypatch.setattr(watching, "opened_holdouts", lambda _: raising(faults[0]))
    while faults:
        job = look(workspace)
        assert job is not None
        assert job.due is not None
        assert job.taken is not None
        assert job.status == "queued"
        assert str(job.error).startswith(("away.", "an unexpected error (ValueError)"))
        waits.append(round((job.due - job.taken) / watching.AGAIN))
        faults.pop(0)
    assert waits == [1, 2, 4]  # the last is the next look that was planned
    assert [mail["Subject"] for mail in mails[1:]] == ["Assay: pets could not be watched"]
    monkeypatch.setattr(watching, "opened_holdouts", real)
    job = look(workspace)
    assert job is not None
    assert job.due is not None
    assert job.error is None
    assert timedelta(minutes=59) < job.due - job.created < timedelta(minutes=61)
    assert mails[-1]["Subject"] == "Assay: pets is undecided"

    with workspace.store.session() as session:  # its workers died
        dead = {"status": "running", "worker": "w", "attempts": recovery.MOST_ATTEMPTS}
        session.execute(update(JobRow).values(beat=job.created - timedelta(days=1), **dead))
    assert recovery.revive(workspace.store) == []
    assert queue.read(workspace.store, job.id).status == "queued"


def raising(error: Exception) -> Any:
    raise error


def test_who_was_told_before_a_worker_was_stopped_is_not_told_again(
    workspace: Workspace, mails: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    watching.watch_every(workspace, "pets", "1d", mail=["a@b.test", "c@d.test"])
    real = watching.send_mail

    def stopped(notice: notices.Notice, address: str) -> None:
        real(notice, address)
        if address == "c@d.test":
            raise KeyboardInterrupt

    monkeypatch.setattr(watching, "send_mail", stopped)
    with pytest.raises(KeyboardInterrupt):
        look(workspace)
    monkeypatch.setattr(watching, "send_mail", real)
    look(workspace)
    assert [mail["To"] for mail in mails] == ["a@b.test", "c@d.test", "c@d.test"]
    assert mails[0]["Message-ID"] != mails[1]["Message-ID"] == mails[2]["Message-ID"]


def test_openings_of_earlier_holdouts_are_counted_apart(
    workspace: Workspace, mails: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_present_holdout", lambda _: "1" * 64)
    with workspace.store.session() as session:
        for holdout, number in (("0" * 64, 1), ("0" * 64, 2), ("1" * 64, 1)):
            given = {"comparison": f"c{holdout[0]}{number}", "reason": "r", "alpha": 0.1}
            session.add(OpeningRow(holdout=holdout, number=number, who=None, **given))
    watching.watch_every(workspace, "pets", "1d", mail=["a@b.test", "c@d.test"])
    monkeypatch.setattr(watching, "SENDING_S", -1.0)  # the time is over before the first
    job = look(workspace)
    assert job is not None
    assert job.result is not None
    assert len(job.result["failed"]) == 2
    monkeypatch.setattr(watching, "SENDING_S", 60.0)
    look(workspace)
    assert "was opened once so far (earlier ones 2 times)" in mails[0].get_content()


@pytest.mark.parametrize(
    ("address", "is_here", "reason"),
    [
        ("smtps://127.0.0.1", True, "certificate"),  # which nobody has signed
        ("smtp://127.0.0.1", False, "SMTPNotSupported"),  # it offers no STARTTLS
        ("smtp://ann:pw@127.0.0.1", True, "SMTPNotSupported"),  # nor a login
    ],
)
def test_mail_goes_over_tls_and_after_a_login_or_not_at_all(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    is_here: bool,
    reason: str,
) -> None:
    monkeypatch.setattr(notices, "is_loopback", lambda _: is_here)
    tls = None
    if address.startswith("smtps"):
        pair = Authority(tmp_path, "nobody").issue("127.0.0.1")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pair.cert, pair.key)
    taken: list[EmailMessage] = []
    with mail_server(taken, tls) as port:
        monkeypatch.setenv(notices.SMTP_URL, f"{address}:{port}")
        monkeypatch.setenv(notices.MAIL_FROM, "assay@acme.test")
        with pytest.raises(notices.NoticeError, match=reason):
            notices.send_mail(notices.Notice("1", "a", "b", {}), "ops@acme.test")
    assert not taken
