"""A rescued account becomes projects, each with what is to be run until its model is replaced."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.rescue.server import KEY, Account, AccountServer, Body, Fault, error, small_account
from tests.small import ANIMALS, write_model
from typer.testing import CliRunner

import assay
from assay.cli.main import app
from assay.config import Provider
from assay.config.yaml_text import edit
from assay.errors import AssayError, StoreError, UsageError
from assay.project.recording import RecordingChoices, draft_recording, record
from assay.project.rescue.account import rescue
from assay.project.rescue.files import name_files
from assay.project.rescue.page import commands
from assay.project.rescue.plan import plan_rescue
from assay.project.rescue.successor import find_successor
from assay.project.workspace import Workspace
from assay.rescue.client import Access
from assay.rescue.folder import MANIFEST
from assay.store.secrets import SecretError

BASE = "gpt-4o-mini-2024-07-18"
OCCUPIED = f"ft:{BASE}:acme:{'long-' * 20}:x4"


def sentences(count: int, seed: int) -> bytes:
    """Rows of words that nobody has seen, with an animal in each, which is the label."""
    chance, rows = random.Random(seed), []
    for _ in range(count):
        words = ["".join(chance.choices("bdfgklmnprst", k=5)) for _ in range(7)]
        animal = chance.choice(ANIMALS)
        words.insert(chance.randrange(8), animal)
        turns = [("user", " ".join(words)), ("assistant", animal)]
        row = {"messages": [{"role": role, "content": text} for role, text in turns]}
        rows.append(json.dumps(row).encode() + b"\n")
    return b"".join(rows)


def animal(body: Body) -> str:
    return next(one for one in ANIMALS if one in body["messages"][-1]["content"])


def pairs_of(rows: bytes) -> bytes:
    """The same as preferences: the right answer before another one."""
    made = []
    for line in rows.splitlines():
        asked, answered = json.loads(line)["messages"]
        other = next(one for one in ANIMALS if one != answered["content"])
        row = {
            "input": {"messages": [asked]},
            "preferred_output": [answered],
            "non_preferred_output": [{"role": "assistant", "content": other}],
        }
        made.append(json.dumps(row).encode() + b"\n")
    return b"".join(made)


def add_file(account: Account, id: str, content: bytes) -> None:
    record = dict(account.lists["/files"][0], id=id, bytes=len(content), filename=f"{id}.jsonl")
    account.lists["/files"].append(record)
    account.objects[f"/files/{id}"] = record
    account.contents[f"/files/{id}/content"] = content


def add_job(account: Account, id: str, **fields: Any) -> None:
    job = dict(account.lists["/fine_tuning/jobs"][-1], id=id, result_files=[], **fields)
    account.lists["/fine_tuning/jobs"].append(job)
    account.objects[f"/fine_tuning/jobs/{id}"] = job
    for part in ("events", "checkpoints"):
        account.lists[f"/fine_tuning/jobs/{id}/{part}"] = []


def several_jobs() -> Account:
    """Beside the small account's: with a validation file, preferences, a file that is gone."""
    account = small_account()
    account.contents["/files/file-train/content"] = sentences(200, seed=3)
    account.objects["/files/file-train"]["bytes"] = len(sentences(200, seed=3))
    add_file(account, "file-valid", sentences(60, seed=4))
    add_file(account, "file-pairs", pairs_of(sentences(120, seed=5)))
    given = {"n_epochs": "auto", "batch_size": 4, "learning_rate_multiplier": 0.1, "beta": 0.2}
    dpo = {"type": "dpo", "dpo": {"hyperparameters": given}}
    name = f"ft:{BASE}:acme:desk-de:x1"
    add_job(account, "ftjob-3", fine_tuned_model=name, validation_file="file-valid")
    pairs = {"training_file": "file-pairs", "method": dpo, "seed": 7}
    add_job(account, "ftjob-4", fine_tuned_model=f"ft:{BASE}:acme:tone:x2", **pairs)
    gone = f"ft:{BASE}:acme:{'long-' * 20}:x3"
    add_job(account, "ftjob-5", fine_tuned_model=gone, training_file="file-gone")
    add_job(account, "ftjob-6", fine_tuned_model=OCCUPIED, training_file="file-pairs")
    return account


