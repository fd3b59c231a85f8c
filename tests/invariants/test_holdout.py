"""The holdout stays locked: no look without a written plan and a line in the log."""

from __future__ import annotations

import ast
import json
import shutil
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from tests.preloaded import run_code

from assay.agent.agent import Agent, Knowledge, as_shown, make_routed
from assay.agent.route import Rule, Rules
from assay.agent.versions import AgentVersion, save_agent
from assay.compare import holdout as room
from assay.compare import records
from assay.compare.comparison import ComparisonData
from assay.compare.holdout import (
    OpeningRequest,
    OpeningTakenError,
    holdout_inputs,
    holdout_keys,
    keep_holdout,
    kept_elsewhere,
    next_opening,
    open_holdout,
    openings,
    openings_by_programs,
    remove_left_holdouts,
)
from assay.compare.result import Plan
from assay.compare.saved import load_saved, refuse_leak
from assay.data import shared_split
from assay.data.split import SplitManifest, write_split
from assay.errors import HoldoutError, StateError
from assay.example import Example, dump_examples
from assay.generate.recorded import input_sha256
from assay.models.embed import SentenceModel
from assay.models.lineage import keep_rows
from assay.models.tuned_encoder import keep_tuned
from assay.project.versions import describe_removed, find_uses_of
from assay.store import audit
from assay.store.files import sha256_file
from assay.store.objects import FolderObjects
from assay.store.store import Store

SOURCE = Path(room.__file__).parents[1]


@pytest.fixture
def locked(tmp_path: Path) -> tuple[Store, Path, str]:
    split = tmp_path / "split"
    split.mkdir()
    rows = [Example.of(f"question {i}", f"answer {i}", id=f"r{i}") for i in range(20)]
    path = split / "holdout.jsonl"
    path.write_text("".join(dump_examples(rows)))
    return Store(tmp_path / "state"), split, sha256_file(path)


def plan(number: int = 1) -> Plan:
    return Plan(
        candidates=["prompt"],
        primary="exact",
        margin=0.02,
        alpha=0.05,
        level=0.03,
        opening=number,
        good_enough=None,
        monthly_requests=1,
        holdout=20,
        groups=None,
        minimum_detectable_effect=0.3,
        discordance=0.3,
        written_at="2026-01-01T00:00:00+00:00",
        sha256="0" * 64,
    )


def begin(store: Store, id: str, digest: str, tmp_path: Path) -> None:
    written = plan(next_opening(store, digest, id))
    records.save_plan(store, id, digest, written, tmp_path / id)


def test_no_plan_no_opening(locked: tuple[Store, Path, str]) -> None:
    store, split, digest = locked
    with pytest.raises(HoldoutError, match="written plan"):
        open_holdout(store, split, digest, OpeningRequest("r"), comparison="c1", alpha=0.05)
    assert openings(store, digest) == []


def test_every_opening_is_logged_and_makes_the_next_stricter(
    locked: tuple[Store, Path, str], tmp_path: Path
) -> None:
    store, split, digest = locked
    for number, id in enumerate(["c1", "c2", "c3"], start=1):
        begin(store, id, digest, tmp_path)
        assert next_opening(store, digest, id) == number
        rows = open_holdout(
            store, split, digest, OpeningRequest(f"why {id}"), comparison=id, alpha=0.05
        )
        assert len(rows) == 20
    log = openings(store, digest)
    assert [(o.number, o.comparison, o.reason) for o in log] == [
        (1, "c1", "why c1"),
        (2, "c2", "why c2"),
        (3, "c3", "why c3"),
    ]
    assert log[1].alpha == pytest.approx(log[0].alpha / 4)
    assert log[2].alpha == pytest.approx(log[0].alpha / 9)
    for id in ("c4", "c5"):  # both plans state the fourth opening
        begin(store, id, digest, tmp_path)
    ask = partial(open_holdout, store, split, digest, OpeningRequest("r"), alpha=0.05)
    ask(comparison="c5")
    with pytest.raises(OpeningTakenError, match="is the next"):
        ask(comparison="c4")
    assert records.find_plan(store, "c4", digest) is None
    assert len(openings(store, digest)) == 4
    begin(store, "c4", digest, tmp_path)
    for _ in range(2):  # from its opening on the plan stays as it was
        ask(comparison="c4")
        records.save_plan(store, "c4", digest, plan(6), tmp_path / "c4")
    found = records.find_plan(store, "c4", digest)
    assert found is not None
    assert found.opening == openings(store, digest)[-1].number == 5


