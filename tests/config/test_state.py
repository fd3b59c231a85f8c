"""The section `state` of assay.yaml: PostgreSQL or nothing, and no password in a file."""

from __future__ import annotations

import pytest

from assay.config import parsed_config
from assay.config.state import database_variable, state_in
from assay.errors import ConfigError

TEXT = """name: pets
task: label
data: {file: a.csv}
graders: [{name: exact}]
primary: exact
candidates: [prompt]
state:
"""


@pytest.mark.parametrize(
    ("line", "field", "said"),
    [
        ("database: sqlite:///x.db", "state.database", "use a PostgreSQL database"),
        ("database: mysql://a@b/c", "state.database", "use a PostgreSQL database"),
        ("database: postgres://a@b/c", "state.database", "postgresql:// instead"),
        ("database: postgresql://a@b", "state.database", "name of the database is missing"),
        ("database: postgresql://a@b:x/c", "state.database", "not a URL"),
        ("database: postgresql://a:hunter2@b/c", "state.database", "password_env"),
        ("database: postgresql://a:12/hunter2@b/c", "state.database", "%2F for /"),
        ("database: postgresql://a:12/c?hunter2@b/c", "state.database", "%2F for /"),
        ("database: postgresql://a:p@hunter2@b/c", "state.database", "%40 for @"),
        ("database: postgresql://b/c?password=hunter2", "state.database", "password_env"),
        ("schema_name: pg_mine", "state.schema_name", "belong to PostgreSQL"),
        ("schema_name: My schema", "state.schema_name", "pattern"),
        ("url: postgresql://a@b/c", "state.url", "no such setting"),
    ],
)
def test_what_is_no_database_is_told_at_its_field_and_no_password_is_repeated(
    line: str, field: str, said: str
) -> None:
    config, [problem] = parsed_config(f"{TEXT}  {line}\n")
    assert config is None
    assert (problem.field, problem.line) == (field, 8)
    assert said in problem.message
    with pytest.raises(ConfigError, match="line 8") as error:
        state_in(f"{TEXT}  {line}\ntask: nonsense\n".replace("task: label\n", "more: x\n"))
    assert "hunter2" not in f"{problem} {error.value}"


def test_the_section_is_read_whatever_else_is_wrong() -> None:
    found = state_in(f"{TEXT}  database: postgresql://a@b/c\nnonsense: 1\n")
    assert found is not None
    assert (found[0].database, found[1]) == ("postgresql://a@b/c", "pets")
    assert state_in("name: [") is None
    found = state_in("name: My Pets\n")
    assert found is not None
    assert (found[0].database, found[1]) == (None, None)


def test_the_variable_may_hold_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_DATABASE", raising=False)
    assert database_variable() is None
    monkeypatch.setenv("ASSAY_DATABASE", "postgresql://a:hunter2@b/c")
    assert database_variable() == "postgresql://a:hunter2@b/c"
    for wrong in ("mysql://a:hunter2@b/c", "postgresql://a:p@hunter2@b/c"):
        monkeypatch.setenv("ASSAY_DATABASE", wrong)
        with pytest.raises(ConfigError, match="the variable ASSAY_DATABASE") as error:
            database_variable()
        assert "hunter2" not in str(error.value)
