"""The report: whole, offline, safe against what stands in the data, small enough to send."""

from __future__ import annotations

import gzip
import math
import re
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from assay.agent.agent import Agent
from assay.candidates import registry
from assay.candidates.building import Candidate
from assay.candidates.spec import FAMILIES
from assay.compare.costs import CostDrivers, price
from assay.compare.data_section import Verbatim
from assay.compare.naming import in_words
from assay.compare.plain_names import plain_names
from assay.compare.reasons import signed
from assay.compare.replacement_section import Replacement
from assay.compare.report import (
    assumptions,
    charts,
    detectable,
    differences,
    html,
    next_step,
    second_look,
    svg,
    wording,
    worth,
)
from assay.compare.report.html import MOST_ROWS, disagreements, write_report
from assay.compare.report.replacement import (
    NO_WORSE,
    NOT_SHOWN,
    WORSE,
    meaning,
    replacement_lines,
)
from assay.compare.report.terminal import print_result
from assay.compare.result import CandidateResult, Cost, Result, SeedResult, Verdict
from assay.compare.sensitivity import Sensitivity, Turn
from assay.compare.settling import two_digits
from assay.config import Costs
from assay.errors import on_page
from assay.evaluate.label_noise import SecondLook
from assay.example import ToolCall, call_text
from assay.project.comparison import Comparison

from .sample import sample_result, sample_rows
from .test_planning import CONFIG


def write(folder: Path, rows: int = 300) -> None:
    (folder / "result.json").write_text(sample_result(rows).model_dump_json())
    with gzip.open(folder / "answers.jsonl.gz", "wt") as file:
        for row in sample_rows(rows):
            file.write(row.model_dump_json() + "\n")


def test_the_result_survives_json() -> None:
    result = sample_result()
    assert Result.model_validate_json(result.model_dump_json()) == result


def test_the_page_is_one_file_with_nothing_from_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, 3000)
    page = write_report(tmp_path).read_text()
    assert "<td>problem</td><td>empty output: 3</td>" in page
    assert len(page.encode()) < 2_000_000
    assert not re.search(r'(src|href)\s*=\s*"', page)
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<script>") == 1
    assert page.count('class="row"') == MOST_ROWS


def test_texts_of_the_data_cannot_become_markup(tmp_path: Path) -> None:
    write(tmp_path)
    page = write_report(tmp_path).read_text()
    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<b>now</b>" not in page


def test_calls_stand_in_the_page_as_people_read_them() -> None:
    row = sample_rows(1)[0]
    call = call_text(ToolCall("", "find_ferry", '{"to": "<b>Kiel</b>"}'))
    row = row.model_copy(update={"reference": call, "answers": dict.fromkeys(row.answers, call)})
    result = sample_result(60).model_copy(update={"task": "tools"})
    page = html.render(result, [row], redacted=False)
    assert "tool_call" not in page
    assert 'find_ferry(to: "<b>Kiel</b>")' in unescape(page)
    assert "<b>Kiel" not in page


def test_a_redacted_report_has_figures_and_no_texts(tmp_path: Path) -> None:
    write(tmp_path)
    page = write_report(tmp_path, redact=True).read_text()
    assert "where is my card" not in page
    assert "Message 7" not in page
    assert "84.7" in page


def test_the_named_one_stands_in_the_first_group_and_the_others_by_cost(tmp_path: Path) -> None:
    result = sample_result()
    groups = wording.group_by_need(result)
    costs = [
        min(math.inf if c.yearly_cost is None else c.yearly_cost for c in group)
        for _, group in groups
    ]
    assert costs[1:] == sorted(costs[1:])
    assert groups[0][1][0].name == result.verdict.named
    assert len(set(costs)) > 1
    needs = [need for need, _ in groups]
    assert {"nothing to train", "trained in minutes to hours"} < set(needs)
    names = [c.name for _, group in groups for c in group]
    assert sorted(names) == sorted(c.name for c in result.candidates)
    write(tmp_path)
    table = write_report(tmp_path).read_text().split("<thead>")[1].split("</table>")[0]
    rows = re.findall(r'colspan="7">(.*?)</th>|<td>(.*?)<small>', table)
    assert [heading for heading, _ in rows if heading] == [need.capitalize() for need in needs]
    assert [name for _, name in rows if name] == [result.names[name] for name in names]


