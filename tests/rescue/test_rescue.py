"""An account is fetched whole, once, whatever happens; what cannot be had is said."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from tests.rescue.server import KEY, OTHER_KEY, AccountServer, Fault, error, small_account
from typer.testing import CliRunner

from assay.cli.main import app
from assay.config import Provider
from assay.errors import ConfigError, OutageError, StoreError, UsageError
from assay.project.rescue.account import open_account, rescue
from assay.rescue import client as client_module
from assay.rescue import downloads, lists
from assay.rescue.client import Access, parse_duration
from assay.rescue.folder import is_usable, suffix_of

ITEMS = "/evals/eval_1/runs/evalrun_1/output_items"
TIMES = ("manifest.jsonl", "report.json", "report.md")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff without waiting."""
    monkeypatch.setattr(client_module, "LONGEST_BACKOFF_S", 0.01)
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


def access(server: AccountServer, key: str = KEY) -> Access:
    return Access("openai", Provider(base_url=server.url, private_network=["127.0.0.0/8"]), key)


def tree(folder: Path) -> dict[str, bytes]:
    """What a folder holds, but for files that tell the time."""
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    return {name: file.read_bytes() for name, file in files.items() if name not in TIMES}


def read_lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]


def reasons(report: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(one["kind"], one["id"]): one["reason"] for one in report["missing"]}


def test_all_of_an_account_is_fetched_once(tmp_path: Path) -> None:
    folder = tmp_path / "from-openai"
    account = small_account()
    with AccountServer(account).running() as server:
        report = rescue(access(server), folder)
        first = list(server.requests)
        assert len(set(first)) == len(first)
        again = rescue(access(server), folder)
        assert server.requests == first  # the second run asks for nothing
        assert server.methods == {"GET"}
    assert report["complete"]
    assert again["complete"]
    for path, wanted in account.lists.items():
        file = {
            "/fine_tuning/jobs": "fine-tuning-jobs.jsonl",
            "/chat/completions": "chat-completions.jsonl",
            ITEMS: "evals/eval_1/evalrun_1.output-items.jsonl",
        }.get(path, path[1:].replace("fine_tuning/jobs/", "fine-tuning-jobs/") + ".jsonl")
        if path.startswith("/chat/completions/"):
            file = f"chat-completions/{path.split('/')[3]}.messages.jsonl"
        assert read_lines(folder / file) == wanted  # unknown fields and statuses, half characters
    assert (folder / "files/file-train.jsonl").read_bytes() == account.contents[
        "/files/file-train/content"
    ]
    assert (folder / "files/file-eval").exists()  # its name was ../../etc/passwd
    assert not (folder / "files/file-batch.jsonl").exists()
    assert report["files_left"] == {"batch": 1}
    assert report["not_ended"] == [
        {"kind": "fine-tuning job", "id": "ftjob-2", "status": "paused_by_moon"}
    ]
    assert report["notes"][0]["note"] == downloads.IN_BASE64
    assert b"train_loss" in base64.b64decode((folder / "files/file-result.csv").read_bytes())
    ours, listed = report["fine_tuned_models"]
    assert (ours["ends"], ours["base"]) == ("2027-01-14", "gpt-4o-mini-2024-07-18")
    assert ours["training_path"] == "files/file-train.jsonl"
    assert [one["step"] for one in ours["checkpoints"]] == [90]
    assert (listed["ends"], listed["base"]) == ("2027-01-05", "gpt-4.1-2025-04-14")
    assert report["next"][-1] == f"assay rescue plan --from {folder} --to projects"
    for file in [folder, *folder.rglob("*")]:
        mode = stat.S_IMODE(file.stat().st_mode)
        assert not mode & 0o077 or (file.is_dir() and file != folder) or file.name == ".lock"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    everything = b"".join(tree(folder).values()) + b"".join(
        (folder / name).read_bytes() for name in TIMES
    )
    assert KEY.encode() not in everything


