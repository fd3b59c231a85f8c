"""What users ask of a release may leave this machine: only where the project has agreed to it.

An agent sends requests to a provider where its model is one of a provider, where an arm of its
route is, or where one stands behind a model of it as a fallback (`fallback` in assay.yaml). The
consent is the one under which rows go there: kept for the provider at its present address, or in
assay.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from assay.agent.consent import ConsentError
from assay.agent.providers import provider_of
from assay.agent.routing import leaves
from assay.agent.versions import find_version, load_agent
from assay.config import is_remote, split_reference
from assay.project.workspace import Workspace


def find_providers(workspace: Workspace, label: str) -> dict[str, list[str]]:
    """By provider, how an agent (`NAME@VERSION`) may come to ask it: a sentence's end each.

    Raises:
        AssayError: there is no such agent, or its route or a fallback cannot be followed.
    """
    store = workspace.store
    found: dict[str, list[str]] = {}
    for leaf in leaves(load_agent(store, find_version(store, label).agent), store).values():
        for model in workspace.chain(leaf.model):
            if is_remote(model):
                how = model if model == leaf.model else f"{model}, if {leaf.model} fails"
                found.setdefault(split_reference(model)[0], []).append(how)
    return found


def require_consent(
    workspace: Workspace, release: str, consent: Sequence[str], who: str
) -> Callable[[str], dict[str, str]]:
    """What `assay.release.changes` asks of an agent, see `Leaving` there.

    It refuses to let an agent serve whose requests would go to a provider nobody has agreed to.

    Args:
        consent: providers that are agreed to now; kept, of those that the agent may ask.

    Raises (when it is asked):
        ConsentError: it names the provider, the agent, and how a request gets there.
        UsageError: there is no provider that is called as `consent` says.
    """

    def leaving(label: str) -> dict[str, str]:
        going = find_providers(workspace, label)
        providers = workspace.providers.by(who)
        for name in consent:
            # Of others nobody was asked; a name that is nobody's is refused.
            if name in going or name not in providers:
                providers.agree(name)
        for name, ways in going.items():
            provider = provider_of(providers, name)
            if not providers.has_consent(name):
                raise ConsentError(
                    f"this project has not agreed to send requests to {release} away from this "
                    f"machine. {label} would send them to the provider {name} "
                    f"({provider.base_url}): to {'; to '.join(ways)}.",
                    name,
                )
        return {name: providers[name].origin for name in going}

    return leaving