def test_a_candidate_has_one_name_in_the_page_and_the_typed_one_stands_beside_it() -> None:
    result, rows = sample_result(), sample_rows(30)
    page = html.render(result, rows, redacted=False)
    read = page.split("<body>")[1].split("To repeat it")[0]
    listed = read.split("<thead>")[1].split("</table>")[0]
    typed = [c.name for c in result.candidates if c.name != "prompt"]  # which is a word, too
    for name in typed:
        assert len(re.findall(rf"<small>{name}</small>", listed)) == 1
        assert not re.search(rf"(?<![\w-]){name}(?![\w-])", re.sub("<small>.*?</small>", "", read))
    assert "Use “Fine-tuned model”: it scores" in read
    warned = "`few-shot` and `rag` were left out: see `route` and `assay data check`."
    left_out = {**result.names, "rag": "Found documents"}
    told = in_words(result.model_copy(update={"names": left_out, "warnings": [warned]}))
    assert told.warnings == [
        "Fixed examples and Found documents were left out: see `route` and `assay data check`."
    ]
    brought = Replacement(
        replaced="outgoing", score=0.9, no_worse=["fine-tune"], worse=["prompt"], not_shown=[],
        sentence="",
    )  # fmt: skip
    [replaced] = in_words(result.model_copy(update={"replacements": [brought]})).replacements
    assert replaced.sentence.startswith("“Fine-tuned model” is shown to be at most ")
    assert replaced.sentence.endswith(
        "behind outgoing, which scores 90 in 100; “System prompt alone” is worse."
    )
    unproven = {"no_worse": [], "not_shown": ["fine-tune"], "settled_by": "about 800 would do"}
    close = result.model_copy(update={"replacements": [brought.model_copy(update=unproven)]})
    [said] = in_words(close).replacements
    assert said.sentence.endswith(" The closest is “Fine-tuned model”: about 800 would do.")
    old = in_words(result.model_copy(update={"names": {}}))
    assert old.verdict == result.verdict
    assert [c.name for c in old.candidates] == [c.name for c in result.candidates]


def test_beside_a_model_that_goes_candidates_are_ahead_or_behind_as_they_scored() -> None:
    result = sample_result()
    score = {c.name: c.score or 0.0 for c in result.candidates}
    for gone in ("prompt", "fine-tune"):  # the first of some pairs and the second of others
        others = [name for name in score if name != gone]
        said = Replacement(
            replaced=gone, score=score[gone], no_worse=others[:1], worse=others[1:2],
            not_shown=others[2:], sentence="",
        )  # fmt: skip
        lines = {one.name: one for one in replacement_lines(result, said)}
        assert set(lines) == set(others)
        assert [lines[name].says for name in others[:3]] == [NO_WORSE, WORSE, NOT_SHOWN]
        for name, line in lines.items():
            point, low, high = map(float, re.findall(r"[+-][\d.]+", line.difference))
            assert point == pytest.approx(100 * (score[name] - score[gone]), abs=0.06)
            assert low <= point <= high
    assert "at most 2 in 100 behind" in meaning(result)


def test_plain_names_tell_candidates_apart_that_are_of_one_kind() -> None:
    named = [("few-shot-2", "few-shot"), ("support-3", "support"), ("vendor", "outside")]
    built = [Candidate(Agent(model="m"), (), (), name=n, kind=kind) for n, kind in named]
    arms = {"a": Candidate(Agent(model="m"), (), (), name="rag", kind="rag")}
    route = Candidate(Agent(model="m"), (), (), name="cascade", kind="cascade", arms=arms)
    found = plain_names([*built, route], CONFIG)
    assert [found[name] for name, _ in named] == [
        "Fixed examples, version 2",
        "support, version 3",
        "vendor",
    ]
    assert found["rag"] == registry.plain_name("rag")
    assert found["prompt"] == registry.plain_name("prompt")  # of the configuration
    assert len(set(found.values())) == len(found)


def test_rows_that_stand_in_documents_are_counted_in_good_english() -> None:
    result = sample_result()
    for count, said in ((1, "1 stands with its answer in"), (2, "2 stand with their answer in")):
        data = result.data.model_copy(update={"verbatim": Verbatim(documents=count)})
        told = wording.known_answers(result.model_copy(update={"data": data}))
        assert told is not None
        assert said in told


def test_doubtful_labels_stand_in_the_page_with_what_the_candidates_say(tmp_path: Path) -> None:
    write(tmp_path)
    look = sample_result().second_look
    assert look is not None
    assert look.ids
    page = write_report(tmp_path).read_text()
    listed = page.split("Labels worth a second look")[1].split("</details>")[0]
    lines = re.findall(r"<td>Line (\d+)</td>", listed)
    assert lines == [str(int(id.removeprefix("row-")) + 2) for id in look.ids]
    assert wording.place("INV-7", 3) == "Line 3 (INV-7)", "a name that the file gives is said"
    assert f"more than {100 * look.ceiling:.1f} in 100" in listed
    assert "Word-count classifier, Fixed examples, Fine-tuned model</small>" in listed
    redacted = write_report(tmp_path, redact=True).read_text()
    assert f"more than {100 * look.ceiling:.1f} in 100" in redacted
    assert look.ids[0] not in redacted
    older = sample_result().model_copy(update={"second_look": None})
    assert "second look" not in html.render(older, [], redacted=True)


