"""The numbers of this process, for Prometheus."""

import asyncio

from fastapi import APIRouter, Response

from kneo_serv.errors import KneoError
from kneo_serv.service.dependencies import TheService
from kneo_serv.service.gauges import Gauges, gauges_of
from kneo_serv.service.metrics import CONTENT_TYPE, log
from kneo_serv.service.state import Service

SECONDS = 5.0
"""What the database may take; the counters are shown without it."""

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "One number a line"}},
)
async def metrics(service: TheService) -> Response:
    """Counters of this process and what is in the database just now, in the text format of Prometheus."""
    return Response(service.metrics.text(await _gauges(service)), headers={"Content-Type": CONTENT_TYPE})


async def _gauges(service: Service) -> Gauges | None:
    try:
        async with asyncio.timeout(SECONDS):
            return await service.reach(gauges_of)
    except (KneoError, TimeoutError) as error:
        log.warning("the metrics come without what is in the database: %s", str(error) or "no answer in time")
        return None
