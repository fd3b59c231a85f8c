"""Trainings of the project as jobs: one version, a search for settings, a learning curve.

    expected = seconds(workspace, TrainingOptions(effort="quick"))
    job = start(workspace, TrainingOptions(effort="quick", name="desk"))

A worker of the folder does what `assay train` and `assay curve` do; what stops those and lets them
go on does so here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from assay.agent.versions import save_agent
from assay.candidates.building import Context
from assay.candidates.registry import check_learns
from assay.config import Config
from assay.errors import Step, UsageError
from assay.jobs.events import read_events
from assay.jobs.queue import Job
from assay.jobs.step_metrics import FULL_LOSS, TRAIN_LOSS, StepMetrics
from assay.jobs.worker import Work
from assay.models.show import describe
from assay.progress import SILENT, Progress
from assay.project.agents import check_new_name
from assay.project.answer.names import base_models
from assay.project.estimate import building_seconds
from assay.project.jobs.queueing import enqueue_once, refuse_second
from assay.project.project import Project
from assay.project.workspace import Workspace, project_of
from assay.train.trials import TRIALS, check_installed

if TYPE_CHECKING:
    from assay.train.checkpoints import Point

TRAIN, SWEEP, CURVE = "train", "sweep", "curve"
KINDS = (TRAIN, SWEEP, CURVE)
MOST_TRIALS = 200
Effort = Literal["settings", "quick", "thorough"]
EFFORTS: Mapping[Effort, Mapping[str, Any]] = {
    "settings": {},
    "quick": {"epochs": 1},
    "thorough": {"epochs": 12, "patience": 3, "rank": 32},
}
"""What each changes of `fine_tune` in assay.yaml."""


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """One version.

    Attributes:
        model: to be trained; None: the project's.
        name: of the agent that is made of it; None: none is made.
    """

    model: str | None = None
    effort: Effort = "settings"
    name: str | None = None


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """A search; `trials` counts those of earlier searches."""

    trials: int = TRIALS


@dataclass(frozen=True, slots=True)
class CurveOptions:
    """A learning curve of a candidate."""

    candidate: str = "fine-tune"


JobOptions = TrainingOptions | SweepOptions | CurveOptions
_KIND: Mapping[type[JobOptions], tuple[str, str]] = {
    TrainingOptions: (TRAIN, "a training"),
    SweepOptions: (SWEEP, "a search"),
    CurveOptions: (CURVE, "a learning curve"),
}


def seconds(workspace: Workspace, options: JobOptions, progress: Progress = SILENT) -> float:
    """About how long it will take, a search at most.

    Raises:
        UsageError: the folder is no project, or there is nothing of that name.
        AssayError: the examples cannot be divided, or are too few.
    """
    project = _checked(workspace, options)
    if isinstance(options, CurveOptions):
        return project.curve_seconds(options.candidate, progress)
    sizes, config = project.sizes(progress), project.config
    if isinstance(options, TrainingOptions):
        config = _changed(config, options)
        if options.model is not None:
            sizes = replace(sizes, parameters=describe(options.model, progress).parameters)
        return building_seconds("fine-tune", config, sizes)
    return options.trials * building_seconds("fine-tune", config, sizes)


def start(workspace: Workspace, options: JobOptions) -> Job:
    """Queue it.

    Raises:
        UsageError, AssayError: as `seconds`.
        StateError: one of its kind waits or runs already.
    """
    kind, what = _KIND[type(options)]
    refuse_second(workspace, kind, what)
    _checked(workspace, options).split()
    return enqueue_once(workspace, kind, what, asdict(options), action=f"job.{kind}")


def _checked(workspace: Workspace, options: JobOptions) -> Project:
    """The project, if what is wished for can be done with it."""
    project = project_of(workspace)
    if isinstance(options, SweepOptions):
        check_installed()
        if not 1 <= options.trials <= MOST_TRIALS:
            raise UsageError(
                f"{options.trials} is not a valid number of settings to try.", fix="Try 1 to 200."
            )
    elif isinstance(options, CurveOptions):
        check_learns(options.candidate, project.config)
    else:
        if options.effort not in EFFORTS:
            raise UsageError(f"there is no effort {options.effort!r}.")
        if options.model is not None and options.model not in base_models(
            workspace, workspace.name
        ):
            raise UsageError(
                f"{options.model} is not a model on this machine.",
                fix=f"Pull it {Step.PULL_MODEL}, or choose another.",
            )
        if options.name is not None:
            check_new_name(options.name)
    return project


def _changed(config: Config, options: TrainingOptions) -> Config:
    tuned = config.fine_tune.model_copy(update=dict(EFFORTS[options.effort]))
    return config.model_copy(update={"fine_tune": tuned, "model": options.model or config.model})


def _train(workspace: Workspace, work: Work) -> dict[str, Any]:
    from assay.project import train  # with torch, which an idle worker need not load

    project, options = project_of(workspace), TrainingOptions(**work.payload)
    context = project.context(work)
    bench = replace(context.bench, config=_changed(project.config, options))
    context = replace(context, bench=bench)
    if context.method.reinforces:
        told = StepMetrics(work.store, work.job, of_rewards=True)
        body = train.train(context, on_step=told.record).to_dict()
    else:
        body = train.train(context, _observing(work)).to_dict()
    del body["folder"], body["points"]
    body["model"] = f"version:{body['version']}"
    body["agent"] = (
        None if options.name is None else _agent(context, options.name, body["model"], work)
    )
    return body


def _agent(context: Context, name: str, model: str, work: Work) -> str:
    """Save the agent that answers with a version as it was trained; returns `NAME@VERSION`."""
    agent = context.chat_agent(model=model, system_prompt=context.training_prompt)
    return save_agent(work.store, name, agent, message="trained").label


def _observing(work: Work) -> Callable[[Point, Mapping[str, float]], None]:
    """Keeps the curve as events of the job; those of earlier workers are not told again."""
    events = read_events(work.store, work.job.id)
    known = {
        (event.data["step"], name)
        for event in events
        if event.kind == "metrics" and event.data
        for name in (TRAIN_LOSS, FULL_LOSS)
        if name in event.data
    }

    def observe(point: Point, rates: Mapping[str, float]) -> None:
        losses = {TRAIN_LOSS: point.train_loss, FULL_LOSS: point.validation_loss}
        new = {
            name: loss
            for name, loss in losses.items()
            if loss is not None and (point.step, name) not in known
        }
        if new:
            known.update((point.step, name) for name in new)
            work.metrics(f"Step {point.step}", {"step": point.step, **new})

    return observe


def _sweep(workspace: Workspace, work: Work) -> dict[str, Any]:
    return project_of(workspace).sweep(trials=work.payload["trials"], progress=work).to_dict()


def _curve(workspace: Workspace, work: Work) -> dict[str, Any]:
    return project_of(workspace).curve(work.payload["candidate"], progress=work).to_dict()


WORKS = {TRAIN: _train, SWEEP: _sweep, CURVE: _curve}
"""How these jobs are done."""
