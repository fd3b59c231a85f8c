"""Run the suite and write its table: `python -m tests.compat`, see the package."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.compat.checks import NAMES
from tests.compat.table import Client, Finding, page
from tests.serve.process import server

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = {
    "openai": "openai-3",
    "openai_agents": "openai-3",
    "pydantic_ai": "openai-3",
    "dspy": "litellm",
    "instructor": "litellm",
    "langchain_openai": "litellm",
    "litellm": "litellm",
    "llama_index": "llama-index",
}
"""File of `clients/` -> file of `requirements/`, and the folder that it is installed in."""
SECONDS = 900
"""Most that one client may take."""
_PASSED = ("PATH", "LANG", "TIKTOKEN_CACHE_DIR")
_QUIET = {
    "OTEL_SDK_DISABLED": "true",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}


def main() -> int:
    """Returns the exit status: 1 where something does not work."""
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description=__doc__)
    parser.add_argument("--clients", type=Path, default=ROOT / ".venv-compat")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "compat.md")
    parser.add_argument(
        "--only", choices=ENVIRONMENTS, nargs="+", help="the others as they were in the last run"
    )
    parser.add_argument(
        "--checks", choices=NAMES, nargs="+", default=[], help="the others likewise"
    )
    chosen = parser.parse_args()
    kept = chosen.clients / "findings.json"
    found: dict[str, list[dict[str, Any]]] = json.loads(kept.read_text()) if kept.exists() else {}
    os.environ["TIKTOKEN_CACHE_DIR"] = str(_tiktoken_folder(chosen.clients))  # the server's, too
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as running:
        for name in chosen.only or ENVIRONMENTS:
            python = (chosen.clients / ENVIRONMENTS[name] / "bin" / "python").absolute()
            head, *new = _drive(name, python, chosen.checks, running.url, running.key, Path(folder))
            old = found.get(name, [])[1:] if chosen.checks else []
            found[name] = [head, *[one for one in old if one["check"] not in chosen.checks], *new]
            kept.write_text(json.dumps(found))
        running.stop()
    if missing := sorted(ENVIRONMENTS.keys() - found.keys()):
        print(f"Not written, as these have not run: {', '.join(missing)}")
        return 1
    clients = [_client(found[name]) for name in ENVIRONMENTS]
    chosen.out.write_text(page(clients), "utf-8")
    print(f"Written: {chosen.out}")
    return int(any(one.error is not None for client in clients for one in client.findings))


def _tiktoken_folder(clients: Path) -> Path:
    """Where LiteLLM brings the file that tiktoken would fetch."""
    [folder] = clients.absolute().glob(
        "litellm/lib/python*/site-packages/litellm/litellm_core_utils/tokenizers"
    )
    return folder


def _drive(
    name: str, python: Path, checks: Sequence[str], url: str, key: str, home: Path
) -> list[dict[str, Any]]:
    """Run one client's file, and say what it does while it does."""
    environment = {
        **{name: os.environ[name] for name in _PASSED if name in os.environ},
        "HOME": str(home),
        "DSPY_CACHEDIR": str(home / "dspy"),
        **_QUIET,
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": key,
    }
    log = home / f"{name}.log"
    told = []
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [str(python), "-m", f"tests.compat.clients.{name}", *checks],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as running,
    ):
        limit = threading.Timer(SECONDS, running.kill)
        limit.start()
        for line in running.stdout or ():
            if line.startswith('{"'):  # clients print words of their own
                told.append(json.loads(line))
                print(f"{name}: {line.strip()}", flush=True)
        limit.cancel()
    if running.returncode != 0 or not told:
        sys.exit(f"{name} has not run to its end:\n{log.read_text('utf-8', 'replace')[-4000:]}")
    return told


def _client(told: list[dict[str, Any]]) -> Client:
    head, *checks = told
    findings = tuple(Finding(one["check"], one["error"], one["but"]) for one in checks)
    return Client(head["package"], head["version"], head["openai"], findings)


if __name__ == "__main__":
    sys.exit(main())
