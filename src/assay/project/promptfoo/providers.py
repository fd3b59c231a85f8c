"""Providers of a promptfoo configuration as those of a project, whose first model takes part."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from assay.config import Provider
from assay.config.sentences import sentence
from assay.project.known_providers import KNOWN_PROVIDERS
from assay.project.promptfoo.files import Node
from assay.project.promptfoo.suite import Suite

_KEYS = frozenset(provider["key_env"] for provider in KNOWN_PROVIDERS.values())
_FORMS = frozenset(("chat", "messages", "responses"))
_OTHERS = frozenset(
    (
        *("embedding", "embeddings", "image", "assistant", "completion", "realtime", "moderation"),
        *("transcription", "speech", "tts", "video", "agents", "chatkit", "codex", "codex-sdk"),
    )
)
"""Second parts of names that ask for no chat model."""
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
    formed = parts[1:2] and parts[1] in _FORMS
    name, model = parts[0], ":".join(parts[2:] if formed else parts[1:])
    if name not in KNOWN_PROVIDERS or not model or (not formed and parts[1] in _OTHERS):
        suite.note(node.unsupported(str(id), "it is no chat model of a provider that is known"))
        return None
    settings = dict(KNOWN_PROVIDERS[name])
    place = node.child("config")
    url, key_env = config.get("apiBaseUrl"), config.get("apiKeyEnvar")
    if isinstance(url, str) and url.rstrip("/") != settings["base_url"]:
        # Consent is asked for by name, and the key of the known address is not for this one.
        name = _name_of(url)
        settings |= {"base_url": url, "key_env": None}
        why = f"its name is {name!r}: look at the address before you consent to it"
        suite.note(place.child("apiBaseUrl").unsupported(url, why))
    if isinstance(key_env, str) and key_env != settings["key_env"]:
        if key_env.endswith("_API_KEY") and key_env not in _KEYS:
            settings["key_env"] = key_env
            why = f"this variable is sent to {settings['base_url']} with every request"
        else:
            why = "it is not the name of a key for this address: set `key_env` if it is"
        suite.note(place.child("apiKeyEnvar").unsupported(key_env, why))
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


def _name_of(url: str) -> str:
    """A name for an address, after its host."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""  # which is no address, and refused as such
    name = re.sub(r"[^a-z0-9]+", "-", host.lower()).strip("-")[:50] or "other"
    return f"{name}-elsewhere" if name in KNOWN_PROVIDERS else name
