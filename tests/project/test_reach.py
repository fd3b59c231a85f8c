"""Every text in the settings is known to name something outside of them, or not to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from assay.agent.agent import Agent
from assay.config import Config
from assay.config.names import Naming, names_in
from assay.errors import UsageError
from assay.evaluate.graders import GRADERS
from assay.project.knowledge import documents
from assay.project.workspace import Workspace

PLAIN = {
    *("Agent.choices", "Agent.kind", "Agent.output_schema", "Agent.shown"),
    *("Agent.system_prompt", "Agent.variables"),
    *("Cascade.cheap", "Cascade.confidence", "Cascade.kind", "Cascade.strong"),
    *("Columns.document", "Columns.group", "Columns.id", "Columns.input", "Columns.numbers"),
    "Columns.output",
    *("Config.candidates", "Config.labels", "Config.name", "Config.primary", "Config.task"),
    *("Config.system_prompt", "Data.format", "GraderSpec.name", "Generate.constrained"),
    *("Config.output_schema", "Config.providers", "Generate.dtype", "GraderSpec.settings"),
    *("FineTuneSection.activation_checkpointing", "FineTuneSection.adapter"),
    *("FineTuneSection.distill", "FineTuneSection.embeddings", "FineTuneSection.epochs"),
    "FineTuneSection.learning_rate",
    *("FineTuneSection.method", "FineTuneSection.optimizer", "FineTuneSection.quantization"),
    "FineTuneSection.rank",
    *("FineTuneSection.rows_per_step", "FineTuneSection.schedule"),
    "FineTuneSection.target_modules",
    *("FineTuneSection.system_prompt", "FineTuneSection.tracking"),
    *("Knowledge.abstain", "Knowledge.embedder", "Knowledge.labels"),
    *("Knowledge.mode", "Knowledge.name"),
    "Unlabelled.release",
    *("Knowledge.snapshot", "KnowledgeSection.abstain", "KnowledgeSection.labels"),
    *("KnowledgeSection.modes", "KnowledgeSection.name"),
    *(
        "LearnedRoute.cheap",
        "LearnedRoute.kind",
        "LearnedRoute.model",
        "LearnedRoute.strong",
        "Nearest.pool",
    ),
    *("Provider.base_url", "Provider.headers", "Provider.key_header", "Provider.leave_out"),
    *("Provider.limit", "Provider.prices", "Provider.private_network", "Provider.protocol"),
    *("Place.on", "Provider.query", "Vllm.base_url"),
    *("Reinforcement.learning_rate", "Reinforcement.reward", "Reinforcement.start"),
    *("RouteRule.labels", "RouteRule.languages", "RouteRule.pattern"),
    *("Rule.labels", "Rule.languages", "Rule.pattern", "Rule.to"),
    *("Rules.classifier", "Rules.kind", "Rules.otherwise"),
    # Not written over the web, see test_state.py.
    *("State.database", "State.objects", "State.schema_name"),
}
"""Texts that are read by nothing that opens files, loads models or asks the environment."""
PLAIN_OF_GRADERS = {
    *("as_", "avoid", "compare", "criteria", "decimal", "ends_with", "fields", "forbidden"),
    *("format", "function", "glossary", "match", "pattern", "person", "starts_with", "use"),
    "where",
}


def texts(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[tuple[str, str]]:
    """(class, field) of every setting with a text in it that is not a `Naming`."""
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        named = any(isinstance(one, Naming) for one in field.metadata)
        for kind in unnamed(field.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from texts(kind, seen)
            elif kind is str and not named:
                yield model.__name__, name


def unnamed(annotation: Any) -> Iterator[Any]:
    """The types within a type, those left out that say what they name."""
    if any(isinstance(one, Naming) for one in getattr(annotation, "__metadata__", ())):
        return
    inner = [one for one in get_args(annotation) if one is not type(None)]
    if not inner:
        yield str if isinstance(annotation, str) else annotation
    for one in inner:
        yield from unnamed(one)


@pytest.mark.parametrize("model", [Config, Agent])
def test_every_text_is_known(model: type[BaseModel]) -> None:
    """A new one: give it a type of `assay.config.names`, or add it to `PLAIN`."""
    assert {f"{kind}.{field}" for kind, field in texts(model, set())} <= PLAIN


@pytest.mark.parametrize("grader", sorted(GRADERS))
def test_every_text_of_a_grader_is_known(grader: str) -> None:
    assert {field for _, field in texts(GRADERS[grader].settings, set())} <= PLAIN_OF_GRADERS


def test_names_are_found_wherever_they_stand() -> None:
    config = Config.model_validate(
        {
            "name": "x",
            "task": "label",
            "data": {"file": "a.csv", "holdout": "b.csv"},
            "graders": [{"name": "exact"}],
            "primary": "exact",
            "candidates": ["prompt"],
            "knowledge": {"paths": ["c", "d"], "rerank": "e"},
            "route": {"rules": [{"pattern": "x", "to": "f"}], "otherwise": "g"},
            "fallback": {"h": ["i"]},
            "remote": "remote:far/big",
            "vllm": {"base_url": "http://127.0.0.1:1/v1", "key_env": "L"},
            "providers": {
                "far": {
                    "base_url": "https://far.example/v1",
                    "key_env": "J",
                    "headers": {"X-K": "Bearer ${K} ${M}"},
                    "client_cert": "n",
                    "client_key": "o",
                }
            },
        }
    )
    found = {name.setting: name for name in names_in(config)}
    assert {setting: name.value for setting, name in found.items()} == {
        "model": "smollm2-135m-instruct",
        "classifier.embedder": "all-minilm-l6-v2",
        "data.file": "a.csv",
        "data.holdout": "b.csv",
        "knowledge.paths.0": "c",
        "knowledge.paths.1": "d",
        "knowledge.rerank": "e",
        "route.rules.0.to": "f",
        "route.otherwise": "g",
        "fallback.h": "h",
        "fallback.h.0": "i",
        "remote": "remote:far/big",
        "vllm.key_env": "L",
        "providers.far.key_env": "J",
        "providers.far.headers.X-K": "Bearer ${K} ${M}",
        "providers.far.client_cert": "n",
        "providers.far.client_key": "o",
    }
    assert found["providers.far.headers.X-K"].variables == ("K", "M")
    assert found["vllm.key_env"].variables == ("L",)


def test_who_is_served_over_the_web_may_name_less(tmp_path: Any) -> None:
    workspace = Workspace(tmp_path)
    assert not workspace.web
    assert workspace.act_as("user:ann").web


def test_passages_are_rebuilt_over_the_web_by_what_is_offered(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    workspace = Workspace(root).act_as("user:ann")
    (elsewhere / "config.json").write_text("{}")
    documents.create(workspace, "documents")
    documents.check_embedder(workspace, "documents", "all-minilm-l6-v2")
    for named in (str(elsewhere), "../elsewhere", "somebody/not-pulled", "nothing"):
        with pytest.raises(UsageError, match="is not an available model"):
            documents.check_embedder(workspace, "documents", named)
