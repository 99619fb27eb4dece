"""Whether the service is alive, and ready."""

from typing import Any

from fastapi import APIRouter

from kneo_serv import __version__

NAME = "kneo-serv-platform"

router = APIRouter(tags=["health"])


@router.api_route("/livez", methods=["GET", "HEAD"])
async def livez() -> dict[str, Any]:
    """The process answers."""
    return {"ok": True, "metadata": {}}


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz() -> dict[str, Any]:
    """The process answers, and says what it is."""
    return {"ok": True, "service": NAME, "version": __version__, "metadata": {"status": "healthy"}}
