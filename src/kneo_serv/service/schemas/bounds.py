"""Bounds of a request that are settings, so that no model can declare them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError


class Bounds:
    """Collects what is too large in one request, so that the caller is told all of it at once."""

    def __init__(self, where: str = "body") -> None:
        self._where = where
        self._faults: list[dict[str, Any]] = []

    def chars(self, name: str, text: str | None, limit: int, *place: int) -> None:
        """A text may have so many characters."""
        if text is not None and len(text) > limit:
            self._add("string_too_long", f"String should have at most {limit} characters", name, *place)

    def items(self, name: str, items: Sequence[Any], limit: int) -> None:
        """A list may have so many items."""
        if len(items) > limit:
            self._add("too_long", f"List should have at most {limit} items, not {len(items)}", name)

    def json_bytes(self, name: str, value: Mapping[str, Any], limit: int) -> None:
        """An object may be so large as JSON text in UTF-8, and holds finite numbers only."""
        try:
            size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
        except RecursionError:
            self._add("too_deep", "Object is nested too deeply", name)
        except ValueError:
            # Also a UnicodeEncodeError: half of a surrogate pair is no text.
            self._add("json_invalid", "Object should hold finite numbers and valid Unicode text only", name)
        else:
            if size > limit:
                self._add("too_long", f"Object should have at most {limit} bytes as JSON", name)

    def check(self) -> None:
        """Raises RequestValidationError where something was too large."""
        if self._faults:
            raise RequestValidationError(self._faults)

    def _add(self, kind: str, message: str, *place: str | int) -> None:
        self._faults.append({"type": kind, "loc": (self._where, *place), "msg": message})
