"""Pages of runs: by the store where an index serves the sort, at hand within the window for any other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.exceptions import RequestValidationError

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.page import Cursor, Page, RunFilter
from kneo_serv.model.quick import replace
from kneo_serv.model.run import RunRecord
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.views import run_view
from kneo_serv.service.answers import told_by_door
from kneo_serv.service.listing import WINDOW, Order, listing, sorted_by
from kneo_serv.service.schemas.runs import ROW_KEYS, RunsQuery
from kneo_serv.service.timestamps import since, until

INDEXED = ("created_at", "updated_at", "started_at", "completed_at", "status", "workflow_name", "agent_name")
"""Sorts that cost the same however many runs there are."""

_CHUNK = 1_000
_LONG = ("input_text", "output_text", "tags", "metadata", "usage")
_ONCE_ONLY = ("frozen_spec", "spec", "overrides", "skills_overlay")
"""Metadata that may be as large as a spec: told of one run, not of each in a list."""


@dataclass(frozen=True, slots=True)
class RunsPage:
    """Rows of one page, not shown yet."""

    records: Sequence[RunRecord]
    total: int
    next_cursor: str | None = None
    is_sorted: bool = True
    """Whether these are the rows of the page; else they are all rows of the window."""


def filter_of(query: RunsQuery, tenant: str | None) -> RunFilter:
    """The conditions of a query. Raises RequestRefused (`invalid_timestamp`)."""
    kind = query.workflow_kind
    how = kind if kind in ("agent", "workflow") else None
    before = until("created_before", query.created_before)
    return RunFilter(
        status=tuple(word.strip() for word in (query.status or "").split(",") if word.strip()),
        workflow_kind=None if how else kind or None,
        target=how,
        workflow_name=query.workflow_name,
        agent_name=query.agent_name,
        session_id=query.session_id,
        has_error=query.has_error,
        created_after=since("created_after", query.created_after),
        created_before=before,
        q=query.q or None,
        tenant=tenant,
    )


async def read_page(platform: Platform, query: RunsQuery, filters: RunFilter, order: Order) -> RunsPage:
    """The rows of a page, or those of the window where no index serves the order.

    Raises:
        InvalidRequestError: a cursor that does not belong here.
    """
    total = await platform.store.count_runs(filters, at_most=None if filters.is_counted else WINDOW)
    if order.sort_by not in INDEXED:
        if query.cursor is not None:
            raise InvalidRequestError(f"A list sorted by {order.sort_by} has no cursors; use offset.")
        texts = not query.light and order.sort_by.partition(".")[0] in (*_LONG, "error")
        return RunsPage(await _window(platform, filters, texts=texts), total, is_sorted=False)
    after = order.behind(query)
    # Within the window offsets count; behind it only cursors lead.
    limit = query.limit if after is not None else min(query.limit, WINDOW - query.offset)
    if limit <= 0:
        return RunsPage((), total)
    offset = 0 if after is not None else query.offset
    page = Page(limit, offset, order.sort_by, order.descending, after)
    records = await platform.store.list_runs(filters, page, texts=not query.light)
    more = len(records) == query.limit
    return RunsPage(records, total, order.cursor(*_place(records[-1], order.sort_by)) if more else None)


async def _window(platform: Platform, filters: RunFilter, *, texts: bool) -> list[RunRecord]:
    found: list[RunRecord] = []
    after: Cursor | None = None
    while len(found) < WINDOW:
        page = Page(_CHUNK, 0, "updated_at", True, after)
        rows = await platform.store.list_runs(filters, page, texts=texts)
        found += rows
        if len(rows) < _CHUNK:
            break
        after = Cursor(rows[-1].updated_at, rows[-1].id)
    return found


def _place(record: RunRecord, column: str) -> tuple[float | str | None, str]:
    value = getattr(record, column)
    return (value if isinstance(value, float | None) else str(value)), record.id


def shown(query: RunsQuery, order: Order, page: RunsPage) -> dict[str, Any]:
    """The answer: rows with both ids. Computing, for a thread. Raises RequestValidationError: unknown `fields`."""
    rows: Sequence[Mapping[str, Any]] = [row_of(record, light=query.light) for record in page.records]
    if not page.is_sorted:
        rows = sorted_by(rows, order)[query.offset : min(query.offset + query.limit, WINDOW)]
    wanted = _fields(query.fields)
    if wanted is not None:
        rows = [{key: value for key, value in row.items() if key in wanted} for row in rows]
    return listing("runs", rows, query, order, total=page.total, next_cursor=page.next_cursor)


def row_of(record: RunRecord, *, light: bool = False) -> dict[str, Any]:
    """A run as lists show it. `messages`, visited steps and the pending request are told by `GET /runs/{id}`."""
    # Left out before secrets are looked for, which would be most of the work.
    short = {key: value for key, value in record.metadata.items() if not light and key not in _ONCE_ONLY}
    told = run_view(replace(record, metadata=short))
    usage, metadata = told.pop("usage"), told.pop("metadata")
    row = {
        **told_by_door(told, record),
        "trace_event_count": None,
        "trace_dropped": 0,
        "messages": [],
        "usage": usage,
        "metadata": {**({} if light else metadata), **({} if usage is None else {"usage": usage})},
    }
    if light:
        for name in ("input_text", "output_text", "tags"):
            del row[name]
    return row


def _fields(given: str | None) -> frozenset[str] | None:
    if given is None or not given.strip(" ,"):
        return None
    names = {name.strip() for name in given.split(",")} - {""}
    unknown = sorted(names.difference(ROW_KEYS))
    if unknown:
        message = f"Unknown fields: {', '.join(unknown)[:200]}; rows have {', '.join(sorted(ROW_KEYS))}"
        raise RequestValidationError([{"type": "value_error", "loc": ("query", "fields"), "msg": message}])
    return frozenset(names | {"id", "run_id"})
