"""Filters and pages of lists as SQL."""

from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.page import AuditFilter, Page, RunFilter
from kneo_serv.model.run import PAUSED, RunStatus
from kneo_serv.store.sqlite.jsontext import dumps

SORTS = ("created_at", "updated_at", "started_at", "completed_at", "status", "workflow_name", "agent_name")
"""Columns by which runs may be sorted."""

type Conditions = tuple[str, list[Any]]
"""Text that follows FROM, beginning with WHERE or empty, and its parameters."""


def run_conditions(filters: RunFilter, *, status_by_index: bool = True) -> Conditions:
    """Conditions on `runs` beside `run_outputs`; without `status_by_index` another index has to find the rows."""
    parts: list[str] = []
    values: list[Any] = []
    if filters.status:
        condition = "status IN (SELECT value FROM json_each(?))"
        # A plus before a column keeps SQLite from its index.
        parts.append(condition if status_by_index else f"+{condition}")
        values.append(dumps(statuses(filters)).decode())
    for column in ("workflow_kind", "workflow_name", "agent_name", "session_id"):
        wanted = getattr(filters, column)
        if wanted is not None:
            parts.append(f"{column} = ?")
            values.append(wanted)
    if filters.has_error is not None:
        parts.append(f"error_type IS {'NOT ' if filters.has_error else ''}NULL")
    if filters.created_after is not None:
        parts.append("created_at >= ?")
        values.append(filters.created_after)
    if filters.created_before is not None:
        parts.append("created_at < ?")
        values.append(filters.created_before)
    if filters.q:
        # Only what is public is searched: else a search could guess secrets letter by letter.
        pattern = f"%{_escape(filters.q)}%"
        parts.append(
            "(coalesce(public_output_text, output_text) LIKE ? ESCAPE '\\' OR error_message LIKE ? ESCAPE '\\')"
        )
        values += [pattern, pattern]
    return _where(parts), values


def statuses(filters: RunFilter) -> list[str]:
    """The wanted statuses by the names that are stored."""
    return [RunStatus.BLOCKED if status == PAUSED else status for status in filters.status]


def counted(filters: RunFilter) -> bool:
    """Whether the kept counters answer the question how many runs pass."""
    return filters == RunFilter(status=filters.status)


def audit_conditions(filters: AuditFilter) -> Conditions:
    """Conditions on `audit_events`."""
    parts: list[str] = []
    values: list[Any] = []
    if filters.event_type is not None:
        parts.append("event_type = ?")
        values.append(filters.event_type)
    if filters.run_id is not None:
        parts.append("run_id = ?")
        values.append(filters.run_id)
    return _where(parts), values


def order(page: Page) -> str:
    """ORDER BY of a page of runs.

    Raises:
        InvalidRequestError: runs are not sorted by this column.
    """
    if page.sort not in SORTS:
        raise InvalidRequestError(f"Runs cannot be sorted by {page.sort!r}. Use one of {', '.join(SORTS)}.")
    direction = "DESC" if page.descending else "ASC"
    return f"ORDER BY {page.sort} {direction}, id {direction}"


def _where(parts: list[str]) -> str:
    return f"WHERE {' AND '.join(parts)}" if parts else ""


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