@pytest.mark.parametrize("most", [0, 2])
def test_programs_open_it_as_often_as_the_owner_allows(
    locked: tuple[Store, Path, str], tmp_path: Path, most: int
) -> None:
    store, split, digest = locked

    def open_as(who: str, id: str) -> None:
        begin(store, id, digest, tmp_path)
        request = OpeningRequest("why", who, most)
        open_holdout(store, split, digest, request, comparison=id, alpha=0.05)

    open_as("cli:ann", "owner's")  # counts for the level, not against programs
    for number in range(most):
        open_as(f"mcp: key {number}", f"c{number}")
        open_as(f"mcp: key {number}", f"c{number}")  # goes on
    for who in ("mcp: key 0", "mcp: stdio of ann"):
        with pytest.raises(HoldoutError, match="owner"):
            open_as(who, "one more")
    open_as("cli:ann", "owner's last")
    log = openings(store, digest)
    programs = [f"mcp: key {number}" for number in range(most)]
    assert [one.who for one in log] == ["cli:ann", *programs, "cli:ann"]
    assert openings_by_programs(log) == most


def test_a_comparison_that_goes_on_is_one_opening(
    locked: tuple[Store, Path, str], tmp_path: Path
) -> None:
    store, split, digest = locked
    begin(store, "c1", digest, tmp_path)
    for _ in range(3):
        open_holdout(store, split, digest, OpeningRequest("r"), comparison="c1", alpha=0.05)
    assert len(openings(store, digest)) == 1
    assert next_opening(store, digest, "c1") == 1
    assert next_opening(store, digest, "c2") == 2


def test_one_changed_byte_is_noticed_before_anything_is_logged(
    locked: tuple[Store, Path, str], tmp_path: Path
) -> None:
    store, split, digest = locked
    begin(store, "c1", digest, tmp_path)
    path = split / "holdout.jsonl"
    path.write_text(path.read_text().replace("answer 7", "answer 8", 1))
    with pytest.raises(HoldoutError, match="changed after it was locked"):
        open_holdout(store, split, digest, OpeningRequest("r"), comparison="c1", alpha=0.05)
    assert openings(store, digest) == []
    path.unlink()
    with pytest.raises(HoldoutError, match="missing"):
        open_holdout(store, split, digest, OpeningRequest("r"), comparison="c1", alpha=0.05)


