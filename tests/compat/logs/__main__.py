"""Write the logs anew: `python -m tests.compat.logs`, see the package."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
WRITTEN = Path(__file__).parent / "written"
SECONDS = 600
"""Most that one program may take."""


@dataclass(frozen=True)
class Program:
    """A program that writes logs.

    Attributes:
        environment: the folder that it is installed in.
        package: whose version the table tells.
        files: what it writes.
        of_node: it is a package of npm, which the Python that runs this drives.
    """

    environment: str
    package: str
    files: tuple[str, ...]
    of_node: bool = False


PROGRAMS = {
    "inspect_ai": Program("logs", "inspect-ai", ("inspect.eval", "inspect.json")),
    "lm_eval": Program(
        "logs",
        "lm-eval",
        ("lm-eval-generated.jsonl", "lm-eval-chat.jsonl", "lm-eval-chosen.jsonl"),
    ),
    "litellm": Program("litellm", "litellm", ("litellm.jsonl",)),
    "openllmetry": Program("logs", "opentelemetry-instrumentation-openai", ("openllmetry.jsonl",)),
    "promptfoo": Program(
        "promptfoo",
        "promptfoo",
        ("promptfoo-init.yaml", "promptfoo-grades.jsonl", "promptfoo-exports.jsonl"),
        of_node=True,
    ),
}
"""By the file that drives it."""
_QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRACELOOP_TELEMETRY": "false",
}
_HEAD = """# What other programs have written

Written by `make logs` with the files beside this folder; not changed by hand. Left out are the
events of `inspect.json`, and of `litellm.jsonl` the address that was asked and what `LEFT_OUT`
names.

| file | package |
|---|---|
"""


def main() -> int:
    """Returns the exit status: 1 where a program did not write what it should."""
    parser = argparse.ArgumentParser(prog="python -m tests.compat.logs", description=__doc__)
    parser.add_argument("--clients", type=Path, default=ROOT / ".venv-compat")
    parser.add_argument("--only", choices=PROGRAMS, nargs="+", help="the others as they are")
    chosen = parser.parse_args()
    table = WRITTEN / "README.md"
    rows = dict(_rows(table.read_text("utf-8"))) if table.exists() else {}
    for name in chosen.only or PROGRAMS:
        program = PROGRAMS[name]
        installed = (chosen.clients / program.environment).absolute()
        python = Path(sys.executable) if program.of_node else installed / "bin" / "python"
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                **_QUIET,
                "PATH": os.environ["PATH"],
                "HOME": folder,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
            }
            command = [str(python), "-m", f"tests.compat.logs.{name}", str(WRITTEN), str(installed)]
            ended = subprocess.run(
                command, cwd=folder, env=environment, timeout=SECONDS, check=False
            )
        if ended.returncode != 0:
            print(f"{name} has not run to its end.", file=sys.stderr)
            return 1
        version = _version(program, python, installed)
        rows |= dict.fromkeys(program.files, f"{program.package} {version}")
    lines = "".join(f"| `{file}` | {package} |\n" for file, package in sorted(rows.items()))
    table.write_text(_HEAD + lines, "utf-8")
    print(f"Written: {WRITTEN}")
    return 0


def _version(program: Program, python: Path, installed: Path) -> str:
    if program.of_node:
        package = installed / "node_modules" / program.package / "package.json"
        return str(json.loads(package.read_text("utf-8"))["version"])
    asked = f"import importlib.metadata as m; print(m.version({program.package!r}))"
    return subprocess.check_output([str(python), "-c", asked], text=True).strip()


def _rows(text: str) -> list[tuple[str, str]]:
    """The rows of the table that is there."""
    cells = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    return [(one[1].strip().strip("`"), one[2].strip()) for one in cells]


if __name__ == "__main__":
    sys.exit(main())
