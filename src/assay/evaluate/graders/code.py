"""`python`: a user's own function as a grader, run only when the user says `--trust-code`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from assay.config.names import CodeName, file_of
from assay.errors import ConfigError
from assay.evaluate.graders.registry import GraderSettings, GradingContext, Score, over_all
from assay.evaluate.trusted import Limits, trusted_function
from assay.example import Example


class PythonSettings(GraderSettings):
    """Settings of `python`."""

    file: CodeName = Field(
        min_length=1, description="Python file, relative to the project's folder"
    )
    function: str = Field(
        "grade", pattern=r"^[A-Za-z_]\w*$", description="called as function(answer, example)"
    )
    seconds_per_answer: float = Field(5.0, gt=0)
    seconds: float = Field(600.0, gt=0, description="for all answers together")
    memory_mib: int = Field(2048, ge=64)

    def path(self, root: Path) -> Path:
        """The grader's file, below the project's folder `root`."""
        return file_of(self.file, root)

    def check(self, context: GradingContext) -> None:
        """The file has to be there; it is neither read nor run here."""
        if not self.path(context.root).is_file():
            raise ConfigError(
                f"the file {self.file} of the grader python does not exist.",
                where=str(context.root),
                fix="Correct `file` in its settings; it is relative to the project's folder.",
            )


@over_all(
    "python",
    "What a Python function of your own returns (only with --trust-code).",
    settings=PythonSettings,
    needs=("trust",),
    points="from a check of your own",
)
def python(
    answers: Sequence[str],
    examples: Sequence[Example],
    settings: PythonSettings,
    context: GradingContext,
) -> list[Score]:
    """One process for all answers; see `assay.evaluate.trusted` for its limits."""
    limits = Limits(
        seconds_per_call=settings.seconds_per_answer,
        seconds=settings.seconds,
        memory_mib=settings.memory_mib,
    )
    path = settings.path(context.root)
    with trusted_function(path, settings.function, limits, folder=context.root) as function:
        return [
            Score(function(answer, _as_dict(example)))
            for answer, example in zip(answers, examples, strict=True)
        ]


def _as_dict(example: Example) -> dict[str, object]:
    """The example as the user's function sees it: Assay's own form and the parts used most."""
    return example.to_dict() | {
        "input": example.input,
        "output": example.output,
        "accepted": list(example.accepted),
    }
