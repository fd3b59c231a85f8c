"""What agents are called on pages: alike only where they are the same."""

from __future__ import annotations

from assay.candidates.registry import title_of
from assay.generate.registry import CLASSICAL
from assay.studio.pages.agent.made_models import MADE_HERE, describe_made
from assay.studio.shared.names import called_in_turn, exact_label, plain_labels, plain_line


def test_versions_of_one_agent_are_told_apart() -> None:
    one, other = plain_labels(["classifier@1", "classifier@2"]).values()
    assert (one, other) == (exact_label("classifier@1"), exact_label("classifier@2"))
    assert one != other
    assert called_in_turn(["classifier@1", "classifier@2"]) == f"{one} → {other}"
    assert called_in_turn(["classifier@1", "few-shot@1"]).count("version") == 0
    assert exact_label("mine") == "mine"


def test_a_job_speaks_of_candidates_as_the_pages_do() -> None:
    plain = plain_labels(["baseline-tfidf@1"])["baseline-tfidf@1"]
    for line, said in {
        "Candidate baseline-tfidf": f"Candidate: {plain}",
        "Holdout: baseline-tfidf": f"Holdout: {plain}",
        "Candidate baseline-tfidf-3": f"Candidate: {plain}, version 3",
        "baseline-tfidf": plain,
        "baseline-tfidf: the model did not answer": f"{plain}: the model did not answer",
        "`baseline-tfidf` was left out: too few rows": f"{plain} was left out: too few rows",
        "Holdout: labels of remote:far/big": "Holdout: labels of remote:far/big",
        "answering": "answering",
    }.items():
        assert plain_line(line) == said


def test_a_model_that_nobody_chose_is_called_as_its_candidates() -> None:
    assert {*MADE_HERE} == {*CLASSICAL, "outside"}
    for scheme, (kinds, _) in MADE_HERE.items():
        said = str(describe_made(f"{scheme}:{'0' * 64}"))
        assert all(str(title_of(kind)) in said for kind in kinds)
    assert describe_made("smollm2-135m-instruct") is None
