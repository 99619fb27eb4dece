"""The document that describes the API: each route once, under /v1, with who may call it and how it refuses."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

TAGS = (
    ("health", "Whether the service is alive and ready. Open to everybody."),
    ("runs", "Starting runs, looking at them, ending them, taking them up again."),
    ("schedules", "Specs that run by the calendar."),
    ("human-tasks", "What runs ask people, and the answers."),
    ("specs", "Checking, explaining and drawing specs."),
    ("skills", "The skills that specs may name."),
    ("policies", "What an environment demands of a spec."),
    ("fleet", "What holds for all workers: limits, and providers that are paused."),
    ("audit-events", "Who did what."),
    ("security", "Which credentials are there, never what they are."),
    ("events", "What happens, as it happens: server-sent events."),
    ("metrics", "Numbers for Prometheus. Open to everybody."),
)
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a token."},
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Kneo-Api-Key",
        "description": "An API key, where no Bearer header is sent.",
    },
}
_VERBS = ("get", "put", "post", "delete", "patch")
_ERROR = {"$ref": "#/components/schemas/ErrorResponse"}

# Versions of FastAPI describe these two differently, and none of them as they are told here.
_FORMS = {
    "HTTPValidationError": {
        "type": "object",
        "title": "HTTPValidationError",
        "required": ["detail"],
        "properties": {
            "detail": {"type": "array", "items": {"$ref": "#/components/schemas/ValidationError"}, "title": "Detail"}
        },
    },
    "ValidationError": {
        "type": "object",
        "title": "ValidationError",
        "required": ["loc", "msg", "type"],
        "properties": {
            "loc": {
                "type": "array",
                "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                "title": "Location",
            },
            "msg": {"type": "string", "title": "Message"},
            "type": {"type": "string", "title": "Error Type"},
        },
    },
}


def operation_id(route: APIRoute) -> str:
    """The name of a route's function: short, stable, and the same wherever the route is mounted."""
    return route.name


def describe(app: FastAPI) -> None:
    """Has the app give our document, made once when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=[{"name": name, "description": about} for name, about in TAGS],
            )
            components = made.setdefault("components", {})
            components["securitySchemes"] = SCHEMES
            components.setdefault("schemas", {}).update(_FORMS)
            for _, _, operation in operations(made):
                _complete(operation)
            app.openapi_schema = made
        return app.openapi_schema

    # FastAPI's own documentation names this as the way to change the document.
    app.openapi = document  # type: ignore[method-assign]


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of each."""
    for path, item in document.get("paths", {}).items():
        for verb in _VERBS:
            if verb in item:
                yield path, verb, item[verb]


def _complete(operation: dict[str, Any]) -> None:
    if "security" not in operation:
        return
    needed = f"Needs the scope `{operation['x-required-scope']}`."
    about = operation.get("description", "")
    operation["description"] = f"{about}\n\n{needed}" if about else needed
    # A wrong shape is told in FastAPI's form, an unknown parameter and what a rule forbids in ours.
    operation.setdefault("responses", {})["422"] = {
        "description": "The request does not have the right form",
        "content": {
            "application/json": {"schema": {"anyOf": [_ERROR, {"$ref": "#/components/schemas/HTTPValidationError"}]}}
        },
    }
