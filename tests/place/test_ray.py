"""Work on Ray, on a cluster of two nodes that is started once for the file."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file
from tests.generate.tiny import byte_tokenizer, tiny_model
from tests.jobs.tiny_tuning import PROJECT, queued, write_cache
from tests.place.killing import RANKS, WORKERS, without_times
from tests.place.nodes import REPOSITORY, Node, two_nodes, wait_until
from tests.place.with_variables import WithVariables
from tests.s3 import S3Server
from tests.serve.running import PATIENCE_S
from tests.small import small_project
from tests.train.test_session import Watcher
from tests.train.tiny import SETTINGS, rows
from typer.testing import CliRunner

from assay import project
from assay.agent.agent import Agent
from assay.agent.engines import BatchEngines
from assay.cli import main as commands
from assay.cli.main import app
from assay.compare import curve as learning_curve
from assay.config import Place
from assay.config.yaml_text import edit
from assay.errors import ConfigError, UsageError
from assay.evaluate.run import run as run_batches
from assay.example import Message
from assay.generate.batch import Request
from assay.generate.remake import Remake
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.jobs import cluster_workers, fine_tuning, queue
from assay.jobs.cluster_workers import JobWork
from assay.jobs.events import read_events
from assay.models.embed import Embedder
from assay.models.load import load
from assay.models.versions import list_versions
from assay.place.around_ray import ray_variables
from assay.place.ray import ranks as ray_ranks
from assay.place.ray import workers as ray_workers
from assay.place.workers import Tell
from assay.progress import SILENT, Progress, Task
from assay.project.jobs.on_cluster import work_on_cluster
from assay.project.knowledge import documents
from assay.project.workspace import Workspace
from assay.train import adapters, session
from assay.train.job import OnStep, StepReport, TrainingJob
from assay.train.sequences import alone
from assay.train.session import TrainResult, train_by_method

pytestmark = pytest.mark.slow
STEPS = 20
RANK, WORKER = "ray::_Rank", "ray::WorkerProcess"
RUN = SETTINGS.model_copy(update={"epochs": 5, "learning_rate": 2e-3, "patience": 9})


def processes() -> dict[int, str]:
    """Children of this process and theirs, by their command, but for moto, which stays for other
    tests of the session."""
    found = {}
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended since
            if child.status() != psutil.STATUS_ZOMBIE and "moto.server" not in str(child.cmdline()):
                found[child.pid] = command_of(child)
    return found


@pytest.fixture(scope="module")
def started() -> Iterator[Node]:
    """Its second node; afterwards nothing of it is left: no process, folder, variable or token."""
    before = {"processes": {*processes()}, "variables": variables(), "home": home()}
    folders = set(Path("/tmp").glob("assay-ray-*"))
    terminate = signal.getsignal(signal.SIGTERM)
    with two_nodes() as node:
        (folder,) = set(Path("/tmp").glob("assay-ray-*")) - folders
        assert signal.getsignal(signal.SIGTERM) == terminate
        yield node
    assert not folder.exists()
    assert not Path("/tmp/ray").exists()
    assert {*processes()} == before["processes"]
    assert variables() == before["variables"]
    assert home() == before["home"]


@pytest.fixture
def node(started: Node) -> Node:
    """The second node, there again where an earlier test has killed it."""
    started.start()
    return started


def variables() -> dict[str, str]:
    """Of the environment, without what pytest and OpenMP's library write into it."""
    others = ("PYTEST_", "KMP_")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)}


def command_of(process: psutil.Process) -> str:
    """What a process is called, which Ray changes."""
    return " ".join(process.cmdline())


def agree(root: Path, *consents: str) -> None:
    """Write into a project's assay.yaml what may leave this machine."""
    with (root / "assay.yaml").open("a") as file:
        file.write(f"\nplace: {{{', '.join(f'{consent}: true' for consent in consents)}}}\n")


