"""A process takes from itself all that code of a request has no need of: standard library only.

    confine()       # from here on: read installed Python, compute, write what is open, end

Linux on x86-64 from 6.2 on; whatever cannot be taken is an OSError, and the process is to end. It
needs no privileges, and what is taken does not come back:

- Landlock: no file but those of Python's own folders and of shared libraries can be opened, and
  none to be written; other processes' memory and variables cannot be read, whoever's they are.
- A list of system calls; every other fails. No process or thread can be started, no connection
  made, no signal sent, no file named, changed or removed, and no limit raised, whoever's it is.
  Not among them is `fcntl`: who is told of changes to a folder (F_NOTIFY) or of the end of a lease
  (F_SETLEASE) is told by any signal to any process, and a lease keeps others waiting.
"""

from __future__ import annotations

import ctypes
import os
import platform
import site
import struct
import sys
import sysconfig
from collections.abc import Iterator

LANDLOCK = 3
"""The version from which opening a file cannot empty it."""
_FILES = (1 << 15) - 1
"""Landlock: all that can be done with files."""
_SCOPES, _OUTSIDE = 6, 0b11
"""Landlock: from which version, and that neither signals nor local sockets reach other processes,
whatever call they come by."""
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_RULE_BELOW = 1
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PDEATHSIG, _DUMPABLE, _SECCOMP, _NO_NEW_PRIVILEGES = 1, 4, 22, 38
_X86_64 = 0xC000003E
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050001  # EPERM

CALLS = {
    "read": 0,
    "write": 1,
    "open": 2,
    "close": 3,
    "stat": 4,
    "fstat": 5,
    "lstat": 6,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "mremap": 25,
    "madvise": 28,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "sigaltstack": 131,
    "pread64": 17,
    "readv": 19,
    "writev": 20,
    "access": 21,
    "dup": 32,
    "dup2": 33,
    "dup3": 292,
    "getcwd": 79,
    "readlink": 89,
    "getdents64": 217,
    "openat": 257,
    "newfstatat": 262,
    "readlinkat": 267,
    "faccessat": 269,
    "statx": 332,
    "faccessat2": 439,
    "uname": 63,
    "sysinfo": 99,
    "sched_yield": 24,
    "sched_getaffinity": 204,
    "getcpu": 309,
    "futex": 202,
    "nanosleep": 35,
    "clock_nanosleep": 230,
    "restart_syscall": 219,
    "time": 201,
    "gettimeofday": 96,
    "clock_gettime": 228,
    "clock_getres": 229,
    "times": 100,
    "getrusage": 98,
    "getpid": 39,
    "getppid": 110,
    "gettid": 186,
    "getuid": 102,
    "getgid": 104,
    "geteuid": 107,
    "getegid": 108,
    "getrandom": 318,
    "poll": 7,
    "select": 23,
    "rseq": 334,
    "exit": 60,
    "exit_group": 231,
}
"""The system calls that are left, by their numbers on x86-64."""


def confine() -> None:
    """Take it all.

    Raises:
        OSError: it cannot be, which leaves some of it.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise OSError(f"{sys.platform} on {platform.machine()} is not Linux on x86-64")
    libc = ctypes.CDLL(None, use_errno=True)

    def call(what: str, *arguments: object) -> int:
        function = libc.prctl if what == "prctl" else libc.syscall
        function.restype = ctypes.c_long
        given = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
        if (result := int(function(*given))) < 0:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
        return result

    call("prctl", _PDEATHSIG, 9, 0, 0, 0)  # with the thread that waits for this process
    # A crash is not handed to a program that collects such, which a limit of 0 bytes is not told.
    call("prctl", _DUMPABLE, 0, 0, 0, 0)
    call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    found = call("Landlock", _CREATE_RULESET, None, 0, 1)
    if found < LANDLOCK:
        raise OSError(f"Landlock {found} is older than {LANDLOCK}, which Linux 6.2 has")
    held = struct.pack("3Q", _FILES, 0, _OUTSIDE)
    size = len(held) if found >= _SCOPES else 8  # older ones know the first number alone
    ruleset = call("Landlock", _CREATE_RULESET, held, size, 0)
    for path in _readable():
        try:
            below = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        rights = _READ_FILE | (_READ_FOLDER if os.path.isdir(path) else 0)
        call("Landlock", _ADD_RULE, ruleset, _RULE_BELOW, struct.pack("=Qi", rights, below), 0)
        os.close(below)
    call("Landlock", _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    program = ctypes.create_string_buffer(b"".join(_program()))
    length = (len(program) - 1) // 8
    filter_ = ctypes.create_string_buffer(struct.pack("HP", length, ctypes.addressof(program)))
    call("prctl", _SECCOMP, 2, ctypes.addressof(filter_), 0, 0)


def _readable() -> set[str]:
    """Installed Python and shared libraries, and what Python reads beside."""
    python = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    libraries = {"/lib", "/lib64", "/usr/lib", "/usr/lib64", os.path.join(sys.base_prefix, "lib")}
    beside = {"/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo", "/dev/urandom"}
    return {*python, *site.getsitepackages(), *libraries, *beside, os.devnull}


def _program() -> Iterator[bytes]:
    """The list as the kernel reads it: which architecture, which call, what then."""
    numbers = sorted(CALLS.values())
    yield _step(_LOAD, 4)
    yield _step(_EQUAL, _X86_64, when=1)
    yield _step(_RETURN, _KILL)
    yield _step(_LOAD, 0)
    for place, number in enumerate(numbers):
        yield _step(_EQUAL, number, when=len(numbers) - place)
    yield _step(_RETURN, _REFUSE)
    yield _step(_RETURN, _ALLOW)


def _step(code: int, value: int, when: int = 0) -> bytes:
    """One instruction; `when`: how many are skipped if it is equal."""
    return struct.pack("HBBI", code, when, 0, value)
