"""`assay serve`: one process that listens until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

import uvicorn
from fastapi import FastAPI

from assay import garbage
from assay.accounts.keys import first_key
from assay.config.hosts import is_loopback
from assay.defaults import BATCH_REQUESTS, STORE_RESPONSES, StoreResponses
from assay.errors import AssayError, UsageError
from assay.evaluate import confined
from assay.generate.stream import EnginePool
from assay.jobs import queue
from assay.jobs.batches import SERVED
from assay.jobs.fine_tuning import TRAIN
from assay.jobs.service import WorkerSupervisor
from assay.log_lines import RateFilter, print_logs_as_lines
from assay.project.knowledge import vector_stores
from assay.project.workspace import Workspace
from assay.serve.app import create_app
from assay.serve.connections import HEAD_S, Connections
from assay.store.store import Store

log = logging.getLogger("assay.serve")


class Pages(Protocol):
    """Web pages that stand in the same app, see `assay.studio`."""

    def owns(self, path: str) -> bool:
        """Whether a path is theirs; nobody else asks who comes there."""

    def mount(self, app: FastAPI) -> None:
        """Put them into the app."""

    def welcome(self, address: str) -> str:
        """The line that tells how to get in."""


DRAIN_S = 30
"""After a signal to stop, answers under way may take so long to end."""
BACKLOG = 2048
"""Connections that wait to be taken."""
FRAME_BYTES, FRAMES_WAITING = 2**20, 8
"""Of a web socket, which only the studio has; engine.io takes no larger message."""
LET_GO_S = 5.0
"""And then work in threads, such as reading all rows for a page: what it writes is written whole or
not at all, so nothing is lost by ending in the middle of it."""


def serve(
    workspace: Workspace,
    engines: EnginePool,
    say: Callable[[str], None],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    insecure_http: bool = False,
    pages: Pages | None = None,
    batch_requests: int = BATCH_REQUESTS,
    store_responses: StoreResponses = STORE_RESPONSES,
    trains: bool = True,
    trust_code: bool = False,
    end: Callable[[int], object] = lambda code: None,
) -> None:
    """Serve a folder, and do its jobs in processes beside, until SIGINT or SIGTERM.

    Args:
        say: prints one line at once; the first admin key goes through it.
        port: 0 takes a free one.
        tls_cert, tls_key: PEM files.
        insecure_http: listen beyond this machine without TLS.
        pages: served too.
        batch_requests: of all batches together, that are answered at the same time.
        store_responses: which are kept.
        trains: whether fine-tuning jobs are among those that are done.
        trust_code: code of evals that admins have created is run, shut off from this machine.
        end: called last, if it has listened, with the exit code of a process that ends with this.

    Raises:
        UsageError: half a pair of TLS files, plain HTTP to other machines, or code to be run where
            it cannot be shut off.
        AssayError: the address cannot be listened on.
    """
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key must be given together.", fix="Give both.")
    for file in (tls_cert, tls_key):
        if file is not None and not file.is_file():
            raise UsageError("there is no such file.", where=str(file))
    if tls_cert is not None:
        _check_pair(tls_cert, tls_key)
    if tls_cert is None and not insecure_http and not is_loopback(host):
        raise UsageError(
            f"{host} can be reached from other machines, and plain HTTP exposes keys and texts to "
            "the network.",
            fix="Give --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy. "
            "--insecure-http allows it.",
        )
    if trust_code:
        confined.check_possible()
    print_logs_as_lines()
    logging.getLogger("uvicorn.error").addFilter(RateFilter())  # "Invalid HTTP request received."
    listening = _listen(host, port)
    scheme = "https" if tls_cert else "http"
    shown = f"[{host}]" if ":" in host else host
    if workspace.broken is not None:
        log.warning("%s", workspace.broken)
    if key := first_key(workspace.store, workspace.name):
        say(f"Admin key (shown only once): {key}")
    address = f"{scheme}://{shown}:{listening.getsockname()[1]}"
    beside = pages.owns if pages else lambda path: False
    app = create_app(
        workspace,
        engines,
        batch_requests=batch_requests,
        store_responses=store_responses,
        trust_code=trust_code,
        beside=beside,
    )
    if pages:
        pages.mount(app)

    def forget(project: str, file: str) -> None:
        vector_stores.forget_file(workspace, project, file, "expired")

    def ready() -> None:
        say(f"Listening on {address}")
        if pages:
            say(pages.welcome(address))

    def tell(line: str) -> None:
        with suppress(OSError, ValueError):  # whoever reads it may have ended by the same Ctrl-C
            say(line)

    def stopping() -> None:
        tell(f"Stopping: answers under way have {DRAIN_S} s to end.")

    connections = Connections()
    config = uvicorn.Config(
        app,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
        http=connections,  # type: ignore[arg-type]  # anything that makes a protocol does
        ws_max_size=FRAME_BYTES,
        ws_max_queue=FRAMES_WAITING,
    )
    # uvicorn ends well on a signal, and then sends it once more to whoever was there before it.
    signal.signal(signal.SIGTERM, lambda *_: None)
    supervisor = WorkerSupervisor(workspace.root, workspace.store, forget, trains=trains)

    def over(error: type[BaseException] | None, *_: object) -> None:
        is_stopped = error is not None and issubclass(error, KeyboardInterrupt)
        end(128 + signal.SIGINT if is_stopped else int(error is not None))

    with ExitStack() as last:
        last.push(over)
        for close in (workspace.usage.close, engines.close, listening.close):
            last.callback(close)
        with supervisor, suppress(KeyboardInterrupt):
            _Server(config, connections, ready, stopping, workspace.usage.close).run([listening])
        tell(f"Stopped.{_describe_waiting(workspace.store, trains=trains)}")


def end_process(code: int, last: Callable[[], None] = lambda: None) -> threading.Timer:
    """End this process with an exit code after `LET_GO_S`, and after `last`: threads that wait for
    a bucket or a provider would hold its end up."""

    def end() -> None:
        try:
            last()
        finally:
            os._exit(code)

    ending = threading.Timer(LET_GO_S, end)
    ending.daemon = True
    ending.start()
    return ending


class _Server(uvicorn.Server):
    """Says so when it is ready, from when on a signal ends it in good order, and when one does.

    The event loop waits for its threads without end; the process ends over them, after `last`.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        connections: Connections,
        ready: Callable[[], None],
        stopping: Callable[[], None],
        last: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._connections = connections
        self._ready, self._stopping, self._last = ready, stopping, last
        self._ending: threading.Timer | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn starts, but for how long a TLS handshake may take."""
        await super().startup([])
        loop = asyncio.get_running_loop()
        for one in sockets or ():
            made = await loop.create_server(
                lambda: self._connections(
                    config=self.config,
                    server_state=self.server_state,
                    app_state=self.lifespan.state,
                ),
                sock=one,
                ssl=self.config.ssl,
                ssl_handshake_timeout=HEAD_S if self.config.ssl else None,
                backlog=BACKLOG,
            )
            self.servers.append(made)
        self._sweeping = loop.create_task(self._connections.sweep())
        garbage.exempt()
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn ends."""
        self._stopping()
        self._sweeping.cancel()
        await super().shutdown(sockets)
        self._ending = end_process(0, self._last)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn runs."""
        try:
            super().run(sockets)
        finally:
            if self._ending is not None:
                self._ending.cancel()


def _describe_waiting(store: Store, *, trains: bool) -> str:
    """That jobs wait, such as the comparison that a worker was at; "" if none does, or where the
    database is on another machine: it may be away, and others may go on at once."""
    if store.engine.dialect.name != "sqlite":
        return ""
    try:
        is_waiting = queue.is_waiting(store, (), SERVED if trains else (*SERVED, TRAIN))
    except Exception:  # a disk that is full, say: the server has ended all the same
        return ""
    return " Jobs wait for the next start." if is_waiting else ""


def _check_pair(cert: Path, key: Path | None) -> None:
    """Before anything is started: the server would only read them when it runs."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key, password="")  # nobody is there to be asked for one
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the certificate and key cannot be loaded ({error}).",
            where=f"{cert}, {key}" if key else str(cert),
            fix="Give PEM files that belong together, the key without a passphrase.",
        ) from None


OTHER_ADDRESS = "Give --host an address of this machine, such as 127.0.0.1."
_WHAT_TO_DO = {
    errno.EADDRINUSE: "Another program listens there, perhaps an earlier `assay serve`: stop it, "
    "or give another --port; 0 takes any free one.",
    errno.EACCES: "Give a --port from 1024 on: lower ones are not open to every user.",
}
"""By the error of who cannot listen."""


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol named, asyncio switches Nagle's algorithm off for every connection;
        # without, each answer waits 40 ms for an acknowledgement.
        listening = socket.socket(family, kind, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
        return listening
    except (OSError, OverflowError) as error:
        raise AssayError(
            f"the server cannot listen on this address ({error}).",
            where=f"{host}:{port}",
            fix=_WHAT_TO_DO.get(getattr(error, "errno", None) or 0, OTHER_ADDRESS),
        ) from None