def home() -> bool:
    """Whether Ray has a folder in the user's home."""
    return (Path.home() / ".ray").exists()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model on disk, which every rank loads; of weights that do not blow up rounding."""
    folder = tmp_path_factory.mktemp("base")
    tiny_model(initializer_range=0.1).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def run(
    model: Path,
    folder: Path,
    place: Place = RANKS,
    on_step: OnStep | None = None,
    progress: Progress = SILENT,
) -> TrainResult:
    """16 rows, 5 epochs of 4 steps; checkpoints after each epoch alone."""
    job = TrainingJob(
        load(str(model)),
        alone(rows(16)),
        alone(rows(6, seed=1)),
        RUN,
        folder,
        progress,
        compute="float32",
        checkpoint_seconds=1e9,
        on_step=on_step,
        place=place,
    )
    return train_by_method(job)


def at(step: int, act: Callable[[], None]) -> OnStep:
    """Does something once, after a step."""
    steps = [step]

    def on_step(report: StepReport) -> None:
        if [report.step] == steps and not report.validation:
            steps.clear()
            act()

    return on_step


def kill_with(kind: str, node: Node) -> None:
    """SIGKILL to all of a node, on which one of these processes is at work."""
    assert sum(command_of(process).startswith(kind) for process in node.processes()) == 1
    node.kill()


def kill_the(kind: str) -> None:
    """SIGKILL to the only process of this kind."""
    (pid,) = [pid for pid, name in processes().items() if name.startswith(kind)]
    os.kill(pid, signal.SIGKILL)


def test_two_ranks_train_what_one_process_trains_whatever_happens_to_them(
    node: Node, model: Path, tmp_path: Path
) -> None:
    told: dict[str, list[StepReport]] = {"one": [], "two": []}
    one = run(model, tmp_path / "one", Place(), told["one"].append)
    addresses = set()

    def look(report: StepReport) -> None:
        told["two"].append(report)
        if report.step == 3:
            own, away = psutil.Process(), node.processes()
            assert sum(command_of(process).startswith(RANK) for process in away) == 1
            for process in {own, *own.children(recursive=True)} - {*away}:
                listening = [c for c in process.net_connections("inet") if c.status == "LISTEN"]
                addresses.update(c.laddr.ip.removeprefix("::ffff:") for c in listening)

    two = run(model, tmp_path / "two", on_step=look)
    assert addresses == {"127.0.0.1"}
    assert two.steps == one.steps == STEPS
    assert (two.trained_tokens, two.tokens) == (one.trained_tokens, one.tokens)
    for ours, theirs in zip(two.points, one.points, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, abs=1e-6)
        assert ours.validation_loss == pytest.approx(theirs.validation_loss, abs=1e-6)
    assert [r.accuracy for r in told["two"]] == [r.accuracy for r in told["one"]]
    weights = [load_file(found.adapter / adapters.WEIGHTS) for found in (one, two)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-5)

    # The node of a rank is killed in the second epoch, in the third the process alone that has
    # taken its place: the same call goes on, and does no step again. Then Ctrl-C in the fourth, and
    # the newest checkpoint is lost, too: the next call goes on from the one before it.
    stopped, steps, watcher = tmp_path / "stopped", list[int](), Watcher()
    acts = [
        lambda report: None if report.validation else steps.append(report.step),
        at(6, lambda: kill_with(RANK, node)),
        at(9, lambda: kill_the(RANK)),
        at(14, lambda: os.kill(os.getpid(), signal.SIGINT)),
    ]
    with pytest.raises(KeyboardInterrupt):
        run(
            model,
            stopped,
            on_step=lambda report: [act(report) for act in acts] and None,
            progress=watcher,
        )
    assert steps == [*range(1, 15)]
    assert sum("Going on from the last checkpoint" in line for line in watcher.lines) == 2
    assert sorted(path.name for path in (stopped / "checkpoints").iterdir())[-1].endswith("14")
    shutil.rmtree(stopped / "checkpoints" / "step-00000014")
    assert not any(name.startswith(RANK) for name in processes().values())
    again = run(model, stopped)
    assert again.points == two.points
    kept = load_file(again.adapter / adapters.WEIGHTS)
    assert all(torch.equal(kept[name], value) for name, value in weights[1].items())


def test_what_a_cluster_cannot_hold_is_refused(
    node: Node, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_ranks, "PLACED_S", 0.5)
    with pytest.raises(ConfigError, match=r"no room for 5 processes .* has 3 in all"):
        run(model, tmp_path, RANKS.model_copy(update={"ranks": 5}))
    with pytest.raises(ConfigError, match=rf"22 rows .* would go to .* \({node.host}\)"):
        run(model, tmp_path, Place(on="ray", ranks=2))


def test_a_stranger_without_the_clusters_token_is_refused(node: Node) -> None:
    import ray

    ask = (
        "import sys; from ray._raylet import GcsClient;"
        "print(len(GcsClient(address=sys.argv[1]).internal_kv_keys(b'', None)))"
    )
    command = [sys.executable, "-c", ask, ray.get_runtime_context().gcs_address]
    nobody = {name: one for name, one in os.environ.items() if not name.startswith("RAY_AUTH")}
    for given, refused in (
        ({**os.environ}, False),
        ({**nobody, "RAY_AUTH_MODE": "disabled"}, True),
        ({**nobody, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}, True),
    ):
        told = subprocess.run(command, env=given, capture_output=True, text=True, timeout=300)
        assert bool(told.returncode) == refused, told.stderr
        assert ("AuthenticationError" in told.stderr) == refused


def test_nothing_is_reported_to_those_who_make_ray(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was set before. Ray by itself reports nothing of a cluster that `ray.init` has
    started, unless it is a nightly build: so both are looked at, what we set and what runs."""
    from ray._common.usage.usage_lib import usage_stats_enabled

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    assert usage_stats_enabled()
    with ray_variables():
        assert not usage_stats_enabled()
    (reporter,) = [pid for pid, command in processes().items() if "=UsageStatsHead" in command]
    for name, value in psutil.Process(reporter).environ().items():
        monkeypatch.setenv(name, value)
    assert not usage_stats_enabled()


