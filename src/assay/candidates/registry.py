"""All candidates by name: those of this package, and those of other installed distributions.

A candidate is a module with `SPEC` (`assay.candidates.spec.CandidateSpec`) and
`build(context) -> Candidate`. A module of this package is called like its candidate; that of
another distribution is named by an entry point:

    [project.entry-points."assay.candidates"]
    my-candidate = "my_package.my_candidate"
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module, metadata
from pkgutil import iter_modules
from types import MappingProxyType, ModuleType
from typing import Any

from assay import candidates
from assay.agent.lineage import is_made_of_many_rows
from assay.candidates.building import Candidate, Context
from assay.candidates.spec import (
    ANY_LABELS,
    CALLS,
    DOCUMENTS,
    DOCUMENTS_OF_TEXT,
    FAMILIES,
    FREE_TEXT,
    LABELS,
    LEARNS_ANSWERS,
    METHOD,
    ONE_PROCESS,
    ONE_PROCESS_OF_GRADERS,
    RECORDS,
    CandidateSpec,
    Sizes,
)
from assay.config import Config, TaskKind, is_remote
from assay.errors import ConfigError, UsageError
from assay.extensions import ExtensionGroup


def _find_fault(point: metadata.EntryPoint, module: Any) -> str | None:
    spec = getattr(module, "SPEC", None)
    if not isinstance(spec, CandidateSpec) or not callable(getattr(module, "build", None)):
        return f"{point.value} has no SPEC, or no build"
    return None if spec.family in FAMILIES else f"there is no family {spec.family!r}"


_ANY_SIZES = Sizes(1, 1, 1, 1.0, 1.0, 1.0, 1.0, 1)
EXTENSIONS = ExtensionGroup("assay.candidates", "candidate", _find_fault)


@cache
def _modules() -> Mapping[str, ModuleType]:
    """Modules of all candidates by name, by family and then by name.

    One of another distribution that cannot be used is left out, and a line of the log says why.
    """
    package = candidates.__name__
    own = (import_module(f"{package}.{found.name}") for found in iter_modules(candidates.__path__))
    modules = {
        module.__name__.rpartition(".")[2].replace("_", "-"): module
        for module in own
        if hasattr(module, "SPEC")
    }
    modules |= EXTENSIONS.load_all(modules)
    families = list(FAMILIES)
    order = sorted(modules, key=lambda name: (families.index(modules[name].SPEC.family), name))
    return {name: modules[name] for name in order}


@cache
def specs() -> Mapping[str, CandidateSpec]:
    """The specs of all candidates by name, by family and then by name."""
    return MappingProxyType({name: module.SPEC for name, module in _modules().items()})


def group_by_need(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of candidates by what they need (`FAMILIES`), cheapest first; unknown ones left out."""
    wanted, groups = set(names), dict[str, list[str]]()
    for name, spec in specs().items():
        if name in wanted:
            groups.setdefault(FAMILIES[spec.family], []).append(name)
    return groups


def title_of(kind: str) -> str | None:
    """Title of a candidate's kind; None of a saved agent or of one that is not installed."""
    spec = specs().get(kind)
    return None if spec is None else spec.title


def plain_name(name: str) -> str | None:
    """What a candidate is called where nobody types its name; None where it has no other: saved
    agents and those that are not installed."""
    title = title_of(name)
    return None if title is None else title[:1].upper() + title[1:]


def explanation_of(kind: str) -> str:
    """What a candidate of this kind is and does, in a sentence or two; "" of a saved agent."""
    spec = specs().get(kind)
    return "" if spec is None else spec.explanation


def need_of(kind: str) -> str:
    """What a candidate of this kind needs beside the rows (`FAMILIES`); "" of a saved agent."""
    spec = specs().get(kind)
    return "" if spec is None else FAMILIES[spec.family]


def build(name: str, context: Context) -> Candidate:
    """Build a candidate.

    Raises:
        UsageError: there is none of that name.
        AssayError: it cannot be built from this data with this configuration.
    """
    check_name(name)
    module, spec = _modules()[name], specs()[name]
    for need in spec.needs:
        need.check(name, context.config)
    made: Candidate = module.build(context)
    return replace(
        made,
        curated=made.curated or is_made_of_many_rows(made.agent, context.store),
        name=name,
        kind=name,
        title=spec.title,
        baseline=spec.baseline,
        floor=spec.floor,
    )


def check_name(name: str) -> None:
    """Refuse a name that no candidate has.

    Raises:
        UsageError: there is none of that name.
        ConfigError: there is one of another distribution, and it cannot be used.
    """
    if name in specs():
        return
    EXTENSIONS.check(name)
    raise UsageError(f"there is no candidate {name!r}.", fix=f"Choose from: {', '.join(specs())}.")