def test_openais_own_client_reads_the_same_server() -> None:
    """So what is fetched above has the wire format that OpenAI's client knows."""
    with AccountServer(small_account()).running() as server:
        client = OpenAI(base_url=server.url, api_key=KEY, max_retries=0)
        assert {one.id for one in client.models.list()} >= {"gpt-4o-mini-2024-07-18"}
        jobs = list(client.fine_tuning.jobs.list(limit=1))
        assert [one.id for one in jobs] == ["ftjob-2", "ftjob-1"]
        assert client.fine_tuning.jobs.retrieve("ftjob-1").training_file == "file-train"
        assert len(list(client.fine_tuning.jobs.list_events("ftjob-1", limit=100))) == 150
        assert [one.step_number for one in client.fine_tuning.jobs.checkpoints.list("ftjob-1")] == [
            90
        ]
        assert len(list(client.files.list(limit=2, order="asc"))) == 4
        assert client.files.retrieve("file-eval").purpose == "evals"
        assert client.files.content("file-eval").read() == b'{"item": {"q": "1"}}\n'
        evals = [one.id for one in client.evals.list(order="asc", limit=1)]
        assert evals == ["eval_1", "eval_2"]
        [run] = client.evals.runs.list("eval_1", order="asc")
        assert run.result_counts.total == 230
        items = client.evals.runs.output_items.list(
            run.id, eval_id="eval_1", limit=100, order="asc"
        )
        assert len({one.id for one in items}) == 230
        stored = list(client.chat.completions.list(limit=3, order="asc"))
        assert len(stored) == 7
        [message] = client.chat.completions.messages.list(stored[0].id, order="asc")
        assert message.content == "<b>chatcmpl-0</b>"


def test_what_cannot_be_had_is_said_and_asked_for_again(tmp_path: Path) -> None:
    account = small_account(completions=4)
    account.lists["/fine_tuning/jobs"][1]["validation_file"] = "file-gone"
    account.lists["/files"] += [
        {"id": "../../x", "object": "file", "bytes": 1, "purpose": "fine-tune", "filename": "x"},
        {"id": "file-short", "bytes": 10, "purpose": "fine-tune", "filename": "s.jsonl"},
        {"id": "file-late", "bytes": 4, "purpose": "evals", "filename": "l.jsonl"},
    ]
    account.contents |= {"/files/file-short/content": b"short", "/files/file-late/content": b"late"}
    account.lists["/evals"].append({"id": "../../../y", "name": "odd"})
    forbidden = "/chat/completions/chatcmpl-1/messages"

    def faults(target: str, times: int) -> Fault | None:
        path = target.partition("?")[0]
        if path == "/files/file-late/content":
            return error(400, f"This file has expired. {KEY}", "expired")
        if path == forbidden:
            return error(403, "You have insufficient permissions. Missing scopes: \x1b[31mapi.read")
        if path == "/evals/eval_2/runs":
            return error(503, "down")
        if path == "/fine_tuning/jobs/ftjob-1/checkpoints":
            return Fault(200, b"<html>", {"Content-Type": f"text/html {KEY}"})
        return None

    with AccountServer(account, faults=faults).running() as server:
        report = rescue(access(server), tmp_path / "out")
        said = reasons(report)
        assert not report["complete"]
        assert "expired" in said["file", "file-late"]
        written = (tmp_path / "out/report.md", tmp_path / "out/manifest.jsonl")
        texts = json.dumps(report) + "".join(one.read_text() for one in written)
        assert KEY[8:20] not in texts
        assert "Missing scopes" in said["messages", "chatcmpl-1"]
        assert "\x1b" not in "".join(said.values())
        assert "503" in said["eval runs", "eval_2"]
        assert "text/html" in said["checkpoints", "ftjob-1"]
        assert "404" in said["file", "file-gone"]
        assert "10" in said["file", "file-short"]  # bytes of its record; what came is kept
        assert (tmp_path / "out/files/file-short.jsonl").read_bytes() == b"short"
        assert ("file", "'../../x'") in said
        assert ("eval runs", "'../../../y'") in said
        assert not any(".." in target for target in server.requests)
        assert len(list(tmp_path.iterdir())) == 1
        assert len(said) == 9  # and the record of file-gone
        markdown = (tmp_path / "out/report.md").read_text()
        assert "Missing scopes" in markdown

        server.requests.clear()
        server.faults = lambda path, times: None
        report = rescue(access(server), tmp_path / "out")
        asked = {one.partition("?")[0] for one in server.requests}
        assert asked == {
            *("/files/file-late/content", forbidden, "/evals/eval_2/runs", "/files/file-gone"),
            *("/fine_tuning/jobs/ftjob-1/checkpoints", "/files/file-short/content"),
        }
        assert len(reasons(report)) == 5


