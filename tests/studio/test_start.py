"""What was typed on Start outlives every other proposal, and no document is left behind."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from assay.config import load_config
from assay.errors import DataError
from assay.project.estimate import Estimate, Pace, Stage
from assay.project.start.running_creation import begin_creation
from assay.project.workspace import Workspace
from assay.studio.pages.start.page import say_slowest
from tests.many_rows import project
from tests.small import write_model
from tests.studio.browsing import studio, tab
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow
PROVIDER = """remote: remote:far/big
providers: {far: {base_url: "https://far.example/v1", prices: {big: {input: 100, output: 100}}}}
"""
PROMPT = "You answer customers of a shop for perches."


def test_what_was_typed_stays_and_documents_are_waited_for(browser: Browser, folder: Path) -> None:
    home = folder.parent
    rows = [f"What does size {i} cost?,{i + 100} EUR,prices.md" for i in range(60)]
    rows += [f"Who made size {i}?,Not known.," for i in range(6)]
    data = home / "asked.csv"
    data.write_text("\n".join(["question,answer,source", *rows, rows[0], "Who knows?,,"]) + "\n")
    prices = home / "prices.md"
    prices.write_text("\n\n".join(f"A perch of size {i} costs {i + 100} EUR." for i in range(60)))
    (broken := home / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing more")
    model = write_model(home / "model")
    with studio(folder, "--model", str(model)) as running:
        here = tab(browser.new_context(), running.url)
        page = here.page
        page.goto(running.link)
        page.set_input_files("input[type=file]", data)
        problems = page.get_by_role("heading", name="What to look at")
        form = page.get_by_role("heading", name="Proposed project")
        expect(form).to_be_visible()
        columns = page.get_by_text("Columns. Input: question; Output: answer; Not used: source.")
        expect(columns).to_be_visible()
        above, below = problems.bounding_box(), form.bounding_box()
        assert above is not None
        assert below is not None
        assert above["y"] < below["y"]  # what is done first stands first
        minimum = page.get_by_role("textbox", name="Minimum score")
        often = page.get_by_role("textbox", name="Requests per month")
        fixed = page.get_by_role("checkbox", name="Fixed examples", exact=True)
        prompt = page.get_by_label("System prompt", exact=True)  # also while it is folded in
        minimum.fill("70")
        often.fill("3000")
        fixed.click()
        page.get_by_text("System prompt", exact=True).click()
        prompt.fill(PROMPT)

        def all_stay() -> None:
            expect(minimum).to_have_value("70")
            expect(often).to_have_value("3000")
            expect(fixed).not_to_be_checked()
            expect(prompt).to_have_value(PROMPT)

        minimum.fill("800")
        page.get_by_role("button", name="Create project").click()
        expect(page.get_by_text("800 is too much: at most 100 %.")).to_be_in_viewport()
        minimum.fill("70")
        often.fill("3.000")
        page.get_by_role("button", name="Remove 1 repeated row").click()
        expect(page.get_by_text("1 repeated row removed from this copy")).to_be_visible()
        # What cannot be right stays as it was typed, and so does what is said of it.
        expect(often).to_have_value("3.000")
        expect(
            page.get_by_text("Write a whole number without a space, point or comma, as 1000.")
        ).to_be_visible()
        often.fill("3000")
        expect(page.get_by_role("button", name="Remove 1 repeated row")).to_have_count(0)
        found = page.get_by_role("region", name="Problems in the file")
        expect(found).to_contain_text("line 69")  # as in the user's own file, which is as it was
        all_stay()
        page.get_by_role("button", name="Choose other columns").click()
        page.get_by_role("button", name="Continue").click()
        expect(form).to_be_visible()
        all_stay()
        page.reload()
        expect(form).to_be_visible()
        all_stay()
        create = page.get_by_role("button", name="Create project")
        brought = page.locator("input[type=file]")
        brought.set_input_files([prices, broken])
        expect(page.get_by_text("The project can be created when they are read.")).to_be_visible()
        expect(create).to_be_disabled()
        expect(page.get_by_text("1 of 2 files could not be read, or only in part.")).to_be_visible()
        damaged = "broken.pdf: it is damaged, encrypted, or not a PDF file."
        expect(page.get_by_text(damaged)).to_be_visible()
        expect(create).to_be_enabled()
        brought.set_input_files(prices)
        expect(page.get_by_text("prices.md: is already here, unchanged")).to_be_visible()
        # What is listed of an earlier upload is counted until it is dismissed.
        expect(page.get_by_text("1 file processed. 1 earlier file could not be")).to_be_visible()
        page.get_by_role("button", name="Dismiss broken.pdf").click()
        expect(page.get_by_text("broken.pdf")).to_have_count(0)
        expect(page.get_by_text("All files processed.")).to_be_visible()
        expect(page.get_by_text("could not be read")).to_have_count(0)
        all_stay()
        expect(page.get_by_text("the grader “contains” decides")).to_be_visible()
        expect(page.get_by_text("How an answer is judged, by the grader contains")).to_be_visible()
        unanswered = page.get_by_role("textbox", name="Answer where no document has one")
        here.axe()
        # The column that names documents was left empty in the choice of columns, so nothing is
        # proposed; chosen, it is.
        expect(unanswered).to_have_value("")
        unanswered.fill("That I cannot say")
        expect(page.get_by_text("No example has this answer")).to_be_visible()
        unanswered.fill("")
        expect(page.get_by_text("No example has this answer")).to_be_hidden()
        page.get_by_role("button", name="Choose other columns").click()
        page.get_by_role("combobox", name="Document column").click()
        page.get_by_role("option", name="source").click()
        page.get_by_role("button", name="Continue").click()
        expect(unanswered).to_have_value("Not known.")
        expect(page.get_by_text("Output: answer; Document: source.")).to_be_visible()
        all_stay()
        page.get_by_role("button", name="Use another file").click()
        expect(page.get_by_role("dialog")).to_contain_text("Uploaded documents stay")
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        second = tab(page.context, running.url)
        with (
            suppress(DataError),
            begin_creation(Workspace(folder)) as progress,
            progress.task("Downloading the model", 4, "MB") as task,
        ):
            task.advance()
            progress.say("Unpacking the model.")
            create.click()
            expect(page.get_by_text("A project is being created of what was")).to_be_visible()
            second.open("/start")
            expect(second.page.get_by_text("Unpacking the model …")).to_be_visible()
            expect(second.page.get_by_role("button", name="Create project")).to_have_count(0)
            second.axe()
            raise DataError("the disk is full.")
        expect(second.page.get_by_text("failed: the disk is full.")).to_be_visible()
        all_stay()
        create.click()
        expect(page.get_by_role("button", name="Start the comparison")).to_be_visible()
        second.check()
        here.check()
    config = load_config(folder / "assay.yaml")
    assert config.knowledge is not None
    assert config.knowledge.abstain == "Not known."
    assert config.data.columns is not None
    assert config.data.columns.document == "source"
    assert (config.primary, config.system_prompt) == ("contains", PROMPT)
    assert (config.good_enough, config.monthly_requests) == (0.7, 3000)
    assert "rag" in config.candidates
    assert "few-shot" not in config.candidates


def test_names_and_a_prompt_that_were_typed_outlive_a_repair(
    browser: Browser, folder: Path
) -> None:
    rows = [f"Ticket {i} about item {i * i},{'billing' if i % 2 else 'repairs'}" for i in range(40)]
    data = folder.parent / "tickets.csv"
    more = [rows[0], "Wheel bent,reparis", "Chain lost,reparis"]
    data.write_text("\n".join(["message,desk", *rows, *more]) + "\n")
    with studio(folder) as running:
        page = tab(browser.new_context(), running.url).page
        page.goto(running.link)
        page.set_input_files("input[type=file]", data)
        page.get_by_text("Labels (3)").click()
        renamed = page.get_by_role("textbox", name="New name of reparis")
        renamed.fill("repairs")
        page.get_by_text("Labels (3)").click()  # folded, with the name in it
        expect(renamed).to_be_hidden()
        page.get_by_role("button", name="Create project").click()
        expect(page.get_by_text("This name is not in the file yet.")).to_be_visible()
        expect(renamed).to_be_focused()
        page.get_by_text("System prompt", exact=True).click()
        prompt = page.get_by_label("System prompt", exact=True)
        prompt.press("Control+End")
        prompt.press_sequentially("\nBe kind.")
        page.get_by_role("button", name="Remove 1 repeated row").click()
        expect(page.get_by_role("button", name="Remove 1 repeated row")).to_have_count(0)
        expect(renamed).to_have_value("repairs")
        page.reload()
        expect(renamed).to_have_value("repairs")
        page.get_by_role("button", name="Rename", exact=True).click()
        stale = page.get_by_text("labels that are not in the file any more: “reparis”.")
        expect(stale).to_be_visible()
        page.get_by_role("button", name="Choose other columns").click()
        page.get_by_role("button", name="Continue").click()
        expect(stale).to_be_visible()  # until it is touched
        page.get_by_text("System prompt", exact=True).click()
        prompt.fill("Name the desk: billing or repairs.")
        expect(stale).to_be_hidden()
        prompt.fill("Be short. " * 4000)
        expect(page.get_by_text("the model reads at most 8,192")).to_be_visible()


def test_what_providers_will_cost_is_said_before_the_comparison(
    browser: Browser, tmp_path: Path
) -> None:
    project(tmp_path, 90)
    config = tmp_path / "assay.yaml"
    text = config.read_text().replace("candidates: [prompt]", "candidates: [prompt, remote]")
    config.write_text(text + PROVIDER)
    with studio(tmp_path, "--idle") as running, signed_in(browser, running, "editor") as visitor:
        page = visitor.open("/start")
        expect(page.get_by_text("for models at providers")).to_be_visible()
        expect(page.get_by_text("a lead is noticed")).to_be_visible()
        expect(page.get_by_text(re.compile(r"^at most \$[1-9]"))).to_be_visible()
        visitor.axe()


def test_too_few_examples_for_a_verdict_are_told_before_the_comparison(
    browser: Browser, tmp_path: Path
) -> None:
    project(tmp_path, 24)
    with studio(tmp_path, "--idle") as running, signed_in(browser, running, "editor") as visitor:
        page = visitor.open("/start")
        expect(page.get_by_text("This cannot end in a verdict")).to_be_visible()
        expect(page.get_by_text("a lead is noticed")).to_have_count(0)


def test_a_long_estimate_says_which_candidates_take_the_time() -> None:
    times = {"starting": 9.0, "fine-tune": 2400.0, "few-shot": 1200.0, "extract": 60.0}
    stages = tuple(Stage("build", name, "other", time) for name, time in times.items())
    found = Estimate(stages, Pace(), 0.0, None, None, 48, 0.2)
    said = "Most of the time is for: Fine-tuned model about 40 min, Fixed examples about 20 min."
    assert say_slowest(found) == said
    assert say_slowest(replace(found, stages=stages[:1])) == ""
