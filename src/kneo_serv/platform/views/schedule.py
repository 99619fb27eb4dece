"""What callers see of a schedule."""

from typing import Any

from kneo_serv.model.schedule import Schedule
from kneo_serv.observe import redact_data, redact_text
from kneo_serv.platform.views.bounds import iso


def schedule_view(schedule: Schedule, *, whole: bool = False) -> dict[str, Any]:
    """The schedule as JSON object, without secrets. With `whole`, an inline spec is shown too.

    Moments are ISO texts in UTC.
    """
    shown: dict[str, Any] = {
        "name": schedule.name,
        "tenant": schedule.tenant,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "at": iso(schedule.at),
        "paused": schedule.paused,
        "next_due_at": iso(schedule.next_due_at),
        "overlap": schedule.overlap.value,
        "catch_up": schedule.catch_up.value,
        "jitter_seconds": schedule.jitter_seconds,
        "spec_path": schedule.spec_path,
        "inline_spec": schedule.spec is not None,
        "overlays": list(schedule.overlays),
        "environment": schedule.environment,
        "target": schedule.target,
        "input": redact_text(schedule.input_text),
        "session_id": schedule.session_id,
        "tags": list(schedule.tags),
        "metadata": redact_data(dict(schedule.metadata)),
        "timeout_seconds": schedule.timeout_seconds,
        "last_due_at": iso(schedule.last_due_at),
        "last_fired_at": iso(schedule.last_fired_at),
        "last_run_id": schedule.last_run_id,
        "last_outcome": None if schedule.last_outcome is None else schedule.last_outcome.value,
        "last_error": schedule.last_error,
        "runs": schedule.runs,
        "missed": schedule.missed,
        "created_by": schedule.created_by,
        "created_at": iso(schedule.created_at),
        "updated_at": iso(schedule.updated_at),
    }
    if whole and schedule.spec is not None:
        shown["spec"] = redact_data(dict(schedule.spec))
    return shown
