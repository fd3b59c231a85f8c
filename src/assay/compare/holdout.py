"""The locked holdout: the one place that reads its rows, and the log of every opening.

An opening is logged before a row is read, so that a look cannot go unrecorded. The same
comparison (same candidates, same plan) resumed after a kill is the same opening.

A comparison opens the holdout that it began with, though the examples were edited and divided anew
meanwhile. What the new holdout shares with it has been seen then, so that counts as an opening of
the new one, too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from assay.compare.result import OpeningRecord
from assay.data.shared_split import dividing
from assay.data.split import LOCK, MANIFEST, SplitManifest, read_manifest, refuse_other
from assay.errors import HoldoutError, Step
from assay.evaluate.stats import opening_alpha
from assay.example import Example, Message, read_examples
from assay.generate.recorded import input_sha256
from assay.store import audit
from assay.store.files import sha256_file
from assay.store.locks import in_use, is_in_use
from assay.store.store import Store
from assay.store.tables import ComparisonRow, OpeningRow

HOLDOUT_FILE = "holdout.jsonl"
KEPT = Path("cache") / "holdouts"
"""Beside a split: holdouts of comparisons that are being made, each with a lock of that name."""
LOCKED, DRAFT = ".lock", ".draft"
PROGRAM = "mcp:"
"""Begins the name of whoever asks by way of MCP (`who` of an opening)."""
HOLDOUT = "Holdout: "
"""Begins what is said before anybody is asked for rows of the holdout; `assay.mcp.jobs` hides what
is said after it."""


class LoggedOpening(OpeningRecord):
    """A line of the log with who asked, as in the audit log, or `PROGRAM` and which program; None:
    before that was kept. Results, which people share, name nobody."""

    who: str | None = None

    @property
    def record(self) -> OpeningRecord:
        """The line as a result has it."""
        return OpeningRecord.model_validate(self.model_dump(exclude={"who"}))


def opened_holdouts(store: Store) -> set[str]:
    """The holdouts that were ever opened, by their sha256."""
    with store.session() as session:
        return set(session.scalars(select(OpeningRow.holdout).distinct()))


def openings(store: Store, holdout: str) -> list[LoggedOpening]:
    """The log of a holdout (by its sha256), oldest first."""
    with store.session() as session:
        rows = session.scalars(
            select(OpeningRow).where(OpeningRow.holdout == holdout).order_by(OpeningRow.number)
        ).all()
        return [
            LoggedOpening(
                number=row.number,
                at=row.at.isoformat(),
                reason=row.reason,
                comparison=row.comparison,
                alpha=row.alpha,
                who=row.who,
            )
            for row in rows
        ]


def is_program(who: str | None) -> bool:
    """Whether a name in the log is that of a program that asked by way of MCP."""
    return who is not None and who.startswith(PROGRAM)


def openings_by_programs(log: Iterable[LoggedOpening]) -> int:
    """How many of these openings programs have asked for."""
    return sum(is_program(record.who) for record in log)


def check_limit(log: Sequence[LoggedOpening], comparison: str | None, most: int) -> None:
    """See that a program may open a holdout once more, or has opened it for this comparison.

    Args:
        log: of the holdout.
        comparison: id; None: one that has not opened it.

    Raises:
        HoldoutError: programs have opened it `most` times.
    """
    if any(record.comparison == comparison for record in log) or openings_by_programs(log) < most:
        return
    times = "once" if most == 1 else f"{most} times"
    raise HoldoutError(
        f"programs have opened this holdout {times}, which is all that its owner allows."
        if most
        else "the owner does not allow programs to open the holdout.",
        fix="Ask the owner, who can run `assay compare`, raise `openings` under `mcp` in "
        f"assay.yaml, or lock new examples with {Step.RENEW_HOLDOUT}.",
    )


class OpeningTakenError(HoldoutError):
    """Another comparison has had the opening that a plan was written for."""


def next_opening(store: Store, holdout: str, comparison: str) -> int:
    """The number this comparison's opening has, or would have."""
    log = openings(store, holdout)
    for record in log:
        if record.comparison == comparison:
            return record.number
    return len(log) + 1


