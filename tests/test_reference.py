"""The generated reference is what the code says."""

import pytest

from tests import reference


@pytest.mark.parametrize("name", [*reference.PAGES, "assay.schema.json"])
def test_reference_is_up_to_date(name: str) -> None:
    made = reference.PAGES.get(name, reference.schema)()
    kept = (reference.FOLDER / name).read_text(encoding="utf-8")
    assert kept == made, "run `make docs`"
