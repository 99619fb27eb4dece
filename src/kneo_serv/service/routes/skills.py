"""The skills that lie ready for specs."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query

from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.dependencies import Caller, TheService
from kneo_serv.service.listing import Order, listing, page_of
from kneo_serv.service.off_loop import off_loop
from kneo_serv.service.schemas.shapes import ERRORS, ListQuery
from kneo_serv.service.schemas.skills import SkillsListResponse
from kneo_serv.spec.skills import discover_default_catalog

router = APIRouter(tags=["skills"], route_class=ScopedRoute)


@router.get("/skills", response_model=SkillsListResponse, responses=ERRORS, openapi_extra=needs("specs:read"))
async def list_skills(query: Annotated[ListQuery, Query()], service: TheService, caller: Caller) -> dict[str, Any]:
    """The skills in `.agents/skills` and `.claude/skills` of the working and the home folder, by name."""

    def look() -> dict[str, Any]:
        order = Order.of(query, "name", descending=False)
        found = discover_default_catalog(project_root=Path.cwd(), user_home=_home())
        rows = page_of(found, lambda skill: skill, query, order)
        return listing("skills", rows, query, order, total=len(found))

    return await off_loop(look)


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        # A process in a container may have none: then there are the skills of the working folder.
        return Path.cwd()