@pytest.mark.slow
def test_each_job_becomes_a_project(tmp_path: Path) -> None:
    source, to = tmp_path / "from openai", tmp_path / "home"
    model = str(write_model(tmp_path / "model"))

    def gone(path: str, times: int) -> Fault | None:
        return error(404, "No such File object") if "file-gone" in path else None

    with AccountServer(several_jobs(), faults=gone, answer=animal).running() as s:
        access = Access("openai", Provider(base_url=s.url, private_network=["127.0.0.0/8"]), KEY)
        rescue(access, source)
        # A name that is cut depends on no other model; a folder of that name is not written to.
        digest = hashlib.sha256(OCCUPIED.encode()).hexdigest()[:8]
        foreign = to / f"{'long-' * 6}l-{digest}" / "notes.txt"
        foreign.parent.mkdir(parents=True)
        foreign.write_text("mine")
        plan = plan_rescue(source, to, model=model)
        made = {one["model"]: one for one in plan["models"]}
        first = made[f"ft:{BASE}:acme::abc"]
        assert (first["project"], first["holdout"], first["recorded"]) == ("abc", "drawn", 0)
        assert {one["name"]: one["here"] for one in first["settings"]} == {
            "n_epochs": "fine_tune.epochs",
            "seed": "fine_tune.seed",
        }
        config = assay.open(to / "abc").config
        assert (config.task, config.fine_tune.epochs, config.fine_tune.seed) == ("label", 3, 1)
        assert "classifier" in config.candidates
        held = assay.open(to / "desk-de-x1").split()
        assert (held.official_split, held.holdout) == (True, 60)
        preferred = made[f"ft:{BASE}:acme:tone:x2"]
        tuning = assay.open(to / "tone-x2").config.fine_tune
        assert (tuning.method, tuning.beta, tuning.rows_per_step) == ("dpo", 0.2, 4)
        assert (tuning.epochs, tuning.seed) == ("auto", 7)
        here = {one["name"]: one["here"] for one in preferred["settings"]}
        assert here["learning_rate_multiplier"] is None
        without = {name: one["reason"] for name, one in made.items() if one["project"] is None}
        assert "No such File object" in without[f"ft:{BASE}:acme:{'long-' * 20}:x3"]
        assert f"{foreign.parent} is there and is no project" in without[OCCUPIED]
        assert [one.name for one in foreign.parent.iterdir()] == ["notes.txt"]
        assert "job" in without["ft:gpt-4.1-2025-04-14:acme::old"]
        assert plan["no_model"] == [{"job": "ftjob-2", "status": "paused_by_moon"}]
        page = (to / "plan.md").read_text()
        assert "--input-price INPUT" in page  # at this address no price is listed
        for text in ("2027-01-14", "base_url=", "ftjob-2", "No such File object", "no equal"):
            assert text in page
        assert page.count("No successor takes part") == page.count("- project `")
        assert first["commands"][2] == f"assay release promote ft:{BASE}:acme::abc AGENT@VERSION"
        # A project that is there is left as it is; what was recorded meanwhile is seen.
        yaml, other = to / "abc" / "assay.yaml", to / "desk-de-x1" / "assay.yaml"
        other.write_text(edit(other.read_text(), {"data.holdout": None}))
        yaml.write_text(yaml.read_text().replace("margin: 0.02", "margin: 0.03"))
        data = [source / "files/file-train.jsonl"]
        record(draft_recording(first["model"], access, source, RecordingChoices(data=data)))
        again = plan_rescue(source, to, model=model)["models"]
        assert {one["holdout"] for one in again if one["project"] == "desk-de-x1"} == {"drawn"}
        assert {one["recorded"] for one in again if one["project"] == "abc"} == {200}
        assert "margin: 0.03" in yaml.read_text()
        assert "200 answers are recorded" in (to / "plan.md").read_text()
        # The recording of the training file has the answers to whatever holdout is drawn from it.
        nothing = draft_recording(
            first["model"], access, source, RecordingChoices(assay.open(to / "abc"))
        )
        assert nothing.requests == 0


