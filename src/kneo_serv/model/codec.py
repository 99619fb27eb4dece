"""Frozen values to JSON and back, by their declared types.

Fields that hold their default are left out, and unknown keys are passed over in reading: so a newer version may add
fields with defaults, and older journals still read.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeAliasType, Union, cast, get_args, get_origin

type _Reader = Callable[[Any], Any]


class CodecError(ValueError):
    """A stored value does not fit its type. The text names the type and the field."""


_PLAIN = frozenset({str, int, float, bool, type(None)})
"""Types whose values are JSON as they are."""


def encode(value: Any) -> Any:
    """JSON value of a frozen value; tuples become lists, enums their values, defaults are left out."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {str(key): item if type(item) in _PLAIN else encode(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [item if type(item) in _PLAIN else encode(item) for item in value]
    if dataclasses.is_dataclass(kind):
        encoded = {}
        for name, default in _defaults(kind):
            item = getattr(value, name)
            if item is default:
                continue
            of = type(item)
            if item == default and of is type(default):
                continue
            encoded[name] = item if of in _PLAIN else encode(item)
        return encoded
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (str, bool, int, float)):
        return value
    raise CodecError(f"{kind.__name__} has no JSON form")


def json_text(value: Any) -> str:
    """JSON text of a frozen value, without spaces; whole numbers of any size stay whole."""
    return _encoder.encode(encode(value))


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def decode[T](target: type[T], data: Any) -> T:
    """Value of type `target` from its JSON form.

    Raises:
        CodecError: the data does not fit; names the type and the field.
    """
    read: _Reader = _reader(cast("Any", target))
    return cast("T", read(data))


_MISSING: Any = object()


@cache
def _defaults(target: type) -> tuple[tuple[str, Any], ...]:
    found = []
    for field in dataclasses.fields(target):
        if field.default is not dataclasses.MISSING:
            default = field.default
        elif field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        else:
            default = _MISSING
        found.append((field.name, default))
    return tuple(found)


@cache
def _reader(hint: Any) -> _Reader:
    if isinstance(hint, TypeAliasType):
        return _as_is
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    origin = get_origin(hint)
    if origin is types.UnionType or origin is Union:
        return _optional(hint)
    if origin is tuple:
        read = _reader(get_args(hint)[0])
        return lambda data: tuple(read(item) for item in _expect(list, data, hint))
    if origin is not None and issubclass(origin, Mapping):
        read = _reader(get_args(hint)[1])
        return lambda data: {key: read(item) for key, item in _expect(dict, data, hint).items()}
    if isinstance(hint, type):
        if dataclasses.is_dataclass(hint):
            return _record(hint)
        if issubclass(hint, Enum):
            return _enum(hint)
        if hint is float:
            return lambda data: float(_expect((int, float), data, hint))
        if hint in (str, int, bool):
            return lambda data: _expect(hint, data, hint)
    return _as_is


def _as_is(data: Any) -> Any:
    return data


def _expect(wanted: Any, data: Any, hint: Any) -> Any:
    if not isinstance(data, wanted):
        raise CodecError(f"expected {getattr(hint, '__name__', hint)}, found {type(data).__name__}")
    return data


def _optional(hint: Any) -> _Reader:
    members = [member for member in get_args(hint) if member is not type(None)]
    if len(members) != 1:
        return _as_is
    read = _reader(members[0])
    return lambda data: None if data is None else read(data)


def _enum(hint: type[Enum]) -> _Reader:
    def read(data: Any) -> Enum:
        try:
            return hint(data)
        except ValueError:
            raise CodecError(f"{data!r} is no {hint.__name__}") from None

    return read


def _record(hint: type) -> _Reader:
    # Filled at the first use, since records may hold themselves.
    readers: dict[str, _Reader] = {}

    def read(data: Any) -> Any:
        if not readers:
            hints = typing.get_type_hints(hint)
            readers.update({field.name: _reader(hints[field.name]) for field in dataclasses.fields(hint)})
        values = {}
        for name, item in _expect(dict, data, hint).items():
            reader = readers.get(name)
            if reader is None:
                continue
            try:
                values[name] = reader(item)
            except CodecError as error:
                raise CodecError(f"{hint.__name__}.{name}: {error}") from None
        try:
            return hint(**values)
        except TypeError:
            missing = [name for name, default in _defaults(hint) if default is _MISSING and name not in values]
            raise CodecError(f"{hint.__name__}: missing {', '.join(missing)}") from None

    return read
