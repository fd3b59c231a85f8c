"""The hub's own client against a hub on loopback: what is fetched, refused, and gone on with."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.models.local_hub import TOKEN, Fault, LocalHub, Repository, is_large, local_hub, use

from assay.errors import ModelError
from assay.models import hub as product
from assay.models.pull import check_available, is_ready, pull
from assay.models.show import describe, list_models
from assay.progress import Silent

WEIGHTS = "model-00001-of-00002.safetensors"


class Listener(Silent):
    """Keeps what is said, and how far each task came, in its unit."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tasks: dict[str, float] = {}

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Any]:
        def advance(amount: float = 1, **_: object) -> None:
            self.tasks[label] = self.tasks.get(label, 0) + amount

        yield SimpleNamespace(advance=advance)

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory, pristine: Path) -> Path:
    """The tiny model in two files."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("sharded")
    AutoModelForCausalLM.from_pretrained(pristine).save_pretrained(folder, max_shard_size="40KB")
    AutoTokenizer.from_pretrained(pristine).save_pretrained(folder)
    assert len(list(folder.glob("*.safetensors"))) == 2
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, sharded: Path, tmp_path: Path) -> Iterator[LocalHub]:
    """A hub with one model, org/tiny."""
    with local_hub() as running:
        use(running, monkeypatch, tmp_path / "no token")
        running.add("org/tiny", sharded)
        yield running


def is_whole(folder: Path, repository: Repository) -> bool:
    """Whether the files of a model are there, byte by byte."""
    names = {file.name for file in folder.iterdir()} - {"assay.json"}
    assert not list(folder.parent.glob(".*.download"))
    return is_ready(folder) and all(
        (folder / name).read_bytes() == repository.files[name] for name in names | {WEIGHTS}
    )


def test_model_is_fetched_at_its_newest_commit_checked_and_kept(hub: LocalHub, cache: Path) -> None:
    """Its size, of what is fetched alone, licence and commit are said first."""
    listener = Listener()
    tiny = hub.repositories["org/tiny"]
    fetched = sum(len(c) for name, c in tiny.files.items() if name != ".gitattributes")
    tiny.files |= {"consolidated.safetensors": bytes(10**7), "pytorch_model.bin": bytes(10**7)}
    hub.moved["org/old"] = "org/tiny"
    check_available("org/old")
    assert not list((cache / "models").glob("*"))
    assert product.check("org/old").download_bytes == fetched
    folder = pull("org/tiny", listener)
    [said] = listener.lines
    assert f"licence apache-2.0, revision {tiny.commit}" in said
    assert listener.tasks == {"Downloading org/tiny": pytest.approx(fetched / 1e6)}
    assert folder == cache / "models" / "org--tiny"
    assert is_whole(folder, tiny)
    assert {asked.name for asked in hub.asked}.isdisjoint(
        {"consolidated.safetensors", "pytorch_model.bin", ".gitattributes"}
    )
    hub.requests.clear()
    assert pull("org/tiny") == folder
    check_available("org/tiny")
    info = describe("org/tiny")
    assert not hub.requests
    assert (info.licence, info.context_length, info.revision) == ("apache-2.0", 256, tiny.commit)
    [entry] = [k for k in list_models() if k.ref == "org/tiny"]
    assert entry.ready
    assert entry.summary == "from the hub"


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json", "config.json"])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_connection_is_taken_up_again(
    hub: LocalHub, name: str, ranges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From where it was cut, or from the start where the hub sends no parts."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50)  # of 10 MB
    hub.faults[name] = [Fault("cut", 100), *([] if ranges else [Fault("whole")])]
    tiny = hub.repositories["org/tiny"]
    assert is_whole(pull("org/tiny"), tiny)
    assert [one.start for one in hub.asked if one.name == name] == [0, 100]
    assert not hub.faults[name]


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json", "config.json"])
@pytest.mark.parametrize("kind", ["changed", "short"])
def test_what_is_not_as_announced_is_not_kept(
    hub: LocalHub, cache: Path, name: str, kind: str
) -> None:
    """The next pull fetches that file alone."""
    hub.faults[name] = [Fault("changed"), Fault("changed")] if kind == "changed" else []
    hub.faults[name] += [Fault("short", 50)] if kind == "short" else []
    refusals = len(hub.faults[name])
    reason = rf"not what the hub announced \({name}" if kind == "changed" else "size"
    for _ in range(refusals):
        with pytest.raises(ModelError, match=reason):
            pull("org/tiny")
        [part] = (cache / "models").glob(".*.download")
        assert not (part / name).exists()
        assert not is_ready(cache / "models" / "org--tiny")
    assert is_whole(pull("org/tiny"), hub.repositories["org/tiny"])
    counts = {asked.name: 0 for asked in hub.asked}
    for asked in hub.asked:
        counts[asked.name] += 1
    assert counts.pop(name) == refusals + 1
    if kind == "changed":
        assert set(counts.values()) == {1}


@pytest.mark.slow
def test_a_killed_pull_is_gone_on_with_by_the_same_command(hub: LocalHub, tmp_path: Path) -> None:
    """As a process of its own, which is told of the hub by HF_ENDPOINT alone."""
    other = WEIGHTS.replace("00001", "00002")
    hub.faults[WEIGHTS] = [Fault("stall", 1000)]
    cache = tmp_path / "cache"
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
    environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment |= {"ASSAY_CACHE": str(cache), "TRANSFORMERS_OFFLINE": "0"}
    stale = cache / "models" / ".org--tiny.0123456789ab.download"
    stale.mkdir(parents=True)
    command = [sys.executable, "-m", "assay.cli.main", "models", "pull", "org/tiny"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not (
            (found := list(cache.rglob("*.incomplete"))) and list(cache.glob(f"*/*/{other}"))
        ):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert all(file.exists() for file in found)
    assert not stale.exists()  # of a commit that is not wanted any more
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "licence apache-2.0" in done.stderr
    assert is_whole(Path(done.stdout.strip()), hub.repositories["org/tiny"])
    asked = [one.name for one in hub.asked]
    assert (asked.count(WEIGHTS), asked.count(other)) == (2, 1)
    assert not list(cache.rglob("*.incomplete"))


def test_a_gated_model_needs_the_token_of_somebody_who_has_agreed(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = hub.repositories["org/tiny"]
    tiny.gated = "manual"
    for token in (None, "hf_a_stranger"):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        for ask in (check_available, pull):
            with pytest.raises(ModelError, match="accepted its terms"):
                ask("org/tiny")
    assert not hub.asked
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(ModelError, match="does not accept your token"):
        pull("org/tiny")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert is_whole(pull("org/tiny"), tiny)
    assert {one.token for one in hub.asked if is_large(one.name)} == {None}  # another host
    assert {one.token for one in hub.asked if not is_large(one.name)} == {TOKEN}


def test_a_hub_that_does_not_list_files_is_not_waited_for(
    hub: LocalHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client asks six times; with a part of the files there it then takes them for all."""
    monkeypatch.setattr(product, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))
    hub.silent_trees = 6
    with pytest.raises(ModelError, match=r"cannot be reached \(.*timed out"):
        pull("org/tiny")
    assert not hub.silent_trees
    tiny = hub.repositories["org/tiny"]
    [part] = (cache / "models").glob(".*.download")
    (part / WEIGHTS).write_bytes(
        tiny.files[WEIGHTS]
    )  # as a pull that was killed at its end left it
    hub.silent_trees = 6
    with pytest.raises(ModelError, match=r"all files of the model \(.*tokenizer.json.* missing"):
        pull("org/tiny")
    assert not hub.silent_trees
    assert is_whole(pull("org/tiny"), tiny)
    assert WEIGHTS not in {asked.name for asked in hub.asked}


