"""What somebody who may only look sees of assay.yaml."""

from __future__ import annotations

import pytest

from assay.project.settings.redaction import HIDDEN, without_secrets

TEXT = """\
version: 1
providers:
  far:  # once with sk-plain-one
    base_url: https://far.example.com/v1
    key_env: FAR_KEY
    headers: {x-goog-api-key: sk-plain-one, X-Team: "${TEAM}"}
    query: {api-version: "2024-06-01", key: sk-plain-two}
    proxy: http://ann:pass-three@proxy.example.com:8080
"""


def test_values_that_could_be_keys_are_hidden_and_all_else_stays() -> None:
    shown = without_secrets(TEXT)
    for secret in ("sk-plain-one", "sk-plain-two", "pass-three"):
        assert secret not in shown
    assert shown.count(HIDDEN) == 4
    for part in ("FAR_KEY", "${TEAM}", "2024-06-01", "https://far.example.com/v1"):
        assert part in shown
    plain = "version: 1\nname: a\n"
    assert without_secrets(plain) == plain


@pytest.mark.parametrize("broken", [TEXT + "  : [", "\tproviders:\n" + TEXT])
def test_of_a_text_that_cannot_be_read_nothing_of_providers_is_shown(broken: str) -> None:
    assert "sk-plain" not in without_secrets(broken)
