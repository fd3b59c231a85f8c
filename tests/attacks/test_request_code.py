"""Code that comes with a request, where the owner of the server has allowed it: what it tries."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from assay.errors import UsageError
from assay.evaluate import confined
from assay.evaluate.confined import CodeError, ConfinementError, TimeAllowance
from assay.evaluate.confinement import CALLS
from assay.interpreter import python


def run_grade(source: str, item: dict[str, Any]) -> float:
    return confined.run_grade(source, {}, item, TimeAllowance())


pytestmark = pytest.mark.usefixtures("can_confine")

# None of these harms the machine if it succeeds.
ATTACKS = """
import asyncio, ctypes, errno, os, resource, signal, socket, subprocess, threading

libc = ctypes.CDLL(None, use_errno=True)

def calls(number, *arguments):
    given = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    if libc.syscall(ctypes.c_long(number), *given) < 0:
        raise OSError(ctypes.get_errno(), "no")

def content(descriptor):
    try:
        return os.read(descriptor, 1)
    except OSError:
        return b""

def attacks(item):
    secret, server, port = item["secret"], item["server"], item["port"]
    beside = os.path.join(os.path.dirname(secret), "new")
    return {
        "reads a key of the environment": lambda: os.environ["OPENAI_API_KEY"],
        "reads the environment of the server": lambda: open(f"/proc/{server}/environ", "rb").read(),
        "reads the memory of the server": lambda: open(f"/proc/{server}/mem", "rb"),
        "traces the server": lambda: calls(101, 16, server, 0, 0),
        "reads memory by a call": lambda: calls(310, server, 0, 0, 0, 0, 0),
        "reads a file": lambda: open(secret).read(),
        "reads an open file": lambda: 1 / any(map(content, range(256))),
        "reads /etc/passwd": lambda: open("/etc/passwd").read(),
        "lists a folder": lambda: os.listdir(os.path.dirname(secret)),
        "lists the root": lambda: os.listdir("/"),
        "writes a file": lambda: open(beside, "w"),
        "writes where libraries are": lambda: open(os.__file__ + ".new", "w"),
        "empties a file": lambda: os.truncate(secret, 0),
        "empties a file as it is opened": lambda: os.open(secret, os.O_RDONLY | os.O_TRUNC),
        "removes a file": lambda: os.remove(secret),
        "renames a file": lambda: os.rename(secret, beside),
        "links a file": lambda: os.link(secret, beside),
        "points to a file": lambda: os.symlink(secret, beside),
        "makes a folder": lambda: os.mkdir(beside),
        "makes a pipe with a name": lambda: os.mkfifo(beside),
        "opens a file for others": lambda: os.chmod(secret, 0o777),
        "gives a file away": lambda: os.chown(secret, 1, 1),
        "sets a file's times": lambda: os.utime(secret, (0, 0)),
        "marks a file": lambda: os.setxattr(secret, "user.a", b"b"),
        "asks an address": lambda: socket.create_connection(("127.0.0.1", port), 1),
        "sends a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "asks a local socket": lambda: socket.socket(socket.AF_UNIX),
        "waits for connections": lambda: asyncio.run(asyncio.sleep(0)),
        "forks": os.fork,
        "forks by a call": lambda: calls(57),
        "starts a program": lambda: subprocess.run(["/bin/true"]),
        "starts a shell": lambda: 1 / (os.system("true") == 0),
        "becomes a program": lambda: os.execv("/bin/true", ["true"]),
        "starts a thread": lambda: threading.Thread(target=print).start(),
        "sends the server a signal": lambda: os.kill(server, signal.SIGCONT),
        "ends all": lambda: os.kill(-1, 0),
        "slows the server": lambda: os.setpriority(os.PRIO_PROCESS, server, 0),
        "moves the server": lambda: os.sched_setaffinity(server, os.sched_getaffinity(0)),
        "raises a limit": lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)),
        "asks for the server's": lambda: resource.prlimit(server, resource.RLIMIT_NOFILE),
        "becomes another user": lambda: os.setuid(1),
        "leaves its session": os.setsid,
        "changes its root": lambda: os.chroot("/"),
        "goes elsewhere": lambda: os.chdir("/tmp"),
        "mounts": lambda: calls(165, b"none", b"/tmp", b"tmpfs", 0, None),
        "makes a namespace": lambda: calls(272, 0x10000000),
        "queues work for the kernel": lambda: calls(425, 1, ctypes.create_string_buffer(256)),
        "makes a file in memory": lambda: os.memfd_create("a"),
        "shares memory": lambda: calls(29, 0, 4096, 0o1666),
        "outlives its parent": lambda: calls(157, 1, 0, 0, 0, 0),
        "opens files without end": lambda: [os.open(os.devnull, 0) for _ in range(300)],
    }

def grade(sample, item):
    done = []
    for name, attack in attacks(item).items():
        try:
            attack()
        except (RuntimeError, KeyError, ValueError, ZeroDivisionError):
            continue
        except OSError as error:  # any other says that the attack is none
            if error.errno in (errno.EPERM, errno.EACCES, errno.EMFILE):
                continue
        done.append(name)
    if done:
        raise AssertionError("; ".join(done))
    return len(attacks(item))
