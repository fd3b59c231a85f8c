"""A folder that is served: an Assay project, or empty but for its state."""

from __future__ import annotations

import copy
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from assay import garbage
from assay.accounts.costs import price_request
from assay.accounts.keys import local_user
from assay.accounts.quota import Quota
from assay.accounts.usage import UsageLog
from assay.agent.answering import ServedExchange, Target
from assay.agent.prices import PriceList
from assay.agent.providers import Providers
from assay.config import CONFIG_FILE, STATE_FOLDER, Config, Costs, Provider, Vllm
from assay.defaults import QUOTA_GB
from assay.errors import AssayError, UsageError
from assay.example import Message
from assay.generate.fallback import fallback_order
from assay.generate.stream import End, EnginePool
from assay.jobs.fine_tuning import TRAIN
from assay.jobs.queue import is_running
from assay.models.embed import Embedder
from assay.models.tuned_encoder import open_embedder
from assay.project import new_project
from assay.project.last_good import keep, last_good
from assay.project.project import Project
from assay.project.state import open_state
from assay.project.versions import find_uses_of
from assay.release import traces
from assay.store.store import Store, owner_of

NO_PROJECT = "default"
LOOK_AGAIN_S = 3.0
"""Between two looks whether a training has begun or ended."""


class Workspace:
    """What a server works in, and what is done to releases, keys, jobs and traces works on.

    Attributes:
        root: the folder; its state is in `.assay/` in it.
        name: of the project that the folder is, or `default` where it is none: the owner of its
            releases, jobs and traces, and of keys made without naming a project. A folder that
            becomes a project while it is served keeps the name its keys were made for.
        who: whose name is put to changes: at the command line, or see `act_as`.
        web: whether somebody is served over the web (`act_as`), who may name less in settings and
            agents than whoever runs a command here, see `assay.project.reach`.
        watchers: called with every answer that was given, besides what keeps traces.
        broken: why assay.yaml on disk is not what is served (`open_to_serve`); None: it is.
        gate: held while a promotion is measured, which takes the machine for a while.

    Args:
        text: taken for assay.yaml; None: the file's own.
        vllm: the server that answers for a folder without assay.yaml; a project's stands there.

    Raises:
        UsageError: there is no such folder, or `vllm` is given to a project.
    """

    def __init__(
        self,
        root: Path,
        text: str | None = None,
        vllm: Vllm | None = None,
        quota_gb: float = QUOTA_GB,
    ) -> None:
        self.root = root.resolve()
        self._text, self._config_file = text, str(self.root / CONFIG_FILE)
        self.broken: str | None = None
        if not self.root.is_dir():
            raise UsageError(
                "the folder does not exist.",
                where=str(root),
                fix=f"Make it: mkdir {shlex.quote(str(root))}",
            )
        if vllm is not None and self._is_project:
            raise UsageError(
                "the engine of a project is set in its assay.yaml, so that promotions use the same "
                "one.",
                where=str(self.root / CONFIG_FILE),
                fix=f"Write `vllm: {{base_url: {vllm.base_url}}}` there.",
            )
        self._vllm, self._quota_gb = vllm, quota_gb
        self.who = local_user()
        self.web = False
        self.watchers: list[Callable[[ServedExchange], None]] = []
        self.gate = Lock()
        self._training, self._look_again = False, 0.0
        self._exempt: set[str] = set()  # embedders that no collection looks at any more
        self._loading, self._lock = Lock(), Lock()
        self._opened: dict[tuple[int, int], Project] = {}

    @property
    def _is_project(self) -> bool:
        return self._text is not None or (self.root / CONFIG_FILE).exists()

    @cached_property
    def name(self) -> str:
        """Name of the folder's project, see the class."""
        if not self._is_project:
            return NO_PROJECT
        return owner_of(self.store, self.root)

    @property
    def config(self) -> Config | None:
        """The folder's assay.yaml as it is now, or None.

        Raises:
            ConfigError: it cannot be used.
        """
        project = self.project  # looked up once: each time, the file is looked at
        return project.config if project is not None else None

    @property
    def project(self) -> Project | None:
        """The project that the folder is, or None.

        Read again when its assay.yaml has changed; where it can no longer be used, what was read
        before stays.

        Raises:
            ConfigError: its assay.yaml cannot be used, and never could.
        """
        with self._lock:
            stamp = self._stamp()
            if stamp is not None and stamp not in self._opened:
                try:
                    opened = Project(self.root, self._text, lambda: self.store)
                except AssayError:
                    if not self._opened:
                        raise
                    return self._last()  # the file was broken while it is served
                self._opened.clear()
                self._opened[stamp] = opened
            return self._last()

    def _stamp(self) -> tuple[int, int] | None:
        """Changes when assay.yaml does; None where there is none."""
        if self._text is not None:
            return 0, 0
        try:
            found = os.stat(self._config_file)  # several times a request: no path is built for it
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size

    def _last(self) -> Project | None:
        return next(iter(self._opened.values()), None)

    def act_as(self, who: str) -> Workspace:
        """The same folder for somebody on the web, to whose name changes are put."""
        _ = self.store, self.name, self.quota, self.usage  # found once, for all
        other = copy.copy(self)
        other.who, other.web = who, True
        return other

    @cached_property
    def store(self) -> Store:
        """State of the folder, see `assay.project.state`; made at first use."""
        return open_state(self.root, self._text)

    @cached_property
    def quota(self) -> Quota:
        """How much of the disk each project may take."""
        # Loads every format of traces, and only a server asks.
        from assay.project.folder_bytes import rescued_bytes, trace_bytes

        return Quota(
            self.store,
            int(self._quota_gb * 1e9),
            traces=lambda project: trace_bytes(self.root) if project == self.name else 0,
            rescued=lambda project: rescued_bytes(self.root) if project == self.name else 0,
        )

    def embedder(self, name: str) -> Embedder:
        """An embedder, loaded at its first use.

        Raises:
            ModelError: it cannot be loaded.
        """
        found = open_embedder(name, self.store)
        with self._loading:
            if name not in self._exempt:
                self._exempt.add(name)
                garbage.exempt()
        return found

    def engines(self) -> EnginePool:
        """The engines that answer here.

        Raises:
            ConfigError: a model falls back to itself.
        """
        from assay.agent.engines import StreamEngines

        for model in self.config.fallback if self.config is not None else ():
            self.chain(model)
        return StreamEngines(self.store, self._language(), self.providers, self.chain)

    def _language(self) -> EnginePool:
        from assay.generate.local import open_pool

        vllm = self._vllm if self.config is None else self.config.vllm
        if vllm is not None:
            from assay.agent.key_origins import check_origin

            check_origin(self.store, self.name, self.who, "vllm", vllm.provider())
        return open_pool(self.store, vllm, self._trains)

    def _trains(self) -> bool:
        """Whether a worker trains here; asked of the database every few seconds at most."""
        if time.monotonic() >= self._look_again:
            self._look_again = time.monotonic() + LOOK_AGAIN_S
            self._training = is_running(self.store, (TRAIN,))
        return self._training

    def find_uses(self, example: str) -> dict[str, Any]:
        """The versions that saw an example, see `assay.project.versions.find_uses_of`.

        A folder that is no project has no examples by their ids; their hashes are known there.
        """
        if self.project is not None:
            return self.project.find_uses(example)
        return find_uses_of(self.store, [], example)

    def chain(self, model: str) -> list[str]:
        """A model and those that may answer in its place."""
        config = self.config
        return fallback_order(model, config.fallback) if config is not None else [model]

    @cached_property
    def providers(self) -> Providers:
        """Providers of the folder's own project, and their keys."""
        return Providers(self._described, self.store, self.name)

    def _described(self) -> Mapping[str, Provider]:
        project = self.project
        return project.provider_settings if project is not None else {}

    @cached_property
    def usage(self) -> UsageLog:
        """Where the usage of providers' models is written down, and set aside for before."""
        return UsageLog(self.store, self.providers)

    def cost_usd(self, ends: Sequence[End], seconds: float) -> float | None:
        """What a request has cost, see `assay.accounts.costs.price_request`."""
        return price_request(PriceList(self.providers), self.machine_hour_usd, ends, seconds)

    @property
    def machine_hour_usd(self) -> float | None:
        """The price of an hour of this machine; None where it is not known."""
        config = self.config
        return (Costs() if config is None else config.costs).machine_hour_usd

    def watching(self, target: Target) -> list[Callable[[ServedExchange], None]]:
        """Who is told of an answer: traces are of agents alone."""
        return [*([self._keep_trace] if target.agent is not None else []), *self.watchers]

    def _keep_trace(self, exchange: ServedExchange) -> None:
        """Of a release that keeps traces; a request for several answers keeps the first."""
        if exchange.target.agent is None or not exchange.answers:
            return
        text, calls = exchange.answers[0]
        traces.record(
            self.store,
            exchange.project,
            exchange.target.name,
            exchange.target.agent.id,
            id=exchange.id,
            messages=exchange.messages,
            tools=exchange.tools,
            answer=Message("assistant", text, tool_calls=calls),
            usage={
                "prompt_tokens": exchange.prompt_tokens,
                "completion_tokens": exchange.completion_tokens,
                "seconds": exchange.seconds,
                "usd": exchange.usd,
                **({"asked": list(exchange.agents)} if exchange.agents else {}),
            },
        )


