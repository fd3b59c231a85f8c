"""How long an answer may be: no longer than what its model reads and writes together.

Models at a provider, and those that are not on this machine, may read and write any number of
tokens: for them there is one bound, beyond all of them (`MOST_ANSWER_TOKENS`).
"""

from __future__ import annotations

from assay.config import CONFIG_FILE, Config, is_remote
from assay.config.candidates import MOST_ANSWER_TOKENS
from assay.config.names import names_in
from assay.errors import ConfigError, ModelError, UsageError
from assay.models.load import find_context_length
from assay.models.versions import base_of
from assay.store.store import Store


def check_length(store: Store, tokens: int, model: str) -> None:
    """See that an answer of a model, or of a version, may have so many tokens.

    Raises:
        UsageError: it may not.
    """
    try:
        refused = _refuse(tokens, base_of(store, model))
    except ModelError:
        return  # that there is no such version is told at the model
    if refused:
        raise UsageError(refused)
    if tokens > MOST_ANSWER_TOKENS:
        raise UsageError(f"it should be at most {MOST_ANSWER_TOKENS}.")


def check_config(config: Config) -> None:
    """See that an answer of the project's model may have as many tokens as the settings say.

    They hold for all models of a project: where one at a provider is named, it may write more.

    Raises:
        ConfigError: it may not.
    """
    if any(is_remote(name.value) for name in names_in(config)):
        return
    if refused := _refuse(config.generate.max_new_tokens, config.model):
        raise ConfigError(refused, where=f"{CONFIG_FILE}, generate, max_new_tokens")


def _refuse(tokens: int, model: str) -> str | None:
    most = find_context_length(model)
    if most is None or tokens <= most:
        return None
    return f"{tokens:,} is too much: this model reads and writes at most {most:,} tokens."
