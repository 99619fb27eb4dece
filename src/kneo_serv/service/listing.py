"""Lists: their envelope, their cursors, and the sorts that no index serves."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.page import Cursor
from kneo_serv.service.schemas.shapes import ListQuery

WINDOW = 10_000
"""Rows that are counted, and sorted where no index serves the sort."""


@dataclass(frozen=True, slots=True)
class Order:
    """By which path of its rows a list is sorted."""

    sort_by: str
    descending: bool

    @classmethod
    def of(cls, query: ListQuery, sort_by: str, *, descending: bool) -> "Order":
        """What the query says; where it says nothing, the list's own order."""
        backwards = descending if query.sort_order is None else query.sort_order == "desc"
        return cls(query.sort_by or sort_by, backwards)

    def cursor(self, value: float | str | None, name: str) -> str:
        """The text that stands for a row of a list in this order."""
        packed = json.dumps([self.sort_by, self.descending, value, name], separators=(",", ":"))
        return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")

    def behind(self, query: ListQuery) -> Cursor | None:
        """The row that the query's cursor stands for. Raises InvalidRequestError for one of a list in another order."""
        if query.cursor is None:
            return None
        try:
            padded = query.cursor + "=" * (-len(query.cursor) % 4)
            sort_by, descending, value, name = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, TypeError, RecursionError):
            raise InvalidRequestError("The cursor is none: take the next_cursor of the page before.") from None
        fits = _is_text(name) and (value is None or _is_text(value) or _is_number(value))
        if not fits or (sort_by, descending) != (self.sort_by, self.descending):
            raise InvalidRequestError("The cursor belongs to a list in another order; sort as the page before did.")
        return Cursor(value, name)


def _is_text(value: object) -> bool:
    # Databases keep no half of a surrogate pair.
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # Larger ones are none of a database's integers, and nan is below nothing.
    return abs(value) < 2**63


def listing(
    items: str,
    rows: Sequence[Any],
    query: ListQuery,
    order: Order,
    *,
    total: int,
    next_cursor: str | None = None,
) -> dict[str, Any]:
    """A page of a list as answers show it; `items` is the name of its rows. A total above the window is not exact."""
    return {
        items: list(rows),
        "count": len(rows),
        "total": total,
        "total_exact": total <= WINDOW,
        "window": WINDOW,
        "limit": query.limit,
        "offset": query.offset,
        "sort_by": order.sort_by,
        "sort_order": "desc" if order.descending else "asc",
        "next_cursor": next_cursor,
    }


def page_of[T](rows: Sequence[T], view: Callable[[T], Mapping[str, Any]], query: ListQuery, order: Order) -> list[Any]:
    """The page of rows that are all at hand, as `view` shows them, sorted by a dotted path into that."""
    if query.cursor is not None:
        raise InvalidRequestError(f"A list sorted by {order.sort_by} has no cursors; use offset.")
    shown = sorted_by([view(row) for row in rows], order)
    return shown[query.offset : query.offset + query.limit]


def sorted_by(rows: Sequence[Mapping[str, Any]], order: Order) -> list[Mapping[str, Any]]:
    """The rows by what they have at the path: numbers, then texts, then anything else; what has nothing comes last."""
    path = order.sort_by.split(".")
    keyed = [(_value(row, path), row) for row in rows]
    there = [pair for pair in keyed if pair[0] is not None]
    missing = [row for value, row in keyed if value is None]
    there.sort(key=lambda pair: _rank(pair[0]), reverse=order.descending)
    return [row for _, row in there] + missing


def _value(row: Any, path: Sequence[str]) -> Any:
    for part in path:
        if not isinstance(row, Mapping):
            return None
        row = row.get(part)
    return row


def _rank(value: Any) -> tuple[int, float, str]:
    if isinstance(value, bool | int | float):
        return 0, float(value), ""
    if isinstance(value, str):
        return 1, 0.0, value
    return 2, 0.0, json.dumps(value, sort_keys=True, default=str)
