"""Keys must not follow a changed address, nor come back in an error."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from pydantic import ValidationError
from tests.generate.remote.provider import Reply, delta, refused, serving, streamed
from typer.testing import CliRunner

from assay.agent.engines import StreamEngines
from assay.cli.main import app
from assay.config import Provider, Vllm
from assay.config.yaml_text import edit
from assay.errors import AssayError, ConfigError, ModelError, UsageError
from assay.example import Message
from assay.generate.remote.stream import RemoteStreamEngine
from assay.generate.stream import Sampling
from assay.project import settings
from assay.project.settings import InvalidSettingsError, providers
from assay.project.workspace import Workspace

KEY = "sk-Proj/9aZ+x0_7f3e9a1c~DoNotPrint%me"
ASKED = [Message("user", "x")]
GOOD = streamed(delta("fine"), delta(finish="stop"))
ASSAY_YAML = """\
name: support
task: label
labels: [a, b]
data: {file: data.csv}
graders:
  - name: label-accuracy
primary: label-accuracy
candidates: [prompt]
"""
URL = "https://far.example/v1"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:pw-7f3e@db/x")
    monkeypatch.delenv("ASSAY_WEB_VARIABLES", raising=False)
    monkeypatch.delenv("ASSAY_WEB_FILES", raising=False)
    root = tmp_path / "support"
    root.mkdir()
    (root / "data.csv").write_text("text,label\nmine,a\n")
    (root / "here.key").write_text(KEY)
    (tmp_path / "there.key").write_text(KEY)
    (root / "assay.yaml").write_text(ASSAY_YAML)
    return Workspace(root)


def saved(workspace: Workspace, section: str, values: dict[str, object]) -> None:
    draft = settings.read(workspace)
    text = edit(draft.text, {section: values})
    settings.save(workspace.act_as("user:eve"), text, based_on=draft.hash, admin=True)


@pytest.mark.parametrize(
    "values",
    [
        {"headers": {"X-Stolen": "${DATABASE_URL}"}},
        {"headers": {"X-Stolen": "a ${DATABASE_URL} b"}},
        {"key_env": "DATABASE_URL"},
        {"key_file": "../there.key"},
        {"key_file": "/proc/self/environ"},
        {"key_file": "here.key"},
        {"proxy": "${DATABASE_URL}"},
        {"ca_file": "/etc/ssl/private/x.pem"},
        {"client_cert": "a.pem", "client_key": "/etc/ssl/private/x.key"},
    ],
)
def test_an_admin_on_the_web_names_no_variable_and_no_file(
    workspace: Workspace, values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = {"base_url": "https://evil.example/v1", **values}
    with pytest.raises(InvalidSettingsError):
        saved(workspace, "providers", {"evil": evil})
    with pytest.raises(UsageError):
        providers.add_provider_over_web(workspace.act_as("user:eve"), "evil", evil, None)
    monkeypatch.setenv("ASSAY_WEB_VARIABLES", "TEAM, DATABASE_URL")
    monkeypatch.setenv("ASSAY_WEB_FILES", "here.key:../there.key:/etc/ssl/private/x.pem")
    if not {"client_key", "key_file"} & set(values) or values.get("key_file") == "here.key":
        saved(workspace, "providers", {"evil": evil})  # what is listed may be named


def test_nor_does_he_send_what_is_named_already_elsewhere(workspace: Workspace) -> None:
    far = {"base_url": URL, "key_env": "OPENAI_API_KEY", "headers": {"X-Db": "${DATABASE_URL}"}}
    (workspace.root / "assay.yaml").write_text(
        edit(ASSAY_YAML, {"providers": {"far": far}, "vllm": {"base_url": URL, "key_env": "V"}})
    )
    evil = "https://evil.example/v1"
    for changed in ({**far, "base_url": evil}, {"base_url": evil, "key_env": "OPENAI_API_KEY"}):
        with pytest.raises(InvalidSettingsError):
            saved(workspace, "providers", {"far": changed})
        with pytest.raises(InvalidSettingsError):
            saved(workspace, "providers", {"far": far, "evil": changed})
    with pytest.raises(InvalidSettingsError):
        saved(workspace, "vllm", {"base_url": evil, "key_env": "V"})
    saved(workspace, "providers", {"far": {**far, "retries": 1}})  # the rest may be changed


@pytest.mark.parametrize(
    "named",
    [
        {"key_env": "OPENAI_API_KEY"},
        {"key_file": "here.key"},
        {"headers": {"X-Key": "Bearer ${OPENAI_API_KEY}"}},
    ],
)
def test_a_key_goes_where_it_went_first(workspace: Workspace, named: dict[str, object]) -> None:
    """Whatever has changed the address: the file itself, a restored one, another provider."""

    def described(url: str) -> None:
        far = {"base_url": url, "private_network": True, "consent": True, **named}
        (workspace.root / "assay.yaml").write_text(edit(ASSAY_YAML, {"providers": {"far": far}}))

    def asked() -> None:
        seen = Workspace(workspace.root)
        engines = StreamEngines(seen.store, None, seen.providers)  # type: ignore[arg-type]
        list(engines.engine("remote:far/m").chat(ASKED, (), Sampling()))

    with serving(lambda *_: GOOD) as first, serving(lambda *_: GOOD) as evil:
        described(f"http://127.0.0.1:{first.port}/v1")
        asked()
        described(f"http://127.0.0.1:{evil.port}/v1")
        with pytest.raises(AssayError):
            asked()
        assert evil.heads == []
        done = CliRunner().invoke(
            app, ["providers", "allow", "far", "--folder", str(workspace.root)]
        )
        assert done.exit_code == 0
        asked()
        assert len(evil.heads) == 1
        described(f"http://127.0.0.1:{first.port}/v1")
        asked()  # the first one stays


def test_two_that_are_first_at_once_are_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assay.agent import key_origins
    from assay.agent.key_origins import check_origin

    first = Provider(base_url=URL, key_env="OPENAI_API_KEY")
    other = Provider(base_url="https://evil.example/v1", key_env="OPENAI_API_KEY")
    check_origin(workspace.store, "support", "cli:ann", "far", first)
    check_origin(workspace.store, "support", "cli:ann", "far", first)
    with pytest.raises(ConfigError, match="providers allow"):
        check_origin(workspace.store, "support", "cli:ann", "evil", other)
    looked, early = key_origins._origins, [[]]  # before the first had written
    monkeypatch.setattr(
        key_origins, "_origins", lambda *given: early.pop() if early else looked(*given)
    )
    with pytest.raises(ConfigError, match="providers allow"):
        check_origin(workspace.store, "support", "cli:ann", "evil", other)
    with pytest.raises(ConfigError, match="providers allow"):
        check_origin(workspace.store, "support", "cli:ann", "evil", other)
    assert Vllm(base_url=URL, key_env="OPENAI_API_KEY").provider().origin == first.origin


@pytest.mark.parametrize(
    "header",
    [
        *("Host", "host", "Content-Length", "Transfer-Encoding", "Connection", "TE", "Upgrade"),
        *("Proxy-Authorization", "Proxy-Connection", "Expect", "Keep-Alive", "Trailer", "Cookie"),
        *("Content-Type", "Accept-Encoding", "", "a b", "a:b", "a\r\nb", "ä"),
    ],
)
def test_a_key_is_put_into_no_header_that_frames_a_request(header: str) -> None:
    with pytest.raises(ValidationError):
        Provider(base_url=URL, key_header=header)
    with pytest.raises(ValidationError):
        Provider(base_url=URL, headers={header: "x"})


def test_a_header_holds_one_thing() -> None:
    with pytest.raises(ValidationError):
        Provider(base_url=URL, key_header="X-Key", headers={"x-key": "y"})
    for header in ("api-key", "Authorization", "X-Api-Key", "X-Key"):
        assert Provider(base_url=URL, key_header=header).key_header == header


SPELLED: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper": str.upper,
    "lower": str.lower,
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of a header": lambda key: base64.b64encode(f"Bearer {key}, x".encode()).decode(),
    "base64 of a pair": lambda key: base64.b64encode(f"a:{key}".encode()).decode(),
    "base64url": lambda key: base64.urlsafe_b64encode(f"u:{key}!".encode()).decode(),
    "base64 without padding": lambda key: base64.b64encode(key.encode()).decode().rstrip("="),
    "base64 in a URL": lambda key: quote(base64.b64encode(f"ab{key}".encode()).decode(), safe=""),
    "URL": lambda key: quote(key, safe=""),
    "URL, whole": lambda key: "".join(f"%{byte:02X}" for byte in key.encode()),
    "URL, lower": lambda key: "".join(f"%{byte:02x}" for byte in key.encode()),
    "URL, twice": lambda key: quote(quote(key, safe=""), safe=""),
    "JSON": lambda key: json.dumps(key)[1:-1].replace("/", "\\u002f"),
    "JSON, whole": lambda key: "".join(f"\\u{ord(one):04x}" for one in key),
    "HTML": lambda key: "".join(f"&#{ord(one)};" for one in key),
    "HTML, hexadecimal": lambda key: "".join(f"&#x{ord(one):X};" for one in key),
    "hexadecimal": lambda key: key.encode().hex(),
    "its beginning": lambda key: key[:-9],
    "its end": lambda key: key[9:],
    "amid words": lambda key: f"key{key}key",
}


@pytest.mark.parametrize("spelling", list(SPELLED))
@pytest.mark.parametrize("where", ["key", "header"])
def test_an_error_repeats_no_key(
    spelling: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY", KEY)
    shown = SPELLED[spelling](KEY)

    def rule(*_: object) -> Reply:
        return refused(400, f"no luck with {shown} today")

    headers = {"X-Gateway": "${GATEWAY}"} if where == "header" else {}
    key = KEY if where == "key" else None
    with serving(rule) as served:
        provider = served.provider(retries=0, headers=headers)
        far = RemoteStreamEngine("far", "m", provider, key=lambda: key)
        with pytest.raises(ModelError) as caught:
            list(far.chat(ASKED, (), Sampling()))
    told = str(caught.value)
    assert "no luck with" in told
    assert "today" in told
    for at in range(len(shown) - 11):
        assert shown[at : at + 12].lower() not in told.lower()


def test_cleaning_takes_no_time() -> None:
    """A key of the longest, against a reply that nearly repeats it again and again."""
    import time

    from assay.generate.remote.redaction import redact

    key = "ab" * 2047 + "c"
    began = time.process_time()
    redact(("ab" * 2000)[:4000], [key])
    assert time.process_time() - began < 5
