"""A cascade of a fitted classifier and the starter, served: its probabilities say who answers."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assay.agent.agent import make_routed
from assay.agent.route import Cascade
from assay.agent.versions import save_agent
from assay.candidates.registry import build
from assay.example import Example
from assay.generate.stream import EnginePool, StreamEngine
from tests.candidates.test_distill import context_of
from tests.serve.running import STARTER, running

SAID = {
    "weather": (
        "will it rain in Oslo tomorrow", "how cold is it outside now", "is a storm coming tonight",
        "what is the forecast for Sunday", "does it snow in the mountains", "how windy will it get",
        "tell me the temperature in Rome", "is it going to be sunny at noon",
        "will there be fog in the morning",
    ),
    "music": (
        "play some jazz", "put on my workout playlist", "I want to hear the Beatles",
        "skip this song", "turn up the volume of the track", "play the newest album by Adele",
        "add this tune to my favourites", "start the radio with classical music",
        "play a lullaby by Brahms",
    ),
    "restaurant": (
        "book a table for two", "find me a sushi place nearby", "reserve dinner at eight",
        "is there a vegan cafe around here", "I need a seat at the pizzeria for four people",
        "get us lunch in a bistro", "which steak house is open now", "cancel my table at the inn",
        "book a table at an Indian restaurant",
    ),
}  # fmt: skip
"""Of each label the last is asked, and the two before it choose the settings."""
SURE = {sentences[-1]: label for label, sentences in SAID.items()}
UNSURE = ("hm, well, the other one", "colourless green ideas sleep", "count to eleven backwards")


class Watched:
    """The engines of a folder; `models` are those that were asked, in order."""

    def __init__(self, pool: EnginePool) -> None:
        self._pool = pool
        self.models: list[str] = []

    def engine(self, model: str) -> StreamEngine:
        self.models.append(model)
        return self._pool.engine(model)

    def close(self) -> None:
        self._pool.close()


def rows(first: int, last: int) -> tuple[Example, ...]:
    return tuple(
        Example.of(text, label, id=text)
        for label, sentences in SAID.items()
        for text in sentences[first:last]
    )


@pytest.mark.slow
def test_the_strong_one_answers_where_the_classifier_is_not_sure(tmp_path: Path) -> None:
    made = context_of(
        tmp_path,
        {},
        task="label",
        labels=[*SAID],
        model=STARTER,
        system_prompt=f"Answer with one of these labels: {', '.join(SAID)}.",
        generate={"max_new_tokens": 8},
    )
    context = replace(made, train=rows(0, 6), validation=rows(6, 8))
    arms = {
        "classifier": build("classifier", context).agent,
        "starter": context.chat_agent(constrained=True),
    }
    ids = {
        name: save_agent(context.store, name, agent, message="an arm").agent
        for name, agent in arms.items()
    }
    with running(tmp_path, lambda served: Watched(served.engines())) as server:
        chat = server.client().chat.completions
        watched: Any = server.engines

        def ask(model: str, text: str, **options: Any) -> Any:
            messages: Any = [{"role": "user", "content": text}]
            return chat.create(model=model, messages=messages, **options)

        def sureness(text: str) -> float:
            told = ask("classifier@1", text, logprobs=True).choices[0].logprobs
            return math.exp(sum(token.logprob for token in told.content))

        sure = {text: sureness(text) for text in (*SURE, *UNSURE)}
        least, most = min(map(sure.get, SURE)), max(map(sure.get, UNSURE))
        assert least > most, "the classifier's own probabilities tell which are which"
        route = Cascade(
            cheap=ids["classifier"],
            strong=ids["starter"],
            confidence="answer",
            threshold=(least + most) / 2,
        )
        save_agent(context.store, "cascade", make_routed(route), message="of both")
        alone = {text: ask("starter@1", text).choices[0].message.content for text in UNSURE}

        for text in sure:
            watched.models.clear()
            whole = ask("cascade@1", text).choices[0]
            asked = [arms["classifier"].model, *([STARTER] if text in UNSURE else [])]
            assert watched.models == asked
            assert whole.message.content == (SURE.get(text) or alone[text])
            chunks = [c.choices[0] for c in ask("cascade@1", text, stream=True) if c.choices]
            assert "".join(c.delta.content or "" for c in chunks) == whole.message.content
        assert set(alone.values()) <= SAID.keys()
