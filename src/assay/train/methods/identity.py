"""What code a method consists of, as a hash: of another code a run is another run.

Of Assay's own methods `assay.train.session.TRAINER` tells. Of others it is each function with what
it holds and the globals that it reads, the functions of the user's own that it calls, and the whole
files of these and of all modules of the user's own that they import.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache, partial
from importlib.metadata import packages_distributions
from importlib.util import find_spec, resolve_name
from logging import Logger
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from assay.errors import ConfigError, UsageError
from assay.example import canonical_json
from assay.train.methods import registry
from assay.train.methods.spec import MethodSpec

_NAMED = ("typing", "torch.dtype", "torch.device")
"""Modules and types of values that say by their text all that they are."""


def code_sha256(spec: MethodSpec) -> str | None:
    """Sha256 (hex) of a method's code; None of Assay's own methods.

    One that is put together of Assay's functions is none of them: which they are is its code.

    Raises:
        UsageError: it cannot be told whether the code has changed.
    """
    if registry.built_in().get(spec.name) == spec:
        return None
    functions = (spec.token_loss, spec.pair_loss, spec.objective, spec.prepare, spec.check)
    own = [_package(one) for one in functions if one is not None and _package(one) != "assay"]
    code = _Code(spec.name, own[0] if own else "")
    parts = [spec.learns_from, spec.reference, *(code.describe(one, "") for one in functions)]
    parts.append(code.files)
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
    """Describes values as JSON, and collects the files that they are of.

    Own is what is of the method's package, or of no distribution: a script, and what stands beside
    it. Of libraries only names are taken, wherever a machine has them installed.

    Args:
        method: its name, for messages.
        package: that the method is of; "": all its functions are Assay's.

    Attributes:
        files: sha256 of each file, by its module.
    """

    def __init__(self, method: str, package: str) -> None:
        self._method, self._package = method, package
        self._known: set[str] = set()
        self.files: dict[str, str] = {}

    def describe(self, value: Any, where: str) -> Any:
        """A value, JSON-ready.

        Raises:
            UsageError: it may change unseen.
        """
        if value is None or isinstance(value, bool | int | float | str | bytes):
            return [type(value).__name__, repr(value)]
        if isinstance(value, list | tuple):
            return [self.describe(one, where) for one in value]
        if isinstance(value, set | frozenset):
            return sorted(canonical_json(self.describe(one, where)) for one in value)
        if isinstance(value, Mapping):
            return {str(key): self.describe(one, str(key)) for key, one in value.items()}
        if isinstance(value, ModuleType):
            self._follow(value.__name__)
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
        if isinstance(inner := getattr(value, "__wrapped__", None), FunctionType):  # a cached one
            return self._function(inner)
        kind = type(value)
        named = {kind.__module__, f"{kind.__module__}.{kind.__qualname__}"} & set(_NAMED)
        if isinstance(value, Logger):  # its level is no part of the method
            return value.name
        if named or isinstance(value, Enum):
            return repr(value)
        if callable(value) and hasattr(value, "__name__") and not self._is_own(value):
            return value.__name__  # a ufunc
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
        codes = [one.__code__ for one in _functions_of(value)]
        file = _file_of(value, codes)
        text = ""
        try:  # a function of a notebook has no file
            if file is None:
                text = inspect.getsource(value)
            else:
                self._read(value.__module__, file, _parent(value.__module__))
        except (OSError, TypeError):
            raise UsageError(
                f"the source of {value.__qualname__}, a part of the training method "
                f"{self._method}, cannot be read.",
                fix="Write it into a file: a run goes on only where its code is the same.",
            ) from None
        parts = [name, text]
        for one in _functions_of(value):
            held = [one.__defaults__, one.__kwdefaults__ or {}, _enclosed(one), _globals(one)]
            parts.append(self.describe(held, one.__qualname__))
        if isinstance(value, type):
            parts.append(self.describe(value.__bases__, value.__qualname__))
        return parts

    def _read(self, module: str, file: Path, package: str) -> None:
        if module in self.files:
            return
        content = file.read_bytes()
        self.files[module] = hashlib.sha256(content).hexdigest()
        for name in _imports(content, package) if file.suffix == ".py" else ():
            self._follow(name)

    def _follow(self, module: str) -> None:
        """Read a module of the user's own, and what it imports."""
        if module in self.files or not self._is_of_user(module.partition(".")[0]):
            return
        try:
            spec = find_spec(module)
        except Exception:  # no module but a name in one, or a package that cannot be imported
            return
        if spec is None or spec.origin is None or not Path(spec.origin).is_file():
            return
        is_package = spec.submodule_search_locations is not None
        self._read(module, Path(spec.origin), module if is_package else module.rpartition(".")[0])

    def _is_own(self, value: Any) -> bool:
        return self._is_of_user(_package(value))

    def _is_of_user(self, package: str) -> bool:
        return package == self._package or not _is_library(package)


@cache
def _distributed() -> frozenset[str]:
    return frozenset(packages_distributions())


def _is_library(package: str) -> bool:
    if package in ("assay", "builtins") or package in sys.stdlib_module_names:
        return True
    return package in _distributed()


def _functions_of(value: Any) -> list[FunctionType]:
    """A function, or those that a class defines."""
    if isinstance(value, FunctionType):
        return [value]
    inner = (getattr(one, "__func__", getattr(one, "fget", one)) for one in vars(value).values())
    return [one for one in inner if isinstance(one, FunctionType)]


def _file_of(value: Any, codes: list[CodeType]) -> Path | None:
    """As its code says: a debugger that runs a script is the module `__main__` in its place."""
    module = sys.modules.get(value.__module__)
    named = [code.co_filename for code in codes]
    if not isinstance(value, FunctionType):
        named.append(str(getattr(module, "__file__", "")))
    return next((Path(one) for one in named if Path(one).is_file()), None)


def _parent(module: str) -> str:
    """The package that relative imports of a loaded module are of."""
    return str(getattr(sys.modules.get(module), "__package__", "") or "")


def _enclosed(function: FunctionType) -> dict[str, Any]:
    """What it holds of the functions that it stands in."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    return found


def _globals(function: FunctionType) -> dict[str, Any]:
    """The globals that it reads, and that functions within it do."""
    names: set[str] = set()
    codes = [function.__code__]
    for code in codes:
        codes += [one for one in code.co_consts if isinstance(one, CodeType)]
        loads = (one for one in dis.get_instructions(code) if one.opname.startswith("LOAD_"))
        names |= {one.argval for one in loads if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    known = function.__globals__
    return {name: known[name] for name in sorted(names) if name in known}


def _imports(content: bytes, package: str) -> Iterator[str]:
    """Names of the modules that a file may import, with those of their packages."""
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                try:
                    base = resolve_name("." * node.level + base, package)
                except ImportError:  # of a script, which is of no package
                    continue
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _package(value: Any) -> str:
    """The package that a function, or the class of another value, is of."""
    module = getattr(value, "__module__", None) or type(value).__module__
    return str(module).partition(".")[0]
