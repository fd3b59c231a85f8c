"""A folder that is served: an Assay project, or empty but for its state."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from threading import Lock

from assay.agent.providers import Providers
from assay.config import CONFIG_FILE, STATE_FOLDER, Config, load_config
from assay.errors import UsageError
from assay.example import Message
from assay.generate.fallback import order
from assay.generate.serving import ServingEngines
from assay.knowledge.embed import Embedder, load_embedder
from assay.project.access import local_user
from assay.project.answering import Answered
from assay.project.project import Project
from assay.project.served import Served
from assay.project.spending import UsageLog
from assay.release import traces
from assay.store.store import Store

NO_PROJECT = "default"


class Workspace:
    """What a server works in, and what is done to releases, keys, jobs and traces works on.

    Attributes:
        root: the folder; its state is in `.assay/` in it.
        name: of the project that the folder is, or `default` where it is none: the owner of its
            releases, jobs and traces, and of keys made without naming a project.
        watchers: called with every answer that was given, besides what keeps traces.

    Raises:
        UsageError: there is no such folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        if not self.root.is_dir():
            raise UsageError("there is no such folder.", where=str(root))
        self.name = self.root.name if self._is_project else NO_PROJECT
        self.watchers: list[Callable[[Answered], None]] = []
        self._embedders: dict[str, Embedder] = {}
        self._lock = Lock()

    @property
    def _is_project(self) -> bool:
        return (self.root / CONFIG_FILE).exists()

    @cached_property
    def config(self) -> Config | None:
        """The folder's assay.yaml, or None.

        Raises:
            ConfigError: it cannot be used.
        """
        return load_config(self.root / CONFIG_FILE) if self._is_project else None

    @cached_property
    def project(self) -> Project | None:
        """The project that the folder is, or None.

        Raises:
            ConfigError: its assay.yaml cannot be used.
        """
        return Project(self.root) if self._is_project else None

    @property
    def who(self) -> str:
        """Whose name is put to changes made at the command line."""
        return local_user()

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

        fallback = self.config.fallback if self.config is not None else {}
        local = LocalServing(self.store.folder)
        return AgentEngines(self.store, local, self.providers, fallback)

    def chain(self, model: str) -> list[str]:
        """A model and those that may answer in its place."""
        return order(model, self.config.fallback) if self.config is not None else [model]

    @cached_property
    def providers(self) -> Providers:
        """Providers of the folder's own project, and their keys."""
        described = self.config.providers if self.config is not None else {}
        return Providers(described, self.store, self.name)

    @cached_property
    def usage(self) -> UsageLog:
        """Where the usage of providers' models is written down."""
        return UsageLog(self.store, self.providers)

    def watching(self, served: Served) -> list[Callable[[Answered], None]]:
        """Who is told of an answer: traces are of agents alone."""
        return [*([self._keep_trace] if served.agent is not None else []), *self.watchers]

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