def test_the_command_trains_on_ray(tmp_path: Path) -> None:
    """Without a cluster: it starts one, of which nothing is left."""
    made = small_project(tmp_path, edit={"epochs: 1": "epochs: 1\n  rows_per_step: 64"})
    asked = ["train", "--project", str(made.root), "--json"]
    for wrong, said in (
        (["--ranks", "2"], "--ranks needs Ray"),
        (["--sweep", "--workers", "2"], "--workers needs Ray"),
        (["--workers", "2"], "need --sweep"),
        (["--sweep", "--on", "ray", "--ranks", "2", "--workers", "2"], "cannot be used together"),
        (["--on", "mars"], "here or ray"),
    ):
        refused = CliRunner().invoke(app, [*asked, *wrong])
        assert isinstance(refused.exception, UsageError)
        assert said in str(refused.exception)
    folders = set(Path("/tmp").glob("assay-ray-*"))
    outside = {name: one for name, one in os.environ.items() if not name.startswith("RAY_")}
    start = "from assay.cli.main import run; run()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", start, *asked, "--on", "ray"],
            env={**outside, "TMPDIR": str(tmp_path)},  # by which its processes are known
            capture_output=True,
            text=True,
            timeout=300,
        )
        _, alive = psutil.wait_procs(with_temporary_files_in(tmp_path), PATIENCE_S)
        left = [one for one in alive if not is_zombie(one)]  # where process 1 takes in none
    finally:
        for process in with_temporary_files_in(tmp_path):
            process.kill()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 2
    assert "Starting Ray on this machine for 2 processes." in done.stderr
    assert left == []
    assert set(Path("/tmp").glob("assay-ray-*")) <= folders


