from typing import Any

import jsonschema
import pytest

from kneo_serv.tools.finding import findings_of, json_path


@pytest.mark.parametrize(
    ("schema", "value", "finding"),
    [
        ({"const": "yes"}, "no", "$: expected 'yes'"),
        ({"exclusiveMaximum": 3}, 3, "$: expected a number < 3"),
        ({"multipleOf": 5}, 3, "$: expected a multiple of 5"),
        ({"minItems": 2}, [1], "$: expected at least 2 items, got 1"),
        ({"maxProperties": 1}, {"a": 1, "b": 2}, "$: expected at most 1 entries, got 2"),
        ({"type": ["string", "null"]}, 1.5, "$: expected string or null, got number"),
        ({"contains": {"type": "string"}}, [1], "$: expected an item of another form among these"),
        (
            {"propertyNames": {"maxLength": 1}},
            {"ab": 1},
            "$: the name of an entry: expected at most 1 characters, got 2",
        ),
        ({"properties": {"a": False}}, {"a": 1}, "$: holds an entry that the schema forbids"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "$: 'b' is missing (needed beside 'a')"),
        ({"unevaluatedProperties": False}, {"a": 1}, "$: expected no other entries than the schema knows"),
        ({"not": {"type": "integer"}}, 1, "$: does not fulfil 'not' of the schema"),
        (
            {"oneOf": [{"type": "integer"}, {"minimum": 1}]},
            5,
            "$: fits several alternatives of which exactly one must fit",
        ),
        ({"patternProperties": {"^x": {}}, "additionalProperties": False}, {"y": 1}, "$: 'y' is not an argument"),
        ({"enum": list(range(12))}, "a", "$: expected one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"),
    ],
)
def test_each_keyword_is_told_in_plain_words(schema: dict[str, Any], value: Any, finding: str) -> None:
    errors = jsonschema.Draft202012Validator(schema).iter_errors(value)
    assert {each for error in errors for each in findings_of(error)} == {finding}


def test_paths_stay_short_and_readable() -> None:
    assert json_path(["a", 0, "b c", "d"]) == "$.a[0]['b c'].d"
    assert len(json_path(["x" * 500])) < 70
