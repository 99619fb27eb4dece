from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, ToolArgumentValidationError
from kneo_serv.tools import ToolDefinition
from kneo_serv.tools.schema import ArgumentSchema

SECRET = "sk-very-secret-value-0123456789"

PARAMETERS = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "minLength": 3, "maxLength": 20},
        "limit": {"type": "integer", "minimum": 1, "maximum": 10},
        "mode": {"enum": ["fast", "deep"]},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/Tag"}, "maxItems": 2, "uniqueItems": True},
        "code": {"type": "string", "pattern": "^[A-Z]+$"},
        "when": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "shape": {"oneOf": [{"type": "object", "required": ["r"]}, {"type": "object", "required": ["a", "b"]}]},
    },
    "required": ["query"],
    "additionalProperties": False,
    "$defs": {"Tag": {"type": "object", "properties": {"odd name": {"type": "number"}}}},
}


def schema(parameters: Any) -> ArgumentSchema:
    return ArgumentSchema(ToolDefinition("search", "Searches.", parameters))


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        ({}, "$: 'query' is missing"),
        ({"query": 5}, "$.query: expected string, got integer"),
        ({"query": None}, "$.query: expected string, got null"),
        ({"query": "ab"}, "$.query: expected at least 3 characters, got 2"),
        ({"query": SECRET}, "$.query: expected at most 20 characters, got 31"),
        ({"query": "abc", "limit": True}, "$.limit: expected integer, got boolean"),
        ({"query": "abc", "limit": 0}, "$.limit: expected a number >= 1"),
        ({"query": "abc", "mode": SECRET}, "$.mode: expected one of 'fast', 'deep'"),
        ({"query": "abc", "code": SECRET}, "$.code: expected text that matches '^[A-Z]+$'"),
        ({"query": "abc", "tags": [{}, {"odd name": SECRET}]}, "$.tags[1]['odd name']: expected number, got string"),
        ({"query": "abc", "tags": [1, 2, 3]}, "$.tags: expected at most 2 items, got 3"),
        ({"query": "abc", "tags": [{}, {}]}, "$.tags: expected items that differ from each other"),
        ({"query": "abc", "limt": SECRET}, "$: 'limt' is not an argument (did you mean 'limit'?)"),
        ({"query": "abc", "zzz": SECRET}, "$: 'zzz' is not an argument (known: 'query', 'limit'"),
        ({"query": "abc", "when": SECRET}, "$.when: expected integer or null, got string"),
        ({"query": "abc", "shape": {"a": SECRET}}, "$.shape: fits none of 2 alternatives"),
    ],
)
def test_a_finding_names_the_place_and_the_expectation_and_never_the_value(arguments: Any, finding: str) -> None:
    with pytest.raises(ToolArgumentValidationError) as refused:
        schema(PARAMETERS).check(arguments)
    assert finding in str(refused.value)
    assert "'search'" in str(refused.value)
    assert SECRET not in str(refused.value)
    assert refused.value.tool_name == "search"


def test_at_most_three_findings_are_told_and_the_rest_counted() -> None:
    with pytest.raises(ToolArgumentValidationError) as refused:
        schema({"required": ["a", "b", "c", "d", "e"]}).check({})
    assert str(refused.value).endswith("$: 'a' is missing; $: 'b' is missing; $: 'c' is missing (and 2 more).")


def test_arguments_that_fit_pass() -> None:
    schema(PARAMETERS).check({"query": "abc", "limit": 3, "tags": [{"odd name": 1.5}], "when": None, "mode": "deep"})


def test_no_schema_takes_anything() -> None:
    schema({}).check({"anything": [1, {}]})


def test_a_schema_is_compiled_once() -> None:
    compiled = schema(PARAMETERS)
    assert not compiled.compiled
    compiled.check({"query": "abc"})
    first = compiled._validator
    compiled.check({"query": "abc"})
    assert compiled.compiled
    assert compiled._validator is first


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"type": "strnig"}, "$.type: fits none of 2 alternatives"),
        ({"properties": {"a": {"minimum": "1"}}}, "$.properties.a.minimum: expected number, got string"),
        ({"properties": {"a": {"pattern": "("}}}, "$.properties.a.pattern: expected text in the format regex"),
        ({"$ref": "https://schemas.example/x.json"}, "'https://schemas.example/x.json' refers to nothing in it"),
        ({"$ref": "#/$defs/Nope"}, "'#/$defs/Nope' refers to nothing in it"),
        ({"properties": {"a": {"$ref": "#nope"}}}, "'#nope' refers to nothing in it"),
        ({"x": {"$id": "http://evil.example/", "$ref": "#/x"}, "$ref": "#/x"}, "the inner $id 'http://evil.example/'"),
        ({"$schema": "https://example.com/my-dialect"}, "unknown dialect 'https://example.com/my-dialect'"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_its_place(parameters: Any, problem: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        schema(parameters).compile()
    assert problem in str(refused.value)
    assert "'search'" in str(refused.value)


@pytest.mark.parametrize(
    "parameters",
    [
        {"$defs": {"A": {"$anchor": "here", "type": "object"}}, "$ref": "#here"},
        {"$defs": {"a/b": {"type": "object"}}, "$ref": "#/$defs/a~1b"},
        {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"A": {}}, "$ref": "#/definitions/A"},
        {"properties": {"child": {"$ref": "#"}, "$ref": {"type": "string"}}},
    ],
)
def test_references_inside_the_schema_are_followed(parameters: Any) -> None:
    schema(parameters).check({"child": {"child": {}}})


def test_a_schema_that_refers_to_itself_without_end_is_told_and_not_followed() -> None:
    with pytest.raises(ToolArgumentValidationError, match="refers to itself without end"):
        schema({"$ref": "#"}).check({})
