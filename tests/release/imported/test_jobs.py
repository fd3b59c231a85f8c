"""Which traces are one job, and what is said of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from assay.example import Message, ToolCall
from assay.release.imported import jobs
from assay.release.imported.job import Job
from assay.release.imported.jobs import find_jobs
from assay.release.imported.skeleton import skeleton
from assay.release.imported.trace import ImportedTrace

SORT = (
    "You sort the messages of customers to desks. Answer with the name of the desk and nothing "
    "else. Today is {day}. Your ticket is {ticket}."
)
RECORD = (
    "Read the message and write down its order as one JSON record with the keys item and count."
)
DESKS = ("cards", "loans", "transfers")


def trace(
    asked: str, answer: str | Message, system: str = "", tools: Sequence[str] = (), **known: object
) -> ImportedTrace:
    said = answer if isinstance(answer, Message) else Message("assistant", answer)
    turns = [Message("system", system)] if system else []
    offered = tuple({"type": "function", "function": {"name": one}} for one in tools)
    return ImportedTrace("", (*turns, Message("user", asked)), said, offered, **known)  # type: ignore[arg-type]


def jobs_of(traces: Sequence[ImportedTrace]) -> list[Job]:
    def again() -> Iterator[ImportedTrace]:
        return iter(traces)

    return find_jobs(again, lambda one: 0.5 if one.model == "priced" else None)


def chatter(source: random.Random) -> str:
    return " ".join(source.choice(("so", "my", "new", "card", "was", "lost")) for _ in range(9))


def test_jobs_are_told_by_prompt_and_tools_whatever_changes_in_them() -> None:
    """Numbers, dates and ids in a prompt make no job, nor do documents; other words do."""
    source = random.Random(1)
    found: list[ImportedTrace] = []
    for n in range(60):
        day = f"{1 + n % 28} {('March', 'April')[n % 2]} 2026, {('Monday', 'Friday')[n % 2]}"
        prompt = SORT.format(day=day, ticket=f"ab{n:06x}-77f{n}")
        found.append(trace(chatter(source), DESKS[n % 3], prompt))
    found += [
        trace(f"{n} pencils", f'{{"item": "pencil", "count": {n}}}', RECORD) for n in range(40)
    ]
    pages = "Answer the question of the customer from the passages that follow, in two sentences: "
    found += [
        trace(chatter(source), chatter(source), pages + " ".join(chatter(source) for _ in range(9)))
        for _ in range(30)
    ]
    call = Message("assistant", "", (ToolCall("1", "find", "{}"),))
    offered = (["find", "ask"], ["ask", "find"])  # in whatever order
    found += [trace(chatter(source), call, RECORD, offered[n % 2]) for n in range(20)]
    source.shuffle(found)
    told = jobs_of(found)
    assert [(job.calls, job.task) for job in told] == [
        *((60, "label"), (40, "json"), (30, "text"), (20, "tools"))
    ]
    assert jobs_of(list(reversed(found)))[0].id == told[0].id
    labels = told[0]
    assert (labels.answers, labels.records, told[1].records, told[3].calling) == (3, 0, 1, 1)
    assert "3 different answers in 60 calls: this looks like sorting into labels" in labels.cheaper
    assert "classifier" in labels.cheaper
    assert sorted(told[3].tools) == ["ask", "find"]


def test_without_a_prompt_the_beginnings_of_inputs_tell_the_job() -> None:
    source = random.Random(2)
    short = "You are a helpful assistant."
    found = []
    for n in range(40):
        found.append(trace(f"Translate into French: {chatter(source)}", f"le {n}", short))
        found.append(
            trace(f"Which language is this? {chatter(source)}", ("en", "fr")[n % 2], short)
        )
    assert sorted((job.calls, job.task) for job in jobs_of(found)) == [(40, "label"), (40, "text")]
    loose = [trace(f"{source.random()} {chatter(source)}", "yes", short) for _ in range(50)]
    assert len(jobs_of([trace(chatter(source)[n % 7 :], "yes", short) for n in range(50)])) == 1
    assert len(jobs_of(loose)) == 1


def test_a_prompt_that_tells_the_job_is_not_split_by_what_customers_say() -> None:
    greetings = ("Hello there, my dear friends:", "Good morning to you all:")
    told = "Label the ticket: card, loan or other."
    found = [trace(f"{greetings[n % 2]} {n} cards", DESKS[n % 2], told, usd=1.0) for n in range(60)]
    assert [job.calls for job in jobs_of(found)] == [60]


def test_what_comes_later_does_not_change_what_a_job_is_called() -> None:
    """A prompt into which a different text is pasted each time: near to each other, never equal."""
    source = random.Random(3)
    rules = " ".join("".join(source.choices("abcdefgh", k=6)) for _ in range(200))
    pasted = [trace("a", "b", f"{chatter(source)}. {rules} {chatter(source)}") for _ in range(40)]
    ids = {tuple(job.id for job in jobs_of(pasted[:count])) for count in (1, 5, 20, 40)}
    assert len(ids) == 1


def test_thousands_of_prompts_that_begin_with_documents_are_one_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that are alike in no way are bounded, too."""
    source = random.Random(3)
    words = ["".join(source.choices("abcdefghij", k=6)) for _ in range(3000)]
    asked = "Answer the question of the customer from the passages above, in one or two sentences."
    found = [
        trace("why", "so", f"{' '.join(source.sample(words, 60))} {asked}") for _ in range(300)
    ]
    assert [job.calls for job in jobs_of(found)] == [300]
    monkeypatch.setattr(jobs, "_COMPARED", 20)
    loose = [trace("why", "so", " ".join(source.sample(words, 30))) for _ in range(100)]
    assert len(jobs_of([*loose, *found])) == 101


def test_volume_cost_and_latency_are_counted_where_they_are_known() -> None:
    known = {"prompt_tokens": 10, "completion_tokens": 2, "model": "priced"}
    found = [trace("a", "x", RECORD, seconds=float(n), **known) for n in range(1, 101)]
    found += [trace("b", "y", RECORD, usd=2.0, thumb="up", corrected="z"), trace("c", "x", RECORD)]
    (job,) = jobs_of(found)
    assert (job.calls, job.inputs, job.answers) == (102, 3, 2)
    assert (job.prompt_tokens, job.completion_tokens, job.counted) == (1000, 200, 100)
    assert (job.usd, job.priced) == (pytest.approx(52.0), 101)
    assert (job.median_s, job.p95_s) == (50.0, 95.0)
    assert job.models == {"priced": 100, "": 2}
    assert (job.corrected, job.up, job.down) == (1, 1, 0)
    assert "97% of the calls repeat an earlier input" in job.cheaper


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Order 17 of 2026-03-01", "Order 18,431 of 12/04/2025 10:22"),
        ("See https://a.io/x?y=1 now", "See http://b.com/zz now"),
        ("User 6f9619ff-8b86-d011-b42d-00c04fc964ff", "User 550e8400-e29b-41d4-a716-446655440000"),
        ("On Monday, 3 March", "On Friday, 21 May"),
        ("To <e-mail address> with <password or key>", "To <IBAN> with <OpenAI API key>"),
    ],
)
def test_a_skeleton_has_no_numbers_dates_and_ids(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)
    policy = "Be polite and brief to all of them. " * 150
    assert skeleton(policy + "Now classify.") != skeleton(policy + "Now write a poem.")
    assert skeleton("The card may be lost") == "The card may be lost"
