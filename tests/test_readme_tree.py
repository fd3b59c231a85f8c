"""README's map names the folders there are, and no folder is there by accident."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def folders_named() -> set[str]:
    """Of the map, as paths."""
    text = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"^## The tree\n+```\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    named, within = set(), ""
    for line in block[1].splitlines():
        for name in re.findall(r"(\S+)/(?:,|$)", line.strip().split("  ")[0]):
            if line.startswith(" "):
                named.add(f"{within}/{name}")
            else:
                within = name
                named.add(name.split("/")[0])
    return named


def test_every_folder_is_on_the_map() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    paths = [Path(name).parts for name in listed.stdout.split("\0") if name]
    top = {parts[0] for parts in paths if len(parts) > 1 and not parts[0].startswith(".")}
    rooms = {"/".join(parts[:3]) for parts in paths if len(parts) > 3 and parts[0] == "src"}
    assert top | rooms == folders_named()