def test_where_nothing_is_good_enough_the_first_remedy_follows_from_what_was_measured() -> None:
    sample = sample_result()
    tuned = next(c for c in sample.candidates if c.name == "fine-tune")
    one = tuned.model_copy(update={"score": 0.8, "prompt_tokens": 90.0})

    def said(doubtful: int, good_enough: float | None = 0.9, **verdict: str) -> tuple[str, str]:
        look = SecondLook(
            raters=["few-shot", "fine-tune"],
            agreeing=2,
            rows=100,
            ids=[f"row-{i}" for i in range(doubtful)],
            ceiling=1 - doubtful / 100,
            low=0.5,
            high=1.0,
        )
        update = {
            "candidates": [one],
            "good_enough": good_enough,
            "second_look": look,
            "verdict": Verdict.model_validate({"outcome": "none", "reason": "r", **verdict}),
        }
        result = sample.model_copy(update=update)
        return next_step.say(result), second_look.found(look, good_enough)

    step, found = said(2)
    assert (
        "10.0 points below what you called good enough, and only 2.0 in 100 of the measured labels"
        in step
    )
    assert "First find out whether more examples would help, with `assay curve --cand" in step
    few = sample.model_copy(update={"data": sample.data.model_copy(update={"train": 94})})
    sample, enough = few, sample
    assert "takes 128 training examples, and there are 94" in said(2)[0]
    sample, counted = enough, one
    one = one.model_copy(update={"prompt_tokens": None})
    assert "First let candidates with a language model take part, since none did." in said(2)[0]
    one = one.model_copy(update={"per_class": {"size": 0.97, "day": 0.81, "kind": 0.96}})
    sample = sample.model_copy(update={"primary": "record-exact"})
    alone = (
        "one field alone: day is right in 81.0 of 100 records that have it, all others together in "
        "about 93.0 or more"
    )
    assert alone in said(2)[0]
    assert "one field" not in said(2, 0.94)[0]
    one = one.model_copy(update={"per_class": {"size": 0.90, "day": 0.89}})
    assert "one field" not in said(2, 0.85)[0], "either would do"
    one = counted
    assert "shown to reach" not in found
    built, one = one, one.model_copy(update={"kind": "support-3"})
    assert "`assay curve --candidate NAME`" in said(2)[0], "no curve is drawn of a saved agent"
    one = built
    step, found = said(10)  # as many as are missing, but not so many that nothing could reach it
    assert "and 10.0 in 100 of the measured labels may be wrong: look at these labels first" in step
    assert "shown to reach" not in found
    step, found = said(11)
    assert "look at these labels first" in step
    assert "shown to reach what you called good enough (90 of 100), until" in found
    step, found = said(11, None, use_meanwhile="baseline-majority")
    assert "Keep all of these out of this job for now: baseline-majority" in step
    assert "a person could give the answer from the input alone" in step
    assert "shown to reach" not in found


def test_narrower_intervals_stand_beside_those_of_the_labelled_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    page = write_report(tmp_path).read_text()
    assert "71.2 (68.1 – 74.3)" in page
    assert "+10.7 (+8.3 to +13.1)" in page
    assert "$3.20" in page
    assert "The verdict does not rest on them" in page
    print_result(sample_result(), Console(width=140))
    printed = capsys.readouterr().out
    assert "68.1 – 74.3" in printed
    assert "811" in printed
    found = sample_result().prediction_powered
    assert found is not None
    why = "they take 30 independent labelled rows"
    bare = found.model_copy(update={"withheld": why, "scores": [], "pairs": []})
    result = sample_result().model_copy(update={"prediction_powered": bare})
    page = html.render(result, sample_rows(3), redacted=False)
    assert f"They make no interval narrower: {why}." in page
    assert "labelled rows alone" not in page


def test_rows_on_which_candidates_differ_come_first() -> None:
    rows = disagreements(sample_rows())
    spreads = [max(row.scores.values()) - min(row.scores.values()) for row in rows]
    assert spreads == sorted(spreads, reverse=True)


def test_every_outcome_has_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    result = sample_result()
    for verdict, words in (
        (Verdict(outcome="none", use_meanwhile="baseline-tfidf", reason="r"), "Use none of these"),
        (Verdict(outcome="none", reason="r"), "Do not put any of these to work"),
        (
            Verdict(
                outcome="cannot_tell",
                shortlist=["prompt"],
                use_meanwhile="prompt",
                more_examples_needed=1200,
                more_if_as_seen=300,
                reason="r",
            ),
            "label about 300 new examples (5 hours of work at a minute each) and bring them",
        ),
        (
            Verdict(
                outcome="cannot_tell",
                more_examples_needed=1200,
                more_if_as_seen=300,
                more_groups_needed=48,
                more_groups_if_as_seen=12,
                reason="r",
            ),
            "label about 12 new groups (about 300 examples; 5 hours of work at a minute each) and "
            "bring them",
        ),
        (
            Verdict(outcome="cannot_tell", shortlist=["prompt"], reason="r"),
            "Keep all of these out of this job for now",
        ),
        (
            Verdict(outcome="cannot_tell", use_meanwhile="prompt", reason="r"),
            "Use prompt for now; not proven",
        ),
        (
            Verdict(outcome="recommend", recommend="prompt", enough=False, reason="r"),
            "Best so far: prompt; not shown to be enough",
        ),
        (Verdict(outcome="recommend", recommend="prompt", enough=True, reason="r"), "Use prompt "),
        (
            Verdict(outcome="recommend", recommend="prompt", reason="r"),
            "Use prompt if it is good enough",
        ),
    ):
        console = Console(width=100)
        changed = result.model_copy(update={"verdict": verdict})
        print_result(changed, console)
        out = " ".join(capsys.readouterr().out.replace("│", "").split())
        assert words in out
        assert wording.headline(verdict) in out
        page = html.render(changed, [], redacted=True)
        assert wording.headline(in_words(changed).verdict) in page
        for said in wording.figures(result.candidates[0]):
            assert said in out
            assert said in page


