"""Every outcome of a comparison on replayed answers: the whole way, no model."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from rich.console import Console

from assay import project as projects
from assay.agent import runtime
from assay.agent.agent import Agent
from assay.agent.engines import BatchEngines
from assay.candidates import nearest_answer, registry
from assay.candidates.building import Candidate, Context
from assay.compare import account, comparison
from assay.compare.reasons import quoted
from assay.compare.report.terminal import print_result
from assay.compare.result import Result
from assay.data.split import load_train, load_validation
from assay.evaluate.documents import Mean
from assay.generate import nearest
from assay.generate.batch import Answer, Request
from assay.models.embed import get_embedder
from tests.candidates.test_documents import NO, reader, write_documents
from tests.candidates.test_documents import rows as questions
from tests.evaluate.scripted import ScriptedEngine
from tests.knowledge.wordy import Wordy
from tests.models.tiny_embedder import write_embedder
from tests.small import write_model
from tests.words import by_words

KINDS = [name for name, spec in registry.specs().items() if not spec.baseline]
TRAINED = ("fine-tune", "fine-tune-rag")


def chance(text: str) -> float:
    """A number from 0 to 1 that a text always has."""
    return zlib.crc32(text.encode()) / 2**32


def write(folder: Path, candidates: list[str], rows: int, **fields: Any) -> projects.Project:
    lines = [
        {"question": f"case {n} of the {('red', 'blue')[n % 2]} file", "answer": f"answer {n % 5}"}
        for n in range(rows)
    ]
    return write_rows(folder, lines, candidates, **fields)


def write_rows(
    folder: Path, lines: list[dict[str, Any]], candidates: list[str], **fields: Any
) -> projects.Project:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = {
        "name": "replayed",
        "task": "text",
        "model": str(write_model(folder / "model")),
        "data": {
            "file": "rows.jsonl",
            "columns": {"input": ["question"], "output": ["answer"]},
            "split": {"holdout": 0.5, "validation": 0.2},
        },
        "graders": [{"name": "exact"}],
        "primary": "exact",
        "candidates": candidates,
        "knowledge": {"paths": ["docs"]},
        "good_enough": 0.6,
        "baselines": False,
        **fields,
    }
    (folder / "assay.yaml").write_text(json.dumps(config))
    return projects.open(folder)


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, float]], None]:
    """Lets every candidate answer right as often as it is told to, each on rows of its own."""

    def play(skill: Mapping[str, float]) -> None:
        def build(name: str, context: Context) -> Candidate:
            agent = Agent(model=f"replay-{name}")
            return Candidate(
                agent=agent,
                tried=(),
                scores=tuple(context.measure(agent).primary_scores),
                name=name,
                kind=name,
                floor=registry.is_floor(name),
                fine_tuned=name in TRAINED,
                curated=name in TRAINED,
                retrained=name in TRAINED,
            )

        def engine(self: BatchEngines, agent: Agent) -> ScriptedEngine:
            name = agent.model.removeprefix("replay-")

            def rule(request: Request, _: int) -> Answer:
                asked = request.messages[-1].content
                right = chance(f"{name} {asked}") < skill.get(name, 0.0)
                number = int(asked.split()[1]) % 5
                said = f"answer {number}" if right else "no answer"
                return Answer(said, prompt_tokens=1, completion_tokens=1)

            return ScriptedEngine(rule, identity={"engine": "replay", "model": agent.model})

        monkeypatch.setattr(registry, "build", build)
        monkeypatch.setattr(comparison, "forgetting_of", lambda *_: None)
        monkeypatch.setattr(account, "weight_bytes", lambda *_: None)
        monkeypatch.setattr(BatchEngines, "for_agent", engine)

    return play


ARMS = {"cheap": "prompt", "strong": "few-shot"}
RULES = {"rules": [{"to": "prompt", "pattern": "x"}], "otherwise": "few-shot"}
LABELS = {"task": "label", "labels": [f"answer {n}" for n in range(5)]}
PROVIDER = {
    "remote": "remote:far/model",
    "providers": {"far": {"base_url": "https://a.example", "consent": True}},
}
ROUTES = {"cascade": {"route": ARMS}, "router": {"route": ARMS}, "rules": {"route": RULES}} | {
    "remote": PROVIDER,
    "remote-few-shot": PROVIDER,
    "distill": {"recorded": "answers.jsonl"},
    "encoder": LABELS,
    "encoder-pairs": LABELS,
}


@pytest.mark.parametrize("best", KINDS)
def test_each_way_is_recommended_where_it_is_the_one(
    best: str, replay: Callable[[Mapping[str, float]], None], tmp_path: Path
) -> None:
    others = [name for name in ("prompt", "few-shot") if name != best]
    replay({best: 0.95, **dict.fromkeys(others, 0.4)})
    done = write(tmp_path, [best, *others], 300, **ROUTES.get(best, {})).compare()
    verdict = done.verdict
    assert (verdict.outcome, verdict.recommend) == ("recommend", best)
    assert f"Use {escape(quoted(registry.plain_name(best)))}" in done.report.read_text("utf-8")


def test_none_where_nothing_is_good_enough(
    replay: Callable[[Mapping[str, float]], None], tmp_path: Path
) -> None:
    replay({"prompt": 0.2, "rag": 0.3, "fine-tune": 0.25})
    verdict = write(tmp_path, ["prompt", "rag", "fine-tune"], 300).compare().verdict
    assert (verdict.outcome, verdict.recommend) == ("none", None)


def test_a_baseline_that_wins_is_recommended(
    replay: Callable[[Mapping[str, float]], None], tmp_path: Path
) -> None:
    replay({"baseline-majority": 0.3, "baseline-tfidf": 0.98, "prompt": 0.6, "rag": 0.7})
    labels = [f"answer {n}" for n in range(5)]
    made = write(tmp_path, ["prompt", "rag"], 300, task="label", labels=labels, baselines=True)
    verdict = made.compare().verdict
    assert (verdict.outcome, verdict.recommend) == ("recommend", "baseline-tfidf")


def test_without_baselines_the_result_says_what_was_not_measured(
    replay: Callable[[Mapping[str, float]], None], tmp_path: Path
) -> None:
    replay({"prompt": 0.6, "rag": 0.7})
    labels = [f"answer {n}" for n in range(5)]
    made = write(tmp_path, ["prompt", "rag"], 60, task="label", labels=labels, baselines=False)
    done = made.compare().result
    assert {one.name for one in done.candidates} == {"prompt", "rag"}
    [warning] = [text for text in done.warnings if "Baselines are off" in text]
    assert "baseline-tfidf" in warning


def test_candidates_of_one_embedder_share_what_it_says_of_the_holdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(write_embedder(tmp_path))
    made = write(
        tmp_path,
        ["classifier", "nearest-answer"],
        60,
        task="label",
        labels=[f"answer {n}" for n in range(5)],
        knowledge=None,
        classifier={"embedder": name},
    )
    model = get_embedder(name)._model
    encode, seen = model.encode, Counter[str]()

    def counted(texts: list[str], **settings: Any) -> Any:
        seen.update(texts)
        return encode(texts, **settings)

    monkeypatch.setattr(model, "encode", counted)
    made.compare()
    learned = (*load_train(made.split_folder), *load_validation(made.split_folder))
    read = {example.input for example in learned}
    held = [line["question"] for line in map(json.loads, (tmp_path / "rows.jsonl").open())]
    held = [question for question in held if question not in read]
    assert len(held) > 20
    assert {seen[question] for question in held} == {1}


def test_cannot_tell_where_two_are_alike(
    replay: Callable[[Mapping[str, float]], None], tmp_path: Path
) -> None:
    replay({"prompt": 0.3, "rag": 0.8, "fine-tune": 0.8})
    verdict = write(tmp_path, ["prompt", "rag", "fine-tune"], 160).compare().verdict
    assert verdict.outcome == "cannot_tell"
    assert set(verdict.shortlist) == {"rag", "fine-tune"}
    assert verdict.more_examples_needed


def test_what_fine_tuning_and_retrieval_add_to_one_another(
    replay: Callable[[Mapping[str, float]], None], tmp_path: Path
) -> None:
    square = ["prompt", "rag", "fine-tune", "fine-tune-rag"]
    replay(dict(zip(square, (0.3, 0.75, 0.7, 0.8), strict=True)))
    done = write(tmp_path, square, 300).compare()
    [found] = done.result.additions
    scores = {c.name: c.score or 0.0 for c in done.result.candidates}
    assert (found.neither, found.a, found.b, found.both) == (
        "prompt", "fine-tune", "rag", "fine-tune-rag",
    )  # fmt: skip
    expected = scores["fine-tune-rag"] - scores["fine-tune"] - scores["rag"] + scores["prompt"]
    assert found.interaction.difference == pytest.approx(expected)
    assert found.interaction.high < 0, "each does in part what the other does"
    assert "What each adds to the other" in done.report.read_text("utf-8")


def test_questions_of_a_faq_that_stand_on_both_sides_are_answered_by_looking_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is asked in several ways, so that its answer was seen; the report tells that."""
    for module in (runtime, nearest, nearest_answer):
        monkeypatch.setattr(module, "get_embedder", lambda name: Wordy())
    ways = (
        "what about {0} {1} {2}?",
        "{1} {0} {2} got lost",
        "who mends {2} {1} {0} here",
        "refund for {0} {2} {1} please",
        "is {1} {2} {0} allowed",
        "where do you keep {2} {0} {1}",
        "{0} {1} {2} arrived broken",
        "can {1} {0} {2} travel alone",
    )
    starts, ends = ("ba", "ce", "di", "fo", "gu", "ha"), ("lun", "mor", "nix")
    kinds = [f"{start}{end}" for start in starts for end in ends]
    lines = [
        {
            "question": way.format(kind, f"{kind}tel", f"{kind}vok"),
            "answer": f"Ask for the {kind} form at desk {n} and hand it in before noon.",
        }
        for n, kind in enumerate(kinds)
        for way in ways
    ]
    done = write_rows(tmp_path, lines, ["nearest-answer"], knowledge=None).compare()
    [looked_up] = done.result.candidates
    assert looked_up.score is not None
    assert looked_up.score >= 0.95
    found = done.result.data
    assert found.verbatim.answers is not None
    assert found.verbatim.answers >= 0.95 * found.holdout
    print_result(done.result, Console(width=400))
    copied = (
        f"Of {found.holdout} holdout rows, the answer of {found.verbatim.answers} stands word for"
    )
    assert copied in capsys.readouterr().out
    told = f"{found.verbatim.answers} holdout rows have an answer that a training row gives word"
    assert told in done.report.read_text("utf-8")


