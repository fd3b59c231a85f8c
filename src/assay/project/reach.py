"""What a text that is written over the web may name: settings in the studio, agents there.

Who works at the command line may name whatever the operating system lets them read. What is
written over the web is used by the same server and the same commands, so it may name only:

files        inside the project's folder, links resolved; nothing hidden, so nothing of `.assay`;
             not assay.yaml, no key that a provider's settings name, and nothing of `ONLY_ADMINS`
code         none (`assay compare --trust-code` would run it)
models       those that are offered: starters, what was fetched, versions of the project, models at
             providers that are described
variables, files of keys and certificates
             those that the variables `ASSAY_WEB_VARIABLES` and `ASSAY_WEB_FILES` list

What stands in the text already may stay, of keys only where it goes to the same address.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath

from pydantic import ValidationError

from assay.agent.agent import Agent
from assay.agent.edits import newest
from assay.agent.versions import find_version, load_agent
from assay.candidates.registry import specs
from assay.config import CONFIG_FILE, Config, GraderSpec, Provider, Vllm, is_remote, split_reference
from assay.config.names import Name, file_of, names_in
from assay.data.formats import hub
from assay.defaults import IMPORTED_TRACES, RESCUED, TRACE_PROJECTS
from assay.errors import AssayError
from assay.evaluate.graders import GRADERS
from assay.generate.registry import CLASSICAL
from assay.models.show import list_models
from assay.models.tuned_encoder import SCHEME
from assay.models.versions import version_id
from assay.project.answer.names import base_models, embedders, own
from assay.project.workspace import Workspace

VARIABLES, FILES = "ASSAY_WEB_VARIABLES", "ASSAY_WEB_FILES"
"""Variables of the server's environment: names of variables, with commas; files, with colons."""
ONLY_ADMINS = {
    RESCUED: "an account that is fetched is",
    IMPORTED_TRACES: "traces of other programs are",
    TRACE_PROJECTS: "projects that are made of such traces are",
}
"""Folders that nobody else may read, and what is there."""
Refusal = tuple[str, str]
"""A setting, and why what it names may not be named."""


def of_config(workspace: Workspace, before: Config | None, after: Config) -> Iterator[Refusal]:
    """What assay.yaml names that it may not, when it is written over the web.

    Args:
        before: what it says now; None: nothing that can be read.
    """
    stays = {(name.kind, name.value) for name in _of_project(before)}
    keys = frozenset(_key_files(workspace, after))
    for name in _of_project(after):
        if (name.kind, name.value) not in stays and (why := _refused(workspace, name, keys, after)):
            yield name.setting, why
    sent = set() if before is None else {pair for _, pair in _transfers(before)}
    for setting, pair in _transfers(after):
        if pair not in sent and (why := _unlisted(workspace.root, *pair)):
            yield setting, why


def of_agent(workspace: Workspace, agent: Agent) -> Iterator[Refusal]:
    """What an agent names that it may not, when it is written over the web.

    What the newest version of an agent names may be named by others.
    """
    for name in names_in(agent):
        if name.setting == "knowledge.rerank" and name.value.startswith(SCHEME):
            continue  # looked up by its content
        why = _unoffered(workspace, name.value)
        if why and not _is_named(workspace, name.value):
            yield name.setting, why


def of_provider(workspace: Workspace, name: str, provider: Provider) -> Iterator[Refusal]:
    """What a provider's settings name that they may not, when they are written over the web."""
    for setting, pair in _transfers_of(f"providers.{name}", provider, provider.origin):
        if why := _unlisted(workspace.root, *pair):
            yield setting, why


def of_embedder(workspace: Workspace, embedder: str) -> str | None:
    """Why passages may not be rebuilt with an embedder over the web; None: they may."""
    return _unoffered(workspace, embedder)


def _of_project(config: Config | None) -> Iterator[Name]:
    """Names that are looked up here; those that go to an address are `_transfers`, and those of
    the database are not written over the web at all."""
    if config is None:
        return
    for name in names_in(config):
        if not name.setting.startswith(("providers.", "vllm.", "state.")):
            yield name
    for number, spec in enumerate(config.graders):
        yield from _of_grader(spec, f"graders.{number}.settings")


def _of_grader(spec: GraderSpec, setting: str) -> Iterator[Name]:
    if spec.name not in GRADERS:
        return
    try:
        settings = GRADERS[spec.name].settings.model_validate(spec.settings)
    except ValidationError:
        return  # refused as it is, before anything is read
    yield from names_in(settings, setting)


Transfer = tuple[str, str, str]
"""A kind, what is named, and the origin that it is sent to, or used for."""


def _transfers(config: Config) -> Iterator[tuple[str, Transfer]]:
    for provider, one in config.providers.items():
        yield from _transfers_of(f"providers.{provider}", one, one.origin)
    if config.vllm is not None:
        yield from _transfers_of("vllm", config.vllm, config.vllm.provider().origin)