def test_limits_are_obeyed_and_faults_repeated(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []

    def faults(target: str, times: int) -> Fault | None:
        told.append((target, time.monotonic()))
        path = target.partition("?")[0]
        if times:
            return None
        if path == "/models":
            return error(429, "slow down", None, **{"Retry-After": "1"})
        if path == "/files":
            return error(429, "slow down", None, **{"x-ratelimit-reset-requests": "700ms"})
        if path == "/evals":
            headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "0.6s"}
            return Fault(headers=headers)
        if path == "/files/file-train/content":
            return Fault(cut=True)
        if "after=outputitem_99" in target:
            return Fault(cut=True)
        if path == "/chat/completions":
            return error(500, "oops")
        return None

    account = small_account()
    with AccountServer(account, faults=faults).running() as server:
        report = rescue(access(server), tmp_path / "out")
    assert report["complete"]
    assert (tmp_path / "out/files/file-train.jsonl").stat().st_size == account.lists["/files"][0][
        "bytes"
    ]
    at = [moment for _, moment in told]
    order = [target.partition("?")[0] for target, _ in told]
    assert order[:2] == ["/models", "/models"]
    assert at[1] - at[0] >= 1.0
    evals, first, second = order.index("/evals"), order.index("/files"), order.index("/files") + 1
    assert at[first] - at[evals] >= 0.6
    assert at[second] - at[first] >= 0.7


def test_a_limit_holds_back_all_requests(tmp_path: Path) -> None:
    """Also those that wait for an earlier limit to end, which a later one has put off."""
    begun: list[float] = []
    limits: list[float] = []

    def faults(target: str, times: int) -> Fault | None:
        begun.append(time.monotonic())
        for id, wait, pause in (("chatcmpl-0", 0.0, 1.0), ("chatcmpl-1", 0.5, 1.5)):
            if not times and target.startswith(f"/chat/completions/{id}/"):
                limits.append(begun[-1] + wait)
                limited = error(429, "slow down", None, **{"retry-after-ms": f"{pause * 1000:.0f}"})
                limited.wait = wait
                return limited
        return None

    with AccountServer(small_account(completions=30), faults=faults).running() as server:
        assert rescue(access(server), tmp_path / "out")["complete"]
    _, second = sorted(limits)
    assert not [at for at in begun if second + 0.3 < at < second + 1.5]


def test_the_key_goes_to_no_other_host(tmp_path: Path) -> None:
    with AccountServer(small_account()).running() as other:
        moved = {"Location": f"{other.url}/models"}
        account = AccountServer(small_account(), faults=lambda *_: Fault(302, b"", moved))
        with account.running() as server:
            report = rescue(access(server), tmp_path / "out")
        assert not other.requests
    assert all("redirect" in one["reason"] for one in report["missing"])
    assert report["missing"]