def test_fine_tuning_is_judged_in_words_that_agree_with_the_headline() -> None:
    result = sample_result()
    tuned = [c for c in result.candidates if c.fine_tuned]
    others = [c.model_copy(update={"eligible": False}) for c in result.candidates if c not in tuned]
    one = tuned[0].model_copy(update={"eligible": True})
    verdict = Verdict(outcome="recommend", recommend=one.name, enough=False, reason="r")

    def said(
        candidates: list[CandidateResult],
        worth_it: bool | None = None,
        version_worth_it: bool | None = None,
    ) -> str:
        update = {"fine_tuning_worth_it": worth_it, "version_worth_it": version_worth_it}
        changed = verdict.model_copy(update=update)
        return worth.fine_tuning(
            result.model_copy(update={"candidates": candidates, "verdict": changed})
        )

    assert said(others) == (
        "No fine-tuned language model took part, so nothing is said here of training one."
    )
    assert said([one]).endswith("there is no candidate without it to compare with.")
    # Beside "Use fine-tune" stands what it gains and costs, not that nobody can say.
    gained = said([one, *others])
    assert "baseline-tfidf, the best without fine-tuning, does not reach (+" in gained
    assert "for $3.33 a month more" in gained
    # The verdict asks for a lead that is shown by itself, a call for one shown beside all pairs.
    near = [pair.model_copy(update={"call": "cannot_tell"}) for pair in result.pairs]
    result = result.model_copy(update={"pairs": near})
    assert said([one, *others]) == gained
    recommended = verdict
    verdict = Verdict(outcome="cannot_tell", use_meanwhile=one.name, reason="r")
    assert "may be chance (+" in said([one, *others])
    verdict = recommended
    as_good = others[1].model_copy(update={"eligible": True})
    assert "not all costs are known" in said([one, as_good])
    assert said([one, *others], worth_it=True).startswith("Fine-tuning is worth it here, if what")
    none = Verdict(outcome="none", fine_tuning_worth_it=False, reason="r")
    told = worth.fine_tuning(sample_result(good_enough=0.99).model_copy(update={"verdict": none}))
    assert told.startswith("Fine-tuning gains most here, but not enough: fine-tune is ahead of")
    verdict = verdict.model_copy(update={"recommend": "prompt"})
    assert said([one, *others]).endswith("cannot be said from this comparison.")
    seeds = [
        SeedResult(seed=n, score=score, chosen=not n) for n, score in enumerate((0.81, 0.8, 0.79))
    ]
    spread = one.model_copy(update={"seeds": seeds})
    luck = said([spread, *others])
    assert "3 trainings of fine-tune" in luck
    assert luck.endswith("79.0 to 81.0 of 100 on validation; the best took part.")
    counted = said([spread, *others], worth_it=True)
    assert counted.endswith("the best took part. That difference is allowed for.")
    once = one.model_copy(update={"seeds": seeds[:1]})
    lucky = said([once, *others], version_worth_it=True)
    assert lucky.startswith("The version that was trained is worth it here")
    assert "another training would be is not shown. fine-tune was trained once." in lucky
    assert said([once, *others]).endswith("less, by how much was not measured.")


def test_an_interval_without_0_beside_cannot_tell_is_explained_where_it_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = sample_result()
    assert not any(differences.is_puzzling(pair) for pair in result.pairs)
    assert differences.intervals(result, result.pairs) is None
    odd = {"call": "cannot_tell", "low": 0.01, "high": 0.2}
    pairs = [pair.model_copy(update=odd) for pair in result.pairs]
    result = result.model_copy(update={"pairs": pairs})
    explained = "the range is that of one pair by itself."
    print_result(result, Console(width=160))
    said = capsys.readouterr().out
    assert "cannot tell *" in said
    assert explained in said
    page = html.render(result, [], redacted=True)
    assert "cannot tell *" in page
    assert explained in page