def test_an_account_in_a_private_network_is_planned(tmp_path: Path) -> None:
    """Its address is one that --base-url refuses, and a provider may have."""
    source, private = tmp_path / "account", "http://10.0.0.5:8000/v1"
    faults = lambda path, _: error(404, "gone") if path.endswith("/content") else None  # noqa: E731
    with AccountServer(small_account(), faults=faults).running() as s:
        provider = Provider(base_url=s.url, private_network=["127.0.0.0/8"])
        rescue(Access("openai", provider, KEY), source)
        manifest = source / MANIFEST
        manifest.write_text(manifest.read_text().replace(s.url, private))
    home, name = tmp_path / "home", f"ft:{BASE}:acme::abc"
    (tmp_path / "own.jsonl").write_bytes(sentences(60, seed=3))
    files = name_files(name, tmp_path / "own.jsonl")
    (early,) = plan_rescue(None, home, files=files, model=str(write_model(tmp_path / "m")))[
        "models"
    ]
    plan = plan_rescue(source, home)
    # What the project learns from is what its commands add to, whatever has come since.
    (late,) = (one for one in plan["models"] if one["model"] == name)
    assert late["recording"] == early["recording"]
    assert f" --to {home} " in late["commands"][0]
    assert f"outgoing={early['recording']}" in late["commands"][1]
    assert plan["base_url"] == private
    later = plan_rescue(None, home, files=files)  # the account is known from before
    assert [one["model"] for one in later["models"]] == [one["model"] for one in plan["models"]]
    assert plan["models"]
    assert not any(one["is_priced"] for one in plan["models"])
    [asked, *_] = commands(plan, plan["models"][0])
    assert "--provider NAME" in asked
    assert "--base-url" not in asked


def test_files_that_are_here_already_become_a_project_with_the_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSAY_MASTER_KEY_FILE", str(tmp_path / "master"))
    base, to, tuned = str(write_model(tmp_path / "model")), Path("home"), f"ft:{BASE}:acme:pets:x1"
    Path("train.jsonl").write_bytes(sentences(80, seed=3))
    Path("valid.jsonl").write_bytes(sentences(60, seed=4))
    Path("pairs.jsonl").write_bytes(pairs_of(sentences(80, seed=5)))
    Path("beside").mkdir()
    far = {"base_url": "https://far.example/v1", "consent": True}
    known = Workspace(Path("beside")).providers
    known.add("far", far, KEY)

    def plan(*options: str) -> Any:
        asked = ["rescue", "plan", "--to", str(to), "--model", base, *options, "--json"]
        done = CliRunner().invoke(app, asked)
        return json.loads(done.stdout) if done.exit_code == 0 else done.exception

    files = ["--training", "train.jsonl", "--validation", "valid.jsonl"]
    named = ["--successor", "far/big", "--project", "beside"]
    (one,) = plan("--job", tuned, *files, *named)["models"]
    assert (one["project"], one["holdout"], one["ends"]) == (
        "pets-x1",
        "validation file",
        "2027-01-14",
    )
    assert one["commands"][0].startswith(f"assay rescue record {tuned} --to {to.absolute()}")
    project = assay.open(to / "pets-x1")
    assert project.config.remote == "remote:far/big"
    assert project.config.candidates[-3:] == ["remote", "remote-few-shot", "distill"]
    assert (project.root / str(project.config.recorded)).resolve() == Path(one["recording"])
    assert project.providers.key("far") == KEY
    assert not project.providers.has_consent("far")  # which is each project's own
    assert KEY not in (project.root / "assay.yaml").read_text()
    assert project.split().holdout == 60
    # The project of another training file is not taken for this one's.
    Path("other.jsonl").write_bytes(sentences(70, seed=9))
    wrong = plan("--job", tuned, "--training", "other.jsonl")
    assert "with another training file" in str(wrong)
    # A model that is spelled alike has a folder of its own, whatever comes first.
    alike = plan("--job", tuned.replace("pets", "Pets"), "--training", "other.jsonl")
    assert [each["project"] for each in alike["models"]] == ["pets-x1-2", "pets-x1"]
    again = ["rescue", "plan", "--to", str(to), "--job", tuned, *files]
    assert "no successor takes part" in CliRunner().invoke(app, again).stdout  # in the second one
    listed = to / "jobs.jsonl"
    kept = listed.read_text()
    for text in ('{"model": 5, "training": "x"}\n', "3\n", "x" * 4_000_001):
        listed.write_text(text)
        damaged = plan("--job", tuned, *files)
        assert isinstance(damaged, StoreError)
        assert str(damaged.where) == str(listed)
    listed.write_text(kept.splitlines()[0] + "\n")
    # Another model, and what was named before; a project that is there stays as it is.
    both = plan("--job", "ft:mine", "--training", "pairs.jsonl", "--successor", "openai/gpt-x")
    names = {each["model"]: each for each in both["models"]}
    assert (names[tuned]["successor"], names["ft:mine"]["successor"]) == (
        "remote:far/big",
        "remote:openai/gpt-x",
    )
    assert assay.open(to / "ft-mine").config.fine_tune.method == "orpo"  # by its rows
    page = (to / "plan.md").read_text()
    for text in ("`remote-few-shot` shows it", "big with the system prompt", "gpt-x takes no part"):
        assert text in page
    # What is wrong is told in one sentence, and makes nothing.
    Path("bad.jsonl").write_text('{"messages": 3}\n' * 9)
    Path("table.csv").write_text("a,b\n1,2\n3,4\n")
    for file, said in (("bad.jsonl", "line 1"), ("table.csv", "table.csv"), ("no.jsonl", "no.j")):
        wrong = plan("--job", "ft:other", "--training", file)
        assert isinstance(wrong, AssayError)
        assert said in str(wrong.where)
    for options in ((), ("--job", "ft:x"), ("--training", "train.jsonl"), ("--from", ".")):
        assert isinstance(plan(*options), UsageError)
    for name in ("gpt", "nobody/gpt"):
        wrong = plan("--job", tuned, *files, "--successor", name)
        assert isinstance(wrong, UsageError)
    assert len(plan("--job", tuned, *files)["models"]) == 2
    # Over the web there are no other providers than those of the folder, and one question is asked.
    with pytest.raises(UsageError):
        find_successor("openai/gpt-x", None, known, web=True)
    successor = find_successor("far/big", None, known, web=True)
    # A project that is there keeps the key that it has been given since, and its own no.
    project.providers.add("far", None, "sk-its-own")
    plan_rescue(None, to, model=base, successor=successor)
    own = assay.open(project.root).providers
    assert (own.key("far"), own.has_consent("far")) == ("sk-its-own", False)
    successor.hand_over(project)
    assert assay.open(project.root).providers.has_consent("far")
    # Neither key nor consent are for another address.
    settings = project.root / "assay.yaml"
    settings.write_text(settings.read_text().replace("far.example", "evil.example"))
    successor.hand_over(assay.open(project.root))
    moved = assay.open(project.root).providers
    assert not moved.has_consent("far")
    with pytest.raises(SecretError):
        moved.key("far")
    # What was named may go once its project is there; before, it is said.
    Path("train.jsonl").unlink()
    shutil.rmtree(to / "ft-mine")
    Path("pairs.jsonl").unlink()
    shutil.copy("valid.jsonl", "third.jsonl")
    named = plan("--job", "ft:third", "--training", "third.jsonl")["models"]
    reasons = {each["model"]: each["reason"] for each in named}
    assert reasons[tuned] is reasons["ft:third"] is None
    assert "no such file any more" in reasons["ft:mine"]