def test_what_is_kept_is_not_replaced_by_less(tmp_path: Path) -> None:
    account = small_account()
    account.lists["/files"].append({"id": "file-s", "bytes": 10, "purpose": "evals"})
    account.lists["/fine_tuning/jobs"][1]["validation_file"] = "file-v"
    account.objects["/files/file-v"] = {"id": "file-v", "bytes": 10}
    short, hidden = "/files/file-s/content", "/files/file-v/content"
    account.contents |= {short: b"8 bytes.", hidden: b"8 bytes."}
    with AccountServer(account).running() as server:
        for come in (b"8 bytes.", b"", b"9 bytes.."):
            account.contents |= {short: come, hidden: come}
            report = rescue(access(server), tmp_path / "out")
            assert len(report["missing"]) == 2
            kept = [(tmp_path / "out/files" / id).read_bytes() for id in ("file-s", "file-v")]
            assert kept == [come or b"8 bytes."] * 2
            by_id = {one["id"]: one for one in report["missing"]}
            assert by_id["file-v"]["path"] == "files/file-v"
        del account.objects["/files/file-v"]
        account.contents |= {short: b"10 bytes..", hidden: b"10 bytes.."}
        assert rescue(access(server), tmp_path / "out")["complete"]
        assert server.asked("/files/file-v") == 1  # its record was complete
        (tmp_path / "out/files/file-v").unlink()
        (tmp_path / "out/files/file-v.record.json").unlink()
        report = rescue(access(server), tmp_path / "out")
        by_id = {one["id"]: one for one in report["missing"] if one["kind"] == "file"}
        assert by_id["file-v"]["path"] == "files/file-v"  # what is known of it is kept
    account.lists["/evals"].append({"id": "../y"})
    with AccountServer(account).running() as server:
        account.objects["/files/file-v"] = {"id": "file-v", "bytes": 10}
        report = rescue(access(server), tmp_path / "odd")
        assert len(report["missing"]) == 1
        assert not any("same command" in step for step in report["next"])  # it would not help


def test_a_run_ends_where_going_on_is_no_use(tmp_path: Path) -> None:
    with AccountServer(small_account()).running() as server:
        with pytest.raises(OutageError) as refused:
            rescue(access(server, "sk-wrong-wrong-wrong-wrong"), tmp_path / "key")
        assert "sk-wrong" not in str(refused.value)
        assert rescue(access(server), tmp_path / "key")["complete"]  # nothing was the other one's
        server.faults = lambda path, times: error(429, "x", None, **{"Retry-After": "7200"})
        with pytest.raises(OutageError):
            rescue(access(server), tmp_path / "later")
        early = json.loads((tmp_path / "later/report.json").read_text())
        assert early["ended_early"]
        assert not early["complete"]
        server.faults = lambda path, times: error(403, "no") if "jobs/" in path else None
        server.account = small_account()
        jobs = server.account.lists["/fine_tuning/jobs"]
        jobs += [{**jobs[0], "id": f"ftjob-9{n}"} for n in range(60)]
        report = rescue(access(server), tmp_path / "scope")
        assert len(report["missing"]) == 3 * 62
        assert (tmp_path / "scope/chat-completions.jsonl").exists()  # other kinds are asked for
        assert sum("jobs/" in one for one in server.requests) < 3 * 40


def test_an_endpoint_that_fails_for_good_keeps_nothing_else(tmp_path: Path) -> None:
    """Evals come first, and may be the first to break."""
    account = small_account()
    account.lists["/evals"] += [{"id": f"eval_9{n}", "object": "eval"} for n in range(20)]
    down: tuple[str, ...] = ("/evals/",)

    def faults(target: str, times: int) -> Fault | None:
        return error(503, "closed") if target.startswith(down) else None

    with AccountServer(account, faults=faults).running() as server:
        report = rescue(access(server), tmp_path / "out")
        assert {one["kind"] for one in report["missing"]} == {"eval runs"}
        assert len(report["missing"]) == 22
        assert sum("/runs" in one for one in server.requests) <= 8 * client_module.MOST_ATTEMPTS
        assert (tmp_path / "out/chat-completions.jsonl").exists()
        down = ("/evals",)
        report = rescue(access(server), tmp_path / "closed")
        assert {one["kind"] for one in report["missing"]} == {"evals"}
        down = ("/evals/", "/files")  # one part after the other: now nobody waits for the rest
        with pytest.raises(OutageError):
            rescue(access(server), tmp_path / "down")
        assert json.loads((tmp_path / "down/report.json").read_text())["ended_early"]
        assert not (tmp_path / "down/fine-tuning-jobs.jsonl").exists()
        down = ()
        assert rescue(access(server), tmp_path / "down")["complete"] is False
        assert (tmp_path / "down/fine-tuning-jobs.jsonl").exists()


