"""Filters, sorts and cursors of lists as SQL that every backend understands; values stand for question marks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.ids import RunId
from kneo_serv.model.page import NO_TENANT, AuditFilter, Page, RunFilter
from kneo_serv.model.run import PAUSED, RunStatus
from kneo_serv.model.task import TaskStatus


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a column as SQL, and the values of its parameters."""

    column: str
    text: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Sort:
    """The order of a list: by `column`, what has nothing there last, then by `id`, both in one direction."""

    column: str
    descending: bool
    id: str
    missing: bool = False
    """Whether a row may have nothing in the column."""

    @property
    def direction(self) -> str:
        """As SQL."""
        return "DESC" if self.descending else "ASC"

    @property
    def sql(self) -> str:
        """ORDER BY with what follows it."""
        last = f"{self.column} IS NULL, " if self.missing else ""
        return f"ORDER BY {last}{self.column} {self.direction}, {self.id} {self.direction}"

    def behind(self, page: Page) -> list[Condition]:
        """What holds for the rows behind the page's cursor."""
        if page.after is None:
            return []
        value, name = page.after.value, page.after.id
        if value is None:
            if not self.missing:
                raise InvalidRequestError(f"The cursor has no value for the sort {self.column}; take one of this list.")
            return [
                Condition(self.column, f"{self.column} IS NULL"),
                Condition(self.id, f"{self.id} {self._beyond} ?", (name,)),
            ]
        if isinstance(value, str) is not (self.column in _TEXTS):
            raise InvalidRequestError(f"The cursor belongs to another sort than {self.column}; take one of this list.")
        behind = f"({self.column}, {self.id}) {self._beyond} (?, ?)"
        if self.missing:
            behind = f"({behind} OR {self.column} IS NULL)"
        return [Condition(self.column, behind, (value, name))]

    @property
    def _beyond(self) -> str:
        return "<" if self.descending else ">"


_RUN_SORTS = {
    "created_at": False,
    "updated_at": False,
    "started_at": True,
    "completed_at": True,
    "status": False,
    "workflow_name": True,
    "agent_name": True,
}
"""Columns by which runs may be sorted, and whether they may be empty."""
_TASK_SORTS = {"created_at": False, "expires_at": True}
_AUDIT_SORTS = {"created_at": False}
_TEXTS = frozenset({"status", "workflow_name", "agent_name"})


def run_sort(page: Page) -> Sort:
    """Order of a page of runs. Raises InvalidRequestError: runs are not sorted by this column."""
    return _sort(page, "Runs", _RUN_SORTS, "updated_at", descending=True, id_="id")


def task_sort(page: Page) -> Sort:
    """Order of a page of human tasks. Raises InvalidRequestError: they are not sorted by this column."""
    return _sort(page, "Human tasks", _TASK_SORTS, "created_at", descending=False, id_="continuation_id")


def audit_sort(page: Page) -> Sort:
    """Order of a page of audit events. Raises InvalidRequestError: they are not sorted by this column."""
    return _sort(page, "Audit events", _AUDIT_SORTS, "created_at", descending=True, id_="position")


def _sort(page: Page, rows: str, sorts: dict[str, bool], default: str, *, descending: bool, id_: str) -> Sort:
    column = default if page.sort is None else page.sort
    if column not in sorts:
        raise InvalidRequestError(f"{rows} cannot be sorted by {column!r}. Use one of {', '.join(sorts)}.")
    return Sort(column, descending if page.descending is None else page.descending, id_, sorts[column])


def run_conditions(filters: RunFilter, *, like: str = "LIKE") -> list[Condition]:
    """Conditions on `runs` beside `run_outputs`; `like` compares with a pattern without regard to case."""
    found = _equal(filters, "workflow_kind", "workflow_name", "agent_name", "session_id", "target")
    found += [*_tenant(filters.tenant), *_between(filters.created_after, filters.created_before)]
    if filters.status:
        wanted = statuses(filters)
        found.append(Condition("status", f"status IN ({', '.join('?' * len(wanted))})", tuple(wanted)))
    if filters.has_error is not None:
        found.append(Condition("error_type", f"error_type IS {'NOT ' if filters.has_error else ''}NULL"))
    if filters.q:
        # Only what is public is searched: else a search could guess secrets letter by letter.
        pattern = f"%{_escape(filters.q)}%"
        output = "coalesce(public_output_text, output_text)"
        text = f"({output} {like} ? ESCAPE '\\' OR error_message {like} ? ESCAPE '\\')"
        found.append(Condition("output_text", text, (pattern, pattern)))
    return found


def statuses(filters: RunFilter) -> list[str]:
    """The wanted statuses by the names that are stored, each once."""
    return list(dict.fromkeys(RunStatus.BLOCKED if status == PAUSED else status for status in filters.status))


def task_conditions(
    run_id: RunId | None,
    status: TaskStatus | None,
    workflow_kind: str | None,
    escalated: bool | None,
    tenant: str | None,
) -> list[Condition]:
    """Conditions on `human_tasks`."""
    found = [*_tenant(tenant)]
    if run_id is not None:
        found.append(Condition("run_id", "run_id = ?", (run_id,)))
    if status is not None:
        # The name itself and no parameter: else SQLite does not see that an index of open tasks will do.
        found.append(Condition("status", f"status = '{status.value}'"))
    if workflow_kind is not None:
        found.append(Condition("workflow_kind", "workflow_kind = ?", (workflow_kind,)))
    if escalated is not None:
        found.append(Condition("escalated_at", f"escalated_at IS {'NOT ' if escalated else ''}NULL"))
    return found


def audit_conditions(filters: AuditFilter) -> list[Condition]:
    """Conditions on `audit_events`."""
    return [
        *_equal(filters, "event_type", "run_id", "actor"),
        *_tenant(filters.tenant),
        *_between(filters.created_after, filters.created_before),
    ]


def where(conditions: Sequence[Condition]) -> tuple[str, list[Any]]:
    """WHERE with what follows it (or nothing), and the parameters."""
    parts = [one.text for one in conditions]
    values = [value for one in conditions for value in one.values]
    return (f"WHERE {' AND '.join(parts)}" if parts else ""), values


def _equal(filters: RunFilter | AuditFilter, *columns: str) -> list[Condition]:
    wanted = [(column, getattr(filters, column)) for column in columns]
    return [Condition(column, f"{column} = ?", (value,)) for column, value in wanted if value is not None]


def _tenant(tenant: str | None) -> list[Condition]:
    if tenant is None:
        return []
    return [Condition("tenant", "tenant IS NULL" if tenant == NO_TENANT else "tenant = ?", (tenant,) if tenant else ())]


def _between(after: float | None, before: float | None) -> list[Condition]:
    bounds = ((">=", after), ("<", before))
    return [Condition("created_at", f"created_at {sign} ?", (at,)) for sign, at in bounds if at is not None]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
