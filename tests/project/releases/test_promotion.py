"""A tuned starter is promoted for real: through the gate, by the engine that will serve it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.small import write_csv

from assay import project
from assay.agent.versions import save_agent
from assay.candidates.shared.training import train_version
from assay.evaluate import parity as gate
from assay.evaluate.parity import MOST_KL, Parity
from assay.evaluate.targets import ServingTarget
from assay.generate.llamacpp.engine import LlamaCppEngine
from assay.project import releases
from assay.project.start.init import Choices
from assay.release.releases import current

pytestmark = pytest.mark.slow


def test_the_gate_lets_a_tuned_starter_pass_behind_llama_cpp_and_stops_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_csv(tmp_path / "pets.csv", 48)
    drafted = project.draft("pets", Choices(data=data, train_rows=10))
    path = project.create(drafted, folder=tmp_path / "pets").root / "assay.yaml"
    text = path.read_text()
    path.write_text(text.replace("  max_tokens:", "  epochs: 1\n  rank: 4\n  max_tokens:"))
    made = project.open(path.parent)
    workspace = project.open_workspace(made.root)
    context = made.context()
    version, _ = train_version(context)
    agent = context.chat_agent(model=f"version:{version}", system_prompt=context.training_prompt)
    save_agent(workspace.store, "tuned", agent, message="trained for a test")
    found: list[Parity] = []

    compare = gate.parity
    monkeypatch.setattr(gate, "parity", lambda *asked: _kept(found, compare, asked))
    releases.promote(workspace, "support", "tuned@1", force="a real gate, no comparison")
    assert current(workspace.store, "pets", "support").agent == agent.id
    [passed] = found
    assert passed.prompts == made.split().validation
    assert not passed.refusals
    assert passed.divergence < MOST_KL[16]

    engines = workspace.engines()
    template = context.bench.engines.for_agent(agent).template  # type: ignore[attr-defined]
    base = ServingTarget(engines.engine(made.config.model), template)
    refused = compare(context.bench, agent, context.validation, base)
    engines.close()
    assert any("next-token probabilities differ" in one for one in refused.refusals)
    for name, one in (("the version", passed), ("its base", refused)):
        print(
            f"{name}: {one.prompts} prompts, {one.equal_answers} equal answers, score "
            f"{one.evaluated:.3f} evaluated and {one.target:.3f} served, divergence "
            f"{one.divergence:.2g} nats over {one.positions} places, {one.near_ties} near ties, "
            f"{one.unexplained} unexplained"
        )


def _kept(found: list[Parity], compare: Any, asked: tuple[Any, ...]) -> Parity:
    assert isinstance(asked[3]._engine, LlamaCppEngine)
    found.append(compare(*asked))
    return found[-1]