def test_what_is_too_large_is_asked_for_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MOST_JSON", 40_000)
    account = small_account()
    account.lists["/chat/completions"][3]["metadata"] = {"big": "x" * 50_000}

    def faults(target: str, times: int) -> Fault | None:
        if target.startswith("/models"):
            return Fault(200, b"[" * 5000 + b"]" * 5000)
        if target.startswith("/fine_tuning/jobs/ftjob-1/events") and "limit=100" in target:
            body = {"error": {"message": "limit is too high", "param": "limit", "code": "x"}}
            return Fault(400, json.dumps(body).encode())
        return None

    with AccountServer(account, faults=faults).running() as server:
        report = rescue(access(server), tmp_path / "out")
    said = reasons(report)
    assert set(said) == {("models", ""), ("chat completions", "")}
    assert len(read_lines(tmp_path / "out/evals/eval_1/evalrun_1.output-items.jsonl")) == 230
    assert len(read_lines(tmp_path / "out/fine-tuning-jobs/ftjob-1/events.jsonl")) == 150
    # What had come before the large one is there, and its messages are.
    assert len(read_lines(tmp_path / "out/chat-completions.jsonl.part")) == 3
    assert len(list((tmp_path / "out/chat-completions").iterdir())) == 3
    assert "part" not in str(sorted((tmp_path / "out/evals").rglob("*")))


def test_a_slow_line_gets_a_page_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "REPLY_S", 2.0)
    slow = lambda path, times: Fault(halfway=3.0) if path.startswith("/evals?") else None  # noqa: E731
    with AccountServer(small_account(), faults=slow).running() as server:
        assert rescue(access(server), tmp_path / "out")["complete"]
        assert server.asked("/evals") == 1


def test_pages_without_end_are_an_end(tmp_path: Path) -> None:
    """A server that knows no pages, one that gives a page again and again, and objects twice."""
    account = small_account()
    for path in ("/files", "/chat/completions"):
        account.lists[path] *= 2

    def faults(target: str, times: int) -> Fault | None:
        path = target.partition("?")[0]
        if path in ("/evals", "/fine_tuning/jobs"):
            page: dict[str, Any] = {"data": account.lists[path]}
            if path == "/evals":
                page["has_more"] = True
            return Fault(200, json.dumps(page).encode())
        return None

    with AccountServer(account, faults=faults).running() as server:
        report = rescue(access(server), tmp_path / "out")
        assert server.asked("/files/file-train/content") == 1
        assert server.asked("/chat/completions/chatcmpl-0/messages") == 1
    assert set(reasons(report)) == {("evals", "")}
    assert read_lines(tmp_path / "out/fine-tuning-jobs.jsonl") == account.lists["/fine_tuning/jobs"]


