"""What a process may still do that reads a stranger's document; it is loaded by path."""

from __future__ import annotations

import ctypes
import platform
import resource
import signal
import sys
from collections.abc import Sequence


def bound(memory_mib: int, cpu_seconds: int) -> None:
    """Limits that hold even when the parent is gone; no file can be written."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if sys.platform != "darwin":  # macOS refuses to lower it
        resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))


_MACHINES = {
    "x86_64": (
        0xC000003E,
        (
            *(41, 42, 59, 322, 101, 425),  # socket, connect, execve(at), ptrace, io_uring_setup
            *(62, 200, 234, 424, 310, 311),  # (t)(g)kill, pidfd_send_signal, process_vm_*
            *(76, 82, 264, 316, 87, 263, 84),  # truncate, rename(at)(2), unlink(at), rmdir
            *(86, 265, 88, 266, 133, 259),  # link(at), symlink(at), mknod(at)
            *(85, 437, 90, 91, 268, 452),  # creat, openat2, chmod, fchmod(at)(2)
            *(92, 93, 94, 260, 188, 189, 190, 280),  # chown and its kind, setxattr, utimensat
        ),
        (83, 258),  # mkdir(at)
        ((2, 24), (257, 32)),  # open, openat
    ),
    "aarch64": (
        0xC00000B7,
        (
            *(198, 203, 221, 281, 117, 425, 129, 130, 131, 424, 270, 271),
            *(45, 38, 276, 35, 37, 36, 33, 437, 52, 53, 452, 54, 55, 5, 6, 7, 88),
        ),
        (34,),
        ((56, 32),),
    ),
}
"""By machine: its number, the calls that are refused, those that make a folder, and those that open
a file, with the place of their flags in what the filter is given."""
_CHANGING = 0x1 | 0x2 | 0x40 | 0x200  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC


def seal() -> bool:
    """Take network, new programs, other processes and every change to files away from this process
    for good; whether the kernel did.

    On Linux by a seccomp filter (see seccomp(2)), which binds native code too; elsewhere by
    Python's audit hooks, which bind Python code alone.
    """
    sys.addaudithook(_no_network)
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    program = _filter(*_MACHINES[platform.machine()])
    code = b"".join(
        op.to_bytes(2, "little") + bytes((yes, no)) + value.to_bytes(4, "little")
        for op, yes, no, value in program
    )

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: end with the parent
    return bool(
        libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
        and libc.prctl(22, 2, ctypes.byref(Filter(len(program), code)), 0, 0) == 0  # PR_SET_SECCOMP
    )


def _filter(
    arch: int, refused: Sequence[int], making: Sequence[int], opening: Sequence[tuple[int, int]]
) -> list[tuple[int, int, int, int]]:
    """Instructions (operation, steps if so, steps if not, value) of the kernel's packet filter."""
    load, equal, above, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse = 0x7FFF0000, 0x00050001  # ERRNO with EPERM
    there = 0x00050000 + 17  # EEXIST: kreuzberg makes its folder again for every document
    # From behind: every jump is forward, to one of the three ends.
    tail = [(give, 0, 0, allow), (give, 0, 0, refuse), (give, 0, 0, there)]
    for number, flags in reversed(opening):
        steps = len(tail)
        tail = [
            (equal, 0, 2, number),
            (load, 0, 0, flags),
            (any_bit, steps - 2, steps - 3, _CHANGING),
            *tail,
        ]
    for number in making:
        tail = [(equal, len(tail) - 1, 0, number), *tail]
    for number in refused:
        tail = [(equal, len(tail) - 2, 0, number), *tail]
    return [
        (load, 0, 0, 4),
        (equal, 1, 0, arch),
        (give, 0, 0, refuse),
        (load, 0, 0, 0),
        (above, len(tail) - 2, 0, 0x40000000),  # the x32 calls of x86 are refused
        *tail,
    ]


def _no_network(event: str, _: object) -> None:
    if event.startswith("socket.") or event in ("subprocess.Popen", "os.exec", "os.posix_spawn"):
        raise PermissionError("a document's reader has no network and starts no programs")