def test_every_client_of_the_hubs_library_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import close_session, get_session, set_client_factory
    from huggingface_hub.utils import _http

    name = "_GLOBAL_CLIENT_FACTORY"
    assert hasattr(_http, name), "the library has another name for it: read that in models/hub.py"
    monkeypatch.setattr(_http, name, getattr(_http, name))  # put back in the end
    made: list[Any] = []

    def make_own() -> Any:
        made.append(_http.default_client_factory())
        return made[-1]

    def is_limited() -> bool:
        return get_session() is made[-1] and product._limit in made[-1].event_hooks["request"]

    set_client_factory(make_own)
    product.limit_silence()
    assert is_limited()
    close_session()  # as the library does when a connection has failed
    assert is_limited()
    set_client_factory(make_own)
    assert not is_limited()
    monkeypatch.delattr(_http, name)
    product.limit_silence()
    assert is_limited()
    close_session()


def test_each_refusal_is_explained(
    hub: LocalHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(reason: str, ref: str = "org/tiny") -> None:
        with pytest.raises(ModelError, match=reason):
            pull(ref)
        assert not list((cache / "models").glob("org--*"))

    refused("has no such model", "org/none")
    refused("not a hub id", "org/a--b")
    tiny = hub.repositories["org/tiny"]
    tiny.lost = True
    refused("no longer has the commit")
    for status, reason in (
        (503, r"\(.*503"),
        (200, "as a hub does"),
    ):
        hub.status = status
        refused(reason)
    monkeypatch.setattr(product, "ANSWER_SECONDS", 0.2)
    hub.status = 0
    refused(r"cannot be reached \(.*timed out")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    refused(r"cannot be reached \(.*refused.*smollm2-135m-instruct")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused(r"cannot be reached \(.*offline")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"pytorch_model.bin": b"."}, r"pickles \(pytorch_model.bin\)"),
        ({"consolidated.safetensors": b"."}, "no safetensors"),
        ({}, "no safetensors"),
    ],
)
def test_what_has_no_tensors_is_refused_before_it_is_fetched(
    hub: LocalHub, files: dict[str, bytes], reason: str
) -> None:
    hub.repositories["org/tiny"] = Repository({"config.json": b"{}", **files})
    for ask in (check_available, pull):
        with pytest.raises(ModelError, match=reason):
            ask("org/tiny")
    assert not hub.asked


def test_a_name_is_looked_up_without_the_hub(hub: LocalHub, model_folder: Path) -> None:
    check_available("smollm2-135m-instruct")
    check_available(str(model_folder))
    with pytest.raises(ModelError, match="Did you mean 'smollm2-135m-instruct'"):
        check_available("smollm2-135m")
    assert not hub.requests


@pytest.mark.parametrize(
    ("card", "expected"),
    [("---\nlicense: mit\n---\n", "mit"), ("---\ntags: [a]\n---\n", None), ("# Card", None)],
)
def test_licence_of_a_model_card(tmp_path: Path, card: str, expected: str | None) -> None:
    assert product.licence(tmp_path) is None
    (tmp_path / "README.md").write_text(card)
    assert product.licence(tmp_path) == expected
