"""What the tuned model forgot, on the page and on the terminal; and results from before it."""

from __future__ import annotations

import pytest
from rich.console import Console

from assay.compare.report import general_ability
from assay.compare.report.html import render
from assay.compare.report.terminal import print_result
from assay.compare.result import Result
from assay.evaluate.forgetting import (
    Forgetting,
    GeneralAbility,
    InstructionAnswer,
    ParagraphLoss,
    forgetting,
)

from .sample import sample_result


def found(shift: float, followed_after: int) -> Forgetting:
    """40 paragraphs at e nats a token and more by `shift`; 30 of 40 instructions before."""

    def account(nats: float, followed: int) -> GeneralAbility:
        return GeneralAbility(
            probe="p",
            paragraphs=tuple(
                ParagraphLoss(kind="news", tokens=70, nats=70 * (1 + nats + nats * i / 400))
                for i in range(40)
            ),
            instructions=tuple(
                InstructionAnswer(
                    kind="list",
                    instruction="Name <b>two</b>",
                    answer=f"{i} <i>",
                    followed=i < followed,
                )
                for i in range(40)
            ),
        )

    return forgetting(account(0.0, 30), account(shift, followed_after))


def result_with(forgot: Forgetting | None) -> Result:
    result = sample_result()
    candidates = [
        c.model_copy(update={"forgetting": forgot}) if c.fine_tuned else c
        for c in result.candidates
    ]
    return result.model_copy(update={"candidates": candidates})


def test_a_result_without_the_field_still_reads_and_has_no_section() -> None:
    raw = sample_result().model_dump(mode="json")
    for candidate in raw["candidates"]:
        del candidate["forgetting"]
    result = Result.model_validate(raw)
    assert "What the tuned model forgot" not in render(result, [], redacted=False)


def test_a_loss_is_said_in_words_and_drawn() -> None:
    result = result_with(found(0.1, 10))
    page = render(Result.model_validate_json(result.model_dump_json()), [], redacted=False)
    assert "What the tuned model forgot" in page
    assert "It follows 10 of 40 simple instructions, 30 before training (-50.0 points" in page
    assert page.count("That is a loss.") == 2
    assert "This matters only if the model is to do more than this job" in page
    assert "general ability by kind" in page
    assert "Name &lt;b&gt;two&lt;/b&gt;" in page
    assert "<i>" not in page


def test_answers_of_the_tuned_model_are_left_out_when_redacted() -> None:
    page = render(result_with(found(0.1, 10)), [], redacted=True)
    assert "What the tuned model forgot" in page
    assert "Name &lt;b&gt;" not in page


def test_no_loss_is_not_called_one() -> None:
    page = render(result_with(found(0.0, 30)), [], redacted=False)
    assert "That is a loss." not in page
    assert page.count("No loss shows.") == 2
    assert "cannot rule out" in page


@pytest.mark.parametrize(
    ("shift", "after", "words"),
    [
        (0.1, 10, "30 of 40 simple instructions followed before, 10 after. It has lost"),
        (0.02, 30, "It has lost a little."),
        (0.0, 30, "No loss shows."),
    ],
)
def test_the_terminal_has_a_line_for_it(
    shift: float, after: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_result(result_with(found(shift, after)), Console(width=100))
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "fine-tune: Beside the job: perplexity on general text (how hard it is to predict; "
        "lower is better) 2.718 before" in shown
    )
    assert words in shown
    assert ("rehearsal: 0.2" in shown) == (shift == 0.1)


def test_general_rows_are_advised_where_none_were_trained_on() -> None:
    lost = result_with(found(0.1, 10))
    assert "rehearsal: 0.2" in render(lost, [], redacted=False)
    for stated in ({"rehearsal": 0.1}, {"method": "dpo"}):
        trained = lost.model_copy(update={"config": {"fine_tune": stated}})
        assert "rehearsal: 0.2" not in render(trained, [], redacted=False)


def test_a_small_loss_is_called_small() -> None:
    forgot = found(0.02, 30)
    assert forgot.text.low > 0
    assert not forgot.worse
    assert "That is a small loss." in render(result_with(forgot), [], redacted=False)


def test_a_ruined_model_keeps_the_page_whole() -> None:
    ruined = found(2000.0, 0)
    assert general_ability.perplexity(ruined.text.tuned) == general_ability.perplexity(700.0)
    assert "That is a loss." in render(result_with(ruined), [], redacted=False)