def test_a_recommendation_beside_cannot_tell_is_explained_and_what_money_decided_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = sample_result()
    best = result.verdict.recommend
    assert differences.why_recommended(result) is None, "it is better than each other"
    pairs = [pair.model_copy(update={"call": "cannot_tell"}) for pair in result.pairs]
    changed = result.model_copy(update={"pairs": pairs})
    explained = differences.why_recommended(changed)
    assert explained is not None
    assert explained.startswith(f"{best} is recommended though some of these cannot be told")
    print_result(changed, Console(width=400))
    assert explained in capsys.readouterr().out
    assert "“Fine-tuned model” is recommended though" in html.render(changed, [], redacted=True)
    assert best is not None
    alone = result.verdict.model_copy(update={"as_good": [best]})
    others = [one.model_copy(update={"eligible": one.name == best}) for one in result.candidates]
    result = result.model_copy(update={"candidates": others})
    said = worth.deciding(result.model_copy(update={"verdict": alone, "sensitivity": None}))
    assert said is not None
    assert said.startswith("Costs did not decide this")
    lenient = result.plan.model_copy(update={"margin_for_cheaper": 0.05})
    changes = {"verdict": alone, "sensitivity": None, "plan": lenient}
    assert worth.deciding(result.model_copy(update=changes)) is None, "a price may decide there"
    two = alone.model_copy(update={"as_good": [best, "prompt"]})
    assert worth.deciding(result.model_copy(update={"verdict": two, "sensitivity": None})) is None


@pytest.mark.parametrize(
    ("examples", "hour", "said"),
    [
        (30, 60, "30 minutes of work at a minute each, about $30"),
        (61, 60, "61 minutes of work at a minute each, about $61"),
        (94, 60, "1.6 hours of work at a minute each, about $96"),
        (300, 48.4, "5 hours of work at a minute each, about $240"),
        (14_000, 60, "230 hours of work at a minute each, about $14,000"),
        (94, None, "1.6 hours of work at a minute each"),
    ],
)
def test_what_labelling_takes_can_be_worked_out_anew(
    examples: int, hour: float | None, said: str
) -> None:
    verdict = Verdict(outcome="cannot_tell", more_if_as_seen=examples, reason="r")
    costs = {"verdict": verdict, "config": {"costs": {"person_hour_usd": hour}}}
    told = next_step.say(sample_result().model_copy(update=costs))
    assert f"label about {examples:,} new examples ({said}) and" in told


@pytest.mark.parametrize(
    ("year", "month"),
    [(0.1506, "$0.0126"), (0.12, "$0.01"), (5.0, "$0.417"), (2.4, "$0.20"), (60.0, "$5.00")],
)
def test_twelve_months_are_what_is_said_of_the_year(year: float, month: str) -> None:
    one = sample_result().candidates[0]
    parts = Cost(
        curation_usd=0.0, training_usd=0.0, idle_usd=0.0, requests_usd=year, upkeep_usd=0.0
    )
    one = one.model_copy(update={"cost": parts, "yearly_cost": year})
    assert wording.monthly(one) == month
    said = f"in the first year: {month} every month (answering)."
    assert assumptions.of_first_year(one).endswith(said)
    assert 12 * float(month[1:]) == pytest.approx(year, abs=0.005)


def test_what_can_be_detected_is_said_of_the_pair_that_it_holds_for() -> None:
    result = sample_result()
    plan = result.plan.model_copy(update={"discordance": 0.04, "stated_discordance": 0.3})
    planned = {"plan": plan, "minimum_detectable_effect": 0.139}
    result = result.model_copy(update=planned)
    said = detectable.effect(result)
    assert said.startswith("As planned from how often the two best on validation disagreed")
    assert "13.9 points" in said
    wide = result.pairs[0].model_copy(update={"low": -0.48, "high": -0.09, "call": "cannot_tell"})
    rivals = {c.name for c in result.candidates if not c.floor}
    pairs = [p for p in result.pairs if {p.a, p.b} <= rivals]
    wide = wide.model_copy(update={"a": pairs[0].a, "b": pairs[0].b})
    result = result.model_copy(update={"pairs": [wide]})
    needed = detectable.needed_of_pairs(result)
    assert needed is not None
    found = re.search(r"difference of about (\d+) points", needed)
    assert found is not None
    assert int(found[1]) > 30, "so that a pair 28 apart is not called"
    assert detectable.needed_of_pairs(result.model_copy(update={"pairs": []})) is None
    assert needed in html.render(result, [], redacted=True)


@pytest.mark.parametrize("phone", [False, True])
def test_names_beside_costs_lie_on_one_another_and_on_the_axis_nowhere(phone: bool) -> None:
    one = sample_result().candidates[0]
    near = [
        one.model_copy(update={"name": f"Candidate {n}", "score": 0.01 * n, "yearly_cost": 1872.0})
        for n in range(8)
    ]
    near[0] = near[0].model_copy(update={"yearly_cost": 0.2})
    drawn = charts.cost_against_quality(near, None, phone=phone)
    names = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*class="name">', drawn)
    dots = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    ticks = [float(y) for y in re.findall(r'y="([\d.]+)"[^>]*class="tick">\$', drawn)]
    places = sorted(float(y) for _, y in names)
    assert len(places) == 8
    assert min(b - a for a, b in pairwise(places)) > 14
    assert places[-1] < min(ticks) - 10
    assert min(float(x) for x, _ in names) > max(dots)
    width = svg.PHONE if phone else svg.WIDTH
    for x, anchor, said in re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="(\w+)" '
                                      r'class="tick">([^<]+)', drawn):  # fmt: skip
        begin = float(x) - {"start": 0, "middle": 0.5, "end": 1}[anchor] * 6 * len(said)
        assert 0 <= begin < begin + 6 * len(said) <= width, said
    assert "below $1 drawn at $1" in drawn


