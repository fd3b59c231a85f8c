"""An agent as a person edits it: YAML with comments, whose every problem has a line and a field.

    agent, problems = parse(text)
    text = edit(text, {"temperature": 0.3})

`as_yaml` spells an agent that no person has written yet.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from assay.agent.agent import Agent, messages_of
from assay.config.sentences import sentence
from assay.config.yaml_text import (
    Problem,
    block,
    dump,
    edit,
    locate,
    plain,
    problem_at,
    tree_of,
)
from assay.errors import ConfigError, UsageError

_ALWAYS = ("model", "system_prompt", "constrained", "max_new_tokens", "temperature", "seed")
"""Settings that are written even where they are as they would be anyway."""


class InvalidAgentError(ConfigError):
    """A text that is no agent.

    Args:
        name: under which it was to be saved; None: it was only to be tried.
        problems: all that were found, in the order of the text.
    """

    def __init__(self, name: str | None, problems: list[Problem]) -> None:
        self.problems = problems
        first = problems[0]
        places = [f"agent {name}"] if name else []
        places += [f"line {first.line}"] if first.line else []
        fix = "Nothing was saved." if name else "Correct the agent, then try it."
        if len(problems) > 1:
            fix += f" ({len(problems)} problems in total.)"
        super().__init__(
            f"{first.field + ': ' if first.field else ''}{first.message}",
            where=", ".join(places) or None,
            fix=fix,
        )


def parse(text: str) -> tuple[Agent | None, list[Problem]]:
    """The agent that a text says; None with at least one problem where it says none."""
    tree, problems = tree_of(text, "an agent")
    if problems:
        return None, problems
    values = plain(tree, tree, (), problems)
    if problems:
        return None, problems
    try:
        agent = Agent.model_validate(values)
    except ValidationError as error:
        found = [locate(tree, raw["loc"], sentence(raw)) for raw in error.errors()]
        return None, sorted(found, key=lambda p: (p.line or 0, p.column or 0))
    for number, turns in enumerate(agent.shown):
        try:
            messages_of(turns)
        except (KeyError, TypeError, AttributeError):
            problems.append(
                locate(
                    tree, ("shown", number), "this is not a list of messages with role and content."
                )
            )
    return (None, problems) if problems else (agent, [])


def as_yaml(agent: Agent) -> str:
    """An agent in YAML: what is particular about it, and the settings that people change most."""
    usual = Agent(model="").model_dump(mode="json")
    values = {
        name: value
        for name, value in agent.model_dump(mode="json").items()
        if name in _ALWAYS or value != usual[name]
    }
    text = dump({name: block(value) for name, value in values.items()})
    if parse(text)[0] == agent:
        return text
    # Characters that YAML shows in no other way: everything in quotes, escaped.
    return dump(values, quoted=True)


def value_of(setting: str, text: str) -> Any:
    """What `--set SETTING=TEXT` means: text where the setting is text, else what YAML reads.

    Raises:
        UsageError: it is no YAML.
    """
    field = Agent.model_fields.get(setting)
    if (field is not None and field.annotation is str) or setting.startswith("variables."):
        return text
    tree, problems = tree_of(text, None)
    if problems:
        raise UsageError(f"--set {setting}: {problems[0].message}")
    value = plain(tree, tree, (), problems)
    if problems:
        raise UsageError(f"--set {setting}: {problems[0].message}")
    return value


__all__ = ["InvalidAgentError", "Problem", "as_yaml", "edit", "parse", "problem_at", "value_of"]
