"""A candidate and its engine from another distribution: one file, and nothing else is touched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from tests.distributions import write_distribution
from tests.small import small_project

from assay.candidates import registry
from assay.errors import ConfigError

TOY = """
from assay.candidates.building import Candidate, Trial
from assay.candidates.spec import LABELS, CandidateSpec
from assay.generate.batch import Answer

SPEC = CandidateSpec(
    title="a toy from elsewhere",
    explanation="Looks for a label in the text.",
    family="prompt",
    needs=(LABELS,),
    proposed=True,
)


def build(context):
    agent = context.chat_agent(model="toy:" + ",".join(context.config.labels))
    measured = context.measure(agent)
    return Candidate(agent, (Trial("own settings", measured.score, True),),
                     tuple(measured.primary_scores))


class Finder:
    def __init__(self, model):
        self.identity = {"engine": "toy", "model": model}
        self.labels = model.removeprefix("toy:").split(",")

    def prompt_length(self, request):
        return len(request.messages)

    def answer(self, requests, progress=None):
        texts = [request.messages[-1].content for request in requests]
        return [Answer(next(label for label in self.labels if label in text)) for text in texts]


def open_batch(model, resources):
    return Finder(model)
"""
SHOWN = """
import json
from assay.candidates import registry
from assay.project.settings import completions
from tests.reference import candidates

print(json.dumps({
    "table": candidates(),
    "new project": [s.title for s in registry.offer(task="label", documents=False).values()],
    "proposed": registry.propose_candidates(task="label", documents=False),
    "editor": completions()["candidates"]["values"],
}))
"""


def python(distribution: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Another Python that has the distribution installed."""
    path = os.pathsep.join([str(distribution), *(part for part in sys.path if part)])
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_it_takes_part_and_is_shown_wherever_candidates_are(tmp_path: Path) -> None:
    made = small_project(tmp_path)
    config = made.root / "assay.yaml"
    text = config.read_text("utf-8")
    named = text.index("candidates:")
    end = text.index("\n\n", named)
    config.write_text(f"{text[:named]}candidates: [toy]{text[end:]}", "utf-8")
    toy = write_distribution(tmp_path / "site", TOY, "assay.candidates", "assay.engines")

    main = "from assay.cli.main import run; run()"
    done = python(toy, "-c", main, "compare", "--project", str(made.root), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    [ours] = [one for one in result["candidates"] if one["name"] == "toy"]
    assert (ours["kind"], ours["title"]) == ("toy", "a toy from elsewhere")
    assert ours["score"] == 1.0
    unasked = registry.baselines(made.config)
    assert {one["name"] for one in result["candidates"]} == {"toy", *unasked}
    [report] = made.root.glob(".assay/comparisons/*/report.html")
    assert "A toy from elsewhere" in report.read_text("utf-8")

    asked = python(toy, "-c", dedent(SHOWN))
    assert asked.returncode == 0, asked.stderr
    shown = json.loads(asked.stdout)
    assert "| `toy` | a toy from elsewhere | Looks for a label" in shown["table"]
    assert "a toy from elsewhere" in shown["new project"]
    assert "toy" in shown["proposed"]
    assert "toy" in shown["editor"]


@pytest.mark.parametrize(
    ("name", "module", "said"),
    [
        ("prompt", TOY, "the name is taken"),
        ("Toy Candidate", TOY, "lowercase letters"),
        ("toy", "import no_such_module", "no_such_module"),
        ("toy", "", "has no SPEC"),
        ("toy", TOY.replace("def build", "def make"), "no build"),
        ("toy", TOY.replace('family="prompt"', 'family="magic"'), "no family 'magic'"),
    ],
)
def test_one_that_cannot_be_used_is_left_out_and_named_with_its_distribution(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    module: str,
    said: str,
) -> None:
    known = set(registry.specs())
    monkeypatch.syspath_prepend(write_distribution(tmp_path, module, "assay.candidates", name=name))
    monkeypatch.delitem(sys.modules, "assay_toy", raising=False)
    assert set(registry._modules.__wrapped__()) == known
    [line] = caplog.messages
    assert re.search(f"of assay-toy .*{said}", line)
    if name not in known:  # where it is named it is an error
        with pytest.raises(ConfigError, match=f"of assay-toy .*{said}"):
            registry.check_name(name)
    sys.modules.pop("assay_toy", None)