def check_learns(name: str, config: Config) -> None:
    """Refuse a candidate that is the same with more training rows.

    Raises:
        UsageError: it is, or as `check_name`.
        ConfigError: as `check_name`.
    """
    check_name(name)
    if not specs()[name].learns_from_rows(config):
        raise UsageError(
            f"{name} does not learn from examples, so that it has no learning curve.",
            fix="Choose a candidate that does, such as fine-tune or few-shot.",
        )


def check_needs(config: Config) -> None:
    """Refuse to compare, before anything is built, where one of those taking part lacks something.

    Raises:
        ConfigError: it names candidate and setting.
    """
    for name in taking_part(config):
        for need in specs()[name].needs:
            need.check(name, config)


def check_candidates(config: Config) -> None:
    """Refuse a configuration with unknown candidates, unmet needs or circular routes.

    Raises:
        ConfigError: it names candidate and setting.
    """
    for name in config.candidates:
        try:
            check_name(name)
        except UsageError as error:
            where = "assay.yaml, candidates"
            raise ConfigError(error.what, where=where, fix=error.fix) from None
        for need in specs()[name].needs:
            if not need.opens_without:
                need.check(name, config)
    for arm in config.route.arms if config.route is not None else ():
        if is_route(arm):
            raise ConfigError(
                f"{arm} is itself a route, which would be circular; save it as an agent and use "
                "NAME@VERSION here.",
                where="assay.yaml, route",
            )


def is_floor(name: str) -> bool:
    """Whether a candidate of that name takes part only to be beaten."""
    spec = specs().get(name)
    return spec is not None and spec.floor


def is_route(name: str) -> bool:
    """Whether a candidate of that name answers by asking others."""
    spec = specs().get(name)
    return spec is not None and spec.family == "routes"


def taking_part(config: Config) -> list[str]:
    """Names of a project's candidates: its baselines (see `baselines`), and those it names.

    Routes come last, since others are their arms.

    Raises:
        ConfigError: as `check_candidates`.
    """
    check_candidates(config)
    unnamed = [name for name in baselines(config) if name not in config.candidates]
    if not config.baselines:
        unnamed = []
    return sorted(dict.fromkeys([*unnamed, *config.candidates]), key=is_route)


def asks_model(name: str, config: Config) -> bool:
    """Whether a candidate, or an arm of it, is answered by the project's model or a version of it,
    as its estimate says."""
    if name not in specs():
        return not is_remote(name)
    spec = specs()[name]
    if not spec.is_possible(config):
        return False
    if spec.estimate(config, _ANY_SIZES).answered_by == "model":
        return True
    return any(asks_model(arm, config) for arm, _ in spec.sends(config))


def baselines(config: Config) -> list[str]:
    """Names of the baselines whose needs a configuration meets, whether or not it wants them."""
    return [n for n, spec in specs().items() if spec.baseline and spec.is_possible(config)]


def needs_documents(config: Config) -> bool:
    """Whether a candidate that takes part could not do so without `knowledge`."""
    without = config.model_copy(update={"knowledge": None})
    return config.knowledge is not None and not all(
        spec.is_possible(without)
        for name, spec in specs().items()
        if name in taking_part(config) and spec.is_possible(config)
    )


def offer(*, task: TaskKind, documents: bool, lists: bool = False) -> dict[str, CandidateSpec]:
    """Candidates of a new project that need nothing beside its examples.

    Args:
        documents: whether there are documents to search.
        lists: whether answers are lists of labels.
    """
    there = {
        LABELS: task == "label",
        ANY_LABELS: task == "label" or lists,
        RECORDS: task == "json",
        CALLS: task == "tools",
        FREE_TEXT: task == "text",
        DOCUMENTS: documents,
        DOCUMENTS_OF_TEXT: True,
        METHOD: True,
        LEARNS_ANSWERS: True,
        ONE_PROCESS: True,
        ONE_PROCESS_OF_GRADERS: True,
    }
    return {
        name: spec
        for name, spec in specs().items()
        if all(there.get(need, False) for need in spec.needs)
    }


def propose_candidates(*, task: TaskKind, documents: bool, lists: bool = False) -> list[str]:
    """Names of the candidates that a new project compares, baselines first; see `offer`."""
    found = offer(task=task, documents=documents, lists=lists)
    unasked = [name for name, spec in found.items() if spec.baseline]
    return unasked + [name for name, spec in found.items() if spec.proposed]
