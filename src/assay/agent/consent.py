"""Before rows leave this machine: what is in them is counted, and the project must have agreed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from assay.config import CONFIG_FILE, Provider
from assay.data.privacy import mask_within
from assay.errors import ConfigError
from assay.example import canonical_json
from assay.generate.engine import Request
from assay.progress import Progress


def check_consent(
    name: str, provider: Provider, requests: Sequence[Request], progress: Progress
) -> None:
    """Say what goes to a provider; refuse to send it where the project has not agreed.

    Raises:
        ConfigError: `providers.<name>.consent` is not true; the message names the provider, the
            rows, and how much personal data is in them.
    """
    found = Counter(
        finding.what
        for request in requests
        for message in request.messages
        for finding in mask_within(message.to_dict())[1]
    )
    # Tools go along with every row; what stands in them is one and the same.
    offered = {canonical_json(tool): tool for request in requests for tool in request.tools}
    found.update(finding.what for finding in mask_within(list(offered.values()))[1])
    private = ", ".join(f"{what}: {count}" for what, count in sorted(found.items()))
    said = (
        f"{len(requests)} rows for the provider {name} ({provider.base_url}); "
        f"secrets and personal data found in them: {private or 'none'}"
    )
    if not provider.consent:
        raise ConfigError(
            f"this project has not agreed to send its rows away. It would be {said}.",
            where=f"{CONFIG_FILE}, providers.{name}.consent",
            fix="Set it to true if they may leave this machine.",
        )
    progress.say(f"Sending {said}.")
