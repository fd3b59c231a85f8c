"""All training methods by name: those of this package, and those of other distributions.

A method is a module with `SPEC` (`assay.train.methods.spec.MethodSpec`). A module of this package
is called like its method; that of another distribution is named by an entry point:

    [project.entry-points."assay.training_methods"]
    my-method = "my_package.my_method"
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from importlib import import_module, metadata
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any

from assay.config import CONFIG_FILE, Config
from assay.config.training import METHODS
from assay.data.propose import Judgement
from assay.errors import ConfigError
from assay.extensions import ExtensionGroup
from assay.train import methods
from assay.train.methods.spec import MethodSpec, Source

log = logging.getLogger("assay.train")
_ORDER: tuple[Source, ...] = ("answers", "documents", "pairs", "thumbs")


def _find_fault(point: metadata.EntryPoint, module: Any) -> str | None:
    spec = getattr(module, "SPEC", None)
    if not isinstance(spec, MethodSpec):
        return f"{point.value} has no SPEC"
    return None if spec.name == point.name else f"its SPEC is called {spec.name}"


EXTENSIONS = ExtensionGroup("assay.training_methods", "training method", _find_fault)


@cache
def built_in() -> Mapping[str, MethodSpec]:
    """Assay's own methods by name."""
    package = methods.__name__
    own = (import_module(f"{package}.{found.name}") for found in iter_modules(methods.__path__))
    return {module.SPEC.name: module.SPEC for module in own if hasattr(module, "SPEC")}


@cache
def specs() -> Mapping[str, MethodSpec]:
    """All methods by name, by what they learn from and then by name.

    One of another distribution that cannot be used is left out, and a line of the log says why.
    """
    others = EXTENSIONS.load_all(built_in())
    found = {**built_in(), **{name: module.SPEC for name, module in others.items()}}
    order = sorted(found, key=lambda name: (_ORDER.index(found[name].learns_from), name))
    return MappingProxyType({name: found[name] for name in order})


def find(name: str) -> MethodSpec:
    """The method of a name.

    Raises:
        ConfigError: there is none, or it is another distribution's and cannot be used.
    """
    known = specs()
    if name in known:
        return known[name]
    EXTENSIONS.check(name)
    raise ConfigError(
        f"there is no training method {name!r}.",
        where=f"{CONFIG_FILE}, fine_tune.method",
        fix=f"Choose from: {', '.join(known)}.",
    )


def learns_documents(name: str) -> bool:
    """Whether there is a method of this name, and it learns the documents of the project."""
    spec = specs().get(name)
    return spec is not None and spec.learns_from == "documents"


def check_method(config: Config) -> None:
    """Refuse a method that is not there; Assay's own are, and nothing is loaded for them.

    Raises:
        ConfigError: as `find`.
    """
    if config.fine_tune.method not in METHODS:
        find(config.fine_tune.method)


def warn_of_missing(config: Config) -> None:
    """Log that a method is not there: what is trained already is served and compared."""
    try:
        check_method(config)
    except ConfigError as error:
        log.warning("%s", error)


def proposed_for(judgement: Judgement) -> MethodSpec:
    """The method that a new project learns by from such rows."""
    return next(
        spec for spec in specs().values() if spec.proposed and spec.learns_from == judgement
    )
