"""Other Python processes: what is said of their end."""

from __future__ import annotations

import pytest

from assay.interpreter import ending


@pytest.mark.parametrize(
    ("code", "said"), [(3, "exit code 3"), (-9, "SIGKILL"), (-40, "signal 40")]
)
def test_the_end_of_a_process_is_named(code: int, said: str) -> None:
    assert ending(code) == said
