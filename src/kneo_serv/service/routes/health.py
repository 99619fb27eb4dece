"""Whether the service is alive, and ready. Nobody is asked for a key here, and no answer waits for work."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from kneo_serv import __version__
from kneo_serv.service.errors import RequestRefused
from kneo_serv.service.readiness import Readiness
from kneo_serv.service.schemas.health import Alive, Healthy, Ready
from kneo_serv.service.schemas.shapes import ErrorResponse

NAME = "kneo-serv-platform"

router = APIRouter(tags=["health"])


def _readiness(request: Request) -> Readiness:
    found: Readiness = request.app.state.readiness
    return found


@router.get("/livez", response_model=Alive)
async def livez() -> dict[str, Any]:
    """The process answers."""
    return {"ok": True, "metadata": {}}


@router.get("/healthz", response_model=Healthy)
async def healthz() -> dict[str, Any]:
    """The process answers, and says what it is."""
    return {"ok": True, "service": NAME, "version": __version__, "metadata": {"status": "healthy"}}


@router.get(
    "/readyz",
    response_model=Ready,
    responses={503: {"model": ErrorResponse, "description": "Something that the service needs is missing"}},
)
async def readyz(readiness: Annotated[Readiness, Depends(_readiness)]) -> dict[str, Any]:
    """Everything that runs need is there: the database, runtimes, tools, and the keys that must not be missing."""
    ready, metadata = await readiness.look()
    if not ready:
        missing = ", ".join(name for name, check in metadata["checks"].items() if not check["ok"])
        raise RequestRefused("not_ready", f"The service is not ready: {missing}.", metadata=metadata)
    return {"ok": True, "metadata": metadata}
