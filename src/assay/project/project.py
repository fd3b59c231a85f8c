"""A project: its configuration, its state, and the long work that is done on it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from assay.candidates import ways
from assay.config import CONFIG_FILE, STATE_FOLDER, Config, load_config
from assay.data.dataset import prepare, renew
from assay.data.split import SplitManifest, load_train, load_validation
from assay.errors import AssayError, HoldoutError, UsageError
from assay.evaluate.graders import check_graders
from assay.evaluate.measure import Bench
from assay.example import Example
from assay.progress import SILENT, Progress
from assay.project.estimate import Estimate, Sizes, estimate
from assay.project.init import Draft, token_limits, write_project
from assay.project.sizes import sizes_of
from assay.store.store import Store


@dataclass(frozen=True, slots=True)
class Comparison:
    """A finished comparison.

    Attributes:
        result: all figures, as in result.json.
        folder: plan.json, result.json, answers.jsonl.gz and report.html.
        report: the report, also copied to the project's folder.
    """

    result: Any
    folder: Path
    report: Path

    @property
    def verdict(self) -> Any:
        """What follows."""
        return self.result.verdict


class Project:
    """A folder with an `assay.yaml`; nothing heavy is loaded before it is needed.

    Raises:
        ConfigError: assay.yaml is missing or cannot be used.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config: Config = load_config(root / CONFIG_FILE)
        ways(self.config.candidates, self.config.task)
        check_graders(self.config, root)

    @cached_property
    def store(self) -> Store:
        """The project's state, in `.assay/`."""
        return Store(self.root / STATE_FOLDER)

    @cached_property
    def _template(self) -> tuple[Any, int]:
        from assay.chat.template import Template
        from assay.models.load import load_tokenizer

        tokenizer, context = load_tokenizer(self.config.model)
        return Template.of(tokenizer), context