def test_a_notebook_shows_the_report_without_answers() -> None:
    result = sample_result()
    shown = Comparison(result, Path("folder"), Path("report.html"))._repr_html_()
    found = re.fullmatch(r'<iframe srcdoc="([^"]*)" sandbox [^<>]*></iframe>', shown)
    assert found is not None
    page = unescape(found[1])
    assert page == html.render(result, [], redacted=True)
    assert "<svg" in page
    assert sample_rows()[0].input not in page


def test_a_page_says_once_which_times_it_counts() -> None:
    result = sample_result()
    priced = result.model_copy(update={"config": {"costs": {}}})
    verdict = result.verdict.model_copy(update={"outcome": "none", "recommend": None})
    for one in (result, priced, priced.model_copy(update={"verdict": verdict})):
        assert html.render(one, [], redacted=True).count(assumptions.TIMES) == 1


def test_a_page_names_no_command() -> None:
    result = sample_result()
    verdict = result.verdict.model_copy(
        update={"outcome": "cannot_tell", "recommend": None, "more_examples_needed": 500}
    )
    open_one = result.model_copy(update={"verdict": verdict})
    assert "`assay data renew-holdout FILE`" in next_step.say(open_one)
    none = result.verdict.model_copy(update={"outcome": "none", "recommend": None})
    nothing = next_step.say(result.model_copy(update={"verdict": none, "second_look": None}))
    priced = result.model_copy(update={"config": {"costs": {}}})
    assumed = assumptions.of_result(priced)
    for said in (next_step.say(open_one), nothing, assumed):
        assert "`" in said
        assert "`" not in on_page(said)
    assert "“Draw a learning curve” on the page Training" in on_page(nothing)
    look = result.second_look
    assert look is not None
    doubtful = look.model_copy(update={"ids": ["row-1"]})
    assert "`assay" in str(second_look.advice(doubtful))
    assert "`assay" not in on_page(str(second_look.advice(doubtful)))


def test_what_a_score_counts_is_told_by_the_grader_that_gave_it() -> None:
    graders = [{"name": "exact"}, {"name": "field-f1", "settings": {"as": "fields"}}]
    result = sample_result().model_copy(update={"config": {"graders": graders}})
    said = {
        primary: wording.score_meaning(result.model_copy(update={"primary": primary}))
        for primary in ("exact", "fields", "rouge-l", "gone")
    }
    assert said == {
        "exact": wording.RIGHT_ANSWERS,
        "fields": "points of 100 for right fields (fields)",
        "rouge-l": "points of 100 for likeness to the expected answer (rouge-l)",
        "gone": "points of 100 from a grader of another version (gone)",
    }


def test_what_is_typed_is_code_and_no_backquote_is_left() -> None:
    result = sample_result(good_enough=None).model_copy(
        update={"warnings": ["`<b>` was left out: see `route`, and one ` alone."]}
    )
    page = html.render(result, [], redacted=True)
    assert "(<code>good_enough</code> in assay.yaml)" in page
    assert (
        '<p class="warn"><code>&lt;b&gt;</code> was left out: see <code>route</code>, and one ` '
        "alone.</p>"
    ) in page
    assert page.count("`") - html._resource("report.js").count("`") == 1


def test_who_has_not_said_what_is_enough_is_asked_before_anything_is_put_to_work() -> None:
    result = sample_result(good_enough=None)
    used = next(c for c in result.candidates if c.name == result.verdict.recommend)
    assert used.score is not None
    said = next_step.say(result)
    assert "you have not said what is good enough (`good_enough`" in said
    assert "is good enough (“Minimum score” on the page Settings)" in on_page(said)
    assert f"about {100 - 100 * used.score:.0f} in 100 answers are wrong" in said
    other = next_step.say(result.model_copy(update={"primary": "rouge-l"}))
    assert "you have not said" in other
    low = used.score - 0.07
    below = result.verdict.model_copy(update={"enough": False, "enough_low": low})
    asked = result.model_copy(update={"verdict": below, "good_enough": used.score - 0.02})
    wanted = two_digits(math.ceil(result.data.holdout * ((used.score - low) / 0.02) ** 2))
    assert f"about {wanted:,} new examples" in next_step.say(asked)
    undecided = {"outcome": "cannot_tell", "recommend": None, "use_meanwhile": used.name}
    open_one = asked.model_copy(update={"verdict": below.model_copy(update=undecided)})
    said = next_step.say(open_one)
    assert f"about {wanted:,} new examples would show it: bring them" in said
    assert "Only if you must" in said
    shown = {"verdict": open_one.verdict.model_copy(update={"enough": True})}
    assert "; that it reaches this is shown. Only" in next_step.say(
        open_one.model_copy(update=shown)
    )
    sure = asked.model_copy(update={"good_enough": low + 0.001})
    few = sure.model_copy(update={"data": sure.data.model_copy(update={"holdout": 12})})
    said = next_step.say(few)
    assert "about 30 new examples would show it: bring them with `assay data renew-holdout" in said
    judged = asked.model_copy(
        update={"plan": asked.plan.model_copy(update={"judge_error": 0.03})}  # more than the lead
    )
    assert "and the judge may be off by 3.0." in next_step.say(judged)
    assert "More or cleaner training examples, or a stronger model, may" in next_step.say(asked)
    quoting = used.model_copy(update={"needs": FAMILIES["documents"]})
    others = [quoting if one is used else one for one in asked.candidates]
    assert "Documents that hold more of the answers, or a stronger" in next_step.say(
        asked.model_copy(update={"candidates": others})
    )
    assert "wrong" not in other
    assert "you have not said" not in next_step.say(sample_result())