"""


def test_code_reaches_nothing_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    secret = tmp_path / "master.key"
    secret.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as listening, secret.open() as opened:
        os.set_inheritable(opened.fileno(), True)
        item = {"secret": str(secret), "server": os.getpid(), "port": listening.getsockname()[1]}
        tried = run_grade(ATTACKS, item)
    assert tried > 50
    assert (secret.read_text(), os.listdir(tmp_path)) == ("secret", ["master.key"])


CALLING = """
import ctypes

def grade(sample, item):
    libc, done = ctypes.CDLL(None, use_errno=True), []
    for number in {*range(600), *range(2**30, 2**30 + 600)} - {*item["calls"]}:
        zeros = [ctypes.c_long(0)] * 6
        if libc.syscall(ctypes.c_long(number), *zeros) != -1 or ctypes.get_errno() != 1:
            done.append(number)
    raise AssertionError(done)
"""


def test_every_call_that_is_not_listed_is_refused_by_the_filter() -> None:
    """Those by the numbers of 32 bits, too; the kernel itself would say something else of most."""
    probes = [335, 336]  # kernels let them past any filter, and end who makes them by hand
    with pytest.raises(CodeError, match=r"AssertionError: \[\]"):
        run_grade(CALLING, {"calls": [*CALLS.values(), *probes]})


SIGNALLING = """
import contextlib, fcntl, os

def grade(sample, item):
    library = os.__file__
    for path, command, argument in (
        (os.path.dirname(library), 1026, 1 | 0x80000000),  # F_NOTIFY, DN_ACCESS | DN_MULTISHOT
        (library, 1024, 1),  # F_SETLEASE, F_WRLCK
    ):
        file = os.open(path, os.O_RDONLY)
        for one in ((10, 9), (8, item["pid"]), (command, argument)):  # F_SETSIG, F_SETOWN
            with contextlib.suppress(OSError):
                fcntl.fcntl(file, *one)
        with contextlib.suppress(OSError):
            os.read(os.open(library, os.O_RDONLY | os.O_NONBLOCK), 1)
    return 1
"""


def test_no_signal_is_sent_by_way_of_a_file() -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        try:
            assert run_grade(SIGNALLING, {"pid": bystander.pid}) == 1
            assert bystander.poll() is None
        finally:
            bystander.kill()


@pytest.mark.parametrize(
    ("code", "seconds", "said"),
    [
        ("while True: pass", 1.0, "SIGKILL|SIGXCPU|it took more than 1 s"),
        ("import time; time.sleep(600)", 1.0, "it took more than 1 s"),
        ("return len(bytearray(3 * 2**30))", 20.0, "MemoryError"),
        ("os._exit(0)", 20.0, "its process ended .exit code 0. without a score"),
        ("import ctypes; ctypes.string_at(0)", 20.0, "its process ended .SIGSEGV"),
        ("os._exit(write(3, b'x' * 10**6) == 10**6)", 20.0, "ended .exit code 0"),
        ("write(3, b'{\"score\": 1e999}'); os._exit(0)", 20.0, "gave no number"),
        ("write(3, b'{\"score\": ' + b'9' * 4000 + b'}'); os._exit(0)", 20.0, "gave no number"),
        ("write(3, b'[' * 60000); os._exit(0)", 20.0, "without a score"),
        ("for file in range(256): write(file, b'not shut off')", 20.0, "without a score"),
        ("raise SystemExit('x' * 10**6)", 20.0, "^SystemExit: x{480,500} "),
    ],
)
def test_code_that_takes_too_much_or_lies_is_an_error_and_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, code: str, seconds: float, said: str
) -> None:
    monkeypatch.setattr(confined, "SECONDS", seconds)
    before = {*psutil.Process().children()}
    with pytest.raises(CodeError, match=said):
        run_grade(GRADER.format(code), {})
    assert {*psutil.Process().children()} <= before


GRADER = """
import contextlib, os

def write(file, raw):
    with contextlib.suppress(OSError):
        return os.write(file, raw)

def grade(sample, item):
    {}
    return 1
"""


def test_code_ends_with_a_killed_server() -> None:
    source = "import time\ndef grade(sample, item): time.sleep(600)"
    waiting = (
        f"from assay.evaluate.confined import *; run_grade({source!r}, {{}}, {{}}, TimeAllowance())"
    )
    with subprocess.Popen(python("-c", waiting)) as server:
        parent = psutil.Process(server.pid)
        while not (found := [one for one in parent.children() if one.status() == "sleeping"]):
            time.sleep(0.02)
        # Asleep while it begins, too: killed then, it ends just so, or before any code is run.
        server.kill()
    _, left = psutil.wait_procs(found, 20)
    assert not left


def test_where_the_process_cannot_be_shut_off_no_code_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the kernel is too old: a filter is not taken any more."""
    worker = tmp_path / "confined_worker.py"
    worker.write_bytes(confined.WORKER.read_bytes())
    old = confined.WORKER.with_name("confinement.py").read_text()
    (tmp_path / "confinement.py").write_text(old.replace("LANDLOCK = 3", "LANDLOCK = 999"))
    monkeypatch.setattr(confined, "WORKER", worker)
    with pytest.raises(ConfinementError, match="is older than 999"):
        run_grade("raise ValueError", {})
    with pytest.raises(UsageError, match="Serve without --trust-code"):
        confined.check_possible()
