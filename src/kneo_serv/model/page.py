"""What a list is asked for. All conditions hold together; None asks for nothing."""

from dataclasses import dataclass

from kneo_serv.model.ids import RunId

NO_TENANT = ""
"""As the tenant of a filter: only what belongs to no tenant. (None asks for all of them.)"""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs. Times are seconds since the epoch; bounds are inclusive below and exclusive above."""

    status: tuple[str, ...] = ()
    workflow_kind: str | None = None
    workflow_name: str | None = None
    agent_name: str | None = None
    session_id: str | None = None
    has_error: bool | None = None
    created_after: float | None = None
    created_before: float | None = None
    q: str | None = None
    """Substring of output text or error message, case-insensitive."""
    tenant: str | None = None
    target: str | None = None

    @property
    def is_counted(self) -> bool:
        """Whether stores keep the number of these runs, so that telling it costs nothing however many they are."""
        return self.tenant != NO_TENANT and self == RunFilter(status=self.status, tenant=self.tenant)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which audit events. Bounds of time as with runs."""

    event_type: str | None = None
    run_id: RunId | None = None
    actor: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """A row of a list, by which the next page finds its beginning, whatever was written meanwhile.

    `value` is what the row has in the column of the sort (None where it has nothing), `id` its own.
    """

    value: float | str | None
    id: str


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: `limit` rows (1 to 1,000) after the first `offset`, or those strictly behind `after`.

    What has nothing in the column of the sort comes last in both directions; ties are broken by id, in the same
    direction. Where `sort` and `descending` are None, the list has its own: runs by updated_at and audit events by
    created_at, the newest first; human tasks by created_at, the oldest first.
    """

    limit: int = 100
    offset: int = 0
    sort: str | None = None
    """Runs: created_at, updated_at, started_at, completed_at, status, workflow_name or agent_name. Human tasks:
    created_at or expires_at. Audit events: created_at."""
    descending: bool | None = None
    after: Cursor | None = None
    """The last row of the page before, in the same sort and direction. At any depth such a page costs the same."""
