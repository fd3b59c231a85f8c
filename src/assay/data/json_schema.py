"""JSON Schemas that others have written: nothing is fetched for them, and patterns have a clock.

    where = "assay.yaml, output_schema"
    validator = schema_validator(config.output_schema, where)
    wrong = next(mismatches(validator, value, where), None)

The library's own validators ask addresses and read files that a `$ref` names, and match patterns
without end (`tests/source_rules.py` holds everybody to this module).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import lru_cache, partial
from itertools import count
from typing import TYPE_CHECKING, Any

from assay import patterns
from assay.errors import ConfigError

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

PATTERN_S = 1.0
"""After which a text counts as one that does not match."""
MOST_REFERENCES = 200_000
"""That are followed for one value: some that name each other twice come to 2 ** n."""
_compiled = lru_cache(16)(patterns.compile_pattern)


def schema_validator(schema: dict[str, Any], where: str) -> Validator:
    """A validator of the schema's own draft (2020-12 when it names none); ask it by `mismatches`.

    Args:
        where: the schema is written, for errors.

    Raises:
        ConfigError: it is not a JSON Schema, or has `patternProperties` and
            `unevaluatedProperties`, for which the library matches names without a clock.
    """
    from jsonschema import SchemaError, validators
    from referencing import Registry

    if not isinstance(schema.get("$schema", ""), str):
        raise ConfigError("this is not a JSON Schema: `$schema` is not a text.", where=where)
    kind = validators.validator_for(schema, default=validators.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ConfigError(
            f"this is not a JSON Schema: {error.message}.", where=f"{where}, {error.json_path}"
        ) from None
    if {"patternProperties", "unevaluatedProperties"} <= _keys(schema):
        raise ConfigError(
            "patternProperties and unevaluatedProperties cannot be used in the same schema.",
            where=where,
            fix="Use additionalProperties.",
        )
    timed: Any = validators.extend(  # type: ignore[no-untyped-call]
        kind,
        {
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional_properties,
            **{
                name: _counted(kind.VALIDATORS[name]) for name in _FOLLOWED & kind.VALIDATORS.keys()
            },
        },
    )
    made: Validator = timed(schema, registry=Registry())
    return made


def check_references(schema: dict[str, Any], where: str) -> None:
    """Refuse references that lead nowhere, before a value is met that follows them.

    A schema whose parts have addresses of their own (`$id`) is not looked at: what is wrong there,
    `mismatches` says.

    Raises:
        ConfigError: there is one.
    """
    from referencing import Registry, Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    if "$id" in _keys(schema):
        return
    resource: Resource[Any] = Resource.from_contents(schema, default_specification=DRAFT202012)
    resolver = Registry().resolver_with_root(resource)
    for reference in sorted(_references(schema)):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise _unresolved(reference, where) from None


def mismatches(validator: Validator, value: Any, where: str) -> Iterator[ValidationError]:
    """What does not fit the schema.

    Raises:
        ConfigError: a reference leads out of the schema, references branch too often, or a pattern
            comes to too much.
    """
    from jsonschema import ValidationError
    from referencing.exceptions import Unresolvable

    _followed.set(count())
    try:
        yield from validator.iter_errors(value)
    except Unresolvable as unresolved:
        raise _unresolved(unresolved.ref, where) from None
    except _BranchingError:
        raise ConfigError(
            f"references ($ref) are followed more than {MOST_REFERENCES:,} times for one value.",
            where=where,
            fix="Write out what they define, or name it less often.",
        ) from None
    except RecursionError:
        yield ValidationError("it is nested too deeply to be checked")
    except ValueError as error:
        raise ConfigError(f"a pattern cannot be used: {error}.", where=where) from None


def _unresolved(reference: str, where: str) -> ConfigError:
    return ConfigError(
        f"a $ref cannot be resolved: {reference}.",
        where=where,
        fix="References to other files or addresses are not followed; copy what they define into "
        "$defs.",
    )


class _BranchingError(Exception):
    """References lead to too many others."""


_FOLLOWED = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_followed: ContextVar[Iterator[int]] = ContextVar("followed")


def _counted(follows: Callable[..., Iterator[ValidationError] | None]) -> Callable[..., Any]:
    """A keyword that follows a reference, as long as that comes to an end."""

    def follow(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        if next(_followed.get()) >= MOST_REFERENCES:
            raise _BranchingError
        return follows(validator, value, instance, schema)

    return follow


def _keys(schema: Any) -> set[str]:
    """The keys of all objects in a schema."""
    if isinstance(schema, list):
        return set().union(*map(_keys, schema))
    if isinstance(schema, dict):
        return set(schema).union(*map(_keys, schema.values()))
    return set()


def _references(schema: Any) -> set[str]:
    """What the `$ref` of a schema name."""
    if isinstance(schema, list):
        return set().union(*map(_references, schema))
    if isinstance(schema, dict):
        own = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*map(_references, schema.values()))
    return set()


def _pattern(_: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    from jsonschema import ValidationError

    if not isinstance(value, str):
        return
    try:
        if not _compiled(pattern).search(value, timeout=PATTERN_S):
            yield ValidationError(f"{value!r} does not match {pattern!r}")
    except TimeoutError:
        yield ValidationError(f"it takes too long to match {value!r} against {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], value: Any, schema: Any
) -> Iterator[ValidationError]:
    if validator.is_type(value, "object"):
        for pattern, rule in patterns.items():
            for name in filter(partial(_has, pattern), value):
                yield from validator.descend(value[name], rule, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, rule: Any, value: Any, schema: Any
) -> Iterator[ValidationError]:
    from jsonschema import ValidationError

    if not validator.is_type(value, "object"):
        return
    for name in value:
        if name in schema.get("properties", ()) or any(
            _has(pattern, name) for pattern in schema.get("patternProperties", ())
        ):
            continue
        if validator.is_type(rule, "object"):
            yield from validator.descend(value[name], rule, path=name)
        elif not rule:
            yield ValidationError(f"additional properties are not allowed: {name!r}")


def _has(pattern: str, name: str) -> bool:
    try:
        return _compiled(pattern).search(name, timeout=PATTERN_S) is not None
    except TimeoutError:
        raise ValueError(f"it takes too long to match {name!r} against {pattern!r}") from None
