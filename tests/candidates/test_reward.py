"""What an answer is worth where the reward combines graders of the project by their names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from assay.candidates.building import Context
from assay.candidates.shared.reinforcement import _reward_of
from assay.candidates.shared.reward_judge import judges_of_setting
from assay.config import Config
from assay.errors import ConfigError, UsageError
from assay.evaluate import rewards
from assay.evaluate.graders import GradingContext
from assay.example import Example

SHORT = {
    "type": "string_check",
    "name": "short",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "yes",
}
SAID = {"role": "user", "content": "{{sample.output_text}}"}
ROWS = [Example.of("open?", "yes"), Example.of("closed?", "no")]


def multi(formula: str, **graders: Any) -> dict[str, Any]:
    return {"type": "multi", "name": "both", "graders": graders, "calculate_output": formula}


def worth(
    folder: Path, reward: dict[str, Any], *texts: str, trust_code: bool = True
) -> list[float]:
    (folder / "style.py").write_text("def grade(answer, example):\n    return len(answer) / 10\n")
    style = {"name": "python", "settings": {"file": "style.py", "as": "style"}}
    config = Config.model_validate(
        {
            "name": "clerk",
            "task": "text",
            "data": {"file": "d.jsonl"},
            "graders": [{"name": "exact"}, style, {"name": "judge"}],
            "primary": "exact",
            "candidates": ["prompt"],
            "fine_tune": {"method": "reinforcement", "reinforcement": {"reward": reward}},
        }
    )
    known = GradingContext(task="text", root=folder, trust_code=trust_code)
    graded = _reward_of(cast(Context, SimpleNamespace(config=config)), known)
    return graded(ROWS[: len(texts)], texts)


def test_graders_of_the_project_are_combined_by_their_names(tmp_path: Path) -> None:
    both = multi("0.5 * right + style + 0.1 * short", right="exact", style="style", short=SHORT)
    assert worth(tmp_path, both, "yes", "no") == pytest.approx([0.5 + 0.3 + 0.1, 0.5 + 0.2])
    with pytest.raises(UsageError, match="trust-code"):
        worth(tmp_path, both, "yes", trust_code=False)
    # One that is written is still one, and is asked what it costs.
    assert worth(tmp_path, {**both, "graders": SHORT, "calculate_output": "short"}, "yes") == [1]
    judge = {"type": "score_model", "name": "j", "model": "m", "input": [SAID]}
    assert [one.model for one in judges_of_setting(multi("a + b", a="exact", b=judge))] == ["m"]


@pytest.mark.parametrize(
    ("graders", "message"),
    [
        ({"a": "judge"}, "judge compares two answers"),
        ({"a": {"type": "python", "name": "p", "source": "x = 1"}}, "never run here"),
    ],
)
def test_what_no_reward_can_be_made_of_is_refused(
    tmp_path: Path, graders: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        worth(tmp_path, multi("a", **graders), "yes")


def test_a_request_names_no_grader_of_a_project() -> None:
    with pytest.raises(ValidationError):
        rewards.GRADER.validate_python(multi("a", a="exact"))
