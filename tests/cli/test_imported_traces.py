"""`assay traces import`, `jobs`, `project` and `export` as scripts see them."""

from __future__ import annotations

import json
import random
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.command import run, sentence
from tests.release.imported import samples
from tests.release.shelf import shelf

import assay
from assay.errors import UsageError
from assay.example import Message
from assay.generate.recorded import input_sha256, read_recording
from assay.project.imported import make_project, starting
from assay.project.workspace import Workspace
from assay.release import changes, policies, traces
from assay.release.imported.folder import TraceFolder
from assay.release.imported.trace import of_release

DESKS = ("cards", "loans", "transfers")


def exchange(number: int, **known: Any) -> dict[str, Any]:
    """A message of a customer and the desk that a model named."""
    source = random.Random(number)
    words = " ".join(source.choice(("my", "new", "card", "loan", "was", "late")) for _ in range(12))
    turns = [
        {"role": "system", "content": samples.SYSTEM},
        {"role": "user", "content": f"{words}, write to a{number}@acme.io"},
    ]
    answer = DESKS[number % 3]
    counts = {"prompt_tokens": 1000, "completion_tokens": 100, "seconds": 0.25}
    return {"messages": turns, "answer": answer, "model": "gpt-4o-mini", **counts, **known}


def imported(folder: Path, *records: dict[str, Any]) -> Any:
    """The one job of an import of such records."""
    file = samples.as_lines(*records)(folder)
    assert run("traces", "import", str(file), cwd=folder).returncode == 0
    (job,) = json.loads(run("traces", "jobs", "--json", cwd=folder).stdout)
    return job


