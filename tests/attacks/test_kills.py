"""`kill -9` before every step of ingest, removal, changes of a release, restore and migration.

What is left is whole, as it was before or as it is after, and the same command goes through. A few
of the steps in `make test`, every one in `make soak`; see `tests/attacks/killing.py`.
"""

from __future__ import annotations

import json

import pytest
from tests.attacks import killing
from tests.figures import Figure
from tests.preloaded import printed

ALL = (
    *("ingest", "remove", "promote", "canary", "roll back"),
    *("migrate", "migrate 0001", "migrate 0007", "migrate 0012"),
)
ON_SQLITE = {
    "ingest": 2,
    "remove": 2,
    "promote": 4,
    "canary": 4,
    "roll back": 4,
    "restore": 8,
    "migrate": 4,
    "migrate 0001": 6,
}
ON_POSTGRES = {"promote": 4, "migrate 0012": 4}


def kill(request: pytest.FixtureRequest, works: dict[str, int], on: str) -> dict[str, int]:
    """How many kills each piece of work has survived on a database of the kind `on`."""
    folder = request.getfixturevalue("tmp_path") / on
    folder.mkdir()
    socket = [request.getfixturevalue("postgres")] if on == "postgresql" else []
    told = printed(killing.run, str(folder), json.dumps(works), *socket, folder=folder)
    found: dict[str, int] = json.loads(told.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("on", "works"),
    [("sqlite", ON_SQLITE), ("postgresql", ON_POSTGRES)],
    ids=["sqlite", "postgresql"],
)
def test_a_few_kills(request: pytest.FixtureRequest, on: str, works: dict[str, int]) -> None:
    assert kill(request, works, on) == works


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_kill_at_every_step(request: pytest.FixtureRequest, figure: Figure) -> None:
    found = {
        "SQLite": kill(request, dict.fromkeys((*ALL, "restore"), 0), "sqlite"),
        "PostgreSQL": kill(request, dict.fromkeys(ALL, 0), "postgresql"),
    }
    total = sum(sum(counts.values()) for counts in found.values())
    by = "; ".join(f"{on}: {json.dumps(counts)[1:-1]}" for on, counts in found.items())
    figure("kills survived", f"{total} ({by})".replace('"', ""))
