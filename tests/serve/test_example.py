"""Examples in examples/: OpenAI's documentation, an agent's loop, a real server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serve.process import server

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = EXAMPLES / "openai_drop_in.py"


def test_it_knows_nothing_of_assay() -> None:
    text = EXAMPLE.read_text("utf-8")
    code = text.split('"""', 2)[2]
    assert "assay" not in code.lower()
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)) == {
        *("argparse", "csv", "io", "json", "time", "pathlib", "openai")
    }


@pytest.mark.slow
def test_it_runs_against_a_real_server(tmp_path: Path) -> None:
    animals = ["cat", "dog", "parrot", "horse"]
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"{name} feeds the {animals[n % 4]}."},
                {"role": "assistant", "content": animals[n % 4].upper()},
            ]
        }
        for n, name in enumerate(["Ann", "Ben", "Cara", "Dov", "Eli", "Fay"] * 4)
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with server(tmp_path) as running:
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": f"{running.url}/v1",
            "OPENAI_API_KEY": running.key,
        }
        done = subprocess.run(
            [sys.executable, str(EXAMPLE), str(data), "--epochs", "2"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=550,
        )
        assert done.returncode == 0, done.stderr + running.output.read_text()
        assert running.stop() == 0
    told = done.stdout
    assert re.search(
        r"^ft:smollm2-135m-instruct:default:drop-in:\w{8} after \d+ tokens$", told, re.M
    )
    assert re.search(r"Step 1/10: training loss=", told)
    assert told.count("checkpoint ft:") == 2
    first, last = re.search(r"train_loss (\S+) -> (\S+) in 10 steps", told).groups()  # type: ignore[union-attr]
    assert float(last) < float(first) / 2
    assert "answered: CAT" in told


@pytest.mark.slow
def test_an_agent_loop_drives_a_specialist_made_of_dialogues(tmp_path: Path) -> None:
    """A call is asked for, made, answered with its result, until the model answers in words."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "tool_specialist.py"), "--candidates", "extract-call"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout
    assert "extract-call: 100% of answers call exactly what is right" in told
    assert told.endswith(
        """user: Hello, is there a ferry to Turku?
agent: On which day?
user: On 2027-06-03, please.
  find_ferry({"to": "Turku", "date": "2027-06-03"}) -> ["TUR-21"]
  book_ferry({"departure": "TUR-21"}) -> "booked TUR-21"
agent: It is booked. Have a good crossing.
booked: TUR-21
"""
    )