@dataclass(frozen=True, slots=True)
class OpeningRequest:
    """Why a holdout is to be opened, and on whose behalf.

    Attributes:
        who: for the log; None: nobody says.
        most: openings of it that programs may ask for, all of them together.
    """

    reason: str
    who: str | None = None
    most: int = 0


def open_holdout(
    store: Store,
    split: Path,
    holdout: str,
    request: OpeningRequest,
    *,
    comparison: str,
    alpha: float,
) -> list[Example]:
    """Log the opening, check the lock, and only then read the rows.

    Args:
        split: folder of the split.
        holdout: sha256 that the holdout was locked with.
        comparison: id of the comparison, whose plan must have been written down.
        alpha: family-wise level over all openings.

    Raises:
        OpeningTakenError: the plan was written for an opening that another comparison has had.
        HoldoutError: no plan was written, the file is missing, it is not the one locked, or a
            program asks and programs have opened it, or the present one of the same rows, as often
            as they may.
        ObjectsError: another server has divided anew, and the bucket is out of reach.
    """
    with dividing(store):  # here now as any server divided last, and nobody does at this moment
        with store.session() as session:
            row = session.get(ComparisonRow, comparison)
        if row is None:
            raise HoldoutError("a holdout can be opened only for a comparison with a written plan.")
        path, opened, present = _locked(split, holdout), [holdout], _present(split)
        if present not in (None, holdout) and _shares_rows(split / HOLDOUT_FILE, path):
            opened.append(str(present))
        if is_program(request.who):
            for one in opened:
                check_limit(openings(store, one), comparison, request.most)
        log = openings(store, holdout)
        is_first = all(record.comparison != comparison for record in log)
        if is_first and row.plan["opening"] != len(log) + 1:
            raise OpeningTakenError(
                f"the plan states opening {row.plan['opening']}, and {len(log) + 1} is the next."
            )
        for one in opened:
            _log(store, one, comparison, request, alpha)
        return list(read_examples(path))


@contextmanager
def keep_holdout(
    store: Store, split: Path, manifest: SplitManifest, begun: Path | None = None
) -> Iterator[None]:
    """Within the block the holdout of a split can be opened, though another takes its place.

    A lock in this folder says that it is being used, and one of the database says so on other
    machines (`kept_elsewhere`). They end with the process; what a process that was killed has left
    is removed here.

    Args:
        begun: folder of the split that it is in; None: the present one.

    Raises:
        StateError: another split has taken its place already.
    """
    folder = begun or split
    source = folder / HOLDOUT_FILE
    kept = split.parent / KEPT / f"{manifest.holdout_sha256}-{uuid4().hex[:8]}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    of_all = in_use(store, _in_use_name(manifest.holdout_sha256))
    with FileLock(kept.with_suffix(LOCKED)), of_all:
        with suppress(FileNotFoundError):  # opening says what is missing
            try:
                os.link(source, kept)  # takes no room, and a byte that is changed is in both
            except FileNotFoundError:
                raise
            except OSError:  # a file system without links
                os.replace(shutil.copyfile(source, kept.with_suffix(DRAFT)), kept)
        try:
            refuse_other(folder, manifest)
            yield
        finally:
            kept.unlink(missing_ok=True)
    remove_left_holdouts(split)


def remove_left_holdouts(split: Path) -> set[str]:
    """Remove holdouts that were kept for comparisons which are not being made any more; the sha256
    of those that stay."""
    used = set()
    for name in {path.stem for path in (split.parent / KEPT).glob("*.*")}:
        kept = split.parent / KEPT / f"{name}.jsonl"
        lock = FileLock(kept.with_suffix(LOCKED))
        try:
            with suppress(FileNotFoundError), lock.acquire(timeout=0):
                for suffix in (kept.suffix, DRAFT, LOCKED):
                    kept.with_suffix(suffix).unlink(missing_ok=True)
        except Timeout:
            used.add(name.rpartition("-")[0])
    return used


def kept_elsewhere(store: Store, split: Path) -> set[str]:
    """The sha256 of the present holdout, where a comparison is being made with it that another
    folder may keep it for; else nothing."""
    present = _present(split)
    return {present} if present and is_in_use(store, _in_use_name(present)) else set()


