"""Two real replicas: how long they take, and whether the simulated ones take as long.

    python bench/fleet_replicas.py --database postgresql://… --bucket s3://BUCKET/PREFIX \
        [--seconds 110] [--rate 0.7] --out FILE

An empty database and an empty place in a bucket (AWS_* in the environment say where). 60 adapters
of rank 16 of the starter, random ones, are put there; two `assay serve` processes with folders of
their own serve them, each on one core, with room for 20. Time is that of `fleet_clock.py`, so that
other work on the machine counts little.

1. Both are asked at the same time, one request after the other each, what a request, a token, a
   new engine and a fetch take; after the rest two new processes are asked so, too. What counts is
   the median of these four.
2. Both are asked what twelve tenants ask, spread by each of the four policies in turn. Every
   request is kept with what it took; `bench/fleet.py` simulates the same requests.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from scipy.optimize import nnls

from fleet_clock import FleetClock, ReplicaClock
from fleet_load import ADAPTERS, Bursts, draw_load, tenant_shares
from fleet_model import SLOTS, Arrival, Fleet, Outcome, Policy, Router, Times
from fleet_summary import summary

if TYPE_CHECKING:
    from assay.generate.base import BaseDescription
    from assay.models.versions import VersionRecord

STARTER = "smollm2-135m-instruct"
TENANTS, HELD, RANK = 12, 20, 16
SPARE = TENANTS * ADAPTERS
"""An adapter beside those of the tenants, for what a process does once."""
ROOM_BYTES = 3_250_000_000
"""That a replica finds free: a quarter of the half of it holds so many adapters."""
END = 2
"""The token that ends the starter's answers; it is made unlikely, so that their length is known."""
WORDS = (" time", " year", " people", " way", " day", " man", " thing", " woman", " life", " child")
REPLAYED: tuple[Policy, ...] = ("affinity", "bounded", "least", "random")
"""In this order each replica has adapters to fetch until the last."""
GRID = ((30, 8), (30, 40), (110, 8), (110, 40))
"""Tokens of a prompt (about) and an answer whose times are fitted."""
ROUNDS, FETCHED, LOADED = 4, 24, 8
# The pool takes a share of what is free; a machine with so little is not at hand.
SERVE = """
import os, sys
os.sched_setaffinity(0, {{{core}}})
from assay.generate import local_pool
local_pool.free_bytes = lambda: {room}
from assay.cli.main import run
run()
"""


AdapterHistory = list[list[int]]
"""Adapters that each replica was asked for, in their order."""


