"""What the candidates of a comparison are called where people read, which its result keeps.

Who reads the result need not have the same candidates installed, see `assay.compare.naming`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from assay.candidates import registry
from assay.candidates.building import Candidate
from assay.config import Config


def plain_names(candidates: Sequence[Candidate], config: Config) -> dict[str, str]:
    """What each is called, by the name that is typed in commands and files; no two alike.

    Args:
        candidates: those that take part. Their arms are named too, and so are the other candidates
            of `config`, which warnings may speak of.
    """
    found = {one.name: _plain_name(one) for one in candidates}
    arms = [arm.name for one in candidates for arm in one.arms.values()]
    for name in (*arms, *registry.taking_part(config), *registry.baselines(config)):
        found.setdefault(name, registry.plain_name(name) or name)
    times = Counter(found.values())
    return {name: plain if times[plain] == 1 else name for name, plain in found.items()}


def _plain_name(one: Candidate) -> str:
    plain = registry.plain_name(one.kind)
    version = one.name.removeprefix(f"{one.kind}-")
    if one.name != one.kind and version.isdecimal():  # a saved agent
        return f"{plain or one.kind}, version {version}"
    return plain or one.name
