"""The processes that train one version together, and how they add up what each has computed.

    ranks.add(gradients)     # in every process: afterwards each holds the sum, equal to the bit

The sum is Gloo's (`torch.distributed`), in an order that depends on the number of ranks alone. No
process group is registered with torch: nothing of this process changes but what is passed.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from assay.errors import ModelError

if TYPE_CHECKING:  # some builds of torch have none
    from torch.distributed import Store  # type: ignore[attr-defined]

MEET_S = 120.0
"""How long ranks that are ready wait for each other at the start."""
SILENCE_S = 1800.0
"""How long one rank's step may take more than another's. A process that ends is noticed at once, a
machine that has gone without a word after `PROBES` times `PROBED_S`."""
PROBED_S, PROBES = 10, 6
"""How often a connection on which nothing comes is asked for a sign of life, and how many may stay
without an answer."""


class RankLostError(ModelError):
    """A process of a training has ended, or cannot be reached."""


class Ranks(Protocol):
    """One process among those that train together.

    Attributes:
        number: of this process, from 0; rank 0 writes the files and decides what clocks decide.
        size: how many there are.
    """

    number: int
    size: int

    def add(self, values: Tensor) -> None:
        """Put the sum over all ranks in the place of each one's `values` (any shape, on the CPU).

        Raises:
            RankLostError: another one has ended.
        """


class SingleRank:
    """One process, which has nothing to add."""

    number, size = 0, 1

    def add(self, values: Tensor) -> None:
        """Leave `values` as they are: of one process they are the sum."""


ALONE = SingleRank()


class GlooRank:
    """A process that is connected to all others.

    Args:
        number, size: as in `Ranks`.
        host: this process' own address, at which the others reach it.
        store: where all of them find each other.
    """

    def __init__(self, number: int, size: int, host: str, store: Store) -> None:
        self.number, self.size = number, size
        from torch import distributed

        gloo: Any = distributed.ProcessGroupGloo  # its stubs know half of it
        options = gloo._Options()
        options._timeout = timedelta(seconds=SILENCE_S)
        # Bound to this address alone: Gloo by itself takes that of the host's name.
        options._devices = [gloo.create_device(hostname=host)]
        before = _open_files()
        try:
            self._group = gloo(store, number, size, options)
        except RuntimeError as error:
            raise _lost(error) from None
        for file in _open_files() - before:
            _probe(file)

    def add(self, values: Tensor) -> None:
        """Put the sum over all ranks in the place of `values`, see `Ranks`."""
        try:
            self._group.allreduce([values]).wait()
        except RuntimeError as error:
            raise _lost(error) from None


def listening(host: str) -> socket.socket:
    """A socket for `first_store`, at a free port of one address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.bind((host, 0))
    found.listen(128)
    return found


def first_store(host: str, own: socket.socket, size: int) -> Store:
    """Rank 0's meeting place, on a socket of `listening`, which it closes in the end."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    port = own.getsockname()[1]
    return TCPStore(
        host,
        port,
        size,
        is_master=True,
        timeout=timedelta(seconds=MEET_S),
        wait_for_workers=False,
        master_listen_fd=own.detach(),
    )


def other_store(host: str, port: int, size: int) -> Store:
    """The same in another rank.

    Raises:
        RankLostError: rank 0 cannot be reached.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    wait = timedelta(seconds=MEET_S)
    try:
        return TCPStore(host, port, size, is_master=False, timeout=wait)
    except RuntimeError as error:
        raise _lost(error) from None


def _open_files() -> set[int]:
    return {int(name) for name in os.listdir("/dev/fd")}


def _probe(file: int) -> None:
    """Have the system find out whether a connection's other end is still there, if it is one.

    Gloo has no setting for it, and would wait for a machine that has gone.
    """
    with suppress(OSError), socket.socket(fileno=os.dup(file)) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBED_S)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
        if sys.platform == "darwin":
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPALIVE, PROBED_S)
        else:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBED_S)
        if sys.platform == "linux":  # for what was sent and is not confirmed
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * PROBED_S * PROBES)


def _lost(error: RuntimeError) -> RankLostError:
    said = str(error)
    with suppress(IndexError):  # "[file:line] Connection closed by peer [address]. This is …"
        said = said.split("] ", 1)[1]
    said = said.split(". ")[0].strip()
    return RankLostError(f"a process of this training is gone ({said}).")
