"""What a server holds while nothing is asked, and after much was: it must not add up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.figures import Figure

from assay.interpreter import python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory as Linux counts it")

SERVER_MB = 1200
ROOT = Path(__file__).parent.parent.parent


def resident(requests: int) -> dict[int, int]:
    """MB of a server after so many mixed requests, as `bench/serve_memory.py` measures them."""
    command = python(str(ROOT / "bench" / "serve_memory.py"), "--json", "--requests", str(requests))
    done = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return {row["after"]: row["resident"] for row in json.loads(done.stdout)}


def test_requests_do_not_add_up() -> None:
    """The bounded part: all that is loaded once is there after the first thirty."""
    found = resident(100)
    assert found[100] < 1.05 * found[30], found
    assert found[100] < SERVER_MB, found


@pytest.mark.soak
def test_ten_thousand_requests_do_not_add_up(figure: Figure) -> None:
    found = resident(10_000)
    later = max(size for after, size in found.items() if after >= 1000)
    figure("server after 1,000 mixed requests", f"{found[1000]} MB")
    figure("growth of the server from request 1,000 to 10,000", f"{later / found[1000] - 1:.1%}")
    assert later < 1.03 * found[1000], found
    assert found[1000] < SERVER_MB, found
