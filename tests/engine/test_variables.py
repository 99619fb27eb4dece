from typing import Any

import pytest

from kneo_serv.engine.variables import parse, render
from kneo_serv.model.plan import VariableType


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        (VariableType.STRING, " as it is ", " as it is "),
        (VariableType.INTEGER, " -42\n", -42),
        (VariableType.NUMBER, "0.5", 0.5),
        (VariableType.NUMBER, "7", 7),
        (VariableType.BOOLEAN, "True", True),
        (VariableType.JSON, '{"a": [1, null]}', {"a": [1, None]}),
    ],
)
def test_a_text_becomes_the_value_that_its_variable_holds(wanted: VariableType, text: str, value: Any) -> None:
    assert parse(wanted, text) == value


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (VariableType.INTEGER, "4.5"),
        (VariableType.INTEGER, "four"),
        (VariableType.NUMBER, "nan"),
        (VariableType.NUMBER, "inf"),
        (VariableType.BOOLEAN, "yes"),
        (VariableType.JSON, "NaN"),
        (VariableType.JSON, "[" * 100_000),
    ],
)
def test_a_text_that_means_no_such_value_is_refused(wanted: VariableType, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(wanted, text)


def test_a_template_shows_strings_as_they_are_and_other_values_as_json() -> None:
    template = (
        "{{ text }}|{{input}}|{{ variables.name }}|{{ variables.order.lines.1.price }}|{{ variables.order.none }}"
    )
    values = {"name": "Mia", "order": {"lines": [{}, {"price": 2.5}]}}
    assert render(template, text="{{ input }}", given="in", variables=values) == "{{ input }}|in|Mia|2.5|null"
