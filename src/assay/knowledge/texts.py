"""What documents came to when they were read, kept by content: nothing is read twice."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from assay import json_reader
from assay.errors import Step
from assay.knowledge.chunk import Page
from assay.knowledge.parse import ParsedDocument, kind_of
from assay.knowledge.table import IndexBrokenError
from assay.store.files import write_atomic


class Texts:
    """The pages of each content (sha256 of a file, and the kind it was read as), in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, sha256: str, kind: str) -> bool:
        """Whether a file of this content was read."""
        return self.path(sha256, kind).exists()

    def put(self, sha256: str, kind: str, parsed: ParsedDocument) -> None:
        """Keep what a file came to."""
        pages = [[page.number, page.text] for page in parsed.pages]
        body = {"pages": pages, "skipped": parsed.skipped}
        write_atomic(self.path(sha256, kind), json.dumps(body, ensure_ascii=False))

    def get(self, sha256: str, kind: str) -> ParsedDocument:
        """What a content that was read came to.

        Raises:
            IndexBrokenError: it is gone, or damaged.
        """
        try:
            body = json_reader.read(self.path(sha256, kind).read_bytes())
        except (OSError, ValueError):
            raise IndexBrokenError(
                "the text of a document is missing or damaged.",
                where=str(self.path(sha256, kind)),
                fix=f"{Step.CHECK_KNOWLEDGE} to see which documents this concerns, then add all of "
                "them again, or remove them, at once.",
            ) from None
        return ParsedDocument(
            tuple(Page(number, text) for number, text in body["pages"]),
            tuple((name, why) for name, why in body["skipped"]),
        )

    def take(self, other: Texts, sha256: str, document: str) -> None:
        """Keep what another folder has of a content.

        Args:
            document: what it is called there.

        Raises:
            IndexBrokenError: it is gone there, or damaged.
        """
        kind = kind_of(document)
        assert kind is not None  # it was read
        if not self.has(sha256, kind):
            self.put(sha256, kind, other.get(sha256, kind))

    def others(self, keep: Collection[str]) -> list[Path]:
        """The files of all contents but these (sha256), and unfinished ones."""
        if not self._folder.is_dir():
            return []
        return [path for path in self._folder.iterdir() if path.name.split(".")[0] not in keep]

    def sweep(self, keep: Collection[str]) -> None:
        """Remove all but these contents."""
        for path in self.others(keep):
            path.unlink(missing_ok=True)

    def path(self, sha256: str, kind: str) -> Path:
        """Where the text of a content is, or would be."""
        return self._folder / f"{sha256}.{kind}.json"
