"""assay.yaml while somebody is changing it: what its text says so far, and no change over another.

    draft = settings.read(workspace)
    text = edit(draft.text, {"data.split.holdout": 0.3})
    settings.validate(workspace, text).problems            # empty: it can be saved
    settings.save(workspace, text, based_on=draft.hash, message="more to measure on")

What can be saved is what the command line can use: `Project` decides here as there. What a text may
name that is written here, over the web, is less (`assay.project.reach`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import select

from assay.candidates.registry import specs
from assay.config import (
    CONFIG_FILE,
    Config,
    GraderSpec,
    State,
    config_schema,
    config_text,
    parsed_config,
)
from assay.config.names import LONGEST_MESSAGE, check_text, file_of, split_sheet
from assay.config.yaml_text import Problem, edit, problem_at, tree_of
from assay.data.formats.hub import PREFIX
from assay.data.split import has_split, read_manifest
from assay.errors import AssayError, ConfigError, StateError
from assay.evaluate.graders import GRADERS, check_graders
from assay.project import reach
from assay.project.last_good import keep
from assay.project.project import Project
from assay.project.queued_comparisons import may_open
from assay.project.settings.effects import follows, set_differently, stops
from assay.project.settings.example_files import find_misnamed
from assay.project.workspace import Workspace
from assay.store.audit import audit
from assay.store.files import write_atomic
from assay.store.tables import AuditRow
from assay.train.methods import registry as methods

ACTION = "settings.save"
MOST_SAVES = 100
"""Saves that are listed."""
ADMINS = ("providers", "vllm", "fallback", "place")
"""Sections that say which servers are asked, with which keys, and where rows go to train."""


class StaleSettingsError(StateError):
    """assay.yaml is not what was read: somebody has changed it meanwhile."""

    def __init__(self, who: str | None) -> None:
        super().__init__(
            f"assay.yaml was changed since it was read{f', by {who}' if who else ''}.",
            fix="Load it again and repeat your change in the current text.",
        )


class InvalidSettingsError(ConfigError):
    """A text that cannot be used; `problems` are all that were found."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__(str(problems[0]), where=CONFIG_FILE, fix="Nothing was saved.")


@dataclass(frozen=True, slots=True)
class Change:
    """A save by somebody: who, when, and why.

    Attributes:
        settings: that were set differently, with dots.
    """

    who: str
    at: datetime
    message: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingsDraft:
    """assay.yaml as it is read to be changed.

    Attributes:
        hash: of the text; `save` wants it back, so that no one's change is lost.
        change: that made this text; None where it was made outside of `save`.
    """

    text: str
    hash: str
    change: Change | None


@dataclass(frozen=True, slots=True)
class Validation:
    """What a text says.

    Attributes:
        config: None where the text is no configuration at all.
        problems: what keeps it from being saved; empty: nothing does.
        follows: what a save would change of what was measured, in sentences.
        notes: what is odd about it and does no harm yet.
        stops: of what follows, why nothing could be compared or trained any more.
    """

    config: Config | None
    problems: tuple[Problem, ...]
    follows: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()


def read(workspace: Workspace) -> SettingsDraft:
    """The file as it is on disk, whether it can be used or not.

    Raises:
        ConfigError: it is gone, or no text.
    """
    text = _text(workspace)
    digest = text_hash(text)
    return SettingsDraft(text, digest, _change(workspace, digest))


def history(workspace: Workspace) -> list[Change]:
    """The saves of the file, the newest first, `MOST_SAVES` at most."""
    return [change for change, _ in _changes(workspace, MOST_SAVES)]


