"""A classifier leaves as an ONNX graph that answers the same without Assay, or not at all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.models.tiny_embedder import write_embedder
from tests.small import small_project
from typer.testing import CliRunner

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.candidates.building import Context
from assay.cli.main import app
from assay.errors import ModelError, NotFoundError
from assay.example import Example
from assay.generate.embedding_classifier import (
    SCHEME,
    Doubt,
    EmbeddingClassifier,
    HeadSettings,
    dump_embedding_classifier,
    fit_head,
)
from assay.generate.label_lists import as_list
from assay.jobs.service import work_on
from assay.models.embed import Embedder, get_embedder
from assay.models.tuned_encoder import keep_tuned, open_embedder
from assay.project import Project, jobs
from assay.project import export as leaving
from assay.project.jobs import export
from assay.project.workspace import Workspace
from assay.release import classifier_export
from assay.release.classifier_export import export_classifier
from assay.store import blobs

DOCS = Path(__file__).parents[2] / "docs" / "releases.md"
PLAIN = HeadSettings(10.0)
LONG = HeadSettings(10.0, in_pieces=True, words=0.5)
TEXTS = ["Anna feeds the cat", "", "Ben SEES the dog, the dog near the big house " * 9, "über 9"]


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Context]:
    made = small_project(tmp_path_factory.mktemp("pets"), rows=120)
    return made, made.context()


@pytest.fixture(scope="module")
def embedder(pets: tuple[Project, Context]) -> Embedder:
    return get_embedder(str(write_embedder(pets[0].root.parent)))


def saved(
    project: Project, context: Context, embedder: Embedder, settings: HeadSettings, name: str
) -> EmbeddingClassifier:
    """A classifier, saved as the agent NAME@1."""
    vectors = settings.embed(embedder, [e.input for e in context.train])
    model = fit_head(context.train, vectors, settings, embedder)
    model = replace(model, temperature=0.3, doubt=Doubt("parrot", 0.5))
    blob = blobs.put(project.store, dump_embedding_classifier(model))
    agent = Agent(kind="classical", model=f"{SCHEME}{blob}")
    save_agent(project.store, name, agent, message="made")
    return model


def ours(model: EmbeddingClassifier, embedder: Embedder) -> list[tuple[str, float]]:
    answers = model.answers(TEXTS, model.settings.embed(embedder, TEXTS))
    return [(label, float(np.exp(log))) for label, log in answers]


def asked_alone(folder: Path) -> list[tuple[str, float]]:
    """What the folder answers in a process of its own, in which nothing of ours is loaded."""
    script = (
        "import json, sys; from pathlib import Path;"
        "sys.path.insert(0, sys.argv[1]); import classify;"
        "found = classify.Classifier(Path(sys.argv[1])).answers(json.loads(sys.argv[2]));"
        "assert not {'assay', 'torch', 'transformers', 'sklearn'} & set(sys.modules);"
        "print(json.dumps(found))"
    )
    command = [sys.executable, "-IB", "-c", script, str(folder), json.dumps(TEXTS)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return [(label, chance) for label, chance in json.loads(told.stdout)]


@pytest.mark.slow
def test_the_folder_answers_the_same_without_assay(
    pets: tuple[Project, Context], embedder: Embedder, tmp_path: Path
) -> None:
    project, context = pets
    model = saved(project, context, embedder, PLAIN, "plain")
    out = tmp_path / "out"
    named = ["export", "plain", "--to", "onnx", "--out", str(out), "--project", str(project.root)]
    told = CliRunner().invoke(app, [*named, "--json"])
    assert told.exit_code == 0, told.exception
    found = json.loads(told.stdout)
    assert found["agent"] == "plain@1"
    assert found["files"] == ["classify.py", "labels.json", "model.onnx", "tokenizer.json"]
    assert found["parity"]["equal_answers"] == found["parity"]["rows"] == len(context.validation)
    assert 0 < found["parity"]["largest"] <= found["parity"]["allowed"] < 1e-3
    expected = ours(model, embedder)
    alone = asked_alone(out)
    assert [label for label, _ in alone] == [label for label, _ in expected]
    assert [p for _, p in alone] == pytest.approx([p for _, p in expected], abs=1e-5)
    assert json.loads((out / "labels.json").read_text())["doubt"]["label"] == "parrot"
    snippet = next(
        block
        for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
        if "onnxruntime" in block
    )
    assert len(snippet.splitlines()) <= 12
    snippet = snippet.replace("Where is my card?", TEXTS[0])
    run = [sys.executable, "-I", "-c", snippet]
    shown = subprocess.run(run, cwd=out, capture_output=True, text=True, check=True, timeout=300)
    likeliest = replace(model, doubt=None).answers(TEXTS[:1], embedder.encode(TEXTS[:1]))[0][0]
    assert shown.stdout.split()[0] == likeliest


@pytest.mark.slow
def test_a_trained_embedder_pieces_and_words_leave_too_as_a_job(
    pets: tuple[Project, Context], embedder: Embedder
) -> None:
    project, context = pets
    name, weights = next(
        (name, w) for name, w in embedder.copy_model().named_parameters() if w.ndim == 2
    )
    rng = np.random.default_rng(0)
    moved = weights.detach().numpy() + rng.normal(0, 0.1, weights.shape).astype(np.float32)
    tuned = open_embedder(keep_tuned(project.store, embedder, {name: moved}), project.store)
    model = saved(project, context, tuned, LONG, "long")
    workspace = Workspace(project.root)
    asked = export.start(workspace, "long@1", "onnx")
    job = work_on(workspace.store, [export.EXPORT], jobs.handlers(workspace)).once()
    assert job is not None
    assert job.status == "succeeded", job.error
    found = export.find_finished(workspace, asked.id)
    assert (found.name, found.file_name) == ("long@1", "long-1-onnx")
    expected, alone = ours(model, tuned), asked_alone(found.folder)
    assert [label for label, _ in alone] == [label for label, _ in expected]
    assert [p for _, p in alone] == pytest.approx([p for _, p in expected], abs=1e-5)
    with zipfile.ZipFile(BytesIO(b"".join(export.pack(found)))) as archive:
        assert "long-1-onnx/model.onnx" in archive.namelist()


@pytest.mark.slow
@pytest.mark.parametrize("without", [0, 20], ids=["one label at least", "none may be right"])
def test_several_labels_leave_as_a_list(
    pets: tuple[Project, Context], embedder: Embedder, tmp_path: Path, without: int
) -> None:
    project, context = pets
    rows = [
        replace(e, messages=Example.of(e.input, as_list([e.output])).messages)
        for e in context.train
    ]
    both = [
        Example.of(f"{a.input} {b.input}", as_list(sorted({a.output, b.output})), id=a.id)
        for a, b in zip(context.train, context.train[1:], strict=False)
    ]
    train = [*rows, *both, *[Example.of("", "[]")] * without]
    vectors = embedder.encode([e.input for e in train])
    model = fit_head(train, vectors, PLAIN, embedder, lists=True)
    blob = blobs.put(project.store, dump_embedding_classifier(model))
    agent = Agent(kind="classical", model=f"{SCHEME}{blob}")
    out = tmp_path / "out"
    bench = context.bench
    done = export_classifier("several@1", agent, out, bench=bench, validation=both[:20])
    assert done.parity.equal_answers == done.parity.rows == 20
    expected, alone = ours(model, embedder), asked_alone(out)
    assert ("[]" in [label for label, _ in alone]) == bool(without)
    assert [label for label, _ in alone] == [label for label, _ in expected]
    assert [p for _, p in alone] == pytest.approx([p for _, p in expected], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moved", "said"),
    [
        (2e-3, r"classifier: A probability differs by 0\.00\d+, of which float32 explains"),
        (20.0, r"classifier: \d+ of \d+ answers differ, first 'cat' in place of '(dog|parrot)'"),
    ],
)
def test_a_graph_that_answers_otherwise_is_refused_with_figures(
    pets: tuple[Project, Context],
    embedder: Embedder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moved: float,
    said: str,
) -> None:
    project, context = pets
    saved(project, context, embedder, PLAIN, "spoiled")
    write = classifier_export.write_graph

    def spoiled(model: EmbeddingClassifier, body: Any, file: Path) -> None:
        tensors = dict(model.tensors)
        tensors["intercept"] = tensors["intercept"] + np.array([moved, 0, 0])
        write(replace(model, tensors=tensors), body, file)

    monkeypatch.setattr(classifier_export, "write_graph", spoiled)
    with pytest.raises(ModelError, match=said):
        project.export("spoiled@1", "onnx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_no_validation_rows_and_other_agents_are_refused(
    pets: tuple[Project, Context],
    embedder: Embedder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project, context = pets
    save_agent(project.store, "chat", Agent(model="smollm2-135m-instruct"), message="made")
    workspace = Workspace(project.root)
    with pytest.raises(ModelError, match="chat@1 is not a classifier") as refused:
        project.export("chat", "onnx")
    assert refused.value.exit_code == 1
    assert "classifier" in str(refused.value.fix)
    assert "gguf" in str(refused.value.fix)
    with pytest.raises(NotFoundError, match="no agent"):
        export.start(workspace, "nobody@1", "onnx")
    saved(project, context, embedder, PLAIN, "here")
    assert "here@1" in leaving.classifiers(project.store)
    assert "chat@1" not in leaving.classifiers(project.store)
    monkeypatch.setattr(leaving, "find_spec", lambda name: None if name == "onnx" else name)
    with pytest.raises(ModelError, match="onnx is not installed") as refused:
        export.start(workspace, "here@1", "onnx")
    assert "pip install 'assay[onnx]'" in str(refused.value.fix)


def test_what_rounding_explains_grows_with_coefficients_and_depth(embedder: Embedder) -> None:
    rows = [Example.of("card", "a"), Example.of("fee", "b")]
    vectors = embedder.encode([row.input for row in rows])
    weak, strong = (fit_head(rows, vectors, HeadSettings(c), embedder) for c in (0.1, 100.0))
    body = embedder.copy_model()
    found = [classifier_export.rounding(one, body) for one in (weak, strong)]
    assert 0 < found[0] < found[1] < 1e-3
    assert classifier_export.rounding(replace(weak, temperature=0.5), body) == 2 * found[0]
