"""`reinforcement`: learn from graders, by GRPO as the field has mended it (`train.reinforce`).

Shao et al. 2024, DeepSeekMath, sec. 4.1 (arXiv:2402.03300), with the mends of Dr. GRPO
(arXiv:2503.20783) and DAPO (arXiv:2503.14476); see docs/reinforcement.md.
"""

from __future__ import annotations

from assay.train.methods.spec import MethodSpec

SPEC = MethodSpec(
    name="reinforcement",
    title="learn from graders",
    explanation="Draws several answers to each prompt and makes those more likely that the grader "
    "finds better than the others.",
    learns_from="answers",
    formula="−min(r A, clip(r) A) + β k3, mean over all tokens of the step",
    rate=1 / 20,
    reinforces=True,
)