def test_documents_are_measured_beside_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_words(monkeypatch)
    monkeypatch.setattr(BatchEngines, "for_agent", lambda self, agent: ScriptedEngine(reader))
    write_documents(tmp_path / "docs")
    rows = [e for part in ("first", "second", "third", "fourth") for e in questions(part)]
    lines = [{"question": e.input, "answer": e.output, "document": e.document} for e in rows]
    columns = {"input": ["question"], "output": ["answer"], "document": "document"}
    made = write_rows(
        tmp_path,
        lines,
        ["prompt", "rag"],
        data={"file": "rows.jsonl", "columns": columns, "split": {"holdout": 0.5}},
        knowledge={"paths": ["docs"], "modes": ["bm25", "dense"], "ks": [1], "abstain": NO},
        good_enough=None,
    )
    done = made.compare()
    plain, rag = (next(c for c in done.result.candidates if c.name == n) for n in ("prompt", "rag"))
    assert plain.retrieval is None
    assert rag.retrieval is not None
    assert (rag.retrieval.hits["1"].mean or 0) > 0.9
    assert rag.retrieval.mrr.examples > 20
    assert rag.support is not None
    assert isinstance(rag.support.supported, Mean)
    assert rag.support.supported.mean == 1.0
    rows_held = done.result.data.holdout
    for one in (plain, rag):
        assert one.abstention is not None
        assert one.abstention.unanswerable.of + one.abstention.answerable.of == rows_held
    assert plain.abstention is not None
    assert plain.abstention.answerable.count == plain.abstention.answerable.of
    page = done.report.read_text("utf-8")
    for title in (
        "Whether the right document was found",
        "Answers with and without support",
        "Saying that the documents do not tell",
    ):
        assert title in page
    again = Result.model_validate_json((done.folder / "result.json").read_text("utf-8"))
    assert again == done.result
