"""Looks into journals: what is asked and answered."""

from typing import Any

from pydantic import ConfigDict, Field

from kneo_serv.service.schemas.shapes import Answered, NoQuery

_EXAMPLE: dict[str, Any] = {
    "findings": [
        {
            "run_id": "run_2026-05-10T12:34:56_4k0Yw3m1TzqJ0b2c5d6e7f",
            "code": "projection",
            "message": "status is 'running', and by the journal 'completed'",
        }
    ],
    "count": 1,
    "checked": 100,
    "next_cursor": None,
}


class JournalQuery(NoQuery):
    """How many journals are looked through."""

    limit: int = Field(default=100, ge=1, le=1000, description="Runs whose journals are read, the newest first.")
    cursor: str | None = Field(default=None, max_length=1000, description="`next_cursor` of the answer before.")


class JournalFinding(Answered):
    """Something in a journal, or in what was made of it, that cannot be right."""

    run_id: str
    code: str = Field(
        description="`gap`, `plan`, `unreadable`, `projection`, `snapshot`, `task_of_ended_run`, `tasks`, `lease` or "
        "`timers`."
    )
    message: str = Field(description="Without secrets.")


class JournalFindingsResponse(Answered):
    """What is wrong with the journals that were looked through."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": _EXAMPLE})

    findings: list[JournalFinding]
    count: int
    checked: int = Field(description="Runs whose journals were read.")
    next_cursor: str | None = Field(default=None, description="Goes on with older runs; null when there are none.")
