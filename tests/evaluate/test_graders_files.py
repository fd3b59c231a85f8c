"""Files that graders' settings name are looked at before they are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assay.errors import ConfigError
from assay.evaluate.graders import GradingContext
from assay.evaluate.graders.files import LARGEST
from assay.evaluate.graders.judge import read_pairs
from assay.evaluate.graders.terms import TermsSettings


def test_no_pipe_no_device_and_nothing_large_is_read(tmp_path: Path) -> None:
    (tmp_path / "device").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGEST + 1)
    for name, why in (("device", "not a regular"), ("pipe", "not a regular"), ("large", "16 MiB")):
        with pytest.raises(ConfigError, match=why):
            TermsSettings(file=name).check(GradingContext(root=tmp_path))
        with pytest.raises(ConfigError, match=why):
            read_pairs(tmp_path / name)
