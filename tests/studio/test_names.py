"""What agents are called on pages: alike only where they are the same."""

from __future__ import annotations

from assay.studio.shared.names import called_in_turn, exact_label, plain_labels


def test_versions_of_one_agent_are_told_apart() -> None:
    one, other = plain_labels(["classifier@1", "classifier@2"]).values()
    assert (one, other) == (exact_label("classifier@1"), exact_label("classifier@2"))
    assert one != other
    assert called_in_turn(["classifier@1", "classifier@2"]) == f"{one} → {other}"
    assert called_in_turn(["classifier@1", "few-shot@1"]).count("version") == 0
    assert exact_label("mine") == "mine"