def test_the_command(tmp_path: Path) -> None:
    asked = ["rescue", "plan", "--from", str(tmp_path), "--to", str(tmp_path / "home")]
    assert isinstance(CliRunner().invoke(app, asked).exception, UsageError)
    assert not (tmp_path / "home").exists()


@pytest.mark.slow
def test_the_example_runs_from_an_account_to_a_release(tmp_path: Path) -> None:
    account, model = small_account(completions=1, items=1), f"ft:{BASE}:acme:pets:x4"
    add_file(account, "file-pets", sentences(300, seed=1))
    add_file(account, "file-held", sentences(400, seed=2))
    files = {"training_file": "file-pets", "validation_file": "file-held"}
    add_job(account, "ftjob-6", fine_tuned_model=model, **files)
    example = Path(__file__).parents[2] / "examples" / "rescue.py"
    with AccountServer(account, answer=animal).running() as server:
        options = ["--base-url", server.url, "--base", str(write_model(tmp_path / "model"))]
        done = subprocess.run(
            [
                *(sys.executable, str(example), model, *options, "--prices", "0.3", "1.2"),
                *("--candidates", "baseline-tfidf, remote-few-shot"),
                *("--successor", "openai/gpt-5-mini"),
            ],
            cwd=tmp_path,
            env={**os.environ, "OPENAI_API_KEY": KEY, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=900,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout
    assert "remote-few-shot" in told  # an equal of the model that goes, as it answers here
    assert "ends 2027-01-14" in told
    assert re.search(r"^\d+ answers recorded for USD 0\.\d\d$", told, re.MULTILINE)
    assert re.search(r"shown to be at most 2 in 100 behind outgoing, which scores 100 in", told)
    assert re.search(rf"^{model} is now \S+@\d+$", told, re.MULTILINE)
    assert re.search(rf"^answered: ({'|'.join(ANIMALS)})$", told, re.MULTILINE)
