"""An agent while somebody is changing it: what its text says so far, and a try of it, unsaved.

    seen = drafts.validate(workspace, text)             # the agent, or what keeps it from being one
    text = drafts.edit(text, {"temperature": 0.3})
    for piece in drafts.answer(workspace, engines, text, [Message("user", "Hello")]): ...

Nothing here changes anything; `assay.project.agents` saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from assay.agent.agent import Agent
from assay.agent.answering import GenerationOptions, Target
from assay.agent.texts import InvalidAgentError, Problem, as_yaml, edit, parse
from assay.agent.variables import find_undeclared
from assay.config import is_remote
from assay.data.contents import placeholder
from assay.errors import AssayError
from assay.example import Message
from assay.generate.stream import EnginePool
from assay.models.show import list_models
from assay.models.versions import base_of, list_versions
from assay.project.agents import check
from assay.project.answer.answering import AnswerStream, Conversation
from assay.project.answer.gateway import Gateway, studio_caller
from assay.project.answer.names import base_models, owns
from assay.project.answer.playground import offered_tools
from assay.project.workspace import Workspace

if TYPE_CHECKING:
    from assay.chat.template import Template

_UNSAVED = "the unsaved agent"
_LOADING = Lock()
"""What reads tokenizers cannot be imported by two threads at once."""
_SETTINGS = {
    "model": "Which model answers.",
    "system_prompt": "The system prompt of every conversation.",
    "variables": "Values of the variables {{name}} in the system prompt.",
    "shown": "Conversations shown before every input: lists of messages with role and content.",
    "nearest": "Examples from a pool that are most similar to the input: k, pool, embedder.",
    "knowledge": "Knowledge base whose passages are put before the input: name, k, characters.",
    "output_schema": "JSON Schema of the answer.",
    "choices": "The only possible answers.",
    "constrained": "Whether decoding is constrained to output_schema or choices; without either, "
    "a call has to fit the tools that the request offers.",
    "max_new_tokens": "Maximum length of the answer, in tokens.",
    "temperature": "0 always takes the likeliest token; higher values vary more.",
    "seed": "The same seed gives the same answer.",
    "kind": "chat for a language model; comparisons create classical, outside and routed.",
    "route": "Which agent answers if the kind is routed: rules, cascade or learned.",
}


@dataclass(frozen=True, slots=True)
class Validation:
    """What a text says.

    Attributes:
        agent: None where the text is no agent at all.
        problems: what keeps it from being saved; empty: nothing does.
        blank: a place in the prompt that looks as if something was to be filled in, and is sent
            as it stands.
    """

    agent: Agent | None
    problems: tuple[Problem, ...]
    blank: str | None = None


def validate(workspace: Workspace, text: str) -> Validation:
    """What a text says, and what keeps it from being saved."""
    agent, problems = parse(text)
    if agent is None:
        return Validation(None, tuple(problems))
    return Validation(
        agent,
        tuple(check(workspace, text)),
        next(
            iter(find_undeclared(agent.system_prompt, agent.variables)), placeholder(agent.prompt)
        ),
    )


def begin(model: str) -> str:
    """The text of a new agent that does nothing but ask a model."""
    return as_yaml(Agent(model=model))


def settings() -> dict[str, str]:
    """Every setting of an agent that a text can have, with what it does."""
    return dict(_SETTINGS)


def models(workspace: Workspace) -> list[str]:
    """What an agent's `model` can be: models of this machine, fine-tuned versions, providers'."""
    names = base_models(workspace, workspace.name)
    found = (version.id for version in list_versions(workspace.store))
    names += [f"version:{id}" for id in found if owns(workspace, id, workspace.name)]
    config = workspace.config
    if config is not None and config.remote is not None:
        names.append(config.remote)
    return list(dict.fromkeys(names))


def answer(
    workspace: Workspace, engines: EnginePool, text: str, messages: Sequence[Message]
) -> AnswerStream:
    """The stream that an agent of this text would give, saved or not. No trace is kept of it.
    In a project whose answers are calls, the functions of its rows may be called.

    Raises:
        InvalidAgentError: the text is no agent that can answer here. More as `Gateway.open`.
    """
    agent, problems = parse(text)
    if problems := problems or check(workspace, text):
        raise InvalidAgentError(None, list(problems))
    assert agent is not None
    target, caller = Target(_UNSAVED, agent.model, agent), studio_caller(workspace)
    conversation = Conversation(messages, offered_tools(workspace))
    asked = Gateway(workspace, engines).open(caller, target, conversation, GenerationOptions())
    return asked.streams()[0]


FEWEST_OF_LONG = 2000
"""Characters of a system prompt that may have more tokens than a model reads."""


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """Tokens that stand in every request.

    Attributes:
        most: that the model can read, with input and answer.
    """

    count: int
    most: int

    @property
    def too_long(self) -> str | None:
        """Why no request can be answered; None: some can."""
        if self.count < self.most:
            return None
        return (
            f"{self.count:,} tokens in every request, and the model reads at most {self.most:,}, "
            "input and answer included: it can answer none. Shorten the prompt."
        )


def tokens(workspace: Workspace, agent: Agent) -> PromptTokens | None:
    """Of the system prompt and the examples that are always shown, as the model reads them.

    None where the model's tokenizer is not on this machine.
    """
    if agent.kind != "chat" or is_remote(agent.model):
        return None
    turns = [Message("system", agent.prompt)] if agent.prompt else []
    turns += [Message.from_dict(turn) for shown in agent.shown for turn in shown]
    try:
        model = base_of(workspace.store, agent.model)
        if model not in {line.ref for line in list_models() if line.ready}:
            return None  # counting tokens fetches nothing
        with _LOADING:
            template, most = _template(model)
        return PromptTokens(template.count_before(turns), most)
    except (AssayError, OSError):
        return None


def refuse_prompt(workspace: Workspace, model: str, prompt: str) -> str:
    """Why a model could answer no request below a system prompt; "": it could, or is not known."""
    if len(prompt) < FEWEST_OF_LONG:
        return ""
    found = tokens(workspace, Agent(model=model, system_prompt=prompt))
    return (found and found.too_long) or ""


@lru_cache(maxsize=4)
def _template(model: str) -> tuple[Template, int]:
    from assay.chat.template import Template

    return Template.load(model)


__all__ = [
    "Validation",
    "answer",
    "begin",
    "edit",
    "models",
    "settings",
    "tokens",
    "validate",
]
