"""What is proposed for a file: closed sets, and when they stay open."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.config.project import parsed_config
from assay.data.propose import infer_schema, open_sets, propose, propose_judgement
from assay.data.record_fields import ENUM_COUNT
from assay.evaluate.graders import check_graders
from assay.example import Example, Message
from assay.project.start.init import Choices, draft, yaml_text

SIZES = ["small", "large"] * ENUM_COUNT
CAKES = ["Käsekuchen", "Nusszopf"] * ENUM_COUNT
RECORDS = [{"size": size, "tags": ["a", "b"], "n": n} for n, size in enumerate(SIZES)]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["a", "b", "c"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=6,
)


def test_a_field_of_few_values_is_a_closed_set() -> None:
    schema = infer_schema(RECORDS)
    assert schema["properties"]["size"]["enum"] == ["large", "small"]
    assert schema["properties"]["tags"]["items"]["enum"] == ["a", "b"]


def test_the_first_prompt_writes_the_values_of_a_closed_set_as_they_are() -> None:
    examples = [Example.of(f"{n}", json.dumps({"cake": one})) for n, one in enumerate(CAKES)]
    assert '- cake: one of "Käsekuchen", "Nusszopf"' in propose(examples).system_prompt


def test_what_the_holdout_file_holds_opens_the_sets_it_breaks_and_no_others() -> None:
    schema = infer_schema(RECORDS)
    same = open_sets(schema, [{"size": "small", "tags": ["b"], "n": 3}])
    assert same == schema
    wider = open_sets(schema, [{"size": "huge", "tags": ["a"], "n": 3}, {"tags": ["c"]}])
    assert "enum" not in wider["properties"]["size"]
    assert "enum" not in wider["properties"]["tags"]["items"]
    assert schema["properties"]["size"]["enum"]  # the one that was given is as it was
    kept = open_sets(schema, [{"size": "huge", "tags": ["a"], "n": 3}])
    assert kept["properties"]["tags"] == schema["properties"]["tags"]


@given(values=st.lists(VALUES, min_size=1, max_size=30))
@settings(deadline=None)
def test_all_values_fit_the_schema_that_was_made_of_them_opened_or_not(values: list[Any]) -> None:
    schema = infer_schema(values)
    for value in values:
        jsonschema.validate(value, schema)
        jsonschema.validate(value, open_sets(schema, ["unseen", {"x": "unseen"}]))


def test_a_label_that_only_the_holdout_file_has_belongs_to_the_job() -> None:
    examples = [Example.of(f"text {n}", ["yes", "no"][n % 2]) for n in range(40)]
    assert propose(examples).labels == ["no", "yes"]
    assert propose(examples, held_outputs=["maybe", "no"]).labels == ["maybe", "no", "yes"]


def judged(*, pair: bool = False, thumb: bool | None = None, own_prompt: bool = False) -> Example:
    example = Example.of("a question", "an answer")
    rejected = (Message("assistant", "a bad answer"),) if pair else ()
    system = (Message("system", "Be brief."),) if own_prompt else ()
    messages = (*system, *example.messages)
    return replace(example, messages=messages, rejected=rejected, desirable=thumb)


PAIR, UP, DOWN = judged(pair=True), judged(thumb=True), judged(thumb=False)


@pytest.mark.parametrize(
    ("examples", "learned", "said"),
    [
        ([judged()] * 4, "answers", None),
        ([PAIR] * 4, "pairs", "4 of 4 rows have a better and a worse answer"),
        ([UP, DOWN, DOWN], "thumbs", "of 3 rows 1 have a thumb up, 2 a thumb down"),
        ([UP, PAIR], "thumbs", "1 a better and a worse answer"),
        ([UP, UP], "answers", "2 have a thumb up, 0 a thumb down"),
        ([PAIR, judged()], "answers", "1 of 2 rows have a better and a worse answer"),
    ],
)
def test_judged_answers_propose_what_can_be_learned_from_them(
    examples: list[Example], learned: str, said: str | None
) -> None:
    proposed, why = propose_judgement(examples)
    assert proposed == learned
    assert (why is None) == (said is None)
    assert said is None or (why is not None and said in why)
    assert propose_judgement(examples, documents=True)[0] == "answers"


def test_the_method_stands_in_the_settings(tmp_path: Path) -> None:
    rows = ({"prompt": f"q {n}", "chosen": f"good {n}", "rejected": "bad"} for n in range(20))
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    drafted = draft("pairs", Choices(data=path))
    config, problems = parsed_config(yaml_text(drafted, max_new_tokens=16, max_tokens=64))
    assert not problems
    assert config is not None
    assert config.fine_tune.method == "orpo"


def test_examples_with_their_own_system_prompt_are_counted() -> None:
    examples = [judged(own_prompt=True), judged(own_prompt=True), judged()]
    found = propose(examples, "text")
    assert found.system_prompt == ""
    assert any("2 of 3 examples contain their own system prompt" in one for one in found.reasons)
    # What is measured with it is answered with it, also where a program does not send it.
    assert propose(examples[:2], "text").system_prompt == "Be brief."


def test_init_looks_at_the_holdout_file_for_closed_sets_only(tmp_path: Path) -> None:
    def put(name: str, sizes: list[str]) -> Path:
        rows = ({"q": f"text {n}", "a": {"size": size}} for n, size in enumerate(sizes))
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return path

    choices = Choices(
        data=put("train.jsonl", SIZES),
        holdout=put("test.jsonl", ["small", "huge"]),
        input=["q"],
        output=["a"],
    )
    schema = draft("sizes", choices).proposal.schema
    assert schema is not None
    assert schema["properties"]["size"] == {"type": "string"}


def test_targets_that_call_functions_are_a_task_of_their_own(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
    path = tmp_path / "calls.jsonl"
    with path.open("w") as file:
        for number in range(40):
            call = {"function": {"name": "find", "arguments": json.dumps({"n": number})}}
            target = {"role": "assistant", "content": "What?"}
            if number % 2:
                target = {"role": "assistant", "content": None, "tool_calls": [call]}
            asked = {"role": "user", "content": f"I am looking for number {number}, please"}
            file.write(json.dumps({"messages": [asked, target], "tools": [tool]}) + "\n")
    drafted = draft("calls", Choices(data=path))
    assert drafted.rejected == 0
    assert drafted.proposal.task == "tools"
    assert drafted.proposal.primary == "call-exact"
    assert "20 of 40 answers call a function" in drafted.proposal.reasons[0]
    names = drafted.proposal.candidates
    assert {"prompt", "few-shot", "nearest-answer", "baseline-majority", "fine-tune"} <= set(names)
    assert not {"extract", "classifier"} & set(names)
    written, problems = parsed_config(yaml_text(drafted, max_new_tokens=32, max_tokens=64))
    assert written is not None
    assert not problems
    check_graders(written)


def test_what_few_records_lack_or_write_otherwise_is_named_with_its_lines() -> None:
    said = [{"goods": "lamp", "count": n} | ({"note": "x"} if n % 2 else {}) for n in range(100)]
    for n in (11, 40):
        del said[n]["goods"]
    said[60]["count"] = "60"
    said[61] = {**said[61], "count": None, "note": 1}
    examples = [
        Example(
            f"row-{n}",
            (Message("user", f"order {n}"), Message("assistant", json.dumps(record))),
            line=n + 1,
        )
        for n, record in enumerate(said)
    ]
    empty, other, missing, note = propose(examples).warnings
    assert empty.startswith("count is empty in 1 of 100 records: line 62. Empty is then the right")
    assert other.startswith("In 1 of 99 records count is text, in the others a number: line 61.")
    assert missing.startswith("2 of 100 records have no goods: lines 12, 41.")
    assert note.startswith("In 1 of 50 records note is a number, in the others text: line 62.")


def test_a_field_of_a_set_whose_values_are_spelled_in_several_ways_is_named() -> None:
    said = [
        {"topic": ("pay", "Pay ", "hours")[n % 3], "call": ("yes", "no")[n % 2], "name": f"N{n}"}
        for n in range(30)
    ]
    said[4]["call"] = "true"
    said[5]["name"] = "n4"  # of free texts two may be alike
    examples = [Example.of(f"mail {n}", json.dumps(one)) for n, one in enumerate(said)]
    call, topic = propose(examples).warnings
    assert call.startswith("In call a value is spelled in several ways: 'true', 'yes'. An answer")
    assert topic.startswith("In topic a value is spelled in several ways: 'Pay ', 'pay'. An")


def test_cells_that_are_empty_or_no_number_as_in_all_other_rows_are_named() -> None:
    said = [{"born": f"3.4.{1980 + n}", "kg": f"{n}", "kind": "dog"} for n in range(40)]
    for one in said[10:13]:
        one["kg"] = "a dozen"
    said[4]["kg"], said[6]["kg"], said[8]["kind"] = "", "ca. 12", " "
    said[9]["born"] = "unknown"  # the others are dates, and no numbers
    examples = [Example.of(f"pet {n}", json.dumps(one), line=n) for n, one in enumerate(said)]
    born, empty, other, kind = propose(examples, of_cells=True).warnings
    assert born.startswith("born is a date such as '3.4.1980' in 39 of 40 records, and written")
    assert empty.startswith("kg is empty in 1 of 40 records: line 4.")
    assert other.startswith("kg stays text: of 39 filled cells, 4 hold no number (lines 6, 10, 11,")
    assert kind.startswith("kind is empty in 1 of 40 records: line 8.")


def test_values_that_alone_prevent_a_closed_list_are_named() -> None:
    said = [{"damage": ("dent", "scratch", "none")[n % 3], "note": f"n{n}"} for n in range(60)]
    said[7]["damage"] = said[9]["damage"] = "scratches"
    examples = [Example.of(f"parcel {n}", json.dumps(one), line=n) for n, one in enumerate(said)]
    (damage,) = propose(examples).warnings
    assert damage.startswith(
        "damage has 3 values in at least 5 records each, and rarely others: 'scratches' (lines 7, 9"
    )


def test_dates_that_do_not_exist_or_are_written_otherwise_are_named() -> None:
    said = [{"due": f"2026-11-{n + 1:02}", "code": f"40-20-{3000 + n}"} for n in range(30)]
    said[4]["due"], said[6]["due"], said[8]["due"] = "2026-11-31", "7.11.2026", "next week"
    examples = [Example.of(f"bill {n}", json.dumps(one), line=n) for n, one in enumerate(said)]
    never, other = propose(examples).warnings
    assert never.startswith("due holds 1 date that does not exist, such as '2026-11-31': line 4.")
    assert other.startswith(
        "due is a date such as '2026-11-01' in 28 of 30 records, and written otherwise in 2, such "
        "as '7.11.2026': lines 6, 8."
    )


@pytest.mark.parametrize(
    ("usual", "odd"),
    [
        ("03.03.2026", "3.4.2026"),  # without the zero
        ("3.3.2026", "03.4.2026"),
        ("24.3.2026", "12.24.2026"),  # the month before the day
        ("9/24/2026", "24/9/2026"),
        ("3.3.2026", "3/3/2026"),
        ("2026-03-03", "03-03-2026"),
    ],
)
def test_a_date_in_another_form_is_named(usual: str, odd: str) -> None:
    said = [{"due": usual} for _ in range(30)]
    said[4]["due"] = odd
    examples = [Example.of(f"bill {n}", json.dumps(one), line=n) for n, one in enumerate(said)]
    (warning,) = [one for one in propose(examples).warnings if "written" in one]
    assert warning.endswith(
        f"otherwise in 1, such as '{odd}': line 4. An answer in another form counts as wrong; "
        "write them alike, and bring the file again."
    )


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            [f"{n},50" for n in range(40)],
            "40 have a decimal comma, such as '0,50' (lines 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 …).",
        ),
        (
            [*(f"{n}" for n in range(9)), "0,050"],
            "1 has a decimal comma, such as '0,050' (line 9).",
        ),
        (
            [*(f"0,{n}" for n in range(1, 37) if n % 10), "n/a", "", "-"],
            "33 have a decimal comma, such as '0,1' (lines 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 …), and 2 "
            "hold no number (lines 33, 35).",
        ),
        ([*(f"{n}" for n in range(1, 20)), "1.234,00"], "1 holds no number (line 19)."),
        ([*(f"{n}" for n in range(1, 20)), "1,234"], "1 holds no number (line 19)."),
        ([f"1,{n:03}" for n in range(40)], None),
        ([f"{n}" for n in range(40)], None),
        ([*(f"{n:05}" for n in range(30)), *["D-01067"] * 5], None),
        ([*(f"1.{n}" for n in range(1, 30)), "beta"], None),  # 1.1 and 1.10
    ],
)
def test_why_a_column_of_numbers_stays_text_is_said_unless_it_holds_codes(
    cells: list[str], said: str | None
) -> None:
    examples = [
        Example.of(f"{n}", json.dumps({"name": f"N{n}", "price": cell}), line=n)
        for n, cell in enumerate(cells)
    ]
    told = [one for one in propose(examples, of_cells=True).warnings if "stays text" in one]
    assert len(told) == (said is not None)
    assert all(f"filled cells, {said} If" in one for one in told), told
    assert not [one for one in propose(examples).warnings if "stays text" in one]
