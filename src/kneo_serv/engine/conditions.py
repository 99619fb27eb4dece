"""When an edge of a graph is taken, and when a chat is over."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kneo_serv.engine.expressions import is_true
from kneo_serv.model.plan import Condition
from kneo_serv.model.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class Sight:
    """What a condition sees of the node that just ended."""

    text: str
    failed: bool = False
    """Whether it failed and went on all the same (`on_error: continue`)."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    decision: str | None = None
    """What its person decided."""
    given: str = ""
    """What the workflow was given."""


def holds(condition: Condition, sight: Sight) -> bool:
    """Whether the condition is met.

    Raises:
        ExpressionError: it is an expression that has no value, or one that is neither true nor false.
        ValueError: its type is none that the engine knows.
    """
    match condition.type:
        case "always":
            return True
        case "never":
            return False
        case "output_contains":
            return _fold(condition, condition.value) in _fold(condition, sight.text)
        case "output_equals":
            return _fold(condition, condition.value) == _fold(condition, sight.text)
        case "metadata_equals":
            return _equals(sight.metadata, condition)
        case "variable_equals":
            return _equals(sight.variables, condition)
        case "status_is":
            return bool(condition.value == ("failed" if sight.failed else "completed"))
        case "decision_is":
            return sight.decision is not None and bool(condition.value == sight.decision)
        case "cel":
            return is_true(str(condition.value), _names(sight))
        case "all_of":
            return all(holds(part, sight) for part in condition.conditions)
        case "any_of":
            return any(holds(part, sight) for part in condition.conditions)
        case "not":
            return not any(holds(part, sight) for part in condition.conditions)
        case unknown:
            raise ValueError(f"unknown type of condition: {unknown!r}")


def _names(sight: Sight) -> dict[str, Any]:
    return {
        "text": sight.text,
        "input": sight.given,
        "status": "failed" if sight.failed else "completed",
        "decision": sight.decision,
        "metadata": sight.metadata,
        "variables": sight.variables,
    }


def _fold(condition: Condition, text: Any) -> str:
    return str(text) if condition.case_sensitive else str(text).casefold()


def _equals(values: Mapping[str, Any], condition: Condition) -> bool:
    key = condition.key or ""
    return key in values and bool(values[key] == condition.value)