def validate(workspace: Workspace, text: str, *, admin: bool) -> Validation:
    """What a text says, what keeps it from being saved, and what a save would change; see `save`
    and `effects.follows`."""
    problems = tree_of(text, "a configuration")[1]
    if problems:
        return Validation(None, tuple(problems))
    config, problems = parsed_config(text)
    if config is None:
        return Validation(None, tuple(sorted(problems, key=lambda p: (p.line or 0, p.column or 0))))
    before = _config_before(workspace)
    if refused := _refused(workspace, text, before, config, admin):
        return Validation(config, tuple(refused))  # before `Project` or a note reads what it names
    try:
        Project(workspace.root, text)
        methods.check_method(config)  # a project opens without, but here somebody can mend it
    except AssayError as error:
        problems = [_placed(text, error)]
    misnamed = find_misnamed(workspace.root, before, config)
    problems += [problem_at(text, setting, why) for setting, why in misnamed]
    project = workspace.project
    split = None
    if project is not None and has_split(project.split_folder):
        split = read_manifest(project.split_folder)
    log = [] if project is None else project.openings()
    openings, comparing = len(log), may_open(workspace.store, workspace.name, log)
    effects = follows(before, config, openings, split, comparing=comparing) if before else []
    notes = [] if problems else _notes(workspace, config)
    stopped = stops(config, openings, split)
    return Validation(config, tuple(problems), tuple(effects), tuple(notes), tuple(stopped))


def save(
    workspace: Workspace, text: str, *, based_on: str, message: str = "", admin: bool = True
) -> SettingsDraft:
    """Write a text, whole or not at all.

    Args:
        based_on: `SettingsDraft.hash` of what was read.
        admin: whether it may change `ADMINS`.

    Raises:
        StaleSettingsError: the file has changed since.
        InvalidSettingsError: it cannot be used.
        UsageError: the message is none.
    """
    if message:
        message = check_text(message, "the message", LONGEST_MESSAGE)
    if found := validate(workspace, text, admin=admin).problems:
        raise InvalidSettingsError(list(found))
    with workspace.store.lock("settings.lock"):
        before = _text(workspace)
        digest = text_hash(before)
        if digest != based_on:
            change = _change(workspace, digest)
            raise StaleSettingsError(change.who if change else None)
        if text != before:
            write_atomic(workspace.root / CONFIG_FILE, text)
            keep(workspace.store, text)
            details = {
                "settings": _set_differently(before, text),
                "message": message,
                "hash": text_hash(text),
            }
            audit(workspace.store, workspace.name, workspace.who, ACTION, CONFIG_FILE, details)
    return read(workspace)


def change(workspace: Workspace, values: Mapping[str, Any], message: str) -> SettingsDraft:
    """Change some settings of the file as it is now, such as those that a search has found.

    Raises:
        AssayError: as `save`.
    """
    draft = read(workspace)
    text = edit(draft.text, values)
    return save(workspace, text, based_on=draft.hash, message=message, admin=False)


def text_hash(text: str) -> str:
    """Sha256 (hex) of a text."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


@cache
def completions() -> dict[str, Any]:
    """Every setting, `{name: {info, values, settings}}`, the last holding those within it."""
    schema = config_schema()
    made = _completed(schema, schema.get("$defs", {}))
    made["candidates"]["values"] = list(specs())
    made["fine_tune"]["settings"]["method"]["values"] = list(methods.specs())
    made["graders"]["settings"]["name"]["values"] = list(GRADERS)
    return made


def measures(config: Config) -> dict[str, str]:
    """What can decide: the project's graders, and those that need nothing more; with meanings."""
    own = {
        spec.label: GRADERS[spec.name].explanation
        for spec in config.graders
        if spec.name in GRADERS
    }
    return own | {
        name: grader.explanation
        for name, grader in GRADERS.items()
        if name not in own and _needs_nothing(config, name)
    }


def choose_measure(config: Config, label: str) -> dict[str, Any]:
    """Settings that let a grader of `measures` decide."""
    if any(spec.label == label for spec in config.graders):
        return {"primary": label}
    specs = [*config.graders, GraderSpec(name=label)]
    dumped = [spec.model_dump(mode="json", exclude_defaults=True) for spec in specs]
    return {"graders": dumped, "primary": label}


def _needs_nothing(config: Config, name: str) -> bool:
    if "trust" in GRADERS[name].needs:
        return False
    try:
        check_graders(config.model_copy(update={"graders": [GraderSpec(name=name)]}))
    except ConfigError:
        return False
    return True


