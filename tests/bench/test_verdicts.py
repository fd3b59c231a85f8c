"""What the page of verdicts says does not contradict itself."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "verdicts.md"
FORBIDDEN = ("It is not shown that fine-tuning gains", "Whether fine-tuning is worth it cannot")


def test_no_job_is_told_to_train_for_a_gain_that_is_not_shown() -> None:
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    told = [
        one for one in sections if re.search(r"^\*\*Use fine-tune[\w-]* if it", one, re.MULTILINE)
    ]
    assert len(told) >= 3
    wrong = [one.split("\n")[0] for one in told if any(words in one for words in FORBIDDEN)]
    assert not wrong
