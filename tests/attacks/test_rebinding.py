"""DNS rebinding against the real resolver: what is connected to is what was checked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.attacks.rebinding import PLANS, ROUNDS
from tests.figures import Figure

NAMESPACES = ("unshare", "--map-root-user", "--net", "--mount")
ROOT = Path(__file__).parents[2]


def test_no_name_leads_inside_whatever_it_resolves_to(tmp_path: Path, figure: Figure) -> None:
    if not all(map(shutil.which, ("unshare", "ip"))):
        pytest.skip("there is no unshare or ip here")
    if subprocess.run([*NAMESPACES, "true"], capture_output=True).returncode:
        pytest.skip("namespaces cannot be made here")
    command = [*NAMESPACES, sys.executable, "-m", "tests.attacks.rebinding", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert set(results) == set(PLANS)
    for plan, result in results.items():
        assert result["victims"] == 0, plan
        answered = result["said"].count("answered")
        assert result["provider"] == answered, plan
        if plan == "public":
            assert answered == ROUNDS
        elif "at once" in plan:
            assert answered == 0  # one bad address refuses the name
        else:
            assert 0 < answered < ROUNDS, plan
    tried = len(PLANS) * ROUNDS
    figure(
        "requests to names that rebind, by a live resolver, that reached inside", f"0 of {tried}"
    )
