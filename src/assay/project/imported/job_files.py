"""What was made of a job that was found among traces, and that in words."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from assay.quantities import say_count


@dataclass(slots=True)
class JobFiles:
    """What was made of a job.

    Attributes:
        project: folder of the project; None: there is none, and `reason` says why.
        labelled: rows that people have corrected or rated up; `corrected`: of them corrected.
        held: of them in the holdout.
        labelled_file: these rows; None: there are none, or they are in the project.
        inputs_file: inputs without a label, in random order; `inputs`: how many. In a project they
            are drawn at random and no training rows.
        recordings: a file of recorded answers for each model, and how many it has.
        down: inputs whose answer was rated down, and not corrected, or cut off: nothing learns from
            it.
        warning: what its score on the holdout means; None where there is no project.
    """

    folder: str
    project: str | None = None
    reason: str | None = None
    labelled: int = 0
    corrected: int = 0
    held: int = 0
    labelled_file: str | None = None
    inputs_file: str | None = None
    inputs: int = 0
    recordings: dict[str, int] = field(default_factory=dict)
    down: int = 0
    warning: str | None = None

    def sentences(self) -> list[str]:
        """What is there now, a sentence each."""
        if self.project:
            said = [
                f"{self.project}: {self.held} of {self.labelled} labelled rows are the holdout; it "
                "learns from the others and from the recorded answers.",
                f"Note: {self.warning}",
            ]
        else:
            said = [f"No project was made: {self.reason}"]
        if self.labelled_file:
            said.append(
                f"{say_count(self.labelled, 'row')} that people have judged: {self.labelled_file}"
            )
        if self.inputs_file:
            kept = f"{say_count(self.inputs, 'input')} without a label, in random order"
            said.append(f"{kept}: {self.inputs_file}")
        for file, count in self.recordings.items():
            said.append(f"{say_count(count, 'recorded answer')}: {file}")
        if self.down:
            inputs = say_count(self.down, "input")
            said.append(f"Nothing is learned from {inputs} whose answer was rated down or cut off.")
        return said

    def next_step(self) -> str | None:
        """What to do now, with its command; None: there is nothing to go on with."""
        if self.project:
            return f"assay compare --project {shlex.quote(self.project)}"
        if not (self.inputs_file and self.recordings):
            return None
        recording = shlex.quote(next(iter(self.recordings)))
        file = shlex.quote(self.labelled_file or "labelled.jsonl")
        kept = f"append them to {file}" if self.labelled_file else f"save them as {file}"
        return (
            f"add the right answer to the first inputs as the assistant's turn, {kept}, then: "
            f"assay init NAME --data {recording} --holdout {file}"
        )
