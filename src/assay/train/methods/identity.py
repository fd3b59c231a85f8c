"""What code a method consists of, as a hash: of another code a run is another run.

Of Assay's own methods `assay.train.session.TRAINER` tells. Of others it is each function with all
that it holds, the functions of the user's own that it calls, and the files that they stand in.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from assay.errors import ConfigError, UsageError
from assay.example import canonical_json
from assay.train.methods import registry
from assay.train.methods.spec import MethodSpec

_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


def code_sha256(spec: MethodSpec) -> str | None:
    """Sha256 (hex) of a method's code; None of Assay's own.

    Raises:
        UsageError: it cannot be told whether the code has changed.
    """
    functions = (spec.token_loss, spec.pair_loss, spec.objective, spec.prepare, spec.check)
    own = [_package(one) for one in functions if one is not None and _package(one) != "assay"]
    if not own:
        return None
    code = _Code(spec.name, own[0])
    parts = [spec.learns_from, spec.reference, *(code.describe(one, "") for one in functions)]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def find_same(name: str, code: str | None) -> MethodSpec:
    """The method of a name, which has to consist of the same code as on another machine.

    Args:
        code: what `code_sha256` has said there.

    Raises:
        ConfigError: there is none here, or it has other code.
    """
    found = registry.find(name)
    if code_sha256(found) != code:
        raise ConfigError(
            "a machine of the cluster has another training method under this name.",
            where=name,
            fix="Install the same version of its package on all of them.",
        )
    return found


def unknown_elsewhere(method: MethodSpec) -> ConfigError:
    """The error of a method that was handed over, where other processes would have to find it."""
    return ConfigError(
        f"other processes cannot find the training method {method.name}, which was handed over in "
        "Python.",
        fix="Install it as a package with an entry point, or train with `--on here`.",
    )


class _Code:
    """Describes values as JSON.

    Args:
        method: its name, for messages.
        package: that the method is of; functions of other packages are only named.
    """

    def __init__(self, method: str, package: str) -> None:
        self._method, self._package = method, package
        self._known: set[str] = set()

    def describe(self, value: Any, where: str) -> Any:
        """A value, JSON-ready.

        Raises:
            UsageError: it may change unseen.
        """
        if value is None or isinstance(value, bool | int | float | str | bytes):
            return [type(value).__name__, repr(value)]
        if isinstance(value, list | tuple):
            return [self.describe(one, where) for one in value]
        if isinstance(value, Mapping):
            return {str(key): self.describe(one, str(key)) for key, one in value.items()}
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, partial):
            return [self.describe(one, where) for one in (value.func, value.args, value.keywords)]
        if isinstance(value, MethodType):
            return [self.describe(one, where) for one in (value.__self__, value.__func__)]
        if isinstance(value, FunctionType | BuiltinFunctionType | type):
            return self._function(value)
        if is_dataclass(value):
            held = {field.name: getattr(value, field.name) for field in fields(value)}
            return [self._function(type(value)), self.describe(held, where)]
        raise UsageError(
            f"{where or 'a part'} of the training method {self._method} is a "
            f"{type(value).__name__}, of which it cannot be told whether it has changed.",
            fix="Let the method hold numbers, texts and functions only, and make that value in it.",
        )

    def _function(self, value: Any) -> Any:
        """Of a function or a class: its name, and what it says where it is the user's own."""
        name = f"{value.__module__}.{value.__qualname__}"
        if name in self._known or not self._is_own(value):
            return name
        self._known.add(name)
        file = Path(str(getattr(sys.modules.get(value.__module__), "__file__", "")))
        try:  # a function of a notebook has no file
            text = file.read_text("utf-8") if file.is_file() else inspect.getsource(value)
        except (OSError, TypeError):
            raise UsageError(
                f"the source of {value.__qualname__}, a part of the training method "
                f"{self._method}, cannot be read.",
                fix="Write it into a file: a run goes on only where its code is the same.",
            ) from None
        if not isinstance(value, FunctionType):
            return [name, text]
        found = inspect.getclosurevars(value)
        called = {key: one for key, one in found.globals.items() if _is_plain(one)}
        held = [value.__defaults__, value.__kwdefaults__ or {}, dict(found.nonlocals), called]
        return [name, text, self.describe(held, value.__qualname__)]

    def _is_own(self, value: Any) -> bool:
        package = _package(value)
        if package in ("assay", "builtins"):
            return False
        file = getattr(sys.modules.get(value.__module__), "__file__", None)
        return package == self._package or file is None or not file.startswith(_LIBRARIES)


def _package(value: Any) -> str:
    """The package that a function, or the class of another value, is of."""
    module = getattr(value, "__module__", None) or type(value).__module__
    return str(module).partition(".")[0]


def _is_plain(value: Any) -> bool:
    """Whether a global is looked at: others, such as loggers, are not what a loss depends on."""
    kinds = (bool, int, float, str, tuple, list, dict, FunctionType, type, partial)
    return isinstance(value, kinds)
