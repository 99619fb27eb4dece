"""Keeping views small: long texts, lists and objects are cut, and each cut says how much is missing."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

PREVIEW_CHARS = 500
TEXT_CHARS = 1200
LIST_ITEMS = 20
OBJECT_KEYS = 50
DEPTH = 8


def iso(at: float | None) -> str | None:
    """ISO 8601 text in UTC of seconds since the epoch."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


def preview(text: str | None) -> str | None:
    """The first 500 characters, with a mark where there are more."""
    if text is None or len(text) <= PREVIEW_CHARS:
        return text
    return text[:PREVIEW_CHARS] + "...[truncated]"


def bounded(value: Any, depth: int = DEPTH) -> Any:
    """The JSON value with its long parts cut: texts at 1200 characters, lists at 20 items, objects at 50 keys."""
    if isinstance(value, str):
        rest = len(value) - TEXT_CHARS
        return value if rest <= 0 else f"{value[:TEXT_CHARS]}...[truncated {rest} chars]"
    if isinstance(value, Mapping):
        if depth == 0:
            return {"_truncated_keys": len(value)}
        kept = {key: bounded(value[key], depth - 1) for key, _ in zip(value, range(OBJECT_KEYS), strict=False)}
        return kept if len(value) <= OBJECT_KEYS else {**kept, "_truncated_keys": len(value) - OBJECT_KEYS}
    if isinstance(value, (list, tuple)):
        if depth == 0:
            return [{"_truncated_items": len(value)}]
        items = [bounded(item, depth - 1) for item in value[:LIST_ITEMS]]
        return items if len(value) <= LIST_ITEMS else [*items, {"_truncated_items": len(value) - LIST_ITEMS}]
    return value
