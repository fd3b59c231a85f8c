"""From the files a project names to a split with a locked holdout, in one call.

Read, check, reject, divide, keep twins apart, write. What was made from the same files and
settings is used again. What is locked is the *content* of the holdout: as long as all its rows
are in the file (`locked`), train and validation are made anew at any time; a split whose holdout
was opened is never replaced by one with another holdout (see `renew`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from assay.chat.template import Template
from assay.config import Config
from assay.data.contents import quote_label
from assay.data.dialogues import keep_dialogues_whole
from assay.data.gather import ExampleSource, GatheredExamples
from assay.data.locked import (
    changes_of_holdout,
    drawing_settings,
    pin_holdout,
    refusal,
    refusal_without_split,
    tell_unmeasured_labels,
)
from assay.data.partition import (
    components,
    draw,
    join_groups,
    merge_liked,
    merge_references,
    stratum_of,
    take_share,
    with_groups,
)
from assay.data.problems import name_causes
from assay.data.quarantine import separate
from assay.data.read import detect
from assay.data.seen import list_seen, refuse_seen
from assay.data.split import (
    HOLDOUT,
    MANIFEST,
    RECYCLED,
    SplitManifest,
    verify_split,
    write_split,
)
from assay.errors import DataError, DivisionError, Step
from assay.example import Example, dump_examples, read_examples
from assay.progress import SILENT, Progress
from assay.quantities import say_count

LEAST_ROWS = 10
LEAST_VALIDATION = 100
LEAST_NEW_EXAMPLES = 30
MOST_LOST = 0.05
"""Share of an official holdout that may be unusable before it no longer speaks for the job."""


def prepare(
    config: Config,
    root: Path,
    folder: Path,
    *,
    template: Template | None = None,
    context_length: int | None = None,
    opened: Collection[str] = (),
    taken: Collection[str] = (),
    replacing: Callable[[], None] | None = None,
    progress: Progress = SILENT,
) -> SplitManifest:
    """Make the split of a project, or find that it is there already.

    Args:
        root: folder that the configuration's file names are relative to.
        folder: where the split is kept.
        template, context_length: of the model; longer examples are rejected.
        opened: what the holdouts that were ever opened were locked with (the log of openings says).
        taken: the same of those that comparisons which are not over are going to open.
        replacing: called while the old split is still there, if a new one will take its place.

    Raises:
        DataError: a file cannot be read; a DivisionError: its examples cannot be divided.
        HoldoutError: the split was tampered with, or a new one would have another holdout
            although the present one, or one of a split that is gone, was opened.
    """
    source = ExampleSource(config, root, template, context_length, progress)
    key = source.key()
    if not (folder / MANIFEST).exists():
        found = source.gather(holdout=True)
        return _divide(source, folder, found, key, generation=1, among=opened)
    present = verify_split(folder)
    is_opened, is_taken = (present.holdout_sha256 in known for known in (opened, taken))
    if present.key == key:
        return present
    if replacing is not None:
        replacing()
    found = source.gather(holdout=present.generation == 1)
    if present.generation > 1:
        found.holdout = list(read_examples(folder / HOLDOUT))
        found.recycle(_recycled(folder))
    elif (is_opened or is_taken) and config.data.holdout is None and present.drawn_by:
        pin_holdout(source, folder, found, present, list_seen(folder), is_opened=is_opened)
    locked = present if is_opened else None
    return _divide(source, folder, found, key, generation=present.generation, locked=locked)


def renew(
    config: Config,
    root: Path,
    folder: Path,
    file: Path | str,
    *,
    template: Template | None = None,
    context_length: int | None = None,
    progress: Progress = SILENT,
) -> SplitManifest:
    """Replace the holdout by new examples; the old one may be trained on from now on.

    Args:
        file: new examples, in the form of the project's data, none of them seen before.

    Raises:
        DataError: there is no split yet, fewer than 30 usable new examples, or some repeat what
            train, validation, the quarantine or a holdout held.
    """
    source = ExampleSource(config, root, template, context_length, progress)
    present, found = verify_split(folder), source.gather(holdout=False)
    had = found.rejected
    fresh, left_out, wrong = source.read_new(file, found)
    if len(fresh) < LEAST_NEW_EXAMPLES:
        raise DataError(
            f"{say_count(len(fresh), 'usable new example')}; a new holdout needs at least "
            f"{LEAST_NEW_EXAMPLES}. {' '.join((*left_out, *wrong))}".rstrip(),
            where=str(file),
            fix="Correct these rows, or collect more." if found.rejected > had else "Collect more.",
        )
    former = _recycled(folder)
    if config.data.holdout is not None or present.generation > 1:
        old = read_examples(folder / HOLDOUT)
        former += [replace(e, id=f"holdout-{present.generation}-{e.id}") for e in old]
    found.recycle(former)
    refuse_seen(fresh, [*found.pool, *(found.validation or ()), *list_seen(folder)], str(file))
    found.holdout = fresh
    generation = present.generation + 1
    return _divide(source, folder, found, source.key(), generation=generation, told=left_out)


def _divide(
    source: ExampleSource,
    folder: Path,
    found: GatheredExamples,
    key: str,
    *,
    generation: int,
    locked: SplitManifest | None = None,
    among: Collection[str] = (),
    told: Sequence[str] = (),
) -> SplitManifest:
    """Divide what was found, keep twins apart, and write it.

    Args:
        locked: whose holdout is kept.
        among: what the holdout has to be locked with, one of several; empty: it may be any.
        told: warnings on what was read.
    """
    config, progress = source.config, source.progress
    data, task, seed = config.data, config.task, config.data.split.seed
    stratum = stratum_of(task)
    whole = keep_dialogues_whole(found) if task == "tools" else []
    warnings = [*told, *whole, *_check_enough(source, found)]
    component = components(found.pool, progress)
    pool = with_groups(found.pool, component)
    official, given = found.holdout or [], found.validation or []
    official_component = components(official, progress)
    joined = join_groups(
        (found.pool, component),
        (official, official_component),
        (given, components(given, progress)),
    )
    if found.holdout is None:
        held = take_share(
            pool, component, data.split.holdout, seed=seed, purpose="holdout", stratum=stratum
        )
        holdout = [e for row, e in enumerate(pool) if row in held]
    else:
        held = set()
        holdout = with_groups(official, official_component)
    rest = [row for row in range(len(pool)) if row not in held]
    train, validation = [pool[r] for r in rest], found.validation
    if validation is None:
        taken = take_share(
            train,
            [component[r] for r in rest],
            data.split.validation,
            seed=seed,
            purpose="validation",
            stratum=stratum,
        )
        validation = [e for row, e in enumerate(train) if row in taken]
        train = [e for row, e in enumerate(train) if row not in taken]
    holdout, disliked_rows = _measurable(holdout)
    warnings += disliked_rows
    if task == "text":
        holdout = merge_references(holdout)
    if generation == 1:
        holdout = draw(
            holdout, data.holdout_rows, seed=seed, purpose="holdout rows", stratum=stratum
        )
    parted = separate(train, validation, holdout, task, joined, progress)
    train = draw(parted.train, data.train_rows, seed=seed, purpose="train rows", stratum=stratum)
    validation = parted.validation
    if found.validation is None and data.train_rows is not None:
        # Few training rows should not meet a costly validation: it shrinks in proportion.
        share = data.split.validation
        few = max(LEAST_VALIDATION, round(data.train_rows * share / (1 - share)))
        validation = draw(validation, few, seed=seed, purpose="validation rows", stratum=stratum)
    with_twins = [*validation, *parted.validation_twins] if parted.alarm else None
    if task == "text":
        validation = merge_liked(validation)
        with_twins = merge_liked(with_twins) if with_twins is not None else None
    if disliked := sum(not example.liked for example in validation):
        said = say_count(disliked, "validation row is", "validation rows are")
        warnings.append(f"{said} rated thumbs down: that counts in the kto loss, in no score.")
    _check_parts(source, train, validation, holdout)
    if locked is not None and _sha256(holdout) != locked.holdout_sha256:
        raise refusal(str(folder), changes_of_holdout(locked.drawn_by, locked.classes, config))
    if found.is_kept and task == "label":
        warnings += tell_unmeasured_labels(train, holdout)
    if among and _sha256(holdout) not in among:
        raise refusal_without_split(str(folder))
    about = SplitManifest(
        key=key,
        task=task,
        file=data.file,
        format=data.format or detect(source.file, data.columns).format,
        official_split=found.holdout is not None and not found.is_kept,
        rows=found.rows,
        rejected=found.rejected,
        seed=seed,
        drawn_by=drawing_settings(config),
        generation=generation,
        problems=dict(sorted(found.problems.items())),
        duplicates={"exact": found.exact, "near": found.near},
        quarantine=parted.summary,
        warnings=warnings,
    )
    return write_split(
        folder,
        train,
        validation,
        holdout,
        about,
        removed=parted.removed,
        with_twins=with_twins,
        recycled=found.recycled,
    )


def _measurable(holdout: list[Example]) -> tuple[list[Example], list[str]]:
    """The rows of a holdout whose answer is right, as far as anybody said, and a warning."""
    liked = [example for example in holdout if example.liked]
    if len(liked) == len(holdout):
        return holdout, []
    if not liked:
        raise DivisionError(
            "every row of the holdout is rated thumbs down, so there is no correct answer to "
            "score against.",
            fix="Add rows whose answer is rated thumbs up.",
        )
    left = len(holdout) - len(liked)
    verbs = ("is", "was") if left == 1 else ("are", "were")
    return liked, [
        f"{left} of the holdout's {len(holdout)} rows {verbs[0]} rated thumbs down and {verbs[1]} "
        "left out: such an answer cannot be used to score others."
    ]


def _check_enough(source: ExampleSource, found: GatheredExamples) -> list[str]:
    """Refuse what cannot be divided; returns warnings on what can, with a loss."""
    where = str(source.config.data.file)
    usable, rejected = len(found.pool), found.pool_rejected
    if usable < LEAST_ROWS:
        raise DivisionError(
            f"{say_count(usable, 'usable row')}; at least {LEAST_ROWS} are needed, and a few "
            "hundred for a verdict."
            + (f" Rejected ({rejected}): {name_causes(found.pool_problems)}." if rejected else ""),
            where=where,
            fix=f"{Step.MEND_REJECTED}, or add examples." if rejected else "Add examples.",
        )
    warnings = _check_holdout_whole(source, found)
    if source.config.task != "label":
        return warnings
    labels = Counter(e.output.strip() for e in found.pool)  # graders ignore spaces around it
    if len(labels) == 1:
        apart = f"apart from rejected rows ({rejected:,}), " if rejected else ""
        raise DivisionError(
            f"{apart}every output is {quote_label(next(iter(labels)))}, so there is nothing to "
            "classify.",
            where=where,
            fix="Add rows with other labels, name all labels in `labels` (Settings), or use "
            "another column as the output.",
        )
    single = sorted(label for label, count in labels.items() if count == 1)
    if single and found.holdout is None:
        named = ", ".join(map(quote_label, single[:10])) + (", ..." if len(single) > 10 else "")
        have = say_count(len(single), "label has only one row", "labels have only one row each")
        raise DivisionError(
            f"{have}, which cannot be used both to train and to measure: {named}.",
            where=where,
            fix="Add a row for each, correct the label if it is a typo, or remove the row.",
        )
    unknown = sorted({e.output.strip() for e in found.holdout or ()} - set(labels))
    if not unknown:
        return warnings
    named = ", ".join(map(quote_label, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
    have = say_count(len(unknown), "label in the holdout has", "labels in the holdout have")
    return [*warnings, f"{have} no training row: {named}."]


def _check_holdout_whole(source: ExampleSource, found: GatheredExamples) -> list[str]:
    """Refuse a holdout that has lost many rows: the rest would not speak for the job."""
    lost, rows = found.holdout_rejected, found.holdout_rows
    if found.holdout is None or not lost:
        return []
    said = f"{lost} of the {rows} rows of the holdout cannot be used"
    if not found.holdout or lost > MOST_LOST * rows:
        raise DivisionError(
            f"{said}: a verdict on the other rows would not represent the job.",
            where=str(source.config.data.holdout),
            fix=f"In the project, {Step.CHECK_FILE.of(str(source.config.data.holdout))} lists the "
            "reasons. If the rows are correct, extend `labels` or `output_schema` in assay.yaml: "
            "their lists of allowed values were taken from the training rows.",
        )
    return [f"{said}; the scores cover only the other rows."]


def _check_parts(
    source: ExampleSource,
    train: list[Example],
    validation: list[Example],
    holdout: list[Example],
) -> None:
    for name, part in (("train", train), ("validation", validation), ("holdout", holdout)):
        if not part:
            raise DivisionError(
                f"no row is left for {name}: rows of one group, and rows whose inputs are nearly "
                "the same, are kept in the same part of the split, and the file has too few "
                "such groups.",
                where=str(source.config.data.file),
                fix="Use a group column with more groups, add more varied examples, or move a long "
                "text that every input repeats into system_prompt.",
            )


def _recycled(folder: Path) -> list[Example]:
    return list(read_examples(folder / RECYCLED)) if (folder / RECYCLED).exists() else []


def _sha256(examples: list[Example]) -> str:
    digest = hashlib.sha256()
    for line in dump_examples(examples):
        digest.update(line.encode())
    return digest.hexdigest()
