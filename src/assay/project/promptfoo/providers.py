"""Providers of a promptfoo configuration as those of a project, whose first model takes part."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from assay.config import Provider
from assay.config.yaml_text import sentence
from assay.project.promptfoo.files import Node
from assay.project.promptfoo.suite import Suite

_KNOWN: dict[str, dict[str, Any]] = {
    "openai": {"base_url": "https://api.openai.com/v1", "key_env": "OPENAI_API_KEY"},
    "anthropic": {
        "base_url": "https://api.anthropic.com/v1",
        "protocol": "anthropic",
        "key_env": "ANTHROPIC_API_KEY",
    },
    "openrouter": {"base_url": "https://openrouter.ai/api/v1", "key_env": "OPENROUTER_API_KEY"},
    "mistral": {"base_url": "https://api.mistral.ai/v1", "key_env": "MISTRAL_API_KEY"},
    "groq": {"base_url": "https://api.groq.com/openai/v1", "key_env": "GROQ_API_KEY"},
}
_FORMS = frozenset(("chat", "messages", "responses"))
_SETTINGS = frozenset(("apiBaseUrl", "apiKeyEnvar"))


def read_providers(suite: Suite) -> tuple[dict[str, Any], str | None]:
    """Settings of assay.yaml, and the reference of the model that takes part; what is not in them
    is listed."""
    found: dict[str, Any] = {}
    remote: str | None = None
    for node in suite.providers:
        one = _read(node, suite)
        if one is None:
            continue
        name, model, provider = one
        if remote is None:
            remote = f"remote:{name}/{model}"
            found = {f"providers.{name}": provider, "remote": remote}
        else:
            why = "one model of a provider takes part; save an agent with this model to add it"
            suite.note(node.unsupported(f"remote:{name}/{model}", why))
    return found, remote


def _read(node: Node, suite: Suite) -> tuple[str, str, dict[str, Any]] | None:
    """Name, model and settings; None, and it is listed, where it cannot be a provider here."""
    value = node.value
    if isinstance(value, dict) and "id" not in value and len(value) == 1:  # {openai:gpt-x: {...}}
        (id,) = value
        options = value[id] if isinstance(value[id], dict) else {}
    else:
        id = value.get("id") if isinstance(value, dict) else value
        options = value if isinstance(value, dict) else {}
    given = options.get("config")
    config: dict[str, Any] = given if isinstance(given, dict) else {}
    parts = str(id).split(":")
    name, model = parts[0], ":".join(parts[2:] if parts[1:2] and parts[1] in _FORMS else parts[1:])
    if name not in _KNOWN or not model or parts[1] in ("embedding", "image", "assistant"):
        suite.note(node.unsupported(str(id), "it is no chat model of a provider that is known"))
        return None
    settings = dict(_KNOWN[name])
    if isinstance(config.get("apiBaseUrl"), str):
        settings["base_url"] = config["apiBaseUrl"]
    if isinstance(config.get("apiKeyEnvar"), str):
        settings["key_env"] = config["apiKeyEnvar"]
    for key in sorted(config.keys() - _SETTINGS):
        why = "every request is sent with the project's settings"
        if "key" in key.lower():
            why = "keys are in no file here: `assay providers add`, or an environment variable"
        suite.note(node.child("config").child(key).unsupported(f"config.{key}", why))
    if options.get("prompts"):
        why = "every candidate has the project's prompt"
        suite.note(node.child("prompts").unsupported("prompts of a provider", why))
    try:
        Provider.model_validate(settings)
    except ValidationError as error:
        suite.note(node.unsupported(str(id), sentence(error.errors()[0]).rstrip(".")))
        return None
    return name, model, settings
