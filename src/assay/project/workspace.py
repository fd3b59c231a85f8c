"""A folder that is served: an Assay project, or empty but for its state."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from assay.config import CONFIG_FILE, STATE_FOLDER, Config, load_config
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

    Raises:
        ConfigError: there is an assay.yaml that cannot be used.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.config: Config | None = None
        if (self.root / CONFIG_FILE).exists():
            self.config = load_config(self.root / CONFIG_FILE)
        self.name = self.root.name if self.config else NO_PROJECT

    @cached_property
    def store(self) -> Store:
        """Made at first use."""
        return Store(self.root / STATE_FOLDER)
