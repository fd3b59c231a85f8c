"""The model that a provider offers in the place of one that ends, as candidates of a project.

    successor = name_successor("openai/gpt-5-mini", Path("from-openai"), Path("."))
    plan_rescue(Path("from-openai"), Path("projects"), successor=successor)

It takes part as `remote`, with the prompt that the old model had, and as `remote-few-shot`. Nothing
is sent here; a comparison asks for consent as it always does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.agent.providers import Providers
from assay.config import CONFIG_FILE, REMOTE, STATE_FOLDER, Config, Provider, split_reference
from assay.errors import ConfigError, UsageError
from assay.project.known_providers import KNOWN_PROVIDERS
from assay.project.project import Project
from assay.project.rescue.account import describe
from assay.project.workspace import Workspace
from assay.rescue.folder import MANIFEST
from assay.rescue.manifest import Manifest

CANDIDATES = ("remote", "remote-few-shot")
_OPENAI = "openai"


@dataclass(frozen=True, slots=True)
class Successor:
    """A model at a provider.

    Attributes:
        provider: its name in assay.yaml; `settings` are what stands there.
        key: one that another project has kept for it; None: the settings say where it is.
        agreed: whether rows may be sent there without being asked again.
    """

    provider: str
    model: str
    settings: dict[str, Any]
    key: str | None = None
    agreed: bool = False

    @property
    def reference(self) -> str:
        """As assay.yaml names it: remote:PROVIDER/MODEL."""
        return f"{REMOTE}{self.provider}/{self.model}"

    def settings_of(self, config: Config) -> dict[str, Any]:
        """What is set in an assay.yaml so that it takes part."""
        return {
            f"providers.{self.provider}": self.settings,
            "remote": self.reference,
            "candidates": list(dict.fromkeys([*config.candidates, *CANDIDATES])),
        }

    def hand_over(self, project: Project) -> None:
        """Let a project that names it, at its address, have its key and the consent."""
        there = project.providers.get(self.provider)
        ours = Provider.model_validate(self.settings)
        if project.config.remote != self.reference or there is None or there.origin != ours.origin:
            return
        if self.key is not None and project.providers.key(self.provider) != self.key:
            project.providers.add(self.provider, None, self.key)
        if self.agreed and not project.providers.has_consent(self.provider):
            project.providers.agree(self.provider)


def name_successor(named: str, source: Path | None, folder: Path) -> Successor:
    """The successor that somebody names on the command line, see `find_successor`.

    Args:
        source: the folder of the account that is left; None: there is none.
        folder: of a project, whose providers count first, if it is one.
    """
    base_url = None
    if source is not None and (source / MANIFEST).exists():
        base_url = Manifest(source.absolute()).account.get("base_url")
    is_project = (folder / CONFIG_FILE).exists() or (folder / STATE_FOLDER).exists()
    return find_successor(named, base_url, Workspace(folder).providers if is_project else None)


def find_successor(
    named: str, base_url: str | None, known: Providers | None = None, *, web: bool = False
) -> Successor:
    """The successor of a name, PROVIDER/MODEL; nothing is sent.

    Args:
        base_url: of the account that is left, where the provider openai is; None: OpenAI's.
        known: providers that count first, with the keys that are kept for them.
        web: whether it is named over the web: then there are no others, and who has agreed that
            rows go to one of these was asked for the projects that are made, too.

    Raises:
        UsageError: there is no such provider, or it is not named so.
        SecretError: a key is kept and cannot be read.
    """
    try:
        provider, model = split_reference(named)
    except ConfigError:
        raise UsageError(
            f"{named!r} does not name a successor.", fix="Write PROVIDER/MODEL: openai/gpt-5-mini."
        ) from None
    if known is not None and provider in known:
        found = known[provider]
        unasked = found.model_copy(update={"consent": False})
        settings = unasked.model_dump(mode="json", exclude_defaults=True)
        key = None if found.key_env or found.key_file else known.key(provider)
        return Successor(provider, model, settings, key, web and known.has_consent(provider))
    if web:
        raise UsageError(f"there is no provider {provider!r} here.", fix="Add its key first.")
    if provider == _OPENAI and base_url is not None:
        described = describe(base_url).model_dump(mode="json", exclude_defaults=True)
        return Successor(provider, model, described)
    if provider not in KNOWN_PROVIDERS:
        raise UsageError(
            f"there is no provider {provider!r} here.",
            fix=f"Use one of {', '.join(KNOWN_PROVIDERS)}, or add it with `assay providers add` in "
            "the folder that --project names.",
        )
    return Successor(provider, model, KNOWN_PROVIDERS[provider])
