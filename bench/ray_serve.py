"""Two servers behind HAProxy and two replicas of Ray Serve, asked the same, in one run.

    python3 -m venv VENV && VENV/bin/pip install -c constraints.txt '.[ray]' 'ray[serve]==2.60.0'
    VENV/bin/python bench/ray_serve.py [--requests 60] [--rounds 3] [--callers 6] [--held 4]

On each side two processes with a core each answer for twelve adapters and hold a few: the same app,
engine and state. What differs is who chooses the process: `deploy/haproxy.cfg`, by key with a bound
or by the fewest requests under way, or Ray Serve, whose `@serve.multiplexed` loads an adapter where
it is asked for and has further requests sent there. Each adapter says one word, whatever it is
asked; an answer with the word of another one comes from there. While one side is asked, the others
are not. Replicas of Ray Serve listen at every address of the machine, behind the cluster's token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from assay.interpreter import python
from ray_serve_adapters import SAID, write_adapters
from ray_serve_load import Caller, Request, Side, draw_load

ROOM_BYTES = 3_000_000_000
ADAPTER_BYTES = 19_600_000
"""Of a file of the starter with that rank."""
HOST, BY_KEY = "127.0.0.1", "balance hdr(Authorization)"
CORES = sorted(os.sched_getaffinity(0))[:2]
DEPLOY = Path(__file__).parents[1] / "deploy" / "haproxy.cfg"


def limit(core: int, held: int, log: str) -> None:
    """Hold this process to a core and to `held` adapters, and log each engine that it starts."""
    from assay.generate import local_pool

    engine = import_module("assay.generate.llamacpp.engine")
    for task in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(task), {core})
    start = engine.LlamaCppServer

    def started(*given: Any) -> Any:
        with open(log, "a") as file:
            file.write("started\n")
        return start(*given)

    room = ROOM_BYTES * local_pool.SHARE_OF_MEMORY
    vars(engine)["LlamaCppServer"] = started
    vars(local_pool)["free_bytes"] = lambda: ROOM_BYTES
    vars(local_pool)["SHARE_OF_ADAPTERS"] = (held + 0.5) * ADAPTER_BYTES / room


@contextmanager
def started(*command: str, out: Path, says: str) -> Iterator[tuple[str, psutil.Process]]:
    """A process, once it has said something; with what it said there."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with out.open("wb") as file:
        running = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        while not (said := re.search(says, out.read_text())):
            if running.poll() is not None:
                sys.exit(out.read_text())
            time.sleep(0.1)
        yield said[0], psutil.Process(running.pid)
    finally:
        running.terminate()
        running.wait()