def test_a_list_goes_on_whatever_became_of_its_cursor(tmp_path: Path) -> None:
    """A server that knows no order, and an object that is deleted between two runs."""
    account = small_account()
    path, file = "/chat/completions", tmp_path / "out/chat-completions.jsonl"
    account.lists[path] = [{"id": f"c-{n}", "n": n} for n in range(250)]
    stops_at, refused = "c-199", {"error": {"message": "order?", "param": "order", "code": "x"}}

    def faults(target: str, times: int) -> Fault | None:
        if target.startswith(path + "/"):
            return Fault(200, b'{"data": []}')
        if target.startswith(path) and "order=" in target:
            return Fault(400, json.dumps(refused).encode())
        if target.startswith(path) and stops_at in target:
            return error(403, "not now")
        return None

    with AccountServer(account, faults=faults).running() as server:
        assert not rescue(access(server), tmp_path / "out")["complete"]
        part = file.with_name(file.name + ".part")
        first = part.read_bytes()
        assert first.count(b"\n") == 200
        gone = account.lists[path].pop(199)  # the cursor
        stops_at = "c-99"
        server.faults = lambda target, times: (
            error(404, "No such object") if "c-199" in target else faults(target, times)
        )
        report = rescue(access(server), tmp_path / "out")  # anew, and not whole
        assert {one["kind"] for one in report["missing"]} == {"chat completions"}
        assert part.read_bytes() == first
        stops_at = "nothing"
        report = rescue(access(server), tmp_path / "out")
        assert report["complete"]
        assert read_lines(file) == [*account.lists[path], gone]  # what was fetched is kept
        assert "deleted" in next(n["note"] for n in report["notes"] if "chat" in n["kind"])
        assert not part.exists()

        account.lists[path].append(gone)
        stops_at = "c-100"  # no deletion: the order alone is refused again
        account.lists[path][100] = {"id": "c-100"}
        server.faults = faults
        account.lists[path] = account.lists[path][1:]
        assert not rescue(access(server), tmp_path / "again")["complete"]
        stops_at = "nothing"
        assert rescue(access(server), tmp_path / "again")["complete"]
        assert read_lines(tmp_path / "again/chat-completions.jsonl") == account.lists[path]


def test_a_list_has_a_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST_OBJECTS", 200)
    with AccountServer(small_account(items=230)).running() as server:
        report = rescue(access(server), tmp_path / "out")
    assert set(reasons(report)) == {("output items", "eval_1/evalrun_1")}


def test_a_full_disk_and_a_damaged_manifest_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AccountServer(small_account()).running() as server:
        usage = downloads.shutil.disk_usage(tmp_path)._replace(free=10)
        with monkeypatch.context() as patched:
            patched.setattr(downloads.shutil, "disk_usage", lambda _: usage)
            with pytest.raises(StoreError):
                rescue(access(server), tmp_path / "out")
        manifest = tmp_path / "out/manifest.jsonl"
        manifest.write_bytes(manifest.read_bytes() + b'{"kind": "ev')  # cut by a killed process
        assert rescue(access(server), tmp_path / "out")["complete"]
        whole = manifest.read_bytes()
        number = len(whole.splitlines()) + 1
        for damaged in (b"nonsense", b'"abc"', b'"base_url"', b"[1]", b'{"kind": 1}', b"7"):
            manifest.write_bytes(whole + damaged + b"\n")
            with pytest.raises(StoreError) as told:
                rescue(access(server), tmp_path / "out")
            assert f"manifest.jsonl:{number}" in str(told.value.where)


def test_folders_of_others_are_left_as_they_are(tmp_path: Path) -> None:
    first = {"base_url": "https://api.openai.com/v1", "begun_at": "x"}
    whole = {"version": 1, **first}
    foreign: list[dict[str, str]] = [
        {"letter.txt": ""},
        {".gitignore": "build/\n", "README.txt": "mine", ".git": "x"},
        {".gitignore": "*\n", "README.txt": "mine"},
        {".lock": "4711"},
        {".movie.mkv.abcdefgh.part": "half"},
        {"manifest.jsonl": ""},
        {"manifest.jsonl": json.dumps(whole)},  # no line's end
        {"manifest.jsonl": json.dumps(first) + "\n", ".x.abcdefgh.part": ""},
        {"manifest.jsonl": json.dumps({**whole, "version": 2}) + "\n"},
        {"manifest.jsonl": '{"file": "a.jsonl"}\n{"file": "b.jsonl"}'},
        {"manifest.jsonl": "[" * 100_000},
    ]
    with AccountServer(small_account()).running() as server:
        for number, files in enumerate(foreign):
            folder = tmp_path / str(number)
            folder.mkdir(mode=0o755)
            for name, text in files.items():
                (folder / name).write_text(text)
            with pytest.raises(UsageError):
                rescue(access(server), folder)
            assert {one.name: one.read_text() for one in folder.iterdir()} == files
            assert stat.S_IMODE(folder.stat().st_mode) == 0o755
        assert not server.requests

        own = tmp_path / "own"
        rescue(access(server), own)
        begun = tmp_path / "begun"  # killed before the manifest had its first line
        begun.mkdir()
        for name, text in {".lock": "", ".manifest.jsonl.ab_d3fgh.part": '{"base'}.items():
            (begun / name).write_text(text)
        assert rescue(access(server), begun)["complete"]
        assert not list(begun.glob(".*.part"))
        kept, dropped = own / "notes/.a.abcdefgh.part", own / "evals/eval_1/.b.abcdefgh.part"
        kept.parent.mkdir()
        kept.touch()
        dropped.touch()
        rescue(access(server), own)
        assert kept.exists()  # not where this command writes
        assert not dropped.exists()


