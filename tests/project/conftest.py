"""What tests of whole projects share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from assay.compare import performance


@pytest.fixture(scope="module", autouse=True)
def few_timed() -> Iterator[None]:
    """How fast candidates answer is in doubt in none of them, and took a quarter of each
    comparison."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(performance, "THROUGHPUT_PROMPTS", 2)
        patch.setattr(performance, "LATENCY_PROMPTS", 1)
        yield
