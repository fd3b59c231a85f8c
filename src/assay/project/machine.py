"""What Assay finds on this machine: what decides how fast it is, and what would stop it."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from assay import wait_policy
from assay.config import CONFIG_FILE, STATE_FOLDER, Provider
from assay.errors import AssayError
from assay.interpreter import startup_code
from assay.models import hub
from assay.models.device import available_bytes, best_device, cores
from assay.models.openai_tokens import vocabulary_file
from assay.models.products import (
    LIMITS,
    Products,
    faster_format,
    forget,
    processor,
    products,
    remembered_in,
)
from assay.models.pull import cache_folder
from assay.project.estimate import (
    DECODE_TOKENS_PER_S,
    REFERENCE_FLOPS,
    TRAIN_TOKENS_PER_S,
    flops_of,
)
from assay.project.models import largest_tuned
from assay.project.settings.providers import list_providers
from assay.project.workspace import Workspace
from assay.store.object_place import objects_of

LIBRARIES = ("torch", "transformers", "peft", "xllamacpp", "sentence-transformers", "lancedb")
LEAST_DISK = 2_000_000_000
LEAST_MEMORY = 2_000_000_000
"""Bytes: the starter model, its GGUF file and a comparison's state; a training of the starter."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found.

    Attributes:
        libraries: version by name; None: not installed.
        instructions: sets that torch and its libraries may use, such as "avx512_bf16".
        limits: variables of the environment that keep them from some.
        threads: of a product; `cores` are those that this process may keep busy.
        thread_limit: the variable that keeps products from more threads; None: none does.
        number_format: what a training multiplies in, see `faster_format`.
        products: operations a second of a large product, by number format.
        remembered_in: the file they are kept in.
        wait_policy: who decides how threads wait for each other.
        wait_policy_variables: what the user has set for it.
        startup_code: files that run whenever Python starts, and whose each is; None: nobody's.
        training_tokens_per_s, answer_tokens_per_s: about, of the starter model; None with a GPU,
            where nothing is known before it is tried.
        largest_tuned: parameters of the largest model that can be trained in the free memory.
        memory_bytes, disk_bytes: free.
        openai_vocabulary: what token ids in place of texts to embed are read with; None: not here.
        hub: whether it answers, see `assay.models.hub.state`; None: it was not asked.
        database: of the folder, if there is state in it, and that it answers.
        objects: the bucket of the folder's files, if there is one, and that it can be used.
        providers: of the folder: where each is, and where its key comes from.
        problems: what would stop work or slow it, each a sentence with what to do.
    """

    assay: str
    python: str
    system: str
    libraries: dict[str, str | None]
    processor: str
    instructions: tuple[str, ...]
    limits: dict[str, str]
    cores: int
    threads: int
    thread_limit: str | None
    device: str
    number_format: str
    products: Products
    remembered_in: Path
    wait_policy: wait_policy.Source
    wait_policy_variables: str
    startup_code: dict[str, str | None]
    training_tokens_per_s: float | None
    answer_tokens_per_s: float | None
    largest_tuned: int
    memory_bytes: int
    cache_folder: Path
    disk_bytes: int
    openai_vocabulary: Path | None
    hub: str | None
    database: str | None
    objects: str | None
    providers: dict[str, str]
    problems: tuple[str, ...]


def examine(folder: Path | None = None, *, again: bool = False, ask_hub: bool = False) -> Machine:
    """This machine, as a process of Assay finds it.

    Args:
        folder: whose database and providers are looked at, if it is a project or served.
        again: measure the products anew, whatever is remembered of them.
        ask_hub: see whether it answers, which takes a few seconds without a network.
    """
    import torch

    if again:
        forget()
    cache, device = cache_folder(), best_device()
    memory, disk = available_bytes(torch.device("cpu")), _disk_bytes(cache)
    measured, found = products(), _state_of(folder)
    speed = flops_of(measured) / REFERENCE_FLOPS if device == "cpu" else None
    return Machine(
        assay=version("assay"),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        libraries={name: _version(name) for name in LIBRARIES},
        processor=_name(processor()),
        instructions=_instructions(),
        limits={name: os.environ[name] for name in LIMITS if name in os.environ},
        cores=cores(),
        threads=torch.get_num_threads(),
        thread_limit=_thread_limit(torch.get_num_threads()),
        device=device,
        number_format=faster_format(device),
        products=measured,
        remembered_in=remembered_in(),
        wait_policy=wait_policy.source(),
        wait_policy_variables=wait_policy.user_variables(),
        startup_code=startup_code(),
        training_tokens_per_s=None if speed is None else TRAIN_TOKENS_PER_S * speed,
        answer_tokens_per_s=None if speed is None else DECODE_TOKENS_PER_S * speed,
        largest_tuned=largest_tuned(memory),
        memory_bytes=memory,
        cache_folder=cache,
        disk_bytes=disk,
        openai_vocabulary=vocabulary_file(),
        hub=hub.state() if ask_hub else None,
        database=found.database,
        objects=found.objects,
        providers=found.providers,
        problems=(*_problems(cache, memory, disk), *found.problems),
    )


@dataclass(frozen=True, slots=True)
class _State:
    """Of a folder, see `Machine`."""

    database: str | None = None
    objects: str | None = None
    providers: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def _state_of(folder: Path | None) -> _State:
    if folder is None or not any((folder / n).exists() for n in (CONFIG_FILE, STATE_FOLDER)):
        return _State()
    try:
        workspace = Workspace(folder)
        workspace.store.setting("")  # of no name: only to be answered
        rows = list_providers(workspace.providers)
    except AssayError as error:
        return _State(problems=(f"The project in {folder} cannot be used: {error}",))
    found = {row["name"]: _describe(row, workspace.providers[row["name"]]) for row in rows}
    database, bucket = f"{workspace.store.address} answers", workspace.store.bucket
    try:
        objects_of(workspace.store)
    except AssayError as error:
        return _State(database, bucket, found, (f"Stored files cannot be used: {error}",))
    if bucket is not None:
        bucket += " answers and honours conditional writes"
    return _State(database, bucket, found)


def _describe(row: dict[str, Any], provider: Provider) -> str:
    """Where a provider is, and what is to be done before it can be asked."""
    name, key, consent = row["name"], row["key"], "yes"
    if provider.key_env and provider.key_env not in os.environ:
        key += ", which is not set: set it"
    elif provider.key_file and not Path(provider.key_file).is_file():
        key += ", which is not there: write the key into it"
    elif key == "none":
        key += f" (where it needs one: `assay providers add {name}`)"
    if not row["consent"]:
        consent = f"no (before it is sent anything: `assay providers consent {name}`)"
    return f"{row['base_url']}, key: {key}, consent: {consent}"


def _problems(cache: Path, memory: int, disk: int) -> list[str]:
    found = []
    if (reason := _unwritable(cache)) is not None:
        found.append(
            f"The cache folder {cache} is not writable ({reason}): set ASSAY_CACHE to another."
        )
    if disk < LEAST_DISK:
        found.append(f"Less than 2 GB are free on the disk of {cache}: free some space.")
    if memory < LEAST_MEMORY:
        found.append(
            "Less than 2 GB of memory are free, which training the starter model needs: end other "
            "programs, or take `fine-tune` out of the candidates in assay.yaml."
        )
    if missing := [name for name in LIBRARIES if _version(name) is None]:
        found.append(
            f"Libraries are missing ({', '.join(missing)}): install Assay again, which brings them."
        )
    if "active" in wait_policy.user_variables().lower():
        found.append(
            "Threads spin while they wait, which is slow while other programs run: unset "
            "OMP_WAIT_POLICY."
        )
    return found


def _thread_limit(threads: int) -> str | None:
    value = os.environ.get("OMP_NUM_THREADS", "")
    return f"OMP_NUM_THREADS={value}" if value and threads < cores() else None


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written there; None: it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return str(error.strerror or error)


def _disk_bytes(folder: Path) -> int:
    """Free where the folder is, or would be."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def _name(known: dict[str, str]) -> str:
    """Of a kind of processor, as people say it; numbers beside it where the name is no more than
    the maker's."""
    name = next((v for k, v in known.items() if k.lower() in ("model name", "hardware") and v), "")
    numbers = [known.get("cpu family"), known.get("model"), known.get("stepping")]
    if all(numbers):
        name += f" (family {numbers[0]}, model {numbers[1]}, stepping {numbers[2]})"
    return name or platform.machine()


def _instructions() -> tuple[str, ...]:
    import torch

    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # new in 2.11
    found = [name for name, there in known.items() if there is True]
    return tuple(sorted(found)) or (torch.backends.cpu.get_cpu_capability(),)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
