"""Training side by side with TRL and PEFT, in one run, on the same rows.

    pip install -e '.[bench]'
    python bench/train.py [sft-shared sft-unique dpo quality] [--json] [--full] [--steps 3]

SmolLM2-135M-Instruct, LoRA of rank 16 on all linear maps, 32 rows a step, the same rows in the
same order, the same learning rates. For each work:

1. 20 small steps in float32 on both sides: the losses must agree within 1e-3.
2. The peer's settings are tried on few rows, one kind after the other (number format, micro-batch,
   layout); `--full` tries all combinations, and checkpointing. Its loss is always chunked.
3. Assay, the peer by its best setting, Assay again (if that is a matter of a minute): three steps
   each, every training in a process of its own, so that its peak memory is known.

A rate is the median over steps of tokens as rendered / (seconds of the step + its share of the
preparation). `quality` trains both sides to the end on snips, in float32 with three seeds, and
compares the validation losses; without a WORK it is run with `--full` only. Data are looked for in
ASSAY_TEST_DATA, else in ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any, Literal

from train_works import Job, Setting, Work, quality_rows, works

Outcome = dict[str, Any]
Format = Literal["float32", "bfloat16", "bfloat16 weights"]

SMALL_STEPS = 20
AGREED = 1e-3
TRY_S = 300.0  # most time to try the peer's settings in, for each work
FORMAT_S = 60.0  # of it for one number format: a CPU that emulates bfloat16 takes minutes a step
MEASURE_S = 400.0  # after this no further step of the peer's best setting begins
AGAIN_S = 60.0  # ours is measured again after the peer if it takes no longer than this
SEEDS = (0, 1, 2)
LATE = "its time ran out"
FORMATS: tuple[Format, ...] = ("float32", "bfloat16", "bfloat16 weights")


@dataclass
class Line:
    """What is printed of a work; rates count tokens as rendered, memory is in 1e6 bytes."""

    work: str
    ours_tokens_per_s: float
    peer: str
    peer_tokens_per_s: float
    ratio: float
    ours_peak_mb: float
    peer_peak_mb: float


@dataclass
class Quality(Line):
    """Nats per trained token, one number a seed; the difference is ours less the peer's, mean."""

    ours_validation_losses: list[float]
    peer_validation_losses: list[float]
    difference: float
    deviation_over_seeds: float


def run(side: str, job: Job, limit_s: float) -> list[Outcome]:
    """The outcomes of a process that trains `job`; fewer than asked when its time ran out."""
    script = f"train_{side}.py"
    outcomes, failure = ask([script], job, limit_s)
    if failure and failure != LATE:
        if not outcomes and side == "ours":
            sys.exit(f"{script} failed:\n{failure}")
        say(f"    {script} failed:\n{failure}")
    return outcomes


def ask(command: Sequence[str], job: Job, limit_s: float) -> tuple[list[Outcome], str]:
    """What a script of this folder prints of `job`, and the end of what it says if it fails.

    Instead of that `LATE`, when its time ran out.
    """
    script = Path(__file__).with_name(command[0])
    known = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, str(script), *command[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=known,
        )
        try:
            out, _ = process.communicate(json.dumps(asdict(job)), timeout=limit_s)
            failure = ""
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
            failure = LATE
        if process.returncode and not failure:
            said.seek(0)
            failure = "".join(said.readlines()[-8:]) or f"it ended with {process.returncode}"
    return outcomes_in(out), failure


def outcomes_in(out: str) -> list[Outcome]:
    """The JSON objects among the lines; a library's banner is none, nor a line that was cut off."""
    found = []
    for line in out.splitlines():
        try:
            read = json.loads(line)
        except ValueError:
            continue
        if isinstance(read, dict):
            found.append(read)
    return found


def say(line: str) -> None:
    """To the terminal at once, apart from the result."""
    print(line, file=sys.stderr, flush=True)


def rates(outcome: Outcome) -> list[float]:
    """Tokens a second of each step, its share of the preparation counted."""
    whole = sum(outcome["tokens"])
    return [
        tokens / (seconds + outcome["prepare_s"] * tokens / whole)
        for tokens, seconds in zip(outcome["tokens"], outcome["step_s"], strict=True)
    ]


