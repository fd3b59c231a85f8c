"""Names of uploads that would lead elsewhere where they are saved, or end a header."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from tests.figures import Figure
from tests.serve.running import Running, running

NAMES = (
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows\\win.ini",
    "C:\\x.txt",
    'a"; filename="b.exe',
    "a\r\nX-Evil: 1",
    "a%0d%0aX-Evil: 1",
    "a\u202egpj.exe",
    "..",
    ".",
    "dir/",
    "=cmd|' /C calc'!A0",
    "\u00e9\U0001f989.txt",
    "~/.ssh/authorized_keys",
    "a\x00.txt",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("served")) as server:
        yield server


def test_a_file_is_called_by_one_name(server: Running, figure: Figure) -> None:
    with server.http() as client:
        for name in NAMES:
            for made in (
                client.post(
                    "/v1/files", data={"purpose": "user_data"}, files={"file": (name, b"x")}
                ),
                client.post(
                    "/v1/uploads",
                    json={
                        "bytes": 1,
                        "filename": name,
                        "purpose": "user_data",
                        "mime_type": "text/plain",
                    },
                ),
            ):
                if made.status_code == 400:
                    continue
                kept = made.json()["filename"]
                assert kept.isprintable()
                assert kept not in ("", ".", "..")
                assert not set(kept) & {"/", "\\"}
                if made.json()["object"] != "file":
                    continue
                got = client.get(f"/v1/files/{made.json()['id']}/content")
                assert "x-evil" not in got.headers
                head = Message()
                head["Content-Disposition"] = got.headers["content-disposition"]
                assert head.get_content_disposition() == "attachment"
                assert Path(str(head.get_filename())).name == head.get_filename()
    figure("names of files that would lead elsewhere or end a header", f"0 of {len(NAMES)}")