def free_port() -> int:
    """One that nobody listens at."""
    with socket.create_server((HOST, 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def ours(folder: Path, made: Path, held: int, by_key: bool) -> Iterator[Side]:
    """Two servers behind HAProxy, over plain HTTP."""
    log, port = made / "starts.txt", free_port()
    with ExitStack() as stack:
        begun = []
        for core in CORES:
            code = (
                f"import ray_serve; ray_serve.limit({core}, {held}, {str(log)!r})\n"
                "from assay.cli.main import run; run()"
            )
            options = ("--folder", str(folder), "--port", "0", "--no-train")
            said = started(
                *python("-c", code, "serve", *options),
                out=made / f"{core}.txt",
                says=r"(?<=http://)127\S+",
            )
            begun.append(stack.enter_context(said))
        text = DEPLOY.read_text()
        others = {
            "    user haproxy\n    group haproxy\n": "    nbthread 1\n",
            "bind :443 ssl crt assay.pem alpn h2,http/1.1": f"bind {HOST}:{port}",
            "10.0.0.1:8000": begun[0][0],
            "10.0.0.2:8000": begun[1][0],
        }
        if by_key:
            others |= {f"#{BY_KEY}": BY_KEY, "#hash": "hash", "    balance leastconn\n": ""}
        for there, other in others.items():
            assert there in text, there
            text = text.replace(there, other)
        file = made / "haproxy.cfg"
        file.write_text(re.sub("ssl verify required.*", "", text))
        haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
        assert haproxy, "no HAProxy here"
        balancer = (haproxy, "-db", "-f", str(file))
        _, process = stack.enter_context(started(*balancer, out=made / "out.txt", says=""))
        yield Side(f"http://{HOST}:{port}", log, [process, *(p for _, p in begun)])


@contextmanager
def by_ray(folder: Path, made: Path, held: int) -> Iterator[Side]:
    """The same app in two replicas of Ray Serve."""
    from assay.place.ray.cluster import local_cluster

    log, port, before = made / "starts.txt", free_port(), psutil.Process().children()
    with local_cluster(len(CORES)):
        from ray import serve
        from starlette.requests import Request as Asked
        from starlette.responses import Response

        class Server:
            """`assay serve`, but for listening."""

            def __init__(self) -> None:
                from assay.project.workspace import open_to_serve
                from assay.serve.app import create_app

                limit(CORES[serve.get_replica_context().rank.rank], held, str(log))
                workspace = open_to_serve(folder)
                self.engines = workspace.engines()
                transport = httpx.ASGITransport(create_app(workspace, self.engines))
                self.http = httpx.AsyncClient(transport=transport, base_url="http://assay")

            @serve.multiplexed(max_num_models_per_replica=held)  # type: ignore[untyped-decorator]
            async def load(self, model: str) -> str:
                """Start an engine that has the adapter, by a token of its answer."""
                from assay.example import Message
                from assay.generate.stream import Sampling

                def ask() -> None:
                    engine = self.engines.engine(model)
                    said = (Message(role="user", content="hi"),)
                    list(engine.chat(said, (), Sampling(max_new_tokens=1)))

                await asyncio.to_thread(ask)
                return model

            async def __call__(self, asked: Asked) -> Response:
                """One request."""
                await self.load(serve.get_multiplexed_model_id())
                body, head = await asked.body(), asked.headers
                reply = await self.http.post(asked.url.path, content=body, headers=head)
                return Response(reply.content, reply.status_code, media_type="application/json")

        made_of = serve.deployment(
            num_replicas=len(CORES), max_ongoing_requests=128, ray_actor_options={"num_cpus": 1}
        )(Server)
        serve.start(http_options={"host": HOST, "port": port})
        serve.run(made_of.bind(), logging_config={"enable_access_log": False})
        processes = [p for p in psutil.Process().children() if p not in before]
        yield Side(f"http://{HOST}:{port}", log, processes)
        serve.shutdown()


def main() -> None:
    """Write adapters, start all, ask in turn, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=60, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--callers", type=int, default=6)
    parser.add_argument("--held", type=int, default=4, help="adapters in memory of a process")
    given = parser.parse_args()
    with ExitStack() as stack:
        whole = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-serve-")))
        folder, *made = [whole / name for name in ("state", "a", "b", "c")]
        for one in (folder, *made):
            one.mkdir()
        caller = Caller(folder, write_adapters(folder))
        sides = {
            "by key, with a bound": stack.enter_context(ours(folder, made[0], given.held, True)),
            "fewest under way": stack.enter_context(ours(folder, made[1], given.held, False)),
            "Ray Serve": stack.enter_context(by_ray(folder, made[2], given.held)),
        }
        for side in sides.values():
            for adapter in range(len(SAID)):
                caller.ask(side, Request(adapter, "hi", 8))
        for number in range(given.rounds):
            load, names = draw_load(given.requests, number), list(sides)
            first = number % len(names)
            for name in names[first:] + names[:first]:
                caller.ask_all(sides[name], load, given.callers)
                print(number, name, f"{sides[name].rates[-1]:.2f}/s", flush=True)
        report(sides, given.requests * given.rounds)


def report(sides: dict[str, Side], asked: int) -> None:
    """Medians over rounds, with the least and the greatest; sums of the rest."""
    for name, side in sides.items():
        figures = {"requests/s": side.rates, "p50 s": side.p50, "p95 s": side.p95}
        said = (
            f"{of} {np.median(them):.2f} ({min(them):.2f} to {max(them):.2f})"
            for of, them in figures.items()
        )
        memory = sum(p.memory_full_info().pss for p in side.trees()) / 1e6
        print(
            f"{name}: {', '.join(said)}; {side.starts} starts of an engine, "
            f"{1000 * side.busy_s / asked:.0f} ms of a core a request, {memory:.0f} MB, "
            f"{len(side.wrong)} of {asked} answers from another adapter {side.wrong[:3]}"
        )
    names = ("assay", "ray", "xllamacpp", "fastapi")
    print(json.dumps({name: version(name) for name in names}))


if __name__ == "__main__":
    main()
