"""A provider that leaves one request among many unanswered, or refuses one for what it says.

An outage must not remove a candidate for good: the same command asks for what is missing, and only
for that, and concludes anew in the same opening. What is refused is an answer that failed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.generate.remote.provider import Reply, refused, said, serving
from tests.small import small_project

import assay
from assay.compare.report import wording
from assay.compare.result import CandidateResult, Result
from assay.errors import OutageError
from assay.evaluate.run import run
from assay.progress import Silent
from assay.project.project import Project

ANIMAL = re.compile(r"\b(cat|dog|parrot)\b")
TOO_LONG = {
    "message": "This model's maximum context length is 8192 tokens.",
    "code": "context_length_exceeded",
}
FILTERED = {"message": "The prompt was filtered.", "code": "content_filter"}
NO_CREDIT = {"message": "Your credit balance is too low to access the API."}


class Answers:
    """Answers every question rightly, but for the texts that it is told to `fail` on."""

    def __init__(self) -> None:
        self.fail: dict[str, Callable[[], Reply]] = {}
        self.asked: Counter[str] = Counter()

    def __call__(self, body: dict[str, Any], _: int) -> Reply:
        text = body["messages"][-1]["content"]
        self.asked[text] += 1
        if text in self.fail:
            return self.fail[text]()
        found = ANIMAL.search(text)
        return said(found[0] if found else "none", usage={"prompt_tokens": 9})


class ForPrograms(Silent):
    """What programs may read of the lines that are said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def say_quoting(self, line: str, plain: str) -> None:
        self.lines.append(plain)


def error(status: int, fields: dict[str, Any]) -> Reply:
    return Reply(json.dumps({"error": fields}).encode(), status)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Project, Answers]]:
    """A project whose best candidate is a provider's model; no pause is waited for."""
    monkeypatch.setitem(run.__kwdefaults__, "backoff_s", 0.0)
    provider = Answers()
    with serving(provider) as far:
        at = (
            f"remote: remote:far/big\nproviders:\n  far:\n    base_url: "
            f"http://127.0.0.1:{far.port}/v1\n    private_network: true\n    consent: true\n"
            "    retries: 0\n    timeout_s: 5\n    concurrency: 8\n"
        )
        names = "  - prompt\n  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n"
        made = small_project(tmp_path, rows=120, edit={names: "  - remote\n"})
        path = made.root / "assay.yaml"
        path.write_text(path.read_text() + at)
        yield assay.open(made.root), provider


def part_of(project: Project, part: str) -> list[str]:
    """Inputs of the holdout or of validation."""
    project.split()
    lines = (project.split_folder / f"{part}.jsonl").read_text().splitlines()
    return [json.loads(line)["messages"][-2]["content"] for line in lines]


def remote(result: Result) -> CandidateResult:
    return next(one for one in result.candidates if one.name == "remote")


@pytest.mark.parametrize(
    "outage",
    [
        lambda: refused(500, "overloaded"),
        lambda: Reply(b'{"choices": []}', cut=True),
        lambda: error(400, NO_CREDIT),
        pytest.param(lambda: Reply(b"{}", wait=7.0), marks=pytest.mark.soak),
    ],
    ids=["error", "cut", "no credit", "silence"],
)
def test_one_unanswered_request_removes_no_candidate(
    shop: tuple[Project, Answers], outage: Callable[[], Reply]
) -> None:
    project, provider = shop
    row = part_of(project, "holdout")[3]
    provider.fail[row] = outage
    first = project.compare(reason="first look").result
    assert (remote(first).status, remote(first).missing) == ("incomplete", 1)
    assert first.verdict.not_judged == ["remote"]
    assert first.verdict.outcome != "none"
    assert "remote" in first.verdict.reason
    assert "not final" in wording.headline(first.verdict)

    provider.fail.clear()
    provider.asked.clear()
    second = assay.open(project.root).compare(reason="after the outage").result
    assert provider.asked == {row: 1}
    assert (remote(second).status, remote(second).score) == ("complete", 1.0)
    assert second.verdict.not_judged == []
    assert second.plan == first.plan
    assert [one.reason for one in project.openings()] == ["first look"]

    provider.asked.clear()
    assert assay.open(project.root).compare().result == second
    assert not provider.asked


@pytest.mark.parametrize(
    "refusal",
    [
        lambda: error(400, TOO_LONG),
        lambda: error(400, FILTERED),
        lambda: error(413, {"message": "Request too large."}),
        lambda: error(200, {"message": "Input is too long.", "code": 400}),
    ],
    ids=["too long", "filtered", "413", "400 in a 200"],
)
def test_what_is_refused_is_an_answer_that_failed(
    shop: tuple[Project, Answers], refusal: Callable[[], Reply]
) -> None:
    project, provider = shop
    rows = part_of(project, "holdout")
    provider.fail[rows[3]] = refusal
    result = project.compare().result
    found = remote(result)
    assert (found.status, found.failed, found.refused) == ("complete", 1, 1)
    assert found.score == pytest.approx(1 - 1 / len(rows))
    assert result.verdict.not_judged == []
    assert any("refused" in warning for warning in found.warnings)
    assert provider.asked[rows[3]] == 1


def test_an_outage_before_the_opening_opens_nothing(shop: tuple[Project, Answers]) -> None:
    project, provider = shop
    row = part_of(project, "validation")[0]
    provider.fail[row] = lambda: refused(503, "as the row says")
    programs = ForPrograms()
    with pytest.raises(OutageError, match="as the row says"):
        project.compare(reason="too early", progress=programs)
    left = re.compile(r"remote: \S+ left 1 of \d+ requests unanswered\.")
    assert any(map(left.fullmatch, programs.lines))
    assert not any("as the row says" in line for line in programs.lines)
    assert project.openings() == []
    provider.fail.clear()
    provider.asked.clear()
    result = assay.open(project.root).compare(reason="now").result
    assert provider.asked[row] >= 1
    assert remote(result).status == "complete"
    assert [one.reason for one in project.openings()] == ["now"]


def test_a_model_that_refuses_everything_is_not_judged(shop: tuple[Project, Answers]) -> None:
    """It cannot be told from one that is asked in a wrong way, which can be mended."""
    project, provider = shop
    for row in part_of(project, "holdout"):
        provider.fail[row] = lambda: error(400, {"message": "Unknown parameter: 'max_tokens'."})
    first = project.compare().result
    assert (remote(first).status, first.verdict.not_judged) == ("incomplete", ["remote"])
    provider.fail.clear()
    second = assay.open(project.root).compare().result
    assert (remote(second).status, remote(second).refused) == ("complete", 0)
    assert len(project.openings()) == 1