@dataclass
class Replica:
    """A running one, and who asks it."""

    http: httpx.Client
    ids: list[str]
    clock: ReplicaClock

    def ask(self, adapter: int, prompt: int, answer: int, number: int) -> int:
        """Get an answer; returns the tokens of the prompt."""
        words = f"{number}" + "".join(WORDS[(number // 7 + n) % len(WORDS)] for n in range(prompt))
        body = {
            "model": f"version:{self.ids[adapter]}",
            "messages": [{"role": "user", "content": words}],
            "max_tokens": answer,
            "temperature": 0,
            "logit_bias": {str(END): -100},
        }
        reply = self.http.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200, reply.text
        usage = reply.json()["usage"]
        assert usage["completion_tokens"] == answer, usage
        return int(usage["prompt_tokens"])


def random_adapter(folder: Path, config: Any, seed: int) -> None:
    """An adapter as PEFT writes it, of all linear maps."""
    import torch
    from safetensors.torch import save_file

    hidden, wide = config.hidden_size, config.intermediate_size
    keys = config.num_key_value_heads * (hidden // config.num_attention_heads)
    maps = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
    }
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(config.num_hidden_layers):
        for name, (out, into) in maps.items():
            place = f"base_model.model.model.layers.{layer}.{name}"
            first = torch.randn(RANK, into, generator=draw) / into**0.5
            tensors[f"{place}.lora_A.weight"] = first
            tensors[f"{place}.lora_B.weight"] = 0.002 * torch.randn(out, RANK, generator=draw)
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "target_modules": [name.split(".")[1] for name in maps],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def record_of(base: BaseDescription, seed: int) -> VersionRecord:
    """What is kept of an adapter of the starter beside its files."""
    from assay.models.versions import VersionRecord

    return VersionRecord(
        base=STARTER,
        base_sha256=base.weights_sha256,
        data={},
        settings={"rank": RANK},
        seed=seed,
        code=version("assay"),
        template=base.template.to_dict(),
        template_sha256=base.template.sha256,
    )


def prepare(folder: Path) -> tuple[list[str], str]:
    """Put adapters into the bucket that the environment names; their ids, and a key."""
    from assay.accounts.keys import create_key
    from assay.generate.base import describe_base
    from assay.models.versions import save_version
    from assay.project.workspace import Workspace

    workspace, base = Workspace(folder), describe_base(STARTER)
    ids = []
    for seed in range(SPARE + 1):
        with tempfile.TemporaryDirectory() as made:
            random_adapter(Path(made), base.config.get_text_config(), seed)
            ids.append(save_version(workspace.store, Path(made), record_of(base, seed)))
    shutil.rmtree(folder / ".assay" / "cache")
    key = create_key(workspace.store, workspace.name, "bench", ["chat"])[1]
    workspace.store.engine.dispose()
    return ids, key


@contextmanager
def replicas(folder: Path, ids: list[str], key: str) -> Iterator[list[Replica]]:
    """Two processes, each on a core and with a folder of its own, which has nothing yet."""
    head, limits = {"Authorization": f"Bearer {key}"}, httpx.Limits(max_connections=200)
    with ExitStack() as stack:
        begun = []
        for core in sorted(os.sched_getaffinity(0))[:2]:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory())) / folder.name
            (place / ".assay").mkdir(parents=True, mode=0o700)
            shutil.copy(folder / ".assay" / "database.json", place / ".assay")
            output = place / "output.txt"
            code = SERVE.format(core=core, room=ROOM_BYTES)
            command = [sys.executable, "-P", "-c", code, "serve", "--port", "0"]
            with output.open("wb") as file:
                process = subprocess.Popen(command, cwd=place, stdout=file, stderr=file)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            begun.append((process, output))
        found = []
        for process, output in begun:
            while not (said := re.search(r"Listening on (\S+)", output.read_text())):
                if process.poll() is not None:
                    sys.exit(output.read_text())
                time.sleep(0.1)
            http = httpx.Client(base_url=said[1], headers=head, timeout=600, limits=limits)
            clock = ReplicaClock(process.pid)
            found.append(Replica(stack.enter_context(http), ids, clock))
        for one in found:
            one.ask(SPARE, 30, 8, 0)  # loads what a process loads once
        yield found


def timed(replica: Replica, *asks: tuple[int, int, int, int]) -> tuple[float, list[int]]:
    """Seconds until all answers are whole that are asked at the same time, and prompts' tokens."""
    with FleetClock([replica.clock]) as fleet, ThreadPoolExecutor(len(asks)) as pool:
        with fleet.changed:
            fleet.begin(0, 0.0)
        prompts = list(pool.map(lambda ask: replica.ask(*ask), asks))
        with fleet.changed:
            return fleet.end(0), prompts


def calibrate(replica: Replica) -> tuple[Times, list[int]]:
    """The times of a replica that was asked for the spare adapter alone, and the adapters that it
    was asked for since."""
    seconds, sizes = [], []
    for number in range(ROUNDS * len(GRID)):
        prompt, answer = GRID[number % len(GRID)]
        taken, [counted] = timed(replica, (SPARE, prompt, answer, 100 + number))
        seconds.append(taken)
        sizes.append((1.0, counted, answer))
    request, each_prompt, each_token = fitted(sizes, seconds)

    def whole(prompt: int, answer: int) -> float:
        return request + prompt * each_prompt + answer * each_token

    speed = [1.0]
    for together in (2, 4, 8):
        taken, prompts = timed(replica, *((SPARE, 30, 24, 200 + n) for n in range(together)))
        speed.append(max(1.0, sum(whole(prompt, 24) for prompt in prompts) / taken))
    between = [float(np.interp(n, (1, 2, 4, 8), speed)) for n in range(1, SLOTS + 1)]

    asked = [*range(FETCHED), *range(LOADED)]  # the first have a file then, and went since
    extra, kinds = [], []
    for number, adapter in enumerate(asked):
        taken, [counted] = timed(replica, (adapter, 30, 8, 300 + number))
        extra.append(taken - whole(counted, 8))
        kinds.append((1.0, min(2 + number, HELD), float(number < FETCHED)))
    start, each, fetch = fitted(kinds, extra)
    return Times(request, each_prompt, each_token, start, each, fetch, tuple(between)), asked


def fitted(rows: Sequence[tuple[float, ...]], values: Sequence[float]) -> list[float]:
    """Factors, none below 0, with the least absolute differences: few values are far off, where
    other work has taken the processor's caches."""
    a, y = np.array(rows), np.array(values)
    found = nnls(a, y)[0]
    for _ in range(50):
        weights = 1 / np.sqrt(np.maximum(np.abs(a @ found - y), 1e-4))
        found = nnls(a * weights[:, None], y * weights)[0]
    return [float(one) for one in found]


def replay(found: list[Replica], load: Sequence[Arrival], policy: Policy) -> list[Outcome]:
    """Ask what the load says, when it says so; prompts' tokens are those that were counted."""
    router = Router(Fleet(len(found), HELD, policy), 0)
    clocks, done = [one.clock for one in found], list[Outcome]()
    with FleetClock(clocks) as fleet, ThreadPoolExecutor(200) as pool:

        def ask(number: int, arrival: Arrival, chosen: int) -> None:
            counted = found[chosen].ask(
                arrival.adapter, arrival.prompt, arrival.answer, 1000 + number
            )
            with fleet.changed:
                seconds = fleet.end(chosen) - arrival.at
                done.append(Outcome(replace(arrival, prompt=counted), seconds, "", chosen))

        asks = []
        for number, arrival in enumerate(load):
            with fleet.changed:
                fleet.wait_until(arrival.at)
                under_way = [clock.under_way for clock in clocks]
                chosen = router.choose(arrival.tenant, under_way, range(len(found)))
                fleet.begin(chosen, arrival.at)
            asks.append(pool.submit(ask, number, arrival, chosen))
        for one in asks:
            one.result()
    return done


def rows(outcomes: Sequence[Outcome]) -> list[list[float | None]]:
    """Each request, in the order of arrival, with its replica and its seconds."""
    ordered = sorted(outcomes, key=lambda one: one.arrival.at)
    return [[*astuple(one.arrival), one.replica, one.seconds] for one in ordered]


def calibrate_all(found: Sequence[Replica]) -> tuple[list[Times], AdapterHistory]:
    """All at the same time, as they will be asked; with what each was asked for."""
    with ThreadPoolExecutor(len(found)) as pool:
        made = list(pool.map(calibrate, found))
    for times, _ in made:
        say(asdict(times))
    return [times for times, _ in made], [[SPARE, *asked] for _, asked in made]


def median(several: Sequence[Times]) -> Times:
    """The median of each of the times."""
    flat = np.median([[*astuple(one)[:-1], *one.speed] for one in several], axis=0).tolist()
    request, prompt, token, start, adapter, fetch, *speed = flat
    return Times(request, prompt, token, start, adapter, fetch, tuple(speed))


def main() -> None:
    """Measure, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", required=True, help="URL of an empty database")
    parser.add_argument("--bucket", required=True, help="s3://BUCKET/PREFIX without objects")
    parser.add_argument("--seconds", type=float, default=110, help="of each replay")
    parser.add_argument("--rate", type=float, default=0.7, help="requests a second, of both")
    parser.add_argument("--out", type=Path, required=True, help="JSON, for bench/fleet.py")
    given = parser.parse_args()
    os.environ |= {"ASSAY_DATABASE": given.database, "ASSAY_OBJECTS": given.bucket}
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    bursts = Bursts(every_s=given.seconds / 2, lasting_s=20, share=0.5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "fleet"
        folder.mkdir()
        ids, key = prepare(folder)
        real: dict[Policy, list[Outcome]] = {}
        with replicas(folder, ids, key) as found:
            several, before = calibrate_all(found)
            for number, policy in enumerate(REPLAYED):
                shares = tenant_shares(TENANTS, 1.0)
                load = draw_load(shares, given.rate, given.seconds, number, bursts)
                real[policy] = replay(found, load, policy)
                say({"policy": policy, **asdict(summary(real[policy]))})
        with replicas(folder, ids, key) as found:  # once more: other work weighs differently
            several += calibrate_all(found)[0]
    whole = {
        "times": asdict(median(several)),
        "before": before,
        "replays": [{"policy": policy, "requests": rows(real[policy])} for policy in REPLAYED],
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "versions": {name: version(name) for name in ("assay", "xllamacpp", "obstore")},
    }
    given.out.write_text(json.dumps(whole) + "\n")


def say(line: dict[str, Any]) -> None:
    """At once, for it takes a while."""
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