def _transfers_of(
    setting: str, one: Provider | Vllm, origin: str
) -> Iterator[tuple[str, Transfer]]:
    for name in names_in(one, setting):
        if name.kind == "file":
            yield name.setting, ("file", name.value, origin)
        for variable in name.variables:
            yield name.setting, ("variable", variable, origin)


def _unlisted(root: Path, kind: str, value: str, origin: str) -> str | None:
    if kind == "variable":
        if value in os.environ.get(VARIABLES, "").replace(" ", "").split(","):
            return None
        return (
            f"settings written over the web may not send the variable {value} to {origin}, "
            f"unless {VARIABLES} lists it."
        )
    listed = filter(None, os.environ.get(FILES, "").split(os.pathsep))
    if _real(file_of(value, root)) in {_real(file_of(one, root)) for one in listed}:
        return None
    return f"settings written over the web may not name {value}, unless {FILES} lists it."


def _refused(workspace: Workspace, name: Name, keys: Iterable[Path], config: Config) -> str | None:
    """Why a name of assay.yaml may not be written over the web; None: it may."""
    if name.kind == "code":
        return "code to run can only be named at the command line, not over the web."
    if name.kind == "file" or name.kind == "data":
        return _outside(workspace.root, name, frozenset(keys))
    if name.kind == "arm" and _is_arm(workspace, name.value):
        return None
    return _unoffered(workspace, name.value, config.providers)


def _outside(root: Path, name: Name, keys: frozenset[Path]) -> str | None:
    value = name.value
    if name.kind == "data" and value.startswith(hub.PREFIX):
        try:
            hub.parse(value)
        except AssayError as error:
            return f"{error.what} {error.fix or ''}".strip()
        return None
    if not value.strip() or "\0" in value:
        return "this cannot be the path of a file. Name one in the project's folder."
    spellings = [value]
    if name.kind == "data":  # FILE#SHEET, or a file of that very name (`split_sheet`)
        file = PurePath(value)
        spellings.append(str(file.parent / file.name.partition("#")[0]))
    for spelling in spellings:
        parts = PurePath(spelling).parts
        if spelling.startswith(("/", "~")) or any(part.startswith(".") for part in parts):
            return "over the web, only visible files in the project's folder can be named."
        found, inside = _real(root / spelling), _real(root)
        if found is None or inside is None or not found.is_relative_to(inside):
            return "this path leads out of the project's folder."
        if any(part.startswith(".") for part in found.relative_to(inside).parts):
            return "hidden files cannot be named over the web."
        if found == inside / CONFIG_FILE or any(key.is_relative_to(found) for key in keys):
            return "this path is or contains a key or the settings."
        for folder, kept in ONLY_ADMINS.items():
            closed = inside / folder
            if found.is_relative_to(closed) or closed.is_relative_to(found):  # made later, too
                return (
                    f"this path is in or contains the folder {folder}, which only admins may read: "
                    f"{kept} kept there."
                )
    return None


def _key_files(workspace: Workspace, config: Config) -> Iterator[Path]:
    everyone: Mapping[str, Provider] = {**workspace.providers, **config.providers}
    for provider in everyone.values():
        for name in names_in(provider):
            if name.kind == "file" and name.secret:
                found = _real(file_of(name.value, workspace.root))
                if found is not None:
                    yield found


def _real(path: Path) -> Path | None:
    """Where a path leads; None where that cannot be said."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a ring of links, a NUL
        return None


def _is_named(workspace: Workspace, model: str) -> bool:
    """Whether a saved agent names a model."""
    saved = (load_agent(workspace.store, one.agent) for one in newest(workspace.store))
    return any(name.value == model for agent in saved for name in names_in(agent))


def _is_arm(workspace: Workspace, name: str) -> bool:
    if name in specs():
        return True
    if "@" not in name or is_remote(name):
        return False
    try:
        find_version(workspace.store, name)
    except AssayError:
        return False
    return True


def _unoffered(
    workspace: Workspace, model: str, providers: Mapping[str, Provider] | None = None
) -> str | None:
    """Why a model may not be named over the web; None: it is offered."""
    if model.partition(":")[0] in (*CLASSICAL, "outside", "routed"):
        return None  # looked up by their content
    try:
        if is_remote(model):
            provider = split_reference(model)[0]
            if provider in (providers or {}) or provider in workspace.providers:
                return None
            return f"there is no provider {provider!r}."
        if (id := version_id(model)) is not None:
            own(workspace, id)
            return None
    except AssayError as error:
        return error.what
    if model in {*base_models(workspace, workspace.name), *embedders()}:
        return None
    if any(line.ref == model and "/" in line.ref for line in list_models()):
        return None
    return (
        f"{model!r} is not an available model. Pull it first (Models), or name it at the "
        "command line."
    )