def test_nobody_is_told_to_serve_a_file_of_answers() -> None:
    result = sample_result()
    best = result.verdict.recommend
    assert next_step.say(result).startswith(f"Put {best} to work")
    brought = [
        c.model_copy(update={"kind": "outside"}) if c.name == best else c for c in result.candidates
    ]
    said = next_step.say(result.model_copy(update={"candidates": brought}))
    assert "Serve" not in said
    assert "brought in a file" in said


def test_the_assumption_that_decided_is_in_page_and_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    turn = Turn(assumption="monthly_requests", assumed=10_000, at=45_678.0, instead="fine-tune")
    found = Sensitivity(cheapest="prompt", turns=[turn])
    result = sample_result().model_copy(update={"sensitivity": found})
    said = "At 10,000 requests a month prompt is the cheapest of those that are as good; from"
    print_result(result, Console(width=200))
    assert said in " ".join(capsys.readouterr().out.split())
    page = html.render(result, [], redacted=True)
    said = said.replace("prompt", "“System prompt alone”")
    assert f"{said} 46,000 on “Fine-tuned model” would be." in page
    assert "<td>Fine-tuned model</td>" in page


def test_a_cost_says_what_it_is_made_of_and_what_was_assumed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    costs = Costs(retrainings_per_year=1, prompt_hours=1, machine_hours_per_month=0)
    config = CONFIG.model_copy(update={"costs": costs})
    result = sample_result()
    drivers = CostDrivers(True, True, True, 3600.0, 0.5)
    reckoned = price(drivers, costs, result.monthly_requests)
    cost = Cost(
        curation_usd=reckoned.curation,
        training_usd=reckoned.training,
        requests_usd=reckoned.requests,
        idle_usd=reckoned.idle,
        upkeep_usd=reckoned.upkeep,
    )
    named = result.verdict.named
    shown = [
        c.model_copy(update={"cost": cost, "yearly_cost": reckoned.yearly})
        if c.name == named
        else c
        for c in result.candidates
    ]
    update = {"candidates": shown, "config": config.model_dump(mode="json")}
    result = result.model_copy(update=update)
    made = assumptions.of_first_year(next(c for c in shown if c.name == named))
    assert made.startswith(f"{named} costs {wording.usd(reckoned.yearly)} in the first year: $")
    once, monthly = re.findall(r"\$([\d.]+\d) (?:once|every month) \(", made)
    assert reckoned.yearly == pytest.approx(float(once) + 12 * float(monthly), abs=1)  # rounded
    assumed = (
        "a machine at $0.20 an hour, paid only while it answers; and people's work at $60.00 an "
        "hour: 1 hour to write a prompt, 8 hours to collect and check training examples, and 1 "
        "retraining a year of 2 hours each."
    )
    print_result(result, Console(width=200))
    assert assumed in " ".join(capsys.readouterr().out.split())
    page = unescape(html.render(result, [], redacted=True))
    assert assumed in page
    assert made.partition(": ")[2].rstrip(".") in page
    assert "while it is on" not in page
    kept_on = {"costs": {**result.config["costs"], "machine_hours_per_month": 730}}
    page = html.render(result.model_copy(update={"config": kept_on}), [], redacted=True)
    assert "while it is on" in page


def test_the_one_that_is_named_has_one_range_corrected_for_the_choice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = sample_result()
    named = next(c for c in result.candidates if c.name == result.verdict.recommend)
    low, high = result.verdict.score_low, result.verdict.score_high
    assert low is not None
    assert high is not None
    assert low < (named.low or 0.0)
    corrected, alone = f"{100 * low:.1f} – {100 * high:.1f}", wording.interval(named)
    page = html.render(result, [], redacted=True)
    assert f"likely {corrected}" in page
    assert page.count(corrected) == 3, "at the top, among the candidates, by its grader"
    assert alone not in page
    assert "reaches lower than its score alone would give" in page
    print_result(result, Console(width=200))
    out = " ".join(capsys.readouterr().out.split())
    assert corrected in out
    assert alone not in out
    assert "reaches lower than its score alone would give" in out
    old = result.verdict.model_copy(update={"score_low": None})
    result = result.model_copy(update={"verdict": old})
    page = html.render(result, [], redacted=True)
    assert alone in page
    assert "reaches lower" not in page


