"""A folder that is served: an Assay project, or empty but for its state."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from threading import Lock

from assay.config import CONFIG_FILE, STATE_FOLDER, Config, load_config
from assay.errors import UsageError
from assay.example import Message
from assay.generate.serving import ServingEngines
from assay.knowledge.embed import Embedder, load_embedder
from assay.project.answering import Answered
from assay.release import traces
from assay.store.store import Store

NO_PROJECT = "default"


class Workspace:
    """What a server works in.

    Attributes:
        root: the folder; its state is in `.assay/` in it.
        store: that state.
        name: of the project that the folder is, or `default` where it is none. Keys made without
            naming a project belong to it.
        config: its assay.yaml, or None.
        watchers: called with every answer that was given; the first one keeps traces.

    Raises:
        UsageError: there is no such folder.
        ConfigError: there is an assay.yaml that cannot be used.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        if not self.root.is_dir():
            raise UsageError("there is no such folder.", where=str(root))
        self.config: Config | None = None
        if (self.root / CONFIG_FILE).exists():
            self.config = load_config(self.root / CONFIG_FILE)
        self.name = self.root.name if self.config else NO_PROJECT
        self.watchers: list[Callable[[Answered], None]] = [self._keep_trace]
        self._embedders: dict[str, Embedder] = {}
        self._lock = Lock()

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

        providers = self.config.providers if self.config is not None else {}
        return AgentEngines(self.store, LocalServing(self.store.folder), providers)

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
            answer=Message("assistant", text, tool_calls=calls),
            usage={
                "prompt_tokens": said.prompt_tokens,
                "completion_tokens": said.completion_tokens,
                "seconds": said.seconds,
            },
        )
