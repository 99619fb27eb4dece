"""What health checks answer."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from kneo_serv.service.schemas.shapes import Answered

_CHECKS: dict[str, Any] = {
    "run_state_store": {"name": "run_state_store", "ok": True},
    "continuation_store": {"name": "continuation_store", "ok": True},
    "queue": {"name": "queue", "ok": True},
    "runtime_registry": {
        "name": "runtime_registry",
        "ok": True,
        "count": 3,
        "names": ["adapter", "bridge", "native"],
    },
    "tool_registry": {
        "name": "tool_registry",
        "ok": True,
        "count": 4,
        "names": ["compress_history", "publish_report", "summarize", "web_search"],
    },
    "providers": {"name": "providers", "ok": True},
    "mcp": {"name": "mcp", "ok": True},
}


class Alive(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ok": True, "metadata": {}}]})

    ok: Literal[True]
    metadata: dict[str, Any]


class Healthy(BaseModel):
    """The process answers, and says what it is."""

    ok: Literal[True]
    service: str
    version: str
    metadata: dict[str, Any]


class Check(Answered):
    """One thing that the service needs."""

    name: str
    ok: bool


class Readiness(BaseModel):
    """What was looked at."""

    ready: bool
    manager: str | None
    checks: dict[str, Check]


class Ready(BaseModel):
    """The service can do its work."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ok": True, "metadata": {"ready": True, "manager": "PlatformManager", "checks": _CHECKS}}]
        }
    )

    ok: Literal[True]
    metadata: Readiness
