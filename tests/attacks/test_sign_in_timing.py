"""What the time of a refusal tells of a key, a link or a session: nothing.

A secret is looked up by its sha256: what differs from one wrong secret to the next is where their
hashes differ, which nobody can choose. Held by construction, and by measurement.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from tests.figures import Figure

from assay.accounts import keys, people
from assay.project.workspace import Workspace

Ask = Callable[[str], object]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def secrets_of(workspace: Workspace) -> dict[str, tuple[str, Ask]]:
    """A good secret of each kind, and what asks for one."""
    store = workspace.store
    person = people.add(workspace, "ann", "admin")
    redeemed = people.redeem(workspace, people.sign_in_secret(workspace, person.id))
    assert redeemed is not None
    return {
        "key": (
            keys.create_key(store, workspace.name, "k", ["chat"])[1],
            lambda secret: keys.find_key(store, secret),
        ),
        "link": (
            people.sign_in_secret(workspace, person.id),
            lambda secret: people.redeem(workspace, secret),
        ),
        "session": (redeemed[1], lambda secret: people.find_signed_in(workspace, secret)),
    }


def test_only_the_hash_of_a_secret_is_compared(workspace: Workspace) -> None:
    known = secrets_of(workspace)
    sent: list[Any] = []
    event.listen(
        workspace.store.engine,
        "before_cursor_execute",
        lambda _c, _k, _s, parameters, *_: sent.append(repr(parameters)),
    )
    for secret, ask in known.values():
        for wrong in (secret[:-1] + "!", secret[:12], secret.upper(), ""):
            sent.clear()
            assert ask(wrong) is None
            asked = " ".join(sent)
            assert hashlib.sha256(wrong.encode()).hexdigest() in asked
            assert not wrong or wrong not in asked


def tried(ask: Ask, kinds: dict[str, list[str]]) -> dict[str, float]:
    """Median seconds of a refusal of each kind, asked in turns."""
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in zip(*kinds.values(), strict=True):
        for kind, secret in zip(kinds, turn, strict=True):
            began = time.perf_counter()
            found = ask(secret)
            times[kind].append(time.perf_counter() - began)
            assert found is None
    return {kind: statistics.median(taken) for kind, taken in times.items()}


@pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.soak)])
def test_a_near_miss_takes_as_long_as_a_guess(
    workspace: Workspace, figure: Figure, count: int
) -> None:
    for name, (secret, ask) in secrets_of(workspace).items():
        middle = len(secret) // 2
        kinds = {
            "guess": [f"assay-{n:037d}" for n in range(count)],
            "half right": [f"{secret[:middle]}{n:0{len(secret) - middle}d}" for n in range(count)],
            "all but the end": [f"{secret[:-4]}{n:04d}" for n in range(count)],
        }
        taken = tried(ask, kinds)
        apart = max(taken.values()) / min(taken.values()) - 1
        assert apart < 0.5, taken  # a machine that does other work; it is some per cent
        figure(f"a wrong {name}: medians of refusals apart, guess to near miss", f"{apart:.1%}")