def project_of(workspace: Workspace) -> Project:
    """The project that the folder is.

    Raises:
        UsageError: it is none.
    """
    project = workspace.project
    if project is None:
        raise UsageError(
            f"there is no {CONFIG_FILE} in this folder, so there are no examples.",
            fix="Create a project: on the page Start, or with `assay init`.",
        )
    return project


def open_workspace(folder: str | Path) -> Workspace:
    """A project, or a folder that a server has run in.

    Raises:
        UsageError: the folder holds neither.
    """
    root = Path(folder)
    if not (root / CONFIG_FILE).exists() and not (root / STATE_FOLDER).is_dir():
        raise UsageError(
            "there is no project here, and no server has run here.",
            where=str(root),
            fix="Change to the project's folder, or give it with --project.",
        )
    return Workspace(root)


def open_to_serve(
    folder: str | Path, vllm: Vllm | None = None, quota_gb: float = QUOTA_GB
) -> Workspace:
    """Any folder; where its assay.yaml is broken or gone, with the last one that could be used.

    So a server comes up again with what it served before, and `Workspace.broken` says why.

    Raises:
        UsageError: there is no such folder, or `vllm` is given to a project.
        AssayError: assay.yaml cannot be used, and none before it could; or see
            `new_project.finish`.
    """
    with ExitStack() as opened:

        def state() -> Store:
            store = open_state(Path(folder))
            opened.callback(store.engine.dispose)
            return store

        new_project.finish(Path(folder), state)
    found = Workspace(Path(folder), vllm=vllm, quota_gb=quota_gb)
    problem: AssayError | None = None
    try:
        if found.project is not None:
            keep(found.store, found.project.text)
            return found
    except AssayError as error:
        problem = error
    good = last_good(found.store) if (found.root / STATE_FOLDER).is_dir() else None
    if good is None:
        if problem is not None:
            raise problem
        return found
    found = Workspace(found.root, good.text, quota_gb=quota_gb)
    found.broken = (
        f"{problem or f'{found.root / CONFIG_FILE} is missing.'} The last valid configuration, of "
        f"{good.at}, is served."
    )
    return found
