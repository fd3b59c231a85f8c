"""The answers of a model that will end, kept so that it can be compared with, and distilled from.

choices = RecordingChoices(project)
draft = draft_recording("ft:gpt-4o-mini:acme::abc", access, Path("from-openai"), choices)
draft.usd, draft.seconds, draft.parts
report = record(draft, most_usd=5.0, progress=progress)

inputs.py    which inputs, in which order
teaching.py  what they would bring a student, before they are paid for
students.py  the cheap students that tell it
draft.py     what they will take: requests, tokens, money, time
asking.py    the answers, each on disk before the next is relied on, one by one or in batches
"""

from assay.project.recording.asking import check_budget, record
from assay.project.recording.draft import RecordingDraft, draft_recording, open_model, with_price
from assay.project.recording.inputs import BEST_FOR, PARTS, RecordingChoices

__all__ = [
    "BEST_FOR",
    "PARTS",
    "RecordingChoices",
    "RecordingDraft",
    "check_budget",
    "draft_recording",
    "open_model",
    "record",
    "with_price",
]
