"""`sft`: learn the answers, token by token."""

from __future__ import annotations

from assay.train.methods.spec import MethodSpec

SPEC = MethodSpec(
    name="sft",
    title="learn from answers",
    explanation="Makes every answer of the data more likely.",
    learns_from="answers",
    formula="mean cross-entropy of its tokens",
    proposed=True,
)
