"""What answers without a language model is promoted, answers over HTTP as it was measured, and is
rolled back."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai import BadRequestError
from tests.generate.tiny import tiny_model
from tests.knowledge.wordy import Wordy
from tests.models.tiny_embedder import write_embedder
from tests.serve.running import running
from tests.small import ANIMALS, write_model

from assay import project
from assay.agent import runtime
from assay.agent.versions import save_agent
from assay.candidates import encoder_pairs, nearest_answer, registry
from assay.candidates.shared import extraction as learning
from assay.chat.tool_text import find_calls
from assay.generate import call_extraction, extraction, nearest
from assay.generate.batch import Answer
from assay.project import releases
from assay.project.start.init import Choices

ROWS = 90
CALLS = "extract-call"
TOOL = {
    "type": "function",
    "function": {
        "name": "house",
        "parameters": {
            "type": "object",
            "properties": {"animal": {"type": "string"}, "number": {"type": "integer"}},
        },
    },
}


def project_of(folder: Path, name: str) -> project.Project:
    """Sentences and the animal in each: as a label, of `extract` as a record, of `extract-call` as
    a call. Of `quote` a question on each, which a document answers by that sentence."""
    rng = random.Random(0)
    data, documents = folder / "pets.jsonl", folder / "houses"
    documents.mkdir()
    with data.open("w", encoding="utf-8") as file:
        for number in range(ROWS):
            animal = rng.choice(ANIMALS)
            sentence = f"the {animal} lives in house {number}"
            output = {"animal": animal, "house": number} if name == "extract" else animal
            row: dict[str, Any] = {"input": sentence, "output": output}
            if name == "quote":
                place = documents / f"{number}.txt"
                place.write_text(f"{sentence}.", encoding="utf-8")
                row = {"input": f"who lives in house {number}?", "output": f"{sentence}."}
                row["document"] = place.name
            if name == CALLS:
                arguments = json.dumps({"animal": animal, "number": number})
                function = {"name": "house", "arguments": arguments}
                call = {"id": "c", "type": "function", "function": function}
                asked = {"role": "user", "content": sentence}
                answer = {"role": "assistant", "content": None, "tool_calls": [call]}
                row = {"messages": [asked, answer], "tools": [TOOL]}
            file.write(json.dumps(row) + "\n")
    choices = Choices(data=data, model=str(write_model(folder / "model")))
    if name == CALLS:  # a byte is a token, also of the definitions
        tiny_model(max_position_embeddings=2048).save_pretrained(folder / "model")
    if name == "quote":
        choices = replace(choices, task="text", docs=documents)
    made = project.create(project.draft("pets", choices), folder=folder / "pets")
    path = made.root / "assay.yaml"
    path.write_text(
        f"{path.read_text()}\nclassifier: {{embedder: {json.dumps(str(write_embedder(folder)))}}}\n"
    )
    return project.open(made.root)


@pytest.mark.parametrize(
    "name", ["classifier", "nearest-answer", "extract", CALLS, "encoder", "encoder-pairs", "quote"]
)
def test_it_answers_as_measured_and_rolls_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in (runtime, nearest, nearest_answer, extraction, call_extraction, learning):
        monkeypatch.setattr(module, "get_embedder", lambda _: Wordy())
    monkeypatch.setattr(encoder_pairs, "MOST_EACH", 2)
    made = project_of(tmp_path, name)
    context, workspace = made.context(), project.open_workspace(made.root)
    agents = {kind: registry.build(kind, context).agent for kind in ("baseline-majority", name)}
    measured = {kind: context.measure(agent) for kind, agent in agents.items()}
    for kind, agent in agents.items():
        save_agent(workspace.store, kind, agent, message="a test")
        releases.promote(workspace, "support", f"{kind}@1", force="a test")
    assert measured[name].score > measured["baseline-majority"].score

    with running(made.root, lambda served: served.engines()) as server:
        chat = server.client().chat.completions

        def served() -> list[str]:
            texts = []
            for row in context.judged:
                asked: Any = {
                    "model": "support",
                    "messages": [{"role": "user", "content": row.input}],
                    **({"tools": [TOOL]} if name == CALLS else {}),
                }
                whole = chat.create(**asked).choices[0]
                chunks = [c.choices[0] for c in chat.create(**asked, stream=True) if c.choices]
                streamed = "".join(c.delta.content or "" for c in chunks)
                assert streamed == (whole.message.content or "")
                end = "tool_calls" if name == CALLS else "stop"
                assert chunks[-1].finish_reason == whole.finish_reason == end
                texts.append(_text_of(whole.message))
            return texts

        assert served() == [_plain(answer.text) for answer in measured[name].answers]
        if name != CALLS:
            _check_options(chat, context.judged[0].input, measured[name].answers[0])
        releases.rollback(workspace, "support")
        floor = [_plain(answer.text) for answer in measured["baseline-majority"].answers]
        assert served() == floor


def _text_of(message: Any) -> str:
    """What a message says, or calls."""
    calls = [(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    return f"{calls}" if calls else message.content or ""


def _plain(answer: str) -> str:
    """The same of an answer that was measured."""
    calls = [(call.name, call.arguments) for call in find_calls(answer, [TOOL])[1]]
    return f"{calls}" if calls else answer


def _check_options(chat: Any, question: str, measured: Answer) -> None:
    """What a program asks of any OpenAI model is given, or refused by name."""
    asked = {"model": "support", "messages": [{"role": "user", "content": question}]}
    usual = {"temperature": 0.7, "top_p": 0.9, "presence_penalty": 0.5, "seed": 3, "n": 2}
    assert [c.message.content for c in chat.create(**asked, **usual).choices] == [measured.text] * 2
    end = measured.text[-3:]
    cut = chat.create(**asked, stop=[end]).choices[0]
    assert (cut.message.content, cut.finish_reason) == (measured.text.partition(end)[0], "stop")
    if measured.logprob is None:
        with pytest.raises(BadRequestError, match="log-probabilities"):
            chat.create(**asked, logprobs=True)
        return
    [token] = chat.create(**asked, logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert token.token == measured.text
    assert token.logprob == pytest.approx(measured.logprob, abs=1e-6)
    if token.top_logprobs:  # a classifier's: of what else it could have said
        first, second = token.top_logprobs
        assert first.token == token.token
        assert second.token in ANIMALS
        assert math.exp(first.logprob) + math.exp(second.logprob) <= 1 + 1e-6