def _completed(node: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    made = {}
    for name, value in node.get("properties", {}).items():
        kinds = _kinds(value, defs)
        within = [kind for kind in kinds if "properties" in kind]
        allowed = [one for kind in kinds for one in kind.get("enum", ())]
        allowed += [kind["const"] for kind in kinds if isinstance(kind.get("const"), str)]
        one: dict[str, Any] = {"info": value.get("description", "")}
        if allowed:
            one["values"] = allowed
        if within:
            one["settings"] = _completed(within[0], defs)
        made[name] = one
    return made


def _kinds(node: Mapping[str, Any], defs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a value may be: references followed, a list standing for its items."""
    if "$ref" in node:
        return _kinds(defs[node["$ref"].rpartition("/")[2]], defs)
    several = [*node.get("anyOf", ()), *node.get("allOf", ())]
    if isinstance(node.get("items"), dict):
        several.append(node["items"])
    return [node, *(kind for inner in several for kind in _kinds(inner, defs))]


def _text(workspace: Workspace) -> str:
    try:
        return config_text(workspace.root / CONFIG_FILE)
    except ConfigError as error:
        raise ConfigError(error.what, where=CONFIG_FILE, fix=error.fix) from None


def _change(workspace: Workspace, digest: str) -> Change | None:
    """The save that made a text, if it was the last one."""
    found = _changes(workspace, 1)
    return found[0][0] if found and found[0][1] == digest else None


def _changes(workspace: Workspace, most: int) -> list[tuple[Change, str]]:
    """The last saves, the newest first, each with the hash of the text that it made."""
    query = (
        select(AuditRow)
        .where(AuditRow.project == workspace.name, AuditRow.action == ACTION)
        .order_by(AuditRow.key.desc())
        .limit(most)
    )
    with workspace.store.session() as session:
        found = [(row.who, row.at, row.details or {}) for row in session.scalars(query)]
    return [
        (
            Change(who, at, str(of.get("message", "")), tuple(of.get("settings", ()))),
            str(of.get("hash", "")),
        )
        for who, at, of in found
    ]


def _config_before(workspace: Workspace) -> Config | None:
    """What the file says now; what is served, where the file cannot be used."""
    config, _ = parsed_config(_text(workspace))
    return config or workspace.config


def _set_differently(before: str, after: str) -> list[str]:
    old, new = parsed_config(before)[0], parsed_config(after)[0]
    if old is None or new is None:
        return []
    return set_differently(old, new)


def _placed(text: str, error: AssayError) -> Problem:
    """An error of a configuration (`assay.yaml, graders.0, settings`) at its line."""
    message = f"{error.what} {error.fix}" if error.fix else error.what
    place = (error.where or "").removeprefix(f"{CONFIG_FILE}, ").replace(", ", ".")
    return problem_at(text, place, message) if place else Problem(message)


def _refused(
    workspace: Workspace, text: str, before: Config | None, after: Config, admin: bool
) -> list[Problem]:
    """What of a change may not be written over the web, or takes an admin."""
    changed = set_differently(before, after) if before is not None else list(Config.model_fields)
    problems = [
        problem_at(text, section, "only an admin can change which servers and machines are used.")
        for section in ADMINS
        if not admin and any(path.split(".")[0] == section for path in changed)
    ]
    if after.state != (before.state if before is not None else State()):
        # Who names the database names the people and the keys in it.
        why = "this can only be set in the file itself, not over the web."
        problems.append(problem_at(text, "state", why))
    found = reach.of_config(workspace, before, after)
    return problems + [problem_at(text, setting, why) for setting, why in found]


def _notes(workspace: Workspace, config: Config) -> list[str]:
    notes = []
    for name in (config.data.file, config.data.holdout, config.data.validation):
        if name is None or name.startswith(PREFIX):
            continue
        if not split_sheet(file_of(name, workspace.root))[0].exists():
            notes.append(f"The folder does not contain the file {name} yet.")
    said = None if config.knowledge is None else config.knowledge.abstain
    if said and config.task == "label" and said not in (config.labels or (said,)):
        notes.append(
            f"“{said}”, the answer where no document has one, is none of the labels, so it is "
            "counted as wrong wherever it is given."
        )
    if workspace.broken is not None:
        notes.append(
            "The server runs with the last valid settings. Settings saved here take effect when it "
            "is restarted."
        )
    return notes


__all__ = [
    "Change",
    "InvalidSettingsError",
    "SettingsDraft",
    "StaleSettingsError",
    "Validation",
    "change",
    "choose_measure",
    "completions",
    "edit",
    "history",
    "measures",
    "read",
    "save",
    "text_hash",
    "validate",
]
