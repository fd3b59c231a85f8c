"""Every problem of contents is found, with its place and what to do, on small broken files."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assay.chat.template import TokenSequence
from assay.config import Columns
from assay.data.checks import CheckReport, check
from assay.data.contents import placeholder
from assay.data.problems import CODES, Problem, describe_repeated
from assay.errors import AssayError, DataError
from assay.example import Example

COLUMNS = Columns(input=["q"], output=["a"])
LABELS = ["one", "two", "three", "four"]
GOOD = [{"q": f"question number {word}?", "a": word} for word in LABELS]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def checked(tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> CheckReport:
    settings.setdefault("columns", COLUMNS)
    return check(write(tmp_path / "data.jsonl", rows), **settings)


def only(report: CheckReport, code: str) -> Problem:
    found = [one for one in report.problems if one.code == code]
    assert len(found) == report.counts.get(code, 0) == 1, report.counts
    assert found[0].severity == CODES[code][0]
    return found[0]


def test_a_good_file_has_only_the_remark_that_it_is_small(tmp_path: Path) -> None:
    report = checked(tmp_path, GOOD)
    assert (report.rows, report.valid, report.rejected) == (4, 4, 0)
    assert report.counts == {"few-rows": 1}
    assert not report.has_errors
    alone = checked(tmp_path, GOOD[:1])
    assert only(alone, "few-rows").message.startswith("1 usable row: with so few")


@pytest.mark.parametrize(
    ("row", "code", "field"),
    [
        ({"q": "  ", "a": "x"}, "empty-input", "q"),
        ({"q": "what?", "a": " \n"}, "empty-output", "a"),
    ],
)
def test_empty_fields_reject_the_row(tmp_path: Path, row: Any, code: str, field: str) -> None:
    report = checked(tmp_path, [*GOOD, row])
    problem = only(report, code)
    assert (problem.line, problem.field) == (5, field)
    assert problem.file.endswith("data.jsonl")
    assert (report.valid, report.rejected, report.has_errors) == (4, 1, True)


def test_a_row_with_nothing_in_any_input_column_is_rejected(tmp_path: Path) -> None:
    rows = [{"subject": f"No. {n}", "body": "", "team": "care"} for n in range(3)]
    empty = {"subject": " ", "body": None, "team": "care"}
    columns = Columns(input=["subject", "body"], output=["team"])
    report = checked(tmp_path, [*rows, empty], columns=columns)
    problem = only(report, "empty-input")
    assert (problem.line, problem.field) == (4, "subject, body")
    assert (report.valid, report.rejected) == (3, 1)


def test_a_row_with_nothing_in_any_output_column_is_rejected(tmp_path: Path) -> None:
    rows = [{"mail": f"No. {n}", "topic": "", "urgent": n == 0} for n in range(3)]
    rows.append({"mail": "Total: 3", "topic": " ", "urgent": None})
    columns = Columns(input=["mail"], output=["topic", "urgent"])
    report = checked(tmp_path, rows, columns=columns)
    problem = only(report, "empty-output")
    assert (problem.line, problem.field) == (4, "topic, urgent")
    assert (report.valid, report.rejected) == (3, 1)


def test_duplicate_ids(tmp_path: Path) -> None:
    rows = [{**row, "id": f"n{min(i, 2)}"} for i, row in enumerate(GOOD)]
    columns = Columns(input=["q"], output=["a"], id="id")
    report = checked(tmp_path, rows, columns=columns)
    assert only(report, "duplicate-id").line == 4
    assert report.rejected == 1


def test_output_outside_the_labels_names_the_closest(tmp_path: Path) -> None:
    rows = [*GOOD, {"q": "and this?", "a": "thre"}]
    report = checked(tmp_path, rows, task="label", labels=LABELS)
    problem = only(report, "unknown-label")
    assert "'thre'" in problem.message
    assert "three" in problem.fix
    report = checked(
        tmp_path, [*GOOD, {"q": "and this?", "a": "two "}], task="label", labels=LABELS
    )
    assert "'two '" in only(report, "unknown-label").message  # else it would be one of them


def test_json_that_does_not_parse_or_fit(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "required": ["size"],
        "properties": {"size": {"type": "integer"}, "tags": {"items": {"type": "string"}}},
    }
    rows = [
        {"q": "fits", "a": '{"size": 3, "tags": ["x"]}'},
        {"q": "quotes", "a": "{'size': 3}"},
        {"q": "a number that JSON lacks", "a": '{"size": NaN}'},
        {"q": "wrong type inside", "a": '{"size": 3, "tags": ["x", 7]}'},
        {"q": "misses a key", "a": "{}"},
    ]
    report = checked(tmp_path, rows, task="json", schema=schema)
    assert report.counts["output-not-json"] == 2
    assert report.counts["schema-mismatch"] == 2
    by_line = {p.line: p.message for p in report.problems}
    assert "character 2" in by_line[2]
    assert "NaN" in by_line[3]
    assert by_line[4].endswith("form: 'tags' (entry 2) is 7, but must be text.")
    assert by_line[5].endswith("form: 'size' is missing.")
    assert report.valid == 1


def test_what_is_wrong_with_one_field_of_a_record_is_told_at_its_column(tmp_path: Path) -> None:
    columns = Columns(input=["q"], output=["size", "late, in minutes"])
    late = {"properties": {"late, in minutes": {"type": "string"}}}
    rows = [{"q": "how late?", "size": "3", "late, in minutes": 7}]
    found = checked(tmp_path, rows, columns=columns, task="json", schema=late)
    assert only(found, "schema-mismatch").field == "late, in minutes"
    found = checked(tmp_path, rows, columns=columns, task="json", schema={"maxProperties": 1})
    assert only(found, "schema-mismatch").field == 'size, "late, in minutes"'


def test_a_schema_that_is_none_is_an_error_of_the_project(tmp_path: Path) -> None:
    with pytest.raises(AssayError, match="output_schema"):
        checked(tmp_path, [{"q": "x", "a": "{}"}], task="json", schema={"type": "objekt"})


@pytest.mark.parametrize(
    "text",
    ["I am {{name}}", "Dear {name},", "${user.name} wrote", "<<NAME>> here", "%(name)s said",
     "Dear [Your Name]", "[insert date]", "<your name>", "{{ order.id }}", "Hi {{{name}}}"],
)  # fmt: skip
def test_placeholders(text: str) -> None:
    assert placeholder(text)


@pytest.mark.parametrize(
    "text",
    ['{"name": "x"}', "{name: 1}", "a set {1, 2}", "```\nf'{name}'\n```", "def f(x): return {x}",
     "[1]", "x < your y", "\\frac{a}{b}", "[sic] and [link]", "${}", "i <3 you", "{}"],
)  # fmt: skip
def test_what_only_looks_like_a_placeholder(text: str) -> None:
    assert placeholder(text) is None


def test_a_placeholder_left_in_the_answer_is_a_warning(tmp_path: Path) -> None:
    report = checked(tmp_path, [*GOOD, {"q": "who are you?", "a": "I am {{name}}."}])
    problem = only(report, "placeholder")
    assert (problem.line, problem.field, problem.severity) == (5, "a", "warning")
    assert not report.has_errors


def test_private_data_is_a_warning_that_never_shows_the_value(tmp_path: Path) -> None:
    key = "sk" + "-proj-" + "Ab3dE6gH9jK2mN5pQ8sT1vW4"
    values = [key, "4111 1111 1111 1111", "DE89370400440532013000", "jo@acme.com", "+49 30 901820"]
    rows = [{"q": f"look at this {value} please", "a": "yes"} for value in values]
    rows.append({"q": "label with a secret", "a": key})
    report = checked(tmp_path, rows, task="label", labels=["yes"], out=tmp_path / "out")
    assert {"secret", "card-number", "iban", "email", "phone"} <= set(report.counts)
    shown = json.dumps(report.to_dict()) + (tmp_path / "out" / "problems.jsonl").read_text()
    for value in values:
        assert value not in shown


def test_private_data_in_calls_and_in_findings_of_the_reader(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function",
            "function": {"name": "mail", "arguments": '{"to": "jo@acme.com"}'}}  # fmt: skip
    turns = [{"role": "user", "content": "write to Jo"},
             {"role": "assistant", "content": None, "tool_calls": [call]}]  # fmt: skip
    wrong = [{"role": "jo@acme.com", "content": "x"}, *turns]
    rows = [{"messages": turns}, {"messages": wrong}]
    report = checked(tmp_path, rows, columns=None)
    assert only(report, "email").field == "messages[1]"
    assert report.rejected == 1
    assert "jo@acme.com" not in json.dumps(report.to_dict())


def test_duplicates_and_contradictions(tmp_path: Path) -> None:
    long = "my order has not arrived at home although the shop says that it was sent a week ago"
    rows = [
        {"q": long, "a": "late"},
        {"q": long.upper() + "!", "a": "late"},
        {"q": long + "s", "a": "late"},
        {"q": long, "a": "lost"},
        {"q": "something else", "a": "lost"},
    ]
    report = checked(tmp_path, rows, task="label")
    assert only(report, "duplicate").line == 2
    assert only(report, "near-duplicate").line == 3
    assert only(report, "contradiction").line == 4
    assert "line 1" in only(report, "contradiction").message
    assert report.to_dict()["duplicates"] == {"exact": 1, "near": 1}
    assert not report.has_errors
    again = checked(tmp_path, rows, task="text")
    assert only(again, "several-outputs").severity == "notice"
    assert "contradiction" not in again.counts


def test_a_third_row_may_repeat_any_of_the_earlier_outputs(tmp_path: Path) -> None:
    rows = [{"q": "same", "a": answer} for answer in ("x", "y", "x", "y", "z")]
    counts = checked(tmp_path, rows).counts
    assert counts == {"contradiction": 2, "duplicate": 2, "few-rows": 1}
    said = "4 rows have the input of an earlier row (2 of them with another output), 0 nearly."
    assert describe_repeated(counts, 0) == said
    said = "1 row has the input of an earlier row (with another output), 0 nearly."
    assert describe_repeated({"contradiction": 1}, 0) == said


def test_labels_as_a_whole(tmp_path: Path) -> None:
    one = [{"q": f"question {i} about {i * 7919}", "a": "same"} for i in range(6)]
    report = checked(tmp_path, one, task="label")
    assert only(report, "one-class").line == 1
    assert report.has_errors
    spaced = [*one[:-1], one[-1] | {"a": "same "}]
    said = only(checked(tmp_path, spaced, task="label"), "one-class").message
    assert said == "every output is 'same', so there is nothing to classify."
    rows = [*one, {"q": "rare", "a": "Other"}, {"q": "spelt", "a": "other "}]
    rows += [{"q": "spaced", "a": "Third "}, {"q": "not spaced", "a": "Third"}]
    rows += [{"q": "of many", "a": "same "}]
    report = checked(tmp_path, rows, task="label")
    rare = only(report, "rare-class").message
    assert rare.startswith("3 of 4 labels")
    assert "'Other'" in rare
    assert "same" not in rare
    variants = [one.message for one in report.problems if one.code == "label-variants"]
    assert len(variants) == 3
    assert "'Other'" in variants[1]
    lone = [(one.line, one.message) for one in report.problems if one.code == "lone-label"]
    assert lone == [(7, "no other row has this label."), (8, "no other row has this label.")]
    assert report.statistics.to_dict()["rows"] == 11
    # Without a task it is what `init` would propose: few different short outputs are labels.
    spelt = [*one, {"q": "in another spelling", "a": "Same"}]
    guessed = checked(tmp_path, spelt, guess_task=True)
    assert guessed.task == "label"
    assert {"label-variants", "lone-label"} <= set(guessed.counts)
    odd = only(guessed, "other-spelling")
    assert (odd.line, odd.message) == (7, "'Same' is written 'same' in 6 rows.")
    # No grader counts white space around a label: it makes no answer wrong.
    assert "other-spelling" not in checked(tmp_path, spaced, guess_task=True).counts
    assert checked(tmp_path, spelt).task is None
    free = [{**row, "a": f"An answer of its own, {row['q']}"} for row in one]
    assert checked(tmp_path, free, guess_task=True).task is None


def test_no_usable_row(tmp_path: Path) -> None:
    assert only(checked(tmp_path, [{"q": "x", "a": ""}]), "no-rows").severity == "error"


class Words:
    """Stands for a chat template: a word is a token."""

    sha256 = "0"

    def render(self, messages: Any, tools: Any = ()) -> TokenSequence:
        if any("refuse" in m.content for m in messages):
            raise DataError("the template refuses it.")
        counts = [len(m.content.split()) for m in messages]
        return TokenSequence([0] * sum(counts), [False] * sum(counts[:-1]) + [True] * counts[-1])

    def count_before(self, messages: Any) -> int:
        return sum(len(m.content.split()) for m in messages)


def test_tokens_and_the_length_of_the_context(tmp_path: Path) -> None:
    rows = [
        {"q": "a b c", "a": "d"},
        {"q": "a " * 9, "a": "d e"},
        {"q": "refuse me", "a": "d"},
    ]
    template: Any = Words()
    report = checked(tmp_path, rows, template=template, context_length=8, system_prompt="be brief")
    problem = only(report, "too-long")
    assert "13 tokens are 5 more" in problem.message
    assert only(report, "cannot-render").line == 3
    assert report.to_dict()["tokens"] == {"input": 5, "trained": 1, "longest": 6}
    assert checked(tmp_path, rows).to_dict()["tokens"] is None
    long = checked(tmp_path, rows[:1], template=template, context_length=8, system_prompt="a " * 8)
    assert "system prompt alone has 8 tokens" in only(long, "prompt-too-long").message
    assert "too-long" not in long.counts


def test_the_shape_that_scripts_rely_on(tmp_path: Path) -> None:
    body = checked(tmp_path, GOOD).to_dict()
    assert {"format", "task", "rows", "valid", "rejected", "problems", "counts", "duplicates",
            "tokens"} <= set(body)  # fmt: skip
    assert list(body["problems"][0]) == [
        "file", "line", "field", "code", "severity", "message", "fix",
    ]  # fmt: skip


def test_all_problems_go_to_a_file_and_the_first_thousand_to_the_report(tmp_path: Path) -> None:
    rows = [{"q": f"question {i * 7919}", "a": "" if i % 2 else "x"} for i in range(2400)]
    report = checked(tmp_path, rows, out=tmp_path / "out")
    problems = (tmp_path / "out" / "problems.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(report.problems) == 1000
    assert len(problems) == sum(report.counts.values()) >= 1200
    lines = [json.loads(line)["line"] for line in problems]
    assert lines == sorted(lines)
    rejected = [
        json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()
    ]
    assert len(rejected) == report.rejected == 1200
    assert rejected[0]["raw"] == rows[1]
    assert rejected[0]["problems"][0]["code"] == "empty-output"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_rejected_row_that_is_not_utf_8_is_kept_as_it_was(tmp_path: Path, name: str) -> None:
    good = "".join(f"Grüße {i},a\n" for i in range(3)).encode()
    body = b"q,a\n" + good + b"K\xf6ln,b\n"
    if name == "a.jsonl":  # an escape that is half of a character
        body = good.replace(b"Gr", b'{"q": "Gr').replace(b",a\n", b'", "a": "a"}\n')
        body += b'{"q": "K\\udcf6ln", "a": "b"}\n'
    (tmp_path / name).write_bytes(body)
    report = check(tmp_path / name, columns=COLUMNS, out=tmp_path / "out")
    assert (report.valid, report.rejected) == (3, 1)
    kept = (tmp_path / "out" / "rejected.jsonl").read_bytes().decode()  # UTF-8 as a whole
    row = json.loads(kept)
    assert "K\udcf6ln" in (row["raw"] if isinstance(row["raw"], list) else row["raw"].values())
    assert row["problems"][0]["code"] in ("invalid-byte", "lone-surrogate")


def test_valid_examples_are_handed_on_in_order(tmp_path: Path) -> None:
    kept: list[Example] = []
    checked(
        tmp_path, [GOOD[0], {"q": "", "a": "x"}, *GOOD[1:]], keep=lambda one, _: kept.append(one)
    )
    assert [e.output for e in kept] == ["one", "two", "three", "four"]


def test_real_data_has_the_duplicates_that_are_known(data_folder: Path) -> None:
    report = check(
        data_folder / "banking77" / "train.jsonl",
        columns=Columns(input=["text"], output=["label"]),
        task="label",
    )
    assert (report.rows, report.valid) == (10003, 10003)
    assert report.counts == {"contradiction": 1, "duplicate": 28, "near-duplicate": 25}
    balance = report.statistics.balance()
    assert balance is not None
    assert len(balance) == 77


MEASURE = """
import resource, sys
from pathlib import Path
from assay.data.checks import check
report = check(Path(sys.argv[1]), task="label")
print(report.rows, report.valid, report.exact, report.near)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def varied(path: Path, rows: int) -> None:
    """A CSV file of tickets: no two alike but for one planted pair in every thousand rows."""
    draw = random.Random(11)
    stems = ["refund", "parcel", "invoice", "login", "delivery", "colour", "size", "voucher"]
    words = ["".join(draw.choices("abcdefghijklmnoprstuvwy", k=draw.randint(3, 9)))
             for _ in range(20_000)]  # fmt: skip
    with path.open("w", encoding="utf-8") as file:
        file.write("ticket,label\n")
        line = ""
        for row in range(rows):
            if row % 1000 != 999:
                text = " ".join(draw.choices(words, k=draw.randint(6, 16)))
                line = (
                    f'"My {draw.choice(stems)} {row}: {text}, please help",{draw.choice(stems)}\n'
                )
            file.write(line)


def measured(path: Path) -> tuple[list[int], int]:
    """(rows, valid, exact, near), peak resident bytes, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    return [int(n) for n in first.split()], int(second)


@pytest.mark.slow
def test_memory_grows_by_far_less_than_the_file(tmp_path: Path) -> None:
    peaks = []
    for rows in (5_000, 30_000):
        varied(tmp_path / "tickets.csv", rows)
        counts, peak = measured(tmp_path / "tickets.csv")
        assert counts == [rows, rows, rows // 1000, 0]
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 25_000 * 500


@pytest.mark.soak
def test_two_million_rows_below_two_gibibytes(tmp_path: Path) -> None:
    varied(tmp_path / "tickets.csv", 2_000_000)
    counts, peak = measured(tmp_path / "tickets.csv")
    assert counts == [2_000_000, 2_000_000, 2000, 0]
    assert peak < 2 * 2**30
