"""`assay jobs`: list, show, cancel, pause, resume, logs; and `assay worker`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.cli.options import AsJson, Served, open_served, with_json
from assay.cli.output import as_json, print_job, print_jobs
from assay.cli.place import WorkersOption, place_of
from assay.cli.progress import Terminal
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.jobs.queue import Job

app = typer.Typer(help="Manage jobs: long-running work such as training.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Id of a job, as `assay jobs list` shows it.")]
_EVERY_S = 0.5


@app.command("list")
@with_json(print_jobs)
def list_(folder: Served = Path(".")) -> Any:
    """List all jobs, newest first."""
    from assay.jobs import queue
    from assay.project.jobs import as_dict

    return [as_dict(job) for job in queue.jobs(open_served(folder).store)]


@app.command()
@with_json(print_job)
def show(id: Id, folder: Served = Path(".")) -> Any:
    """Show the state of a job."""
    from assay.jobs import queue
    from assay.project.jobs import as_dict

    return as_dict(queue.read(open_served(folder).store, id))


@app.command()
def cancel(id: Id, folder: Served = Path(".")) -> None:
    """Cancel a job; a running one ends after its current step."""
    from assay.project import jobs

    _say(jobs.ask(open_served(folder), id, "cancel"))


@app.command()
def pause(id: Id, folder: Served = Path(".")) -> None:
    """Pause a job after its current step; `resume` continues it from there."""
    from assay.project import jobs

    _say(jobs.ask(open_served(folder), id, "pause"))


@app.command()
def resume(id: Id, folder: Served = Path(".")) -> None:
    """Queue a paused job again."""
    from assay.project import jobs

    _say(jobs.ask(open_served(folder), id, "resume"))


@app.command()
def logs(
    id: Id,
    folder: Served = Path("."),
    follow: Annotated[
        bool, typer.Option("--follow", help="Print new events until the job ends or is paused.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Print the events of a job, oldest first."""
    from assay.jobs import queue
    from assay.jobs.events import read_events
    from assay.project.jobs import event_as_dict

    if json and follow:
        raise UsageError(
            "--json and --follow cannot be used together.",
            fix="Use --json for one document, or --follow for events as they happen.",
        )
    store, last = open_served(folder).store, 0
    while True:
        job = queue.read(store, id)  # before its events: what it did last is among them
        events = read_events(store, id, after=last)
        if json:
            as_json([event_as_dict(event) for event in events])
            return
        for event in events:
            print(f"{event.at:%Y-%m-%d %H:%M:%S}  {event.message}", flush=True)
            last = event.key
        if not follow or job.status in queue.OVER or job.status == "paused":
            return
        time.sleep(_EVERY_S)


def worker(
    folder: Served = Path("."),
    kind: Annotated[
        list[str] | None, typer.Option(help="Take only jobs of this kind. Repeatable.")
    ] = None,
    except_: Annotated[
        list[str] | None,
        typer.Option("--except", help="Take no jobs of this kind. Repeatable."),
    ] = None,
    job: Annotated[
        str | None, typer.Option(help="Take the job with this id, if it waits, and no other.")
    ] = None,
    watched: Annotated[
        bool, typer.Option("--watched", help="Also stop when standard input is closed.")
    ] = False,
    on: Annotated[str, typer.Option("--on", help="Where jobs run: here or ray.")] = "here",
    workers: WorkersOption = None,
    consent: Annotated[
        bool,
        typer.Option(
            "--consent",
            help="On Ray: files of jobs, of all projects, may go to other machines of the cluster.",
        ),
    ] = False,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="On Ray: each job asks for a GPU, to train on it.")
    ] = False,
) -> None:
    """Run jobs from the queue, one at a time, until stopped. `assay serve` runs its own workers.

    With --on ray, fine-tuning jobs run on the machines of a Ray cluster, several at a time.
    """
    workspace = open_served(folder)
    if on == "here":
        from assay.project.jobs import work

        if workers or consent or gpu:
            raise UsageError("--workers, --consent and --gpu are for Ray.", fix="Add --on ray.")
        work(workspace, kind, except_, job=job, watched=watched)
        return
    from assay.project.jobs.on_cluster import work_on_cluster

    if kind or except_ or job or watched:
        raise UsageError(
            "--kind, --except, --job and --watched are for a worker of this machine.",
            fix="Leave them out: --on ray does fine-tuning jobs, and no others.",
        )
    place = place_of(workspace, on, workers)
    work_on_cluster(workspace, place, Terminal(), consent=consent, gpu=gpu)


def _say(job: Job) -> None:
    wish = f" ({job.wish} requested)" if job.wish else ""
    print(f"{job.id}: {job.status}{wish}.")
