"""Shapes that several routes share."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator
from pydantic_core import PydanticCustomError

MOST_FIELDS = 100
"""Fields of one request object: no model has as many, and each that is unknown would be told of."""
TOO_MANY = "too_many_fields"

Texts = Annotated[list[str], FailFast()]
"""A list of texts; of wrong items only the first one is told of."""


class Asked(BaseModel):
    """A request: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _of_few_fields(cls, given: Any) -> Any:
        if isinstance(given, dict) and len(given) > MOST_FIELDS:
            raise PydanticCustomError(TOO_MANY, "Object should have at most {most} fields", {"most": MOST_FIELDS})
        return given


class Answered(BaseModel):
    """An answer: further fields may come with later versions."""

    model_config = ConfigDict(extra="allow")


class NoQuery(Asked):
    """Query of a route that takes no parameters."""


class ListQuery(Asked):
    """Which part of a list."""

    limit: int = Field(default=100, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=10_000)
    sort_by: str | None = None
    sort_order: Literal["asc", "desc"] | None = None
    cursor: str | None = Field(default=None, max_length=1000, description="`next_cursor` of the page before.")


Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""A moment as `moment_of` reads it: only what has the form that the document tells is sure to be understood."""


class ErrorDetail(Answered):
    """Why a request was refused."""

    error: str
    message: str


class ErrorResponse(BaseModel):
    """The form of all errors but those of a request's shape."""

    detail: ErrorDetail


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": text}
    for status, text in {
        400: "The request cannot be carried out",
        401: "No accepted key or token",
        403: "The key lacks a scope, or a policy refuses it",
        404: "Nothing has this id",
        409: "Its state, or another caller, stands in the way",
        413: "The body is too large",
        429: "Too many requests with this key",
        500: "A fault of the service",
        503: "The service or its database cannot do it just now",
    }.items()
}
"""`responses=` of every route behind the door."""