def succeeded(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that measured something; the others are printed."""
    for outcome in outcomes:
        if "error" in outcome:
            say(f"    {outcome['what']}: {outcome['error'][:300]}")
    return [outcome for outcome in outcomes if "error" not in outcome]


def difference_of_losses(work: Work) -> float:
    """The largest one over 20 small steps in float32."""
    ours = Job(
        work.method,
        work.small,
        rows_per_step=len(work.small) // SMALL_STEPS,
        learning_rate=work.learning_rate,
        compute="float32",
    )
    theirs = replace(ours, settings=(Setting("float32", micro=ours.rows_per_step),))
    a, b = run("ours", ours, 600), succeeded(run("peer", theirs, 600))
    if not (a and b) or a[0]["tokens"] != b[0]["tokens"] or len(b[0]["losses"]) != SMALL_STEPS:
        sys.exit(f"{work.name}: the two sides were not trained on the same tokens.")
    pairs = list(zip(a[0]["losses"], b[0]["losses"], strict=True))
    difference: float = max(abs(x - y) for x, y in pairs)
    say(
        f"  {SMALL_STEPS} small steps in float32: loss {pairs[0][0]:.4f} to {pairs[-1][0]:.4f}, "
        f"largest difference {difference:.1e}"
    )
    return difference


def best_setting(work: Work, full: bool) -> Setting:
    """The peer's fastest setting on few rows."""
    end = time.monotonic() + (24 * 3600 if full else TRY_S)
    found: dict[Setting, float] = {}

    def attempt(settings: Iterable[Setting], limit_s: float = math.inf) -> Setting:
        """Try those that were not; the best of all so far."""
        new = [setting for setting in settings if setting not in found]
        count = max([work.tried, *(setting.micro for setting in new)])
        job = Job(work.method, work.rows[:count], count, settings=tuple(new))
        left = max(1.0, min(limit_s, end - time.monotonic()))
        outcomes = run("peer", job, left) if new else []
        for setting, outcome in zip(new, outcomes, strict=False):
            for measured in succeeded([outcome]):
                found[setting] = statistics.median(rates(measured))
                say(f"    {setting}: {found[setting]:.0f} tokens/s")
        for setting in new[len(outcomes) :]:
            say(f"    {setting}: no result, its time ran out or its process ended")
        if not found:
            sys.exit(f"{work.name}: none of the peer's settings ran.")
        return max(found, key=lambda setting: found[setting])

    if full:
        every = product(FORMATS, (1, 2, 4, 8), ({}, *work.layouts))
        best = attempt(Setting(form, micro, **layout) for form, micro, layout in every)
        return attempt([replace(best, checkpointing=True)])
    for form in FORMATS:
        best = attempt([Setting(form)], FORMAT_S)
    best = attempt(replace(best, micro=micro) for micro in (1, 4))
    while best.micro == max(setting.micro for setting in found) and time.monotonic() < end:
        best = attempt([replace(best, micro=2 * best.micro)])
    return attempt(replace(best, **layout) for layout in work.layouts)


def measure(work: Work, full: bool) -> Line:
    """Ours, the peer by its best setting, ours again."""
    setting = best_setting(work, full)
    job = Job(
        work.method,
        work.rows,
        learning_rate=work.learning_rate,
        limit_s=MEASURE_S,
        peak=work.name == "sft-unique",
        settings=(setting,),
    )
    before = run("ours", job, 2 * MEASURE_S)
    theirs = succeeded(run("peer", job, 2 * MEASURE_S))
    after = before
    if before and sum(before[0]["step_s"]) < AGAIN_S:
        after = run("ours", job, 2 * MEASURE_S)
    if not (before and theirs and after):
        sys.exit(f"{work.name}: not measured; see above.")
    for side, outcome in (("ours", before[0]), ("peer", theirs[0]), ("ours", after[0])):
        say(
            f"  {side}: {outcome['what']}: prepared in {outcome['prepare_s']:.1f} s, steps "
            + " ".join(f"{seconds:.1f}" for seconds in outcome["step_s"])
            + f" s, {sum(outcome['tokens'])} tokens, peak {outcome['peak_mb']:.0f} MB "
            f"({outcome['loaded_mb']:.0f} MB when loaded)"
        )
    first = before[0]
    alone = [sum(o["tokens"]) / sum(o["step_s"]) for o in (before[0], theirs[0], after[0])]
    say("  tokens/s of the steps alone: " + ", ".join(f"{speed:.0f}" for speed in alone))
    say(f"  {first['computed'] / sum(first['tokens']):.1%} of the tokens, shared ones counted once")
    if first["limit_tokens_per_s"]:
        say(
            f"  a large matrix product runs at {first['gflops']:.0f} GFLOP/s, which would allow "
            f"{first['limit_tokens_per_s']:.0f} tokens/s"
        )
    ours = statistics.median(rates(before[0]) + rates(after[0]))
    peer = statistics.median(rates(theirs[0]))
    return Line(
        work=work.name,
        ours_tokens_per_s=round(ours, 1),
        peer=f"TRL {version('trl')}: {setting}",
        peer_tokens_per_s=round(peer, 1),
        ratio=round(ours / peer, 2),
        ours_peak_mb=round(max(before[0]["peak_mb"], after[0]["peak_mb"])),
        peer_peak_mb=round(theirs[0]["peak_mb"]),
    )


def quality() -> Line:
    """Validation losses after two epochs of snips, three seeds."""
    rows, validation = quality_rows()
    setting = Setting("float32", micro=2)
    ours, peer = [], []
    for seed in SEEDS:
        job = Job(
            "sft",
            rows,
            epochs=2,
            seed=seed,
            validation=validation,
            compute="float32",
            settings=(setting,),
            limit_s=24 * 3600,
        )
        ours += run("ours", job, 24 * 3600)
        peer += succeeded(run("peer", job, 24 * 3600))
    if not len(ours) == len(peer) == len(SEEDS):
        sys.exit("quality: not measured; see above.")
    losses = [[outcome["validation_loss"] for outcome in side] for side in (ours, peer)]
    differences = [a - b for a, b in zip(*losses, strict=True)]
    speed = [statistics.median(r for o in side for r in rates(o)) for side in (ours, peer)]
    return Quality(
        work="quality",
        ours_tokens_per_s=round(speed[0], 1),
        peer=f"TRL {version('trl')}: {setting}",
        peer_tokens_per_s=round(speed[1], 1),
        ratio=round(speed[0] / speed[1], 2),
        ours_peak_mb=round(max(outcome["peak_mb"] for outcome in ours)),
        peer_peak_mb=round(max(outcome["peak_mb"] for outcome in peer)),
        ours_validation_losses=losses[0],
        peer_validation_losses=losses[1],
        difference=statistics.mean(differences),
        deviation_over_seeds=statistics.stdev(losses[1]),
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["sft-shared", "sft-unique", "dpo", "quality"]
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of: {', '.join(names)}")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true", help="wide sweep, and quality; hours")
    parser.add_argument("--steps", type=int, default=3, help="measured steps of 32 rows")
    given = parser.parse_args()
    if unknown := set(given.works) - set(names):
        parser.error(f"unknown work: {', '.join(sorted(unknown))}")
    try:
        libraries = {
            name: version(name) for name in ("assay", "torch", "transformers", "peft", "trl")
        }
    except PackageNotFoundError as missing:
        sys.exit(f"{missing.name} is not installed: pip install -e '.[bench]'")
    say(
        f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}, Python "
        f"{platform.python_version()}, " + ", ".join(f"{k} {v}" for k, v in libraries.items())
    )
    lines, apart = [], []
    all_works = works(given.steps)
    for name in given.works or (names if given.full else names[:-1]):
        say(name)
        if name == "quality":
            lines.append(quality())
            continue
        if difference_of_losses(all_works[name]) > AGREED:
            apart.append(name)
        lines.append(measure(all_works[name], given.full))
        say(table(lines[-1]))
    if given.json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
    else:
        print("\n".join(table(line) for line in lines))
    if apart:
        sys.exit(f"the losses of {', '.join(apart)} differ by more than {AGREED}.")


def table(line: Line) -> str:
    """One line for people."""
    return (
        f"{line.work}: {line.ours_tokens_per_s:.0f} tokens/s against {line.peer_tokens_per_s:.0f}, "
        f"{line.ratio:.1f} times, {line.ours_peak_mb:.0f} MB against {line.peer_peak_mb:.0f} MB "
        f"({line.peer})"
    )


if __name__ == "__main__":
    main()
