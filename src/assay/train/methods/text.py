"""`text`: learn documents, token by token: continued pre-training.

Gururangan et al. 2020, Don't Stop Pretraining (arXiv:2004.10964).
"""

from __future__ import annotations

from assay.train.methods.spec import MethodSpec

SPEC = MethodSpec(
    name="text",
    title="learn documents",
    explanation="Makes the text of the documents of `knowledge` more likely, without questions or "
    "answers.",
    learns_from="documents",
    formula="mean cross-entropy of its tokens",
)
