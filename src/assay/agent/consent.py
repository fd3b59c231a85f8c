"""Before rows leave this machine: what is in them is counted, and the project must have agreed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from assay.agent.providers import Providers, provider_of
from assay.config import CONFIG_FILE, is_remote, split_reference
from assay.data.privacy import mask_within
from assay.errors import ConfigError, Step
from assay.example import Message, canonical_json
from assay.generate.batch import Request
from assay.generate.vllm.batch import VllmBatches
from assay.progress import SILENT, Progress
from assay.quantities import say_count


class ConsentError(ConfigError):
    """A project has not agreed that its rows go to `provider`."""

    def __init__(self, message: str, provider: str) -> None:
        super().__init__(
            message,
            where=f"{CONFIG_FILE}, providers.{provider}.consent",
            fix=f"To allow it, {Step.CONSENT.of(provider)}.",
        )
        self.provider = provider


def check_consent(
    model: str, providers: Providers, requests: Sequence[Request], progress: Progress
) -> None:
    """Say what goes to a provider; refuse to send it where the project has not agreed.

    Args:
        model: who is asked; models of this machine need no consent.

    Raises:
        ConsentError: nobody has agreed; the message names the provider, the rows, and how much
            personal data is in them.
    """
    if not is_remote(model):
        return
    name, _ = split_reference(model)
    provider = provider_of(providers, name)
    # Tools go along with every row; what stands in them is one and the same.
    offered = {canonical_json(tool): tool for request in requests for tool in request.tools}
    found = count_private(
        [m for request in requests for m in request.messages], list(offered.values())
    )
    private = ", ".join(f"{what}: {count}" for what, count in sorted(found.items()))
    said = (
        f"{say_count(len(requests), 'row')} to the provider {name} ({provider.base_url}); "
        f"secrets and personal data found in them: {private or 'none'}"
    )
    if not providers.has_consent(name):
        raise ConsentError(
            f"this project has not agreed to send its rows away. It would send {said}. "
            "(A comparison sends the inputs of validation and holdout.)",
            name,
        )
    progress.say(f"Sending {said}.")


def check_agreed(name: str, providers: Providers) -> None:
    """Refuse to ask a provider where the project has not agreed that anything goes there.

    Raises:
        ConsentError: nobody has.
    """
    provider = provider_of(providers, name)
    if not providers.has_consent(name):
        raise ConsentError(
            "this project has not agreed to send rows and requests to the provider "
            f"{name} ({provider.base_url}).",
            name,
        )


def check_server_agreed(
    server: VllmBatches, requests: int = 0, progress: Progress = SILENT
) -> None:
    """Refuse to measure by a vLLM server on another machine where the project has not agreed; say
    how many requests go there.

    Raises:
        ConfigError: nobody has.
    """
    if not server.is_elsewhere:
        return
    url = server.settings.base_url
    if not server.settings.consent:
        raise ConfigError(
            "this project has not agreed that it is measured on another machine. Inputs of "
            "validation and holdout, with the training rows and passages of documents that a "
            f"candidate puts into them, would go to the vLLM server at {url}; expected answers of "
            "the holdout would stay.",
            where=f"{CONFIG_FILE}, vllm.consent",
            fix="To allow it, set vllm.consent: true.",
        )
    if requests:
        progress.say(f"Sending {say_count(requests, 'request')} to the vLLM server at {url}.")


def count_private(messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> Counter[str]:
    """Secrets and personal data in what a row brings along, counted by what they are."""
    told = [message.to_dict() for message in messages]
    return Counter(finding.what for finding in mask_within([told, list(tools)])[1])
