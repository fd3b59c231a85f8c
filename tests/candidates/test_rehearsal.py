"""General rows among those of the job: how many, which, and none of the probe's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.candidates.test_distill import context_of
from tests.small import write_model

from assay.candidates.shared.rehearsal import general_rows, sample_general_rows
from assay.candidates.shared.training import TrainingSetup
from assay.config import FineTuneSection
from assay.errors import ConfigError
from assay.evaluate.probe import read_probe
from assay.train.methods import registry

SFT = registry.find("sft")


def _runs(text: str, length: int = 5) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


def test_no_row_has_five_words_in_a_row_in_common_with_the_probe() -> None:
    probe = read_probe()
    texts = [i.prompt for i in probe.instructions] + [p.text for p in probe.paragraphs]
    asked = {run for text in texts for run in _runs(text)}
    rows = general_rows()
    assert len({row.input for row in rows}) == len(rows) > 60
    for row in rows:
        assert row.output.strip()
        assert not _runs(f"{row.input} {row.output}") & asked, row.input


@pytest.mark.parametrize(("share", "rows", "count"), [(0.0, 80, 0), (0.2, 80, 20), (0.5, 80, 80)])
def test_they_make_up_the_share_that_was_asked_for(share: float, rows: int, count: int) -> None:
    mixed = sample_general_rows(FineTuneSection(rehearsal=share), SFT, rows)
    assert len(mixed) == count
    times = [sum(row is one for row in mixed) for one in general_rows()]
    assert max(times) - min(times) <= 1


def test_the_seed_draws_them() -> None:
    first, again, other = (
        sample_general_rows(FineTuneSection(rehearsal=0.2, seed=seed), SFT, 40)
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_method_that_learns_from_judgements_has_no_use_for_them() -> None:
    with pytest.raises(ConfigError, match="learns from judgements"):
        sample_general_rows(FineTuneSection(rehearsal=0.2), registry.find("dpo"), 40)


@pytest.mark.slow
def test_they_are_trained_on_without_the_jobs_prompt_and_are_part_of_the_version(
    tmp_path: Path,
) -> None:
    model = str(write_model(tmp_path / "model"))
    plain = TrainingSetup.of(context_of(tmp_path, {}, model=model))
    context = context_of(tmp_path, {"rehearsal": 0.4}, model=model)
    mixed = TrainingSetup.of(context)
    extra = mixed.units[len(plain.units) :]
    assert mixed.units[: len(plain.units)] == plain.units
    assert len(extra) == 2
    for unit, row in zip(extra, mixed.general, strict=True):
        text = mixed.loaded.tokenizer.decode(unit.rows[0].ids)
        assert row.input in text
        assert "Answer." not in text
    assert set(mixed.data) == {"train", "general"}
    assert mixed.checks == plain.checks
