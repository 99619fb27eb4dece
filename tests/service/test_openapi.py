import copy
import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

from kneo_serv.service import create_app
from kneo_serv.service.admission import ScopedRoute, needs
from kneo_serv.service.auth import SCOPES, AuthConfig
from kneo_serv.service.openapi import TAGS, describe, operation_id, operations
from kneo_serv.service.schemas.shapes import ERRORS
from tests.service.breaking import breaking_changes
from tests.service.golden import HOW, document, stored

OPEN = {"/v1/livez", "/v1/healthz", "/v1/readyz", "/metrics"}


def pinned(package: str) -> bool:
    """Whether this is the version that the golden file was written with."""
    lines = (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()
    return f"{package}=={version(package)}" in lines


def test_the_document_is_the_stored_one() -> None:
    # Other versions of the libraries write the same schemas in other words.
    if pinned("fastapi") and pinned("pydantic"):
        assert document() == stored(), HOW
    else:
        names = [[(path, verb) for path, verb, _ in operations(one)] for one in (document(), stored())]
        assert names[0] == names[1], HOW


def test_no_client_of_the_stored_document_breaks() -> None:
    assert breaking_changes(stored(), document()) == []


def test_every_operation_has_a_name_of_its_own_and_a_known_tag() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = document()
    names = [operation["operationId"] for _, _, operation in operations(made)]
    assert len(names) == len(set(names))
    known = {name for name, _ in TAGS}
    for path, verb, operation in operations(made):
        assert set(operation["tags"]) <= known, (verb, path)
        assert operation.get("description") or operation.get("summary"), (verb, path)


def test_every_route_stands_once_under_v1_and_says_who_may_call_it() -> None:
    for path, verb, operation in operations(document()):
        if path in OPEN:
            assert "security" not in operation, (verb, path)
            continue
        assert path.startswith("/v1/"), path
        assert operation["security"] == [{"bearer": []}, {"apiKey": []}], (verb, path)
        assert operation["x-required-scope"] in SCOPES, (verb, path)
        assert f"`{operation['x-required-scope']}`" in operation["description"]
        missing = {"400", "401", "403", "404", "409", "413", "422", "500", "503"} - set(operation["responses"])
        assert not missing, (verb, path, missing)


def test_the_schemes_say_how_a_key_is_sent() -> None:
    schemes = document()["components"]["securitySchemes"]
    assert schemes["bearer"]["scheme"] == "bearer"
    assert (schemes["apiKey"]["in"], schemes["apiKey"]["name"]) == ("header", "X-Kneo-Api-Key")


def test_the_title_and_version_are_those_of_the_product() -> None:
    info = create_app(auth_config=AuthConfig.disabled()).openapi()["info"]
    assert (info["title"], info["version"]) == ("Kneo Agent Platform API", version("kneo-serv"))


def test_every_reference_leads_somewhere() -> None:
    made = document()
    for text in json.dumps(made).split('"$ref": "')[1:]:
        name = text.split('"', 1)[0].removeprefix("#/components/schemas/")
        assert name in made["components"]["schemas"], name


class Asked(BaseModel):
    text: str
    more: int | None = None


class Told(BaseModel):
    name: str
    note: str | None = None


def sample() -> dict[str, Any]:
    """The document of a small app with a route behind the door."""
    router = APIRouter(tags=["runs"], route_class=ScopedRoute)

    @router.post("/things", response_model=Told, responses=ERRORS, openapi_extra=needs("runs:write"))
    async def make_thing(asked: Asked, dry: bool = False) -> None:
        """Makes a thing."""

    app = FastAPI(generate_unique_id_function=operation_id)
    app.include_router(router, prefix="/v1")
    describe(app)
    return app.openapi()


def test_a_route_behind_the_door_says_what_it_needs_and_how_it_refuses() -> None:
    operation = sample()["paths"]["/v1/things"]["post"]
    assert operation["operationId"] == "make_thing"
    assert operation["description"] == "Makes a thing.\n\nNeeds the scope `runs:write`."
    schema = operation["responses"]["422"]["content"]["application/json"]["schema"]
    assert [one["$ref"].rsplit("/", 1)[1] for one in schema["anyOf"]] == ["ErrorResponse", "HTTPValidationError"]


def _changed(**changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(sample())
    for change in changes.values():
        change(made)
    return made


BROKEN: dict[str, Any] = {
    "POST /v1/things is gone": lambda made: made["paths"].clear(),
    "POST /v1/things has another operationId": lambda made: _post(made).update(operationId="other"),
    "POST /v1/things needs another scope": lambda made: _post(made).update({"x-required-scope": "runs:read"}),
    "POST /v1/things: parameter dry is gone": lambda made: _post(made)["parameters"].clear(),
    "POST /v1/things: parameter dry is required now": lambda made: _post(made)["parameters"][0].update(required=True),
    "POST /v1/things: answer 409 is gone": lambda made: _post(made)["responses"].pop("409"),
    "POST /v1/things: body: field more is gone": lambda made: _schema(made, "Asked")["properties"].pop("more"),
    "POST /v1/things: body: field more is required now": lambda made: _schema(made, "Asked")["required"].append("more"),
    "POST /v1/things: body.text takes no string any more": lambda made: _schema(made, "Asked")["properties"].update(
        text={"type": "integer"}
    ),
    "POST /v1/things: answer 200: field note is gone": lambda made: _schema(made, "Told")["properties"].pop("note"),
    "POST /v1/things: answer 200: field name may be missing now": lambda made: _schema(made, "Told").pop("required"),
    "POST /v1/things: answer 200.name may be null now": lambda made: _schema(made, "Told")["properties"].update(
        name={"anyOf": [{"type": "string"}, {"type": "null"}]}
    ),
}


def _post(made: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = made["paths"]["/v1/things"]["post"]
    return operation


def _schema(made: dict[str, Any], name: str) -> dict[str, Any]:
    schema: dict[str, Any] = made["components"]["schemas"][name]
    return schema


@pytest.mark.parametrize("told", BROKEN)
def test_what_breaks_clients_is_found(told: str) -> None:
    assert breaking_changes(sample(), _changed(change=BROKEN[told])) == [told]


def test_what_is_added_breaks_nobody() -> None:
    def add(made: dict[str, Any]) -> None:
        made["paths"]["/v1/others"] = copy.deepcopy(made["paths"]["/v1/things"])
        _schema(made, "Asked")["properties"]["extra"] = {"type": "string"}
        _schema(made, "Told")["properties"]["extra"] = {"type": "string"}
        _post(made)["parameters"].append({"in": "query", "name": "more", "schema": {"type": "string"}})

    assert breaking_changes(sample(), _changed(add=add)) == []
