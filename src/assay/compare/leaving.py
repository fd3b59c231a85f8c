"""What a comparison would send to providers: named, and agreed to, before anything is built.

Each sending is checked again where it happens (`assay.agent.consent`), with what is sent then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from assay.agent.agent import Agent
from assay.agent.consent import ConsentError, found_in
from assay.agent.providers import provider_of
from assay.agent.routing import leaves
from assay.agent.versions import find_version, load_agent
from assay.candidates import ways
from assay.config import REMOTE
from assay.errors import UsageError
from assay.evaluate.graders.judge import JudgeSettings
from assay.evaluate.measure import Bench
from assay.example import Example
from assay.generate.remote import split_reference

Part = Literal["train", "validation", "holdout"]
MEASURED: tuple[Part, ...] = ("validation", "holdout")


def agree_first(
    rows: Mapping[Part, Sequence[Example]],
    holdout_rows: int,
    bench: Bench,
    saved: Sequence[Agent] = (),
) -> None:
    """Refuse where rows would go to a provider that the project has not agreed to.

    The holdout stays closed: of it the number of rows is named, and no personal data counted.

    Args:
        rows: of train and validation.
        saved: agents that take part beside what is built.

    Raises:
        ConsentError: it names the provider, the rows of each part, and the personal data in them.
    """
    going: dict[str, set[Part]] = {}
    for model, parts in _asked(bench, saved):
        if model.startswith(REMOTE):
            going.setdefault(split_reference(model)[0], set()).update(parts)
    providers = bench.engines.providers
    for name, sent in going.items():
        provider = provider_of(providers, name)
        if providers.agreed(name):
            continue
        counts = {part: len(rows[part]) for part in rows if part in sent}
        found: Counter[str] = Counter()
        for part in counts:
            for example in rows[part]:
                found.update(found_in(example.messages, example.tools))
        private = ", ".join(f"{what}: {count}" for what, count in sorted(found.items()))
        closed = ""
        if "holdout" in sent:
            counts["holdout"] = holdout_rows
            closed = " (the holdout stays closed and is not looked at)"
        raise ConsentError(
            "this project has not agreed to send its rows away. To the provider "
            f"{name} ({provider.base_url}) would go up to "
            f"{', '.join(f'{count} rows of {part}' for part, count in counts.items())}; "
            f"secrets and personal data found in them{closed}: {private or 'none'}.",
            name,
        )


def _asked(bench: Bench, saved: Sequence[Agent]) -> Iterator[tuple[str, tuple[Part, ...]]]:
    """Every model that may be asked, and the parts whose rows it is asked about."""
    config = bench.config
    names = ways(config.candidates, config.task)
    if "remote" in names and config.remote is not None:
        yield config.remote, MEASURED
    if "fine-tune" in names and config.fine_tune.teacher is not None:
        yield config.fine_tune.teacher, ("train",)
    if "prompt-optimised" in names and config.prompt_search.proposer is not None:
        yield config.prompt_search.proposer, ("train",)
    for spec in config.graders:
        if spec.name == "judge":
            yield JudgeSettings.model_validate(spec.settings).model, MEASURED
    for arm, parts in _arms(bench, names):
        for model in _models_of(arm, bench):
            yield model, parts
    for agent in saved:
        for leaf in leaves(agent, bench.store).values():
            yield leaf.model, MEASURED


def _arms(bench: Bench, names: Sequence[str]) -> Iterator[tuple[str, tuple[Part, ...]]]:
    route = bench.config.route
    if route is None:
        return
    if "cascade" in names or "router" in names:
        parts: tuple[Part, ...] = ("train", *MEASURED) if "router" in names else MEASURED
        for arm in (route.cheap, route.strong):
            if arm is not None:
                yield arm, parts
    if "rules" in names and route.otherwise is not None:
        for arm in (*(rule.to for rule in route.rules), route.otherwise):
            yield arm, MEASURED


def _models_of(arm: str, bench: Bench) -> list[str]:
    """The models behind the name of an arm; what it is otherwise is seen when it is built."""
    if arm == "remote" and bench.config.remote is not None:
        return [bench.config.remote]
    if "@" not in arm or arm.startswith(REMOTE):
        return [arm]
    try:
        agent = load_agent(bench.store, find_version(bench.store, arm).agent)
    except UsageError:
        return []
    return [leaf.model for leaf in leaves(agent, bench.store).values()]