def test_from_files_to_a_table_of_jobs(tmp_path: Path) -> None:
    """One file that is whole, one that is cut, one that is nothing; then the jobs, with prices."""
    good = samples.as_lines(*map(exchange, range(30)))(tmp_path)
    cut = good.with_name("cut.jsonl")
    cut.write_bytes(good.read_bytes()[:-50])
    nothing = good.with_name("nothing.jsonl")
    nothing.write_text(json.dumps({"private": samples.MAIL}))
    done = run("traces", "import", *map(str, (good, cut, nothing)), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "30 traces added (plain 30)" in done.stdout
    assert "Secrets or items of personal data replaced: 30" in done.stdout
    rejected = list((tmp_path / "imported-traces" / "rejected").iterdir())
    rows = [json.loads(line) for file in rejected for line in file.read_text().splitlines()]
    assert sorted((Path(row["file"]).name, row["line"]) for row in rows) == [
        *(("cut.jsonl", 30), ("nothing.jsonl", 1))
    ]
    again = json.loads(run("traces", "import", str(good), "--json", cwd=tmp_path).stdout)
    assert (again[0]["added"], again[0]["known"]) == (0, 30)
    (job,) = json.loads(run("traces", "jobs", "--json", cwd=tmp_path).stdout)
    assert (job["calls"], job["answers"], job["task"]) == (30, 3, "label")
    assert job["usd"] == pytest.approx(30 * (1000 * 0.15 + 100 * 0.6) / 1e6)
    shown = " ".join(run("traces", "jobs", cwd=tmp_path).stdout.split())
    assert "3 different answers in 30 calls: this looks like sorting into labels" in shown
    assert "0.25 / 0.25" in shown
    assert samples.MAIL not in shown
    every = [one.read_bytes() for one in (tmp_path / "imported-traces").rglob("*") if one.is_file()]
    assert b"acme.io" not in b"".join(every)


def test_wrong_turns_end_in_sentences(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.jsonl"
    nothing.write_text('{"a": 1}\n')
    assert run("traces", "import", str(nothing), cwd=tmp_path).returncode == 1
    missing = run("traces", "import", "missing.jsonl", cwd=tmp_path)
    assert "no such file" in sentence(missing, 1)
    other = run("traces", "import", str(nothing), "--format", "xml", cwd=tmp_path)
    assert "Formats: otel, litellm" in sentence(other, 2)
    away = run("traces", "jobs", "--from", "away", cwd=tmp_path)
    assert "no imported traces" in sentence(away, 2)
    job = imported(tmp_path, *map(exchange, range(3)))
    unknown = run("traces", "project", "abcd", "--to", "p", cwd=tmp_path)
    assert "there is no job" in sentence(unknown, 1)
    named = run("traces", "project", job["id"], "--to", "No Name", cwd=tmp_path)
    assert "cannot be the name of a project" in sentence(named, 2)
    there = run("traces", "project", job["id"], "--to", "imported-traces", cwd=tmp_path)
    assert "already exists" in sentence(there, 2)


def test_without_labels_the_inputs_are_written_to_be_labelled(tmp_path: Path) -> None:
    judged = {**dict.fromkeys(range(5), "up"), 5: "down"}
    job = imported(tmp_path, *(exchange(n, thumb=judged.get(n)) for n in range(40)))
    done = run("traces", "project", job["id"][:1], "--to", "desks", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "No project was made: 5 rows were corrected or rated up" in done.stdout
    assert not (tmp_path / "desks" / "assay.yaml").exists()
    assert "5 rows that people have judged: desks/labelled.jsonl" in done.stdout
    assert "append them to desks/labelled.jsonl" in done.stdout
    known = [json.loads(line) for line in (tmp_path / "desks" / "labelled.jsonl").open()]
    assert sorted(row["messages"][-1]["content"] for row in known) == sorted(
        DESKS[n % 3] for n in range(5)
    )
    rows = [json.loads(line) for line in (tmp_path / "desks" / "inputs.jsonl").open()]
    assert len(rows) == 35
    assert not {row["id"] for row in rows} & {row["id"] for row in known}
    assert {row["messages"][-1]["role"] for row in rows} == {"user"}
    (recording,) = (tmp_path / "desks" / "recordings").glob("*.jsonl")
    assert len(read_recording(recording)) == 40
    lines = [json.loads(line) for line in recording.open()]
    assert (
        sum("messages" in line for line in lines) == 39
    )  # to learn from; not what was found wrong


def test_of_two_at_once_the_second_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = imported(tmp_path, *map(exchange, range(3)))
    source, to = tmp_path / "imported-traces", tmp_path / "desks"

    def make_another(folder: Path, *, whole: bool) -> None:
        monkeypatch.undo()
        make_project(source, [job["id"]], to)

    monkeypatch.setattr(starting, "_hide", make_another)
    with pytest.raises(UsageError, match="already exists"):
        make_project(source, [job["id"]], to)
    assert len((to / "inputs.jsonl").read_bytes().splitlines()) == 3
    assert {one.name for one in tmp_path.iterdir()} == {"desks", "imported-traces", "traces.jsonl"}


def test_what_people_judged_is_measured_by_and_answers_are_learned_from(tmp_path: Path) -> None:
    """Half of the judged rows are the holdout; a correction counts, not what the model said. What
    people found wrong is not learned, and no conversation stands on both sides."""

    def judged(number: int) -> dict[str, Any]:
        return {"corrected": "mortgages"} if number < 20 else {"thumb": "up"}

    records = [exchange(n, **(judged(n) if n < 120 else {})) for n in range(200)]
    records += [exchange(n, thumb="down", answer="wrong") for n in range(200, 205)]
    records += [exchange(n, finish_reason="length", answer="wrong") for n in range(205, 210)]
    for n in range(20, 120):  # logged once a turn, with all that came before
        earlier = [*exchange(n)["messages"], {"role": "assistant", "content": DESKS[n % 3]}]
        later = {"role": "user", "content": f"And then? {exchange(n + 1000)['messages'][1]}"}
        records.append(exchange(n, messages=[*earlier, later]))
    records += [exchange(n, thumb=thumb) for n in range(210, 212) for thumb in ("up", "down")]
    job = imported(tmp_path, *records)
    done = json.loads(
        run("traces", "project", job["id"], "--to", "desks", "--json", cwd=tmp_path).stdout
    )
    assert (done["labelled"], done["corrected"], done["held"]) == (120, 20, 60)
    assert "Of the labelled rows, 20 are corrections and 100 thumbs up" in done["warning"]
    project = assay.open(tmp_path / "desks")
    assert project.config.task == "label"
    assert "mortgages" in (project.config.labels or ())
    folder = tmp_path / "desks" / "data"
    held = [json.loads(line) for line in (folder / "labelled.jsonl").open()]
    learned = [json.loads(line) for line in (folder / "recorded.jsonl").open()]
    unlabelled = [json.loads(line) for line in (folder / "inputs.jsonl").open()]
    assert (len(held), len(unlabelled)) == (60, 48)
    assert len(learned) > 100
    assert not {row["id"] for row in unlabelled} & {row["id"] for row in learned + held}
    assert done["down"] == 12
    assert "wrong" not in {row["messages"][-1]["content"] for row in learned}
    assert "wrong" not in (project.config.labels or ())
    for taken in (held, unlabelled):
        asked = {row["messages"][1]["content"] for row in taken}
        assert not asked & {row["messages"][1]["content"] for row in learned}
    turns = [turn for row in learned for turn in row["messages"][:-1]]
    assert {turn["weight"] for turn in turns if turn["role"] == "assistant"} == {0}
    corrected = [row for row in held + learned if row["messages"][-1]["content"] == "mortgages"]
    assert 0 < len(corrected) <= 20
    assert not {row["id"] for row in held} & {row["id"] for row in learned}
    assert (tmp_path / "desks").stat().st_mode & 0o777 == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"
    # The recorded model takes part: its answer to each row of the holdout is found.
    (recording,) = (tmp_path / "desks" / "recordings").glob("*.jsonl")
    known = read_recording(recording)
    rows = [tuple(map(Message.from_dict, row["messages"])) for row in held]
    assert all(input_sha256(assay.example.Example("", turns)) in known for turns in rows)


def test_kept_traces_leave_as_spans_and_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "served"
    store, (agent, *_) = shelf(folder / ".assay")
    changes.promote(store, "default", "pets", "tuned@1", who="a test", force="a test")
    store.engine.dispose()
    workspace = Workspace(folder)
    assert "no traces yet" in sentence(
        run("traces", "export", "spans.jsonl", "--project", str(folder), cwd=tmp_path), 2
    )
    policies.switch_on(
        workspace.store, workspace.name, "pets", sample=0.1, days=30, most=100, who="a test"
    )
    for number in range(3):
        traces.record(
            workspace.store,
            workspace.name,
            "pets",
            agent,
            id=traces.new_id(),
            messages=[Message("user", f"Where does dog {number} sleep?")],
            answer=Message("assistant", "In the hold."),
            usage={"prompt_tokens": 9, "completion_tokens": 4, "seconds": 0.5, "usd": 0.001},
        )
    kept = traces.traces(workspace.store, workspace.name)
    traces.feedback(workspace.store, workspace.name, kept[0].id, thumb="down", corrected="A cabin.")
    done = run("traces", "export", "spans.jsonl", "--project", str(folder), cwd=tmp_path)
    assert "3 traces written to spans.jsonl" in done.stdout
    assert run("traces", "import", "spans.jsonl", cwd=tmp_path).returncode == 0
    found = list(TraceFolder(tmp_path / "imported-traces").traces())
    assert found == [of_release(one) for one in traces.traces(workspace.store, workspace.name)]
    assert {one.corrected for one in found} == {None, "A cabin."}


def test_the_page_can_be_followed(tmp_path: Path) -> None:
    """Every command of docs/traces.md that needs nobody else, in its order, on its own file."""
    page = (Path(__file__).parents[2] / "docs" / "traces.md").read_text("utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (lines,) = [text for kind, text in blocks if kind == "jsonl"]
    (tmp_path / "calls.jsonl").write_text(lines, "utf-8")
    for text in (text for kind, text in blocks if kind == "sh"):
        for line in text.splitlines():
            words = shlex.split(line.split("  #")[0])
            if "JOB" in words:
                jobs = json.loads(run("traces", "jobs", "--json", cwd=tmp_path).stdout)
                words[words.index("JOB")] = jobs[0]["id"]
            done = run(*words[1:], cwd=tmp_path)
            assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "desks" / "inputs.jsonl").exists()
