"""The README's recording: what it shows, and what it must not."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from tests.recording import Output, masked, states
from tests.terminal_svg import film

ROOT = Path(__file__).parent.parent
SHOWN = ROOT / "docs" / "recording.svg"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_recording_is_of_the_commands_and_of_no_machine() -> None:
    text = SHOWN.read_text("utf-8")
    lines = [
        "".join(part.text or "" for part in group)
        for group in ElementTree.fromstring(text).iter(f"{SVG}g")
        if group.get("id")
    ]
    for command in ("data check", "init", "compare", "serve"):
        assert any(line.startswith(f"$ assay {command}") for line in lines), command
    assert not re.search(r"/(root|home|tmp|work|Users)\b|assay-\w{16}", text)
    assert "docs/recording.svg" in (ROOT / "README.md").read_text("utf-8")


def test_states_are_shown_at_their_time_without_secrets() -> None:
    key = "assay-" + "k" * 30
    printed = [Output(0.0, f"key {key[:9]}"), Output(0.01, f"{key[9:]} <b>\r\n"), Output(3, "$ ")]
    assert key[9:] not in "".join(output.text for output in masked(printed))
    seen = list(states(printed))
    assert [state.second for state in seen] == [0.01, 3]
    text = film(seen, 4.0, 100, 30, "A title")
    ElementTree.fromstring(text)
    assert "&lt;b&gt;" in text
    assert "0.250%{transform:translateY(0px)}75.000%{transform:translateY(-540px)}" in text
    assert "prefers-reduced-motion" in text
