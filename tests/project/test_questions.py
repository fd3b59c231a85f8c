"""What a report says of questions that nobody has reworded."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from tests.compare.sample import sample_result

from assay.compare.report import html
from assay.data.drafting import draft_questions
from assay.project.project import Project
from assay.project.questions import FILE, drafted_note
from assay.store.store import Store
from assay.store.tables import DraftedQuestionRow

TEXT = "# Refunds\n\nA ticket is refunded within 14 days of the purchase. Dogs travel free.\n"


@pytest.mark.parametrize(
    ("drafted", "said"), [(2, "2 of 3 questions are unchanged drafts"), (0, "")]
)
def test_that_drafts_favour_retrieval_stands_in_the_report(
    tmp_path: Path, drafted: int, said: str
) -> None:
    draft = next(iter(draft_questions(TEXT)))
    store = Store(tmp_path)
    with store.session() as session:
        for number in range(4):
            asked = f"Refunds: {draft.question}" if number < drafted else "How do I get money back?"
            session.add(
                DraftedQuestionRow(
                    project="p",
                    id=f"q{number:03d}",
                    question=asked,
                    answer=draft.answer,
                    document="refunds.md",
                    passage=draft.passage,
                    state="approved" if number < 3 else "waiting",
                )
            )
    config = SimpleNamespace(data=SimpleNamespace(file=FILE))
    project = cast(Project, SimpleNamespace(config=config, store=store, owner="p"))
    notes = drafted_note(project)
    result = sample_result().model_copy(update={"warnings": notes})
    page = html.render(result, [], redacted=True)
    favours = "which makes answers easier to find and quote than for questions of users"
    assert (favours in page) == bool(said)
    if said:
        assert f'<p class="warn">{said}' in page
    config.data.file = "own.csv"
    assert drafted_note(project) == []
