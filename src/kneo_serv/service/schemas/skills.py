"""The catalogue of skills."""

from typing import Literal

from pydantic import Field

from kneo_serv.service.schemas.shapes import Answered


class SkillItem(Answered):
    """A skill that lies in one of the folders that are looked through."""

    name: str
    description: str
    path: str = Field(description="Its folder, relative to the one that was looked through.")


class SkillsListResponse(Answered):
    """A page of the catalogue."""

    skills: list[SkillItem]
    count: int
    total: int
    total_exact: bool = True
    window: int
    limit: int
    offset: int
    sort_by: str
    sort_order: Literal["asc", "desc"]
    next_cursor: str | None = None
