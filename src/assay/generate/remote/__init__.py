"""Models at a provider: the wire, the way out of this machine, engines for batches and streams."""

from __future__ import annotations

from assay.config import REMOTE
from assay.errors import ConfigError


def split_reference(model: str) -> tuple[str, str]:
    """Provider and model of `remote:PROVIDER/MODEL`.

    Raises:
        ConfigError: it is not of this form.
    """
    provider, _, name = model.removeprefix(REMOTE).partition("/")
    if not provider or not name:
        raise ConfigError(
            f"{model!r} names no model of a provider.", fix="Write remote:PROVIDER/MODEL."
        )
    return provider, name
