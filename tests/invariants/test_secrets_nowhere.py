"""A provider's key goes to the provider, and is found nowhere else.

Not in what is logged, answered or traced, not in errors, exports, backups, the database, the
description of the API, or the terminal.
"""

from __future__ import annotations

import base64
import gzip
import io
import logging
import tarfile
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.generate.remote.provider import Reply, refused, said, serving
from tests.serve.running import running
from typer.testing import CliRunner

from assay.accounts.keys import create_key
from assay.agent.engines import StreamEngines
from assay.cli.main import app
from assay.store import secrets
from assay.store.backup import backup

KEY = "canary-0f9d2b-do-not-print-Zz"  # like no secret that masking would know
SPELLINGS = (
    KEY.encode(),
    base64.b64encode(KEY.encode()).rstrip(b"="),
    KEY.encode().hex().encode(),
    KEY[::-1].encode(),
)


def test_the_canary(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.delenv(secrets.VARIABLE, raising=False)
    monkeypatch.setenv(secrets.FILE_VARIABLE, str(tmp_path / "elsewhere" / "master"))
    folder = tmp_path / "served"
    folder.mkdir()
    told: list[str] = []

    def cli(*args: str, given: str | None = None) -> str:
        done = CliRunner().invoke(app, [*args, "--folder", str(folder)], input=given)
        told.extend([done.output, str(done.exception)])
        return done.output

    replies = [
        said("fine", usage={"prompt_tokens": 1, "completion_tokens": 1}),
        refused(401, f"wrong key {KEY}"),
        refused(500, f"no luck with Bearer {KEY}"),
        refused(400, f"bad header: Authorization: Bearer {KEY}"),
        Reply(f"<p>{KEY}</p>".encode(), headers={"Content-Type": "text/html"}),
        Reply(f'{{"error": "{KEY}"}}'.encode()),
        Reply(f"data: {{{KEY}".encode(), headers={"Content-Type": "text/event-stream"}),
        Reply(b"", 307, {"Location": f"http://127.0.0.1/{KEY}"}),
    ]
    with serving(lambda _, number: replies[(number - 1) % len(replies)]) as far:
        url = f"http://127.0.0.1:{far.port}/v1"
        inside = ("--private-network", "127.0.0.0/8")
        assert "key stored" in cli(
            "providers", "add", "far", "--url", url, *inside, given=f"{KEY}\n"
        )
        cli("providers", "consent", "far")
        cli("providers", "list")
        cli("providers", "list", "--json")
        cli("providers", "test", "far", "--model", "m")
        cli("providers", "test", "far", "--model", "m")
        cli("providers", "rotate", "far", given=f"{KEY}\n")
        cli("providers", "rotate", "--master", "--drop-old")
        cli("keys", "usage", "--json")
        assert far.keys[0] == f"Bearer {KEY}"

        with running(
            folder,
            lambda w: StreamEngines(w.store, None, w.providers),  # type: ignore[arg-type]
        ) as server:
            _, secret = create_key(server.workspace.store, server.workspace.name, "a", ["admin"])
            headers = {"Authorization": f"Bearer {secret}"}
            with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
                for number in range(2 * len(replies)):
                    body: dict[str, Any] = {
                        "model": "remote:far/m",
                        "stream": number % 2 == 0,
                        "messages": [{"role": "user", "content": "hi"}],
                    }
                    reply = client.post("/v1/chat/completions", json=body)
                    told += [reply.text, str(reply.headers)]
                for path in ("/openapi.json", "/metrics", "/v1/models"):
                    told.append(client.get(path).text)
            server.workspace.usage.flush()
            backup(server.workspace.store, tmp_path / "backup.tar")
            providers = server.workspace.providers
            told += [repr(providers), str(vars(providers["far"])), repr(secrets.read_masters())]
    assert len(far.asked) > 10
    assert set(far.keys) == {f"Bearer {KEY}"}
    told += [caplog.text, *capfd.readouterr()]
    with tarfile.open(tmp_path / "backup.tar") as archive:
        members = [archive.extractfile(member) for member in archive if member.isfile()]
        contents = [file.read() for file in members if file is not None]
    # The master key is not in the backup either.
    assert not any(secrets.read_masters()[0].bytes in data for data in contents)
    assert not any((tmp_path / "elsewhere" / "master").read_bytes().strip() in c for c in contents)
    contents += [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    for data in [*contents, *(text.encode() for text in told)]:
        for spelled in (data, _unpacked(data)):
            assert not any(canary in spelled for canary in SPELLINGS)


def _unpacked(data: bytes) -> bytes:
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(data)).read()
    except (OSError, EOFError, zlib.error):
        return b""
