"""The hub, played by a script: what is asked for, and what each refusal is told as."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assay.errors import ModelError
from assay.models import hub
from assay.models.pull import check_available, is_ready, pull
from assay.models.show import describe, list_models
from assay.progress import Silent


class Listener(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def answers(monkeypatch: pytest.MonkeyPatch, **files: int) -> None:
    found = [SimpleNamespace(rfilename=n.replace("__", "."), size=s) for n, s in files.items()]
    card = SimpleNamespace(license="apache-2.0")
    info = SimpleNamespace(siblings=found, sha="c0ffee" * 6 + "c0ff", card_data=card)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: info)


def refuses(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def model_info(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)


def test_model_is_fetched_checked_and_kept(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path, cache: Path
) -> None:
    asked: dict[str, Any] = {}

    def snapshot_download(ref: str, *, local_dir: Path, **options: Any) -> None:
        asked.update(options)
        shutil.copytree(model_folder, local_dir, dirs_exist_ok=True)
        (local_dir / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")

    answers(monkeypatch, model__safetensors=1000, config__json=10)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    folder = pull("org/tiny")
    assert folder == cache / "models" / "org--tiny"
    assert is_ready(folder)
    assert not any(p.endswith((".bin", ".pt", ".py")) for p in asked["allow_patterns"])
    refuses(monkeypatch, AssertionError("asked the hub again"))
    assert pull("org/tiny") == folder
    check_available("org/tiny")
    info = describe("org/tiny")
    assert (info.licence, info.context_length) == ("apache-2.0", 256)
    [entry] = [k for k in list_models() if k.ref == "org/tiny"]
    assert entry.ready
    assert entry.summary == "from the hub"
    assert asked["revision"] == info.revision == "c0ffee" * 6 + "c0ff"
    assert not list((cache / "models").glob(".*.download"))


def test_a_broken_download_is_gone_on_with_and_the_licence_is_said_first(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path, cache: Path
) -> None:
    """Whole files stay, of this revision alone."""
    listener = Listener()
    places: list[Path] = []

    def cut(ref: str, *, local_dir: Path, **_: Any) -> None:
        assert "licence apache-2.0" in listener.lines[-1]
        places.append(Path(local_dir))
        shutil.copy(model_folder / "config.json", local_dir)
        raise ConnectionError("reset")

    def goes_on(ref: str, *, local_dir: Path, **_: Any) -> None:
        assert (Path(local_dir) / "config.json").exists()
        shutil.copytree(model_folder, local_dir, dirs_exist_ok=True)

    answers(monkeypatch, model__safetensors=1000, config__json=10)
    monkeypatch.setattr("huggingface_hub.snapshot_download", cut)
    other = cache / "models" / ".org--tiny.0123456789ab.download"
    other.mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(ModelError, match="reset"):
            pull("org/tiny", listener)
    assert len(set(places)) == 1
    assert not other.exists()
    assert not is_ready(cache / "models" / "org--tiny")
    monkeypatch.setattr("huggingface_hub.snapshot_download", goes_on)
    assert is_ready(pull("org/tiny", listener))
    assert not places[0].exists()


def test_pickles_are_refused_before_they_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, pytorch_model__bin=1000, config__json=10)
    with pytest.raises(ModelError, match=r"pickles \(pytorch_model.bin\)"):
        pull("org/tiny")


def test_a_name_is_looked_up_without_fetching_anything(
    monkeypatch: pytest.MonkeyPatch, model_folder: Path, cache: Path
) -> None:
    answers(monkeypatch, model__safetensors=1000, config__json=10)
    check_available("org/tiny")
    check_available("smollm2-135m-instruct")
    check_available(str(model_folder))
    assert not list((cache / "models").glob("*"))
    answers(monkeypatch, pytorch_model__bin=1000)
    with pytest.raises(ModelError, match="pickles"):
        check_available("org/tiny")
    with pytest.raises(ModelError, match="Did you mean 'smollm2-135m-instruct'"):
        check_available("smollm2-135m")


def test_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, config__json=10)
    with pytest.raises(ModelError, match="no safetensors"):
        pull("org/tiny")


def test_each_refusal_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import errors

    response: Any = SimpleNamespace(headers={}, status_code=401, request=None)
    for error, reason in (
        (errors.GatedRepoError("x", response=response), "accepted its terms"),
        (errors.RepositoryNotFoundError("x", response=response), "has no such model"),
        (errors.HfHubHTTPError("x", response=response), "cannot be reached"),
        (errors.HfHubHTTPError.__bases__[0]("no route"), r"cannot be reached \(no route\)"),
        (errors.OfflineModeIsEnabled("offline"), r"cannot be reached \(offline\)"),
        (ConnectionError("reset"), r"cannot be reached \(reset\).*smollm2-135m-instruct"),
    ):
        refuses(monkeypatch, error)
        with pytest.raises(ModelError, match=reason):
            pull("org/tiny")


@pytest.mark.parametrize(
    ("card", "expected"),
    [("---\nlicense: mit\n---\n", "mit"), ("---\ntags: [a]\n---\n", None), ("# Card", None)],
)
def test_licence_of_a_model_card(tmp_path: Path, card: str, expected: str | None) -> None:
    assert hub.licence(tmp_path) is None
    (tmp_path / "README.md").write_text(card)
    assert hub.licence(tmp_path) == expected
