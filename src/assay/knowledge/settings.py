"""What all passages of a knowledge base have in common."""

from __future__ import annotations

from dataclasses import dataclass

from assay.errors import StateError, Step, UsageError
from assay.models.embed import STARTER

LANGUAGES = (
    "Arabic", "Danish", "Dutch", "English", "Finnish", "French", "German", "Greek", "Hungarian",
    "Italian", "Norwegian", "Portuguese", "Romanian", "Russian", "Spanish", "Swedish", "Tamil",
    "Turkish",
)  # fmt: skip
"""Those whose word endings BM25 can leave out."""


@dataclass(frozen=True, slots=True)
class KnowledgeSettings:
    """What all passages of a build have in common.

    Attributes:
        embedder: a catalogue name, a local folder or a hub id.
        chunk_tokens: the longest passage, in the embedder's tokens; what is beyond the embedder's
            limit is seen by BM25 alone.
        language: whose word endings and stop words BM25 leaves out; one of `LANGUAGES`.

    Raises:
        UsageError: there is no such language, or the passages would have no tokens.
    """

    embedder: str = STARTER
    chunk_tokens: int = 200
    language: str = "English"

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise UsageError(
                f"{self.language!r} is not a language whose words can be indexed.",
                fix=f"Use one of {', '.join(LANGUAGES)}.",
            )
        if self.chunk_tokens < 1:
            raise UsageError(f"passages of {self.chunk_tokens} tokens cannot contain text.")

    def __str__(self) -> str:
        return (
            f"the embedder {self.embedder}, passages of {self.chunk_tokens} tokens and "
            f"{self.language} words"
        )


def same_settings(
    name: str, there: KnowledgeSettings | None, asked: KnowledgeSettings | None
) -> KnowledgeSettings:
    """Those that an addition to a knowledge base has.

    Args:
        there: what its passages have; None: it has none.
        asked: None: as they are, or the defaults.

    Raises:
        StateError: others than those that are there.
    """
    if there is None:
        return asked or KnowledgeSettings()
    if asked not in (None, there):
        raise StateError(
            f"{name} was made with {there}, not with {asked}.",
            fix=f"{Step.REBUILD} to create it again with other settings.",
        )
    return there