def test_a_folder_is_of_one_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with AccountServer(small_account()).running() as server:
        rescue(access(server), tmp_path / "out")
        manifest = (tmp_path / "out/manifest.jsonl").read_text()
        assert KEY not in manifest
        assert "scrypt" not in (tmp_path / "out/report.json").read_text()
        before = tree(tmp_path / "out"), len(server.requests)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_PROJECT_ID", "proj_2")
        for other in (access(server, OTHER_KEY), open_account(server.url, None, tmp_path)):
            with pytest.raises(UsageError):
                rescue(other, tmp_path / "out")
        assert (tree(tmp_path / "out"), len(server.requests)) == before
        assert (tmp_path / "out/manifest.jsonl").read_text() == manifest
        renewed = access(server, OTHER_KEY)
        assert rescue(renewed, tmp_path / "out", same_account=True)["complete"]
        assert rescue(renewed, tmp_path / "out")["complete"]  # the renewed key is known by now
        with pytest.raises(UsageError):
            rescue(access(server), tmp_path / "out")
    with AccountServer(small_account()).running() as other_server, pytest.raises(UsageError):
        rescue(access(other_server), tmp_path / "out", same_account=True)  # another address


PATHS = {
    "models": "/models",
    "files": "/files",
    "evals": "/evals",
    "fine-tuning jobs": "/fine_tuning/jobs",
    "chat completions": "/chat/completions",
    "fine-tuning job": "/fine_tuning/jobs/{0}",
    "events": "/fine_tuning/jobs/{0}/events",
    "checkpoints": "/fine_tuning/jobs/{0}/checkpoints",
    "file": "/files/{0}/content",
    "eval runs": "/evals/{0}/runs",
    "output items": "/evals/{0}/runs/{1}/output_items",
    "messages": "/chat/completions/{0}/messages",
}


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_killed_at_any_point_nothing_is_lost_and_nothing_fetched_twice(
    tmp_path: Path, seed: int
) -> None:
    with AccountServer(small_account()).running() as server:
        rescue(access(server), tmp_path / "whole")
        server.requests.clear()
        command = [sys.executable, "-m", "tests.rescue.victim", str(tmp_path / "killed")]
        run = subprocess.Popen(
            [*command, server.url, str(seed)],
            cwd=Path(__file__).parent.parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert run.stdin is not None
        assert run.stdout is not None
        complete: dict[str, int] = {}
        for line in run.stdout:
            told = json.loads(line)
            for path, count in complete.items():
                assert server.asked(path) == count, path
            if isinstance(told, dict):
                break
            time.sleep(0.05)  # what was under way when it died is counted
            paths = [PATHS[kind].format(*id.split("/")) for kind, id in told]
            complete = {path: server.asked(path) for path in paths}
            print("go on", file=run.stdin, flush=True)
        assert run.wait() == 0
        assert told["killed"] >= 5
        # A list goes on where it was: each death costs at most the page that was under way.
        assert server.asked(ITEMS) <= 23 + told["killed"]
    killed, whole = tree(tmp_path / "killed"), tree(tmp_path / "whole")
    assert killed == whole
    assert json.loads((tmp_path / "killed/report.json").read_text())["complete"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["rescue", "openai", "--to", "out"]
    run = CliRunner().invoke
    with AccountServer(small_account()).running() as server:
        here = [*asked, "--base-url", server.url]
        assert isinstance(run(app, [*here, "--yes"]).exception, ConfigError)  # no key
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        refused = run(app, here)
        assert isinstance(refused.exception, UsageError)  # nobody has agreed
        assert server.url in refused.stderr
        assert not server.requests
        assert not (tmp_path / "out").exists()
        done = run(app, [*here, "--yes", "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["complete"]
        assert KEY not in done.output
        server.faults = lambda path, times: error(404, "gone") if "evals" in path else None
        missing = run(app, ["rescue", "openai", "--to", "other", "--yes", "--base-url", server.url])
        assert missing.exit_code == 1
        assert "evals" in missing.stdout
        monkeypatch.setenv("OPENAI_ORG_ID", "org\nx")
        with pytest.raises(ConfigError) as told:
            rescue(open_account(server.url, None, tmp_path), tmp_path / "line")
        assert "https" not in str(told.value.fix)  # nothing is wrong with the address
        assert not (tmp_path / "line").exists()
        inside = Access("openai", Provider(base_url="https://127.0.0.1:1/v1"), KEY)
        with pytest.raises(ConfigError) as told:
            rescue(inside, tmp_path / "inside")
        assert "--provider" in str(told.value.fix)
    for address in ("http://example.com/v1", "ftp://x", "https://user:pw@example.com/v1"):
        with pytest.raises(UsageError):
            open_account(address, None, tmp_path)


def test_a_provider_needs_its_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_MASTER_KEY_FILE", str(tmp_path / "master"))
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    with AccountServer(small_account()).running() as server:
        network = ["--private-network", "127.0.0.1/32", "--query", "api-version=preview"]
        added = run(app, ["providers", "add", "mine", "--url", server.url, *network], input=KEY)
        assert added.exit_code == 0, added.output
        command = ["rescue", "openai", "--to", "out", "--provider", "mine", "--yes"]
        assert run(app, command).exit_code == 1
        assert not server.requests
        assert run(app, ["providers", "consent", "mine"]).exit_code == 0
        done = run(app, command)
        assert done.exit_code == 0, done.output
        assert "/evals?order=asc&limit=100&api-version=preview" in server.requests
        assert "/models?api-version=preview" in server.requests


def test_ctrl_c_ends_in_a_sentence_and_the_same_command_goes_on(tmp_path: Path) -> None:
    slow = lambda path, times: Fault(wait=30.0) if "messages" in path else None  # noqa: E731
    with AccountServer(small_account(), faults=slow).running() as server:
        command = [sys.executable, "-P", "-m", "assay.cli.main", "rescue", "openai", "--yes"]
        run = subprocess.Popen(
            [*command, "--to", str(tmp_path / "out"), "--base-url", server.url],
            env={**os.environ, "OPENAI_API_KEY": KEY},
            stderr=subprocess.PIPE,
            text=True,
        )
        while not any("messages" in one for one in server.requests):
            assert run.poll() is None
            time.sleep(0.05)
        run.send_signal(2)
        began = time.monotonic()
        _, said = run.communicate(timeout=60)
        assert time.monotonic() - began < 20.0
        assert run.returncode == 130
        assert "Traceback" not in said
        assert "run the same command again" in said
        server.faults = lambda path, times: None
        before = len(server.requests)
        assert rescue(access(server), tmp_path / "out")["complete"]
        assert all("messages" in one for one in server.requests[before:])


def test_names_and_durations() -> None:
    assert [
        is_usable(one) for one in ("file-A_1", "../x", "a/b", "", ".", "a.b", None, "x" * 200)
    ] == [
        True,
        *[False] * 7,
    ]
    assert [suffix_of(one) for one in ("a.JSONL", "x.tar.gz", "x./../y", None, "x.part")] == [
        *(".jsonl", ".gz", "", "", "")
    ]
    durations = ("6m0s", "1.5s", "12ms", "1h2m3s", "7", "soon", "")
    assert [parse_duration(one) for one in durations] == [360.0, 1.5, 0.012, 3723.0, 7.0, 0.0, 0.0]
