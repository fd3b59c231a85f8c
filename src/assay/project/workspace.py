"""A folder that is served: an Assay project, or empty but for its state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from threading import Lock

from assay.agent.providers import Providers
from assay.config import CONFIG_FILE, STATE_FOLDER, Config, load_config, read_config
from assay.errors import AssayError, UsageError
from assay.example import Message
from assay.generate.serving import ServingEngines
from assay.knowledge.embed import Embedder, load_embedder
from assay.project.access import local_user
from assay.project.answering import Answered
from assay.project.last_good import keep, last_good
from assay.project.project import Project
from assay.project.spending import UsageLog
from assay.release import traces
from assay.store.store import Store

NO_PROJECT = "default"
OWNER_SETTING = "owner"
"""Kept where a folder was served before it became a project: the name it was served under."""


class Workspace:
    """What a server works in, and what is done to releases, keys, jobs and traces works on.

    Attributes:
        root: the folder; its state is in `.assay/` in it.
        name: of the project that the folder is, or `default` where it is none: the owner of its
            releases, jobs and traces, and of keys made without naming a project. A folder that
            becomes a project while it is served keeps the name its keys were made for.
        who: whose name is put to changes: at the command line, or see `seen_by`.
        watchers: called with every answer that was given; the first one keeps traces.
        broken: why assay.yaml on disk is not what is served (`open_to_serve`); None: it is.

    Args:
        text: taken for assay.yaml; None: the file's own.

    Raises:
        UsageError: there is no such folder.
    """

    def __init__(self, root: Path, text: str | None = None) -> None:
        self.root = root.resolve()
        self._text = text
        self.broken: str | None = None
        if not self.root.is_dir():
            raise UsageError("there is no such folder.", where=str(root))
        self.who = local_user()
        self.watchers: list[Callable[[Answered], None]] = [self._keep_trace]
        self._embedders: dict[str, Embedder] = {}
        self._lock = Lock()
        self._opened: dict[tuple[int, int], Project] = {}

    @property
    def _is_project(self) -> bool:
        return self._text is not None or (self.root / CONFIG_FILE).exists()

    @cached_property
    def name(self) -> str:
        """See the class."""
        if not self._is_project:
            return NO_PROJECT
        return self.store.setting(OWNER_SETTING) or self.root.name

    @property
    def config(self) -> Config | None:
        """The folder's assay.yaml as it is now, or None.

        Raises:
            ConfigError: it cannot be used.
        """
        if self._text is not None:
            return read_config(self._text, CONFIG_FILE)
        return load_config(self.root / CONFIG_FILE) if self._is_project else None

    @property
    def project(self) -> Project | None:
        """The project that the folder is, or None. Read again when its assay.yaml has changed.

        Raises:
            ConfigError: its assay.yaml cannot be used.
        """
        if self._text is not None:
            return Project(self.root, self._text)
        try:
            found = (self.root / CONFIG_FILE).stat()
        except FileNotFoundError:
            return None
        stamp = found.st_mtime_ns, found.st_size
        with self._lock:
            if stamp not in self._opened:
                opened = Project(self.root)
                self._opened.clear()
                self._opened[stamp] = opened
            return self._opened[stamp]

    def seen_by(self, who: str) -> Workspace:
        """The same folder, where changes are put to somebody's name."""
        _ = self.store, self.name  # found once, for all
        other = copy.copy(self)
        other.who = who
        return other

    @cached_property
    def store(self) -> Store:
        """Made at first use."""
        return Store(self.root / STATE_FOLDER)

    def embedder(self, name: str) -> Embedder:
        """An embedder, loaded at its first use.

        Raises:
            ModelError: it cannot be loaded.
        """
        with self._lock:
            if name not in self._embedders:
                self._embedders[name] = load_embedder(name)
            return self._embedders[name]

    def engines(self) -> ServingEngines:
        """The engines that answer here."""
        from assay.agent.serving import AgentEngines
        from assay.generate.serving_local import LocalServing

        return AgentEngines(self.store, LocalServing(self.store.folder), self.providers)

    @cached_property
    def providers(self) -> Providers:
        """Providers of the folder's own project, and their keys."""
        described = self.config.providers if self.config is not None else {}
        return Providers(described, self.store, self.name)

    @cached_property
    def usage(self) -> UsageLog:
        """Where the usage of providers' models is written down."""
        return UsageLog(self.store, self.providers)

    def _keep_trace(self, said: Answered) -> None:
        """Of a release that keeps traces; a request for several answers keeps the first."""
        if said.served.agent is None or not said.answers:
            return
        text, calls = said.answers[0]
        traces.record(
            self.store,
            said.project,
            said.served.name,
            said.served.agent.id,
            id=said.id,
            messages=said.messages,
            tools=said.tools,
            answer=Message("assistant", text, tool_calls=calls),
            usage={
                "prompt_tokens": said.prompt_tokens,
                "completion_tokens": said.completion_tokens,
                "seconds": said.seconds,
            },
        )


def open_workspace(folder: str | Path) -> Workspace:
    """A project, or a folder that a server has run in.

    Raises:
        UsageError: the folder holds neither.
    """
    root = Path(folder)
    if not (root / CONFIG_FILE).exists() and not (root / STATE_FOLDER).is_dir():
        raise UsageError(
            "there is no project here, and no state of a server.",
            where=str(root),
            fix="Go to the project's folder, or name it with --project.",
        )
    return Workspace(root)


def open_to_serve(folder: str | Path) -> Workspace:
    """Any folder; where its assay.yaml is broken or gone, with the last one that could be used.

    So a server comes up again with what it served before, and `Workspace.broken` says why. What is
    read here is served until the end: a file that is changed meanwhile counts at the next start.

    Raises:
        UsageError: there is no such folder.
        AssayError: assay.yaml cannot be used, and none before it could.
    """
    found = Workspace(Path(folder))
    problem: AssayError | None = None
    try:
        if found.project is not None:
            keep(found.store, found.project.text)
            return Workspace(found.root, found.project.text)
    except AssayError as error:
        problem = error
    good = last_good(found.store) if (found.root / STATE_FOLDER).is_dir() else None
    if good is None:
        if problem is not None:
            raise problem
        return found
    found = Workspace(found.root, good.text)
    found.broken = (
        f"{problem or f'{found.root / CONFIG_FILE} is gone.'} What is served is the configuration "
        f"that could be used last, of {good.at}."
    )
    return found
