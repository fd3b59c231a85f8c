"""State in PostgreSQL: found by everybody who works in a folder, mixed with nobody's, never begun
anew unsaid."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from tests.command import run
from tests.databases import PostgresServer
from tests.many_rows import project as make_project
from tests.preloaded import run_code

from assay.config.yaml_text import edit
from assay.errors import ConfigError, StateError, StoreError
from assay.jobs import queue
from assay.project import settings
from assay.project.machine import _state_of
from assay.project.project import Project
from assay.project.settings import InvalidSettingsError
from assay.project.workspace import Workspace, open_to_serve
from assay.store.database import KEPT, open_again
from assay.store.store import Store


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ASSAY_DATABASE", "PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)


def on(root: Path, url: str, **more: str) -> Path:
    """A project whose assay.yaml names a database."""
    root.mkdir(parents=True, exist_ok=True)
    file = make_project(root, 3).root / "assay.yaml"
    text = edit(file.read_text(), {"state": {"database": url, **more}})
    file.write_text(text)
    return root


def schemas(url: str) -> set[str]:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        query = text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'assay%'")
        found = set(connection.scalars(query))
    engine.dispose()
    return found


def test_everybody_who_works_in_a_folder_uses_its_database(
    tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = on(tmp_path / "a", empty_postgres)
    workspace = Workspace(root)
    workspace.store.set("word", "kept")
    address, schema = workspace.store.address.split(", ")
    assert make_url(address) == make_url(empty_postgres)
    assert schema == "schema assay_tickets"
    project = workspace.project
    assert project is not None
    assert project.store is workspace.store
    assert Project(root).store.setting("word") == "kept"
    assert not (root / ".assay" / "assay.db").exists()
    # Who opens it again reads no settings.
    assert open_again(root / ".assay").setting("word") == "kept"
    assert _state_of(root).database == f"{workspace.store.address} answers"

    # A server starts with a file that is broken since, or gone.
    good = (root / "assay.yaml").read_text()
    for broken in ("name: [", "state: {database: nonsense}\n", good.replace("task:", "tsk:")):
        (root / "assay.yaml").write_text(broken)
        served = open_to_serve(root)
        assert served.broken is not None
        assert served.store.setting("word") == "kept"
    (root / "assay.yaml").unlink()
    assert open_to_serve(root).store.setting("word") == "kept"


def test_projects_in_one_database_do_not_mix(
    tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_DATABASE", empty_postgres)
    first, second, served = (tmp_path / name for name in ("first", "second", "served"))
    for root in (first, second, served):
        root.mkdir()
    make_project(first, 3)
    Workspace(first).store.set("which", "first")
    make_project(second, 3)  # of the same name
    with pytest.raises(StateError, match=r"another folder.*DROP SCHEMA assay_tickets CASCADE"):
        _ = Workspace(second).store
    file = second / "assay.yaml"
    file.write_text(edit(file.read_text(), {"state": {"schema_name": "elsewhere"}}))
    Workspace(second).store.set("which", "second")
    Workspace(served).store.set("which", "served")
    for root in (first, second, served):
        assert Workspace(root).store.setting("which") == root.name
    # The folder that is served becomes a project, and a project gets another name.
    make_project(served, 3)
    assert Workspace(served).store.setting("which") == "served"
    file = first / "assay.yaml"
    file.write_text(file.read_text().replace("name: tickets", "name: cases"))
    assert Workspace(first).store.setting("which") == "first"
    assert len(schemas(empty_postgres)) == 2


def test_a_folder_has_one_name_wherever_it_is_mounted(tmp_path: Path, empty_postgres: str) -> None:
    root = on(tmp_path / "here", empty_postgres)
    assert Workspace(root).name == "here"
    root.rename(tmp_path / "data")
    assert Workspace(tmp_path / "data").name == "here"


def test_rows_in_sqlite_are_not_left_behind_unsaid(tmp_path: Path, empty_postgres: str) -> None:
    root = tmp_path / "a"
    root.mkdir()
    workspace = make_project(root, 3)
    queue.enqueue(workspace.store, "p", "count", {})
    on(root, empty_postgres)
    with pytest.raises(StateError, match=r"state in SQLite .*mv .*assay\.db"):
        _ = Workspace(root).store
    assert schemas(empty_postgres) == set()
    old = root / ".assay" / "assay.db"
    for file in old.parent.glob("assay.db*"):
        file.rename(file.with_name(f"old-{file.name}"))
    assert queue.jobs(Workspace(root).store) == []


def test_state_is_not_begun_anew_because_a_setting_was_lost_or_changed(
    tmp_path: Path, empty_postgres: str, postgres: str
) -> None:
    root = on(tmp_path / "a", empty_postgres)
    store = Workspace(root).store
    store.set("word", "kept")
    store.engine.dispose()
    file = root / "assay.yaml"
    named = file.read_text()
    file.write_text(named.replace("state:", "# state:").replace("  database:", "#   database:"))
    with pytest.raises(StateError, match="no setting names it any more"):
        _ = Workspace(root).store
    assert not (root / ".assay" / "assay.db").exists()

    moved = empty_postgres.replace("/test_", "/moved_")
    server = create_engine(
        f"postgresql+psycopg://assay@/postgres?host={postgres}", isolation_level="AUTOCOMMIT"
    )
    before, after = (url.partition("@/")[2].partition("?")[0] for url in (empty_postgres, moved))
    with server.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {before} RENAME TO {after}"))
        connection.execute(text(f"CREATE DATABASE {before}"))
    server.dispose()
    file.write_text(named)
    with pytest.raises(StateError, match="there is none in"):
        _ = Workspace(root).store
    assert schemas(empty_postgres) == set()  # a dump can be read into it
    file.write_text(named.replace(empty_postgres, moved))
    assert Workspace(root).store.setting("word") == "kept"
    (root / ".assay" / KEPT).unlink()
    with pytest.raises(StateError, match="another folder"):
        _ = Workspace(root).store


@pytest.mark.slow
def test_two_servers_that_begin_at_once_share_what_they_begin(
    tmp_path: Path, empty_postgres: str
) -> None:
    root = on(tmp_path / "a", empty_postgres)
    code = (
        "import sys; from pathlib import Path; from assay.project.workspace import Workspace\n"
        "Workspace(Path(sys.argv[1])).store.set(sys.argv[2], 'here')"
    )
    output = tmp_path / "output"
    begun = [run_code(code, str(root), f"w{n}", output=output) for n in range(4)]
    for process in begun:
        assert process.wait(120) == 0, output.read_text()
    store = Workspace(root).store
    assert [store.setting(f"w{n}") for n in range(4)] == ["here"] * 4


def test_a_password_comes_from_the_environment_or_from_libpqs_file(
    tmp_path: Path, own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = "hun ter2@:/x"
    url = own_postgres.url.replace("+psycopg", "")
    engine = create_engine(own_postgres.url)
    with engine.begin() as connection:
        connection.execute(text(f"ALTER USER assay PASSWORD '{word}'"))
        (Path(own_postgres.socket) / "pg_hba.conf").write_text("local all all scram-sha-256\n")
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
    root = on(tmp_path / "a", url, password_env="ASSAY_TEST_WORD")

    def opened() -> str:
        store = Workspace(root).store
        assert open_again(root / ".assay").setting("") is None
        return store.address

    with pytest.raises(StateError, match="the variable ASSAY_TEST_WORD"):
        opened()
    monkeypatch.setenv("ASSAY_TEST_WORD", "wrong")
    with pytest.raises(StoreError, match="password authentication failed"):
        opened()
    monkeypatch.setenv("ASSAY_TEST_WORD", word)
    assert word not in opened()
    on(root, url)
    with pytest.raises(StoreError):
        opened()
    monkeypatch.setenv("PGPASSWORD", word)
    opened()
    monkeypatch.delenv("PGPASSWORD")
    passfile = tmp_path / "pgpass"
    escaped = word.replace(":", "\\:")
    passfile.write_text(f"*:*:*:assay:{escaped}\n")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    opened()
    monkeypatch.delenv("PGPASSFILE")
    make_project(root, 3)
    inside = url.replace("assay@", "assay:hun%20ter2%40%3A%2Fx@")
    monkeypatch.setenv("ASSAY_DATABASE", inside)
    assert "ter2" not in opened()
    assert "ter2" not in (root / ".assay" / KEPT).read_text()


def test_nobody_names_a_database_over_the_web(tmp_path: Path) -> None:
    workspace = make_project(tmp_path, 3)

    def is_refused(text: str) -> None:
        draft = settings.read(workspace)
        [problem] = settings.validate(workspace, text, admin=True).problems
        assert problem.field == "state"
        assert "not over the web" in problem.message
        with pytest.raises(InvalidSettingsError):
            settings.save(workspace, text, based_on=draft.hash)
        assert settings.read(workspace).text == draft.text

    file = tmp_path / "assay.yaml"
    without = file.read_text()
    is_refused(edit(without, {"state": {"database": "postgresql://far.example/mine"}}))
    is_refused(edit(without, {"state": {"objects": "s3://mine"}}))
    # What stands there already stays, and is neither changed nor taken away.
    file.write_text(edit(without, {"state": {"schema_name": "mine"}}))
    is_refused(edit(without, {"state": {"schema_name": "theirs"}}))
    is_refused(without)
    draft = settings.read(workspace)
    text = edit(draft.text, {"margin": 0.03})
    assert not settings.validate(workspace, text, admin=True).problems
    settings.save(workspace, text, based_on=draft.hash)
    assert "mine" in file.read_text()


def test_a_variable_that_is_wrong_is_told_only_where_it_is_used(
    tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_DATABASE", "mysql://a@b/c")
    root = on(tmp_path / "a", empty_postgres)
    Workspace(root).store.set("word", "kept")
    assert Project(root).store.setting("word") == "kept"
    (tmp_path / "b").mkdir()
    for use in (Workspace, Project):
        with pytest.raises(ConfigError, match="the variable ASSAY_DATABASE"):
            _ = use(make_project(tmp_path / "b", 3).root).store


@pytest.mark.parametrize("found", ["", "[]", "{}", '{"folder": 1}', '{"folder": "a", "data'])
def test_a_record_of_the_database_that_is_damaged_is_a_sentence(tmp_path: Path, found: str) -> None:
    (tmp_path / ".assay").mkdir()
    (tmp_path / ".assay" / KEPT).write_text(found)
    with pytest.raises(StateError, match="does not say where the state is"):
        _ = Workspace(tmp_path).store


def test_what_a_user_of_the_database_may_not_do_is_a_sentence(
    tmp_path: Path, empty_postgres: str
) -> None:
    on(tmp_path / "a", empty_postgres)
    engine = Workspace(tmp_path / "a").store.engine
    url = empty_postgres.replace("assay@", "guest@")

    def is_told() -> None:
        with pytest.raises(StoreError, match="Let the database's owner give that right"):
            _ = Workspace(root).store

    def let(*commands: str) -> None:
        with engine.begin() as connection:
            for command in commands:
                connection.execute(text(command))

    let("CREATE ROLE guest LOGIN")
    try:
        root = on(tmp_path / "b", url, schema_name="assay_theirs")
        is_told()  # no right to make the schema
        let("CREATE SCHEMA assay_theirs")
        is_told()  # nor to use it
        let("GRANT ALL ON SCHEMA assay_theirs TO guest")
        store = Workspace(root).store
        let(
            "REVOKE ALL ON assay_theirs.settings FROM guest",
            "ALTER TABLE assay_theirs.settings OWNER TO assay",
        )
        with pytest.raises(StoreError, match="Let the database's owner give that right"):
            store.setting("word")
        is_told()
        store.engine.dispose()
    finally:
        let("DROP OWNED BY guest CASCADE", "DROP ROLE guest")


def test_without_psycopg_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"assay\[postgres\]"):
        Store(tmp_path, "postgresql://a@127.0.0.1:9/b")


def test_a_project_of_one_machine_needs_nothing_of_the_extras_for_several(tmp_path: Path) -> None:
    root = make_project(tmp_path, 3).root
    script = (
        "import assay, sys; opened = assay.open(sys.argv[1]); opened.store.set('word', 'kept');"
        "print(sorted({'ray', 'psycopg', 'obstore'} & {*sys.modules}))"
    )
    command = [sys.executable, "-P", "-c", script, str(root)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert told.stdout == "[]\n"


@pytest.mark.slow
def test_commands_say_where_the_state_is(
    tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_DATABASE", empty_postgres)
    root = tmp_path / "a"
    root.mkdir()
    assert run("keys", "create", "k", cwd=root).returncode == 0
    assert len(schemas(empty_postgres)) == 1
    done = run("backup", "a.tar", cwd=root)
    assert done.returncode == 1
    assert "pg_dump --schema=assay_folder_" in done.stderr
    shutil.rmtree(root / ".assay")
    (root / "b.tar").write_bytes(b"")
    done = run("restore", "b.tar", cwd=root)
    assert done.returncode == 2
    assert "PostgreSQL" in done.stderr
    assert not (root / ".assay").exists()