def test_inputs_go_to_a_model_that_ends_on_record_and_without_their_answers(
    locked: tuple[Store, Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, split, digest = locked
    asked = {"project": "p", "who": "ann", "model": "ft:x", "origin": "https://x"}
    rows = holdout_inputs(store, split, digest, **asked)
    keys = holdout_keys(split, digest)
    assert [(one.id, input_sha256(one)) for one in rows] == keys
    said = json.dumps([one.to_dict() for one in rows] + [list(key) for key in keys])
    assert "question 7" in said
    assert "answer" not in said

    def killed(path: Path) -> list[Example]:
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "read_examples", killed)
    with pytest.raises(KeyboardInterrupt):
        holdout_inputs(store, split, digest, **asked)
    logged = [(line.action, line.what, line.who) for line in audit.entries(store, "p")]
    assert logged == [("holdout.record", "ft:x", "ann")] * 2
    assert openings(store, digest) == []


def divided(folder: Path, held: range) -> SplitManifest:
    """A split whose holdout are some rows; the others are for training and validation."""
    rows = [Example.of(f"question {i}", f"answer {i}", id=f"r{i}") for i in range(60)]
    rest = [row for i, row in enumerate(rows) if i not in held]
    about = SplitManifest("k", "text", "a.csv", "csv", False, rows=60, rejected=0, seed=0)
    return write_split(folder, rest[:-5], rest[-5:], [rows[i] for i in held], about)


@pytest.mark.parametrize(
    ("now", "counted"),
    [(range(20), 1), (range(19, 39), 1), (range(20, 40), 0)],
    ids=["the same", "one row is in both", "other rows"],
)
def test_a_comparison_opens_what_it_began_with_and_what_is_in_both_was_seen(
    tmp_path: Path, now: range, counted: int
) -> None:
    store, split = Store(tmp_path / "state"), tmp_path / "split"
    about = divided(split, range(20))
    began = about.holdout_sha256
    begin(store, "c1", began, tmp_path)
    with keep_holdout(store, split, about):
        edited = divided(split, now).holdout_sha256
        if counted and edited != began:  # the limit is of both
            begin(store, "theirs", edited, tmp_path)
            theirs = OpeningRequest("r", "mcp: x", 1)
            open_holdout(store, split, edited, theirs, comparison="theirs", alpha=0.05)
            with pytest.raises(HoldoutError, match="opened this holdout once"):
                open_holdout(store, split, began, theirs, comparison="c1", alpha=0.05)
            assert openings(store, began) == []
            counted += 1
        rows = open_holdout(store, split, began, OpeningRequest("r"), comparison="c1", alpha=0.05)
    assert [row.id for row in rows] == [f"r{i}" for i in range(20)]
    assert [one.comparison for one in openings(store, began)] == ["c1"]
    assert len(openings(store, edited)) == counted
    assert not list(tmp_path.glob("cache/holdouts/*"))


def test_what_another_server_divided_meanwhile_was_seen_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bucket").mkdir()
    one, two = (Store(tmp_path / name, f"sqlite:///{tmp_path}/db") for name in "ab")
    for store in (one, two):
        monkeypatch.setattr(store, "bucket", "s3://x")
        monkeypatch.setattr(store, "objects", FolderObjects(tmp_path / "bucket"))
    with shared_split.dividing(one) as split:
        about = divided(split, range(20))
    began = about.holdout_sha256
    begin(one, "c1", began, tmp_path)
    with keep_holdout(one, split, about):
        with shared_split.dividing(two) as other:
            shared_split.replacing_split(two)
            edited = divided(other, range(19, 39)).holdout_sha256
        rows = open_holdout(one, split, began, OpeningRequest("r"), comparison="c1", alpha=0.05)
        assert len(rows) == 20
    assert len(openings(two, began)) == len(openings(two, edited)) == 1


def test_nothing_is_read_of_another_split_than_the_one_that_is_opened(tmp_path: Path) -> None:
    store, split = Store(tmp_path / "state"), tmp_path / "split"
    began = divided(split, range(20))
    with keep_holdout(store, split, began):
        edited = divided(split, range(20, 40))
        with pytest.raises(StateError, match="split again"):
            ComparisonData.read(split, began)
        assert len(ComparisonData.read(split, edited).train) == 35
    with pytest.raises(StateError, match="split again"), keep_holdout(store, split, began):
        pass
    assert not list(tmp_path.glob("cache/holdouts/*.jsonl"))


@pytest.mark.parametrize("is_shared", [False, True], ids=["one folder", "PostgreSQL"])
def test_what_a_killed_comparison_kept_is_removed_and_what_is_in_use_is_not(
    is_shared: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """By the next comparison, and where the examples are divided anew, so that none goes on. A
    server with a folder of its own knows of those that are being made elsewhere."""
    url = request.getfixturevalue("empty_postgres") if is_shared else ""
    store, split = Store(tmp_path / "state", url or None), tmp_path / "split"
    began = divided(split, range(20))
    other, there = Store(tmp_path / "other", url or None), tmp_path / "elsewhere" / "split"
    shutil.copytree(split, there)
    killed = (
        "import os, sys; from pathlib import Path; from assay.compare.holdout import keep_holdout\n"
        "from assay.data.split import read_manifest; from assay.store.store import Store\n"
        "split, store = Path(sys.argv[1]), Store(Path(sys.argv[2]), sys.argv[3] or None)\n"
        "with keep_holdout(store, split, read_manifest(split)): os._exit(9)"
    )

    def kill() -> Path:
        given = (str(split), str(store.folder), url)
        assert run_code(killed, *given, output=tmp_path / "output").wait(120) == 9
        return next(path for path in tmp_path.glob("cache/holdouts/*.jsonl") if path not in ours)

    def known_there() -> set[str]:
        return remove_left_holdouts(there) | kept_elsewhere(other, there)

    ours: list[Path] = []
    left = kill()
    deadline = time.monotonic() + 60  # for the database to see that it has ended
    while known_there() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert known_there() == set()
    with keep_holdout(store, split, began):
        ours = [path for path in tmp_path.glob("cache/holdouts/*.jsonl") if path != left]
        assert len(ours) == 1
        with keep_holdout(store, split, began):  # another one at the same time
            pass
        assert not left.exists()
        assert list(tmp_path.glob("cache/holdouts/*.jsonl")) == ours
        left = kill()
        divided(split, range(30, 50))
        assert remove_left_holdouts(split) == {began.holdout_sha256}
        assert not left.exists()
        assert ours[0].exists()
        assert known_there() == ({began.holdout_sha256} if is_shared else set())
    assert not list(tmp_path.glob("cache/holdouts/*"))
    assert known_there() == set()


def test_a_kept_holdout_is_locked_like_the_one_it_was(tmp_path: Path) -> None:
    store, split = Store(tmp_path / "state"), tmp_path / "split"
    about = divided(split, range(20))
    began = about.holdout_sha256
    begin(store, "c1", began, tmp_path)

    def refused(match: str) -> None:
        with pytest.raises(HoldoutError, match=match):
            open_holdout(store, split, began, OpeningRequest("r"), comparison="c1", alpha=0.05)
        assert openings(store, began) == []

    with keep_holdout(store, split, about):
        divided(split, range(30, 50))
        (kept,) = tmp_path.glob("cache/holdouts/*.jsonl")
        text = kept.read_text()
        kept.write_text(text.replace("answer 7", "answer 8", 1))
        refused("changed after it was locked")
    refused("split again since")  # nobody keeps it any more


def test_the_log_is_written_before_a_row_is_read(
    locked: tuple[Store, Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, split, digest = locked
    begin(store, "c1", digest, tmp_path)

    def killed(path: Path) -> list[Example]:
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "read_examples", killed)
    with pytest.raises(KeyboardInterrupt):
        open_holdout(store, split, digest, OpeningRequest("r"), comparison="c1", alpha=0.05)
    assert len(openings(store, digest)) == 1


def test_nothing_but_the_holdout_room_and_data_names_the_file() -> None:
    """Beside import-linter's walls: no other module even spells the holdout's file name."""
    allowed = {"compare/holdout.py", "data/split.py"}
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        words = [
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        if "holdout.jsonl" in words:
            assert name in allowed


def test_candidates_are_given_train_and_validation_only() -> None:
    from dataclasses import fields

    from assay.candidates.building import Context
    from assay.evaluate.measure import Bench

    # `split` is the hash that the holdout is locked with: it names it, and reads nothing.
    # `built` are other candidates, who were given no more; `own_method` is a loss, without rows;
    # `documents_first` says yes or no.
    names = ["train", "validation", "bench", "split", "built", "own_method", "documents_first"]
    assert [f.name for f in fields(Context)] == names
    assert Context.__annotations__["split"] == "str | None"
    assert Context.__annotations__["built"] == "Mapping[str, Candidate]"
    assert Context.__annotations__["own_method"] == "MethodSpec | None"
    assert Context.__annotations__["documents_first"] == "bool"
    # `pin` names a state of the documents, `document_files` are those of `knowledge.paths`.
    assert [f.name for f in fields(Bench)] == [
        "config",
        "root",
        "store",
        "engines",
        "progress",
        "trust_code",
        "workers",
        "pin",
        "document_files",
    ]


@pytest.mark.parametrize(
    ("setting", "kind"), [("embedder", "embedder"), ("rerank", "cross-encoder")]
)
def test_an_agent_whose_search_was_trained_on_a_held_out_row_takes_no_part(
    locked: tuple[Store, Path, str], setting: str, kind: str
) -> None:
    store, split, digest = locked

    def trained_on(name: str, question: str) -> AgentVersion:
        rows = [Example.of(question, "answer 7"), Example.of("another question", "answer")]
        base = cast(SentenceModel, SimpleNamespace(kind=kind, name="small", identity="0" * 64))
        tuned = keep_tuned(store, base, {"weights": np.ones(1)}, keep_rows(store, rows))
        trained = {setting: tuned}
        knowledge = Knowledge(name="documents", k=1, characters=100, **trained)  # type: ignore[arg-type]
        return save_agent(store, name, Agent(model="m", knowledge=knowledge), message="m")

    clean, leaky = trained_on("clean", "question 70"), trained_on("leaky", "question 7")
    route = make_routed(Rules(rules=(Rule(to=leaky.agent, pattern="x"),), otherwise=clean.agent))
    routed = save_agent(store, "routed", route, message="m")
    refuse = partial(refuse_leak, store, split, digest, "p", "cli:ann")
    assert len(load_saved([clean], store, refuse)) == 1
    for version in (leaky, routed):
        with pytest.raises(HoldoutError, match=f"{version.label} was made from 1 row that is"):
            load_saved([clean, version], store, refuse)
    gone = Example.of("question 7", "answer 7", id="r7")
    assert "agent leaky@1" in (describe_removed(store, [gone], []) or "")
    assert find_uses_of(store, [gone], "r7")["agents"] == ["leaky@1"]


def test_a_program_cannot_ask_whether_it_has_guessed_an_expected_answer(
    locked: tuple[Store, Path, str],
) -> None:
    store, split, digest = locked
    refuse = partial(refuse_leak, store, split, digest, "p", "mcp: x")
    told = []
    for guess in ("answer 7", "a wrong guess"):
        shown = (as_shown(Example.of("question 7", guess)),)
        with pytest.raises(HoldoutError, match="shows inputs of the holdout") as refused:
            refuse("mine@1", Agent(model="m", shown=shown))
        told.append(str(refused.value))
    assert told[0] == told[1]
    refuse("mine@1", Agent(model="m", shown=(as_shown(Example.of("question 70", "answer 7")),)))
    logged = [(line.action, line.what, line.who) for line in audit.entries(store, "p")]
    assert logged == [("holdout.refuse", "mine@1", "mcp: x")] * 2
