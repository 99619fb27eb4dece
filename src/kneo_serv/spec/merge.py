"""Laying one mapping over another: maps merge, lists and single values replace, null removes."""

from collections.abc import Mapping
from typing import Any

DELETE = "__delete__"


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """What the two make together. A value of null, or `{__delete__: true}`, in `above` removes the key."""
    merged = dict(below)
    for key, value in above.items():
        if _removes(value):
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            earlier = merged.get(key)
            merged[key] = merge(earlier if isinstance(earlier, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def fill(above: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`above` with its gaps filled from the defaults. What is written wins, also a null."""
    filled = dict(above)
    for key, value in defaults.items():
        if key not in filled:
            filled[key] = value
        elif isinstance(filled[key], Mapping) and isinstance(value, Mapping):
            filled[key] = fill(filled[key], value)
    return filled


def _removes(value: Any) -> bool:
    return value is None or (isinstance(value, Mapping) and value.get(DELETE) is True)