def test_a_narrow_terminal_cuts_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    result = sample_result()
    long = result.candidates[0].model_copy(update={"name": "baseline-majority", "score": 1.0})
    result = result.model_copy(update={"candidates": [long, *result.candidates[1:]]})
    for width, bars in ((70, False), (120, True)):
        print_result(result, Console(width=width))
        table = capsys.readouterr().out.split("candidate  ")[1].split("difference")[0]
        assert "100.0" in table
        assert "…" not in table
        assert ("●" in table) == bars


def test_size_and_speed_stand_beside_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    result = sample_result()
    assert "weights" not in _columns(html.render(result, [], redacted=True))
    sized = [
        c.model_copy(update={"model_bytes": 144_600_000, "tokens_per_s": 98.4})
        if c.name == "fine-tune"
        else c
        for c in result.candidates
    ]
    result = result.model_copy(update={"candidates": sized})
    page = html.render(result, [], redacted=True)
    assert _columns(page)[-2:] == ["weights", "tokens/s"]
    assert '<td class="number">145 MB</td>' in page
    for width, tables in ((80, 2), (90, 1), (120, 1)):
        print_result(result, Console(width=width))
        shown = capsys.readouterr().out.split("difference")[0]
        assert shown.count("candidate  ") == tables
        [line] = [one for one in shown.splitlines() if "145 MB" in one]
        assert line.startswith("fine-tune")
        assert line.endswith(" 98")
    assert "Weights: what they take in memory" in page


def _columns(page: str) -> list[str]:
    heads = re.findall(r"<thead>.*?</thead>", page, re.DOTALL)
    [head] = [one for one in heads if "set-up" in one]
    return re.findall(r"<th[^>]*>(.*?)</th>", head)


def test_few_timed_answers_are_no_share_of_a_hundred() -> None:
    one = sample_result().candidates[0].model_copy(update={"latency_p95_s": 0.6})

    def said(timed: int | None) -> str:
        return wording.slow_answers(one.model_copy(update={"latency_requests": timed}))

    assert said(6) == "(the slowest of 6 that were timed: 600 ms)"
    assert said(20) == "(19 of 20 within 600 ms)"
    assert said(None) == ""
    assert "(the slowest of 6 that were timed: 600 ms)" in html.render(
        sample_result(), [], redacted=True
    )


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, "unknown"), (0.0, "$0"), (0.00123, "$0.0012"), (12.5, "$12.50"), (1234.5, "$1,234")],
)
def test_unknown_money_is_never_nothing(amount: float | None, text: str) -> None:
    assert wording.usd(amount) == text


def test_the_pairs_of_the_one_that_is_named_come_first_and_it_first_in_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = sample_result()
    named = result.verdict.recommend
    own, rest = differences.divided_pairs(result)
    assert {pair.a for pair in own} == {named}
    assert len(own) == len(result.candidates) - 1
    assert [pair.b for pair in own] == [c.name for c in wording.rank(result) if c.name != named]
    assert not any(named in (pair.a, pair.b) for pair in rest)
    assert len(own) + len(rest) == len(result.pairs)
    scores = {c.name: c.score or 0.0 for c in result.candidates}
    for pair in own:
        assert pair.low <= pair.difference <= pair.high
        assert pair.difference == pytest.approx(scores[pair.a] - scores[pair.b], abs=1e-9)
        assert pair.turned().turned() == pair
        assert pair.call != "worse", "it is the one that is recommended"
    assert {p.call for p in own} & {"better"}
    page = html.render(result, [], redacted=True)
    assert page.count("The model&#39;s weights are trained on your examples.") == 2, (
        "said what it is"
    )
    before, after = page.split("Differences between the others")
    assert "Fine-tuned model − System prompt alone" in before
    assert "Fine-tuned model −" not in after
    assert "− System prompt alone" in after
    print_result(result, Console(width=200))
    out = capsys.readouterr().out
    assert f"{len(rest)} more, between the others, are in the report." in out


@pytest.mark.slow
def test_the_page_works_in_a_browser(tmp_path: Path) -> None:
    from tests.studio.browsing import chromium

    write(tmp_path)
    page_file = write_report(tmp_path)
    messages: list[str] = []
    requests: list[str] = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_file.as_uri())
        drawn = "els => els.map(e => e.getBBox().x - e.ownerSVGElement.viewBox.baseVal.x)"
        assert min(page.eval_on_selector_all("svg text", drawn)) >= 0, "no name is cut"
        before = page.locator(".row:visible").count()
        page.select_option("#kind", "wins")
        page.select_option("#a", "System prompt alone")
        page.select_option("#b", "Fine-tuned model")
        rows = sample_rows()
        expected = sum(row.scores["prompt"] > row.scores["fine-tune"] for row in rows)
        assert page.locator(".row:visible").count() == expected < before
        page.fill("#text", "no such text")
        assert page.locator(".row:visible").count() == 0
    assert messages == []
    assert requests == [page_file.as_uri()]


def test_a_difference_that_rounds_to_nothing_has_no_minus() -> None:
    assert [signed(lead) for lead in (-0.0004, 0.012, -0.012)] == ["+0.0", "+1.2", "-1.2"]