def is_zombie(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def with_temporary_files_in(folder: Path) -> list[psutil.Process]:
    """Processes whose TMPDIR it is."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended since, or is somebody else's
            if process.environ().get("TMPDIR") == str(folder):
                found.append(process)
    return found


def test_a_search_by_two_workers_is_that_of_one_process(
    node: Node, one_thread: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though one of them dies."""
    epochs = {"epochs: 1": "epochs: 2"}
    one = small_project(tmp_path / "one", rows=80, edit=epochs).sweep(trials=5)

    made = small_project(tmp_path / "two", rows=80, edit=epochs)
    made.config = made.config.model_copy(update={"place": WORKERS})
    watcher = Counting("at once", once(16, kill_a_worker))
    capsys.readouterr()
    two = made.sweep(trials=5, write=True, progress=watcher)
    assert capsys.readouterr().out == ""
    assert sum("has died" in line for line in watcher.lines) == 1
    assert two.trials == one.trials
    found = project.open(made.root).train()  # here: what the workers have trained
    assert found.result.best_validation_loss == one.best.loss
    assert ended()


def test_a_curve_by_two_workers_is_that_of_one_process(
    node: Node, one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its points, and the weights of the versions that they are of, to the bit."""
    monkeypatch.setattr(learning_curve, "REPEATS", 1)
    at_work = set[int]()
    watcher = Counting("at once", lambda done: at_work.add(len(workers())))
    found = []
    for name, options in {"one": [], "two": ["--on", "ray", "--workers", "2"]}.items():
        root = small_project(tmp_path / name, rows=240).root
        agree(root, "consent", "consent_to_answer")
        monkeypatch.setattr(commands, "Terminal", lambda: watcher)
        done = CliRunner().invoke(app, ["curve", "--project", str(root), "--json", *options])
        assert done.exit_code == 0, done.output
        files = root.glob(f".assay/versions/*/{adapters.WEIGHTS}")
        weights = {file.read_bytes() for file in files}
        assert len(weights) == learning_curve.SIZES
        found.append((json.loads(done.stdout), weights))
        assert (max(at_work, default=0) > 0) == (name == "two")
        monkeypatch.delattr(session, "_attempt", raising=False)  # later not in this process
    ours, theirs = found
    assert theirs == ours
    assert ended()


def test_documents_embedded_by_two_workers_are_found_as_those_of_one_process(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(24):
        words = " ".join(f"word{number * 7 % 24 + n}" for n in range(20))
        (folder / f"{number}.txt").write_text(f"Ferry {number} sails at {number}. {words}")
    monkeypatch.setattr(Embedder, "at_once", 8)
    found = []
    root = small_project(tmp_path).root
    agree(root, "consent_for_documents")
    for base, options in {"one": [], "two": ["--on", "ray", "--workers", "2"]}.items():
        command = ["knowledge", "add", base, str(folder), "--project", str(root), *options]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        found.append(documents.base(Workspace(root), base).indexed_passages())
        monkeypatch.delattr(Embedder, "_encode", raising=False)  # later not in this process
    ours, theirs = found
    assert len(ours) == 24
    assert [(one.document, one.text) for one in ours] == [
        (one.document, one.text) for one in theirs
    ]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.vector, other.vector, atol=1e-5)


def test_a_comparison_by_two_workers_is_that_of_one_process(
    node: Node, one_thread: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the node of one of them dies: but for times, its result and its answers are the same,
    none of them twice."""
    monkeypatch.setitem(run_batches.__kwdefaults__, "batch_size", 8)
    root, kept = tmp_path / "made" / "pets", tmp_path / "kept"
    made = small_project(root.parent, rows=100, edit={"seeds: 1": "seeds: 2"})
    text = (root / "assay.yaml").read_text()
    some = {"candidates": ["prompt", "fine-tune"], "baselines": False}
    (root / "assay.yaml").write_text(edit(text, some))
    agree(made.root, "consent", "consent_to_answer")
    shutil.copytree(root.parent, kept)

    def compare(progress: Progress, *options: str) -> tuple[Any, bytes]:
        shutil.rmtree(root.parent)
        shutil.copytree(kept, root.parent)
        monkeypatch.setattr(commands, "Terminal", lambda: progress)
        asked = ["compare", "--project", str(root), "--json", *options]
        done = CliRunner().invoke(app, asked)
        assert done.exit_code == 0, done.output
        [file] = root.glob(".assay/comparisons/*/answers.jsonl.gz")
        return without_times(json.loads(done.stdout)), gzip.decompress(file.read_bytes())

    watcher = Counting("answering", once(16, lambda: kill_with(WORKER, node)))
    two = compare(watcher, "--on", "ray", "--workers", "2")
    assert compare(SILENT) == two
    assert sum("has died" in line for line in watcher.lines) == 1
    assert len(set(two[1].splitlines())) == two[1].count(b"\n")

    # A machine that does not reach the version is sent its files.
    opened = project.open(root)
    version = next(f"version:{one.id}" for one in list_versions(opened.store))
    engine = BatchEngines(opened.store).for_agent(Agent(model=version))
    assert isinstance(engine, TransformersBatchEngine)
    remake = Remake.of(version, engine, opened.store, with_files=True)
    shutil.rmtree(opened.store.folder / "versions")
    asked = [Request((Message("user", "Anna feeds the cat"),), max_new_tokens=4)]
    assert remake.open().answer(asked) == engine.answer(asked)


def test_a_fine_tuning_job_is_done_on_another_machine_though_the_first_of_them_dies(
    node: Node,
    tmp_path: Path,
    s3: S3Server,
    empty_postgres: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its state is in PostgreSQL and a bucket, and nothing of it in the folder of the command."""
    variables = {
        "ASSAY_DATABASE": empty_postgres,
        "ASSAY_OBJECTS": "s3://bkt/tenants",
        "ASSAY_CACHE": str(write_cache(tmp_path / "cache")),
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    variables |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        cluster_workers,
        "JobWork",
        lambda job, files: WithVariables(JobWork(job, files), variables),
    )
    there = {f"node:{node.host}": 0.001}

    def start(_: Any, *, may_leave: bool) -> Any:
        assert may_leave
        return ray_workers._Worker(1, 0, there)

    monkeypatch.setattr(ray_workers._Cluster, "start", start)
    root = tmp_path / "served"
    root.mkdir()
    workspace = Workspace(root)
    store = workspace.store
    id = queued(store, hyperparameters={"n_epochs": 12, "batch_size": 3})

    place = Place(on="ray", workers=1)
    with pytest.raises(ConfigError, match=rf"would go to machines .* \({node.host}\)"):
        work_on_cluster(workspace, place, SILENT, consent=False)

    def work_until(*ends: Callable[[], object]) -> None:
        """Ends follow one another; at the last one comes Ctrl-C."""

        def watch() -> None:
            try:
                for end in ends:
                    wait_until(end, "it does not come to that", 4 * PATIENCE_S)
            finally:
                os.kill(os.getpid(), signal.SIGINT)

        watching = threading.Thread(target=watch)
        watching.start()
        work_on_cluster(workspace, place, SILENT, consent=True)
        watching.join()

    def trains() -> bool:
        job = queue.read(store, id)
        return job.kind == fine_tuning.TRAIN and job.status == "running"

    def lose_the_node() -> bool:
        node.kill()
        there.clear()
        return wait_until(lambda: queue.read(store, id).attempts == 2, "it is not taken up again")

    # Ctrl-C while it trains: it is in the queue again, and none of its processes is left.
    work_until(trains, lose_the_node, trains)
    job = queue.read(store, id)
    assert (job.status, job.attempts, job.error) == ("queued", 0, None)
    assert not [name for name in processes().values() if "worker --watched" in name]
    work_until(lambda: queue.read(store, id).status in queue.OVER)
    found = fine_tuning.find(store, PROJECT, id)
    assert found.status == "succeeded", found.error
    said = [event.message for event in read_events(store, id)]
    assert "Its worker ended unexpectedly; queued again." in said
    assert not (root / ".assay" / "versions").exists()
    assert [version.id for version in list_versions(store)]
    assert ended()


class SeenGpus:
    """Tells which GPUs a process sees."""

    kept_bytes = 0

    def run(self, tell: Tell) -> str | None:
        return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(("gpus", "seen"), [(0, ""), (1, "0")])
def test_a_process_sees_the_gpus_that_it_has_asked_for(node: Node, gpus: int, seen: str) -> None:
    """Ray itself leaves all of its machine in sight of a process that has asked for none."""
    worker = ray_workers._Worker(1, gpus, {f"node:{node.host}": 0.001})
    wait_until(lambda: worker.ready, "it does not start")
    worker.begin(SeenGpus())
    news = worker.news()
    deadline = time.monotonic() + PATIENCE_S
    while not news.done and time.monotonic() < deadline:
        time.sleep(0.05)
        news = worker.news()
    worker.kill()
    assert (news.done, news.result, news.error) == (True, seen, None)
    assert ended()


class Counting(Watcher):
    """Counts what is done of tasks with some label."""

    def __init__(self, label: str, after: Callable[[float], None]) -> None:
        super().__init__(after)
        self.label = label

    def task(self, label: str, total: float | None, unit: str) -> AbstractContextManager[Task]:
        return super().task(label, total, unit) if self.label in label else SILENT.task("", 0, "")


def once(done: int, act: Callable[[], None]) -> Callable[[float], None]:
    """Does something once, after so much is done, and there are workers."""
    acts = [act]

    def after(now: float) -> None:
        if acts and now >= done and workers():
            acts.pop()()

    return after


def workers() -> list[int]:
    """Processes of workers."""
    return [pid for pid, name in processes().items() if name.startswith(WORKER)]


def ended() -> bool:
    """Whether no worker is left: Ray ends their processes a moment after it was told to."""
    deadline = time.monotonic() + PATIENCE_S
    while workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    return not workers()


def kill_a_worker() -> None:
    """SIGKILL to a worker's process."""
    os.kill(workers()[0], signal.SIGKILL)