def _in_use_name(holdout: str) -> str:
    return f"holdout {holdout}"


def holdout_keys(split: Path, holdout: str) -> list[tuple[str, str]]:
    """Id and hash of the input (`input_sha256`) of each of the holdout's rows, in their order.

    They tell nothing of what is in them; no opening.
    """
    return [(one.id, input_sha256(one)) for one in read_examples(_locked(split, holdout))]


def holdout_inputs(
    store: Store, split: Path, holdout: str, *, project: str, who: str, model: str, origin: str
) -> list[Example]:
    """The holdout's inputs, for a model elsewhere whose answers are kept until a comparison.

    A row brings its id, the turns before its target and its tools, and nothing that an answer could
    be scored by. So this is no opening: that is the comparison which scores the answers. It is
    logged (`holdout.record` of the audit log) before a row is read.

    Args:
        model, origin: who is asked, and where.

    Raises:
        HoldoutError: the file is missing, or it is not the one locked.
    """
    with store.lock(LOCK):  # nobody divides anew at this moment
        path = _locked(split, holdout)
        told = {"holdout": holdout, "origin": origin}
        audit.audit(store, project, who, "holdout.record", model, told)
        return [
            Example(one.id, (*one.prompt, Message("assistant", "")), one.tools)
            for one in read_examples(path)
        ]


def rows_held_out(split: Path, holdout: str, rows: Collection[str]) -> int:
    """How many of the holdout's rows are among `rows` (by `Example.content_hash`).

    A count tells nothing of what is in them; no opening.
    """
    return sum(e.content_hash() in rows for e in read_examples(_locked(split, holdout)))


def asks_any(split: Path, holdout: str, inputs: Collection[str]) -> bool:
    """Whether a row of the holdout asks one of `inputs` (`Example.input`), whatever its answer; no
    opening."""
    return any(row.input in inputs for row in read_examples(_locked(split, holdout)))


def _locked(split: Path, holdout: str) -> Path:
    """The holdout's file, as it was locked."""
    path = split / HOLDOUT_FILE
    if _present(split) not in (None, holdout):
        kept = next((split.parent / KEPT).glob(f"{holdout}-*.jsonl"), None)
        if kept is None:
            raise HoldoutError(
                "the examples have been split again since, and this holdout is gone.",
                fix="Compare again: the comparison then uses the examples as they are now.",
            )
        path = kept
    if not path.exists():
        raise HoldoutError(
            "the locked holdout is missing.",
            where=str(path),
            fix=f"Restore it from a backup, or start afresh with {Step.RENEW_HOLDOUT}.",
        )
    if sha256_file(path) != holdout:
        raise HoldoutError(
            "the holdout was changed after it was locked, so nothing measured on it would be "
            "valid.",
            where=str(path),
            fix=f"Restore the file, or start afresh with {Step.RENEW_HOLDOUT}.",
        )
    return path


def _present(split: Path) -> str | None:
    """The sha256 of the holdout that is there now, whatever it was; None: no manifest says."""
    return read_manifest(split).holdout_sha256 if (split / MANIFEST).exists() else None


def _shares_rows(file: Path, other: Path) -> bool:
    """Whether a holdout asks what another asks; a label may be corrected since. No opening."""
    seen = {example.input for example in read_examples(other)}
    return any(example.input in seen for example in read_examples(file))


def _log(
    store: Store, holdout: str, comparison: str, request: OpeningRequest, alpha: float
) -> None:
    for _ in range(3):
        try:
            with store.session() as session:
                mine = (OpeningRow.holdout == holdout) & (OpeningRow.comparison == comparison)
                if session.scalar(select(OpeningRow).where(mine)) is not None:
                    return
                last = session.scalar(
                    select(func.max(OpeningRow.number)).where(OpeningRow.holdout == holdout)
                )
                number = (last or 0) + 1
                session.add(
                    OpeningRow(
                        holdout=holdout,
                        number=number,
                        comparison=comparison,
                        reason=request.reason,
                        alpha=opening_alpha(alpha, number),
                        who=request.who,
                    )
                )
            return
        except IntegrityError:
            continue  # another comparison took the number between the look and the insert
    raise HoldoutError("the log of openings is busy.", fix="Try again in a moment.")
