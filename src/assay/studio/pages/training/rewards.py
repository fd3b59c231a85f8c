"""A training that learns from a grader: its rewards, whether to believe them, and some answers."""

from __future__ import annotations

from nicegui import ui

from assay.chat.plain_calls import read_answer
from assay.project.jobs.curves import Figures, reward_charts
from assay.studio import widgets as w
from assay.studio.session import PageContext
from assay.studio.shared.turns import show_turn

REWARD = (
    "What the grader says answers are worth, on average: higher is better. Training: answers drawn "
    "at random to the prompts of one step, so it jumps. Validation: the most likely answers to "
    "prompts that are never learned from. Other graders look at the same answers and are not "
    "learned from: if the reward rises and they do not, the model has found out what pays."
)
LENGTH = "Answers that grow longer without a better reward are a sign of a reward that pays for it."
KL = "How far the model has moved from where it started, in nats per token."


def show_reward_numbers(figures: Figures) -> None:
    """The newest rewards, beside the best on validation."""
    points = figures.rewards
    newest = points[-1]["step"]
    w.figure(f"{newest:,}" + (f" of {figures.total:,}" if figures.total else ""), "steps")
    drawn = [p["reward"] for p in points if p["reward"] is not None]
    if drawn:
        w.figure(f"{drawn[-1]:.3f}", "reward in the last step")
    checked = [p for p in points if p["valid_reward"] is not None]
    if not checked:
        return
    w.figure(f"{max(p['valid_reward'] for p in checked):.3f}", "best reward on validation", REWARD)
    for name, score in checked[-1]["others"].items():
        w.figure(f"{score:.3f}", f"{name} on validation")
    if checked[-1]["repeated"] is not None:
        w.figure(
            f"{checked[-1]['repeated']:.0%}",
            "repeated text",
            "Share of the runs of four tokens that the same answer had before.",
        )


def show_reward_charts(figures: Figures) -> None:
    """Rewards by step, the length of answers, and how far the model has moved."""
    rewards, lengths, divergence = reward_charts(figures)
    for name, meaning, chart in (
        ("Reward", REWARD, rewards),
        ("Tokens of an answer", LENGTH, lengths),
        ("Distance from the start (KL)", KL, divergence),
    ):
        if chart:
            w.term(name, meaning)
            w.picture(chart)


def show_answers(context: PageContext, figures: Figures) -> None:
    """Answers of the newest step that was measured, with what each is worth."""
    config = context.workspace.config
    task = "" if config is None else config.task
    step, answers = figures.rollouts
    if answers:
        with (
            w.details(f"Answers of step {step:,}"),
            w.table("Row", w.Number("Reward"), "Answer", label="Answers and their rewards"),
        ):
            for one in answers:
                given = w.cells(one["row"], w.Number(f"{one['reward']:.3f}"))
                with given, ui.element("td"):
                    show_turn(read_answer(one["answer"], task))
