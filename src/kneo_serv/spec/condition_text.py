"""Conditions as people say them, for drawings and reports."""

from typing import Any

from kneo_serv.model.plan import Condition

MAX_LENGTH = 80
"""Characters of a condition that are shown."""


def condition_text(condition: Condition) -> str:
    """The condition in one line, such as `output contains "ok"`; cut with an ellipsis when it is long."""
    text = " ".join(_say(condition).split())
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3] + "..."


def _say(condition: Condition) -> str:
    match condition.type:
        case "output_contains":
            return f"output contains {_value(condition.value)}"
        case "output_equals":
            return f"output is {_value(condition.value)}"
        case "metadata_equals":
            return f"metadata {condition.key} is {_value(condition.value)}"
        case "variable_equals":
            return f"variable {condition.key} is {_value(condition.value)}"
        case "status_is":
            return str(condition.value)
        case "decision_is":
            return f"decision is {condition.value}"
        case "cel":
            return str(condition.value)
        case "all_of":
            return " and ".join(_part(part) for part in condition.conditions)
        case "any_of":
            return " or ".join(_part(part) for part in condition.conditions)
        case "not":
            return " ".join(["not", *(_part(part) for part in condition.conditions)])
        case other:
            return other


def _part(condition: Condition) -> str:
    return f"({_say(condition)})" if condition.type in ("all_of", "any_of", "cel") else _say(condition)


def _value(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
