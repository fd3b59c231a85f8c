"""All training methods by name: those of this package, and those of other distributions.

A method is a module with `SPEC` (`assay.train.methods.spec.MethodSpec`). A module of this package
is called like its method; that of another distribution is named by an entry point:

    [project.entry-points."assay.training_methods"]
    my-method = "my_package.my_method"

It is imported with all rights of this process: to install a package is to trust it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from importlib import import_module, metadata
from pkgutil import iter_modules
from types import MappingProxyType

from assay.config import CONFIG_FILE
from assay.data.propose import Judgement
from assay.errors import AssayError, ConfigError
from assay.train import methods
from assay.train.methods.spec import MethodSpec

GROUP = "assay.training_methods"
_ORDER: tuple[Judgement, ...] = ("answers", "pairs", "thumbs")
log = logging.getLogger("assay.train")


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
    found = {**built_in()}
    for point in metadata.entry_points(group=GROUP):
        try:
            if point.name in found:
                raise _unusable(point, "the name is taken")
            found[point.name] = _load(point)
        except ConfigError as error:
            log.warning("%s", error)
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
    for point in metadata.entry_points(group=GROUP, name=name):
        _load(point)
    raise ConfigError(
        f"there is no training method {name!r}.",
        where=f"{CONFIG_FILE}, fine_tune.method",
        fix=f"Choose from: {', '.join(known)}.",
    )


def proposed_for(judgement: Judgement) -> MethodSpec:
    """The method that a new project learns by from such rows."""
    return next(
        spec for spec in specs().values() if spec.proposed and spec.learns_from == judgement
    )


def _load(point: metadata.EntryPoint) -> MethodSpec:
    try:
        spec = getattr(point.load(), "SPEC", None)
    except AssayError as error:  # of its SPEC, which says what is wrong
        raise _unusable(point, error.what.removesuffix(".")) from error
    except Exception as error:  # whatever another's module does when it is imported
        raise _unusable(point, f"{type(error).__name__}: {error}") from error
    if not isinstance(spec, MethodSpec):
        raise _unusable(point, f"{point.value} has no SPEC")
    if spec.name != point.name:
        raise _unusable(point, f"its SPEC is called {spec.name}")
    return spec


def _unusable(point: metadata.EntryPoint, why: str) -> ConfigError:
    source = point.dist.name if point.dist is not None else point.value
    return ConfigError(
        f"the training method {point.name} of {source} cannot be used: {why}.",
        fix=f"Update or uninstall {source}.",
    )
