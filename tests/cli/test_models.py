"""The catalogue as a person reads it and as a script does."""

from __future__ import annotations

import json

from tests.command import run


def test_the_catalogue_fits_a_terminal_and_says_sizes_as_people_do() -> None:
    printed = run("models", "list")
    assert printed.returncode == 0
    first, summary, tuning, folder = printed.stdout.splitlines()[:4]
    assert first == "smollm2-135m-instruct: chat, 640 MB, Apache-2.0, on this machine"
    assert "135 million parameters" in summary
    assert tuning.startswith("  Fine-tuning takes at least 9")
    rows = json.loads(run("models", "list", "--json").stdout)
    assert (rows[0]["ref"], rows[0]["kind"]) == ("smollm2-135m-instruct", "chat")
    assert folder == f"  {rows[0]['folder']}"
    assert isinstance(rows[0]["tuning_bytes"], int)
    assert rows[1]["tuning_bytes"] is None  # an embedder


def test_a_model_is_described() -> None:
    facts = json.loads(run("models", "show", "smollm2-135m-instruct", "--json").stdout)
    assert facts["architecture"] == "LlamaForCausalLM"
    assert f"{facts['folder']}" in run("models", "show", "smollm2-135m-instruct").stdout
