"""Expressions in CEL, the Common Expression Language. The package that reads them is optional, and so imported late."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

EXPRESSION_FAILED = "expression_failed"
"""Error type of a workflow whose expression cannot be evaluated."""


class ExpressionError(Exception):
    """An expression has no value, or one of the wrong kind."""

    def __init__(self, expression: str, reason: str) -> None:
        super().__init__(f"The expression {expression!r} failed: {reason}.")
        self.expression = expression


def is_true(expression: str, names: Mapping[str, Any]) -> bool:
    """Whether the expression holds. Raises ExpressionError, also when its value is neither true nor false."""
    value = _evaluate(expression, names)
    if not isinstance(value, bool):
        raise ExpressionError(expression, f"its value is a {type(value).__name__}, and not true or false")
    return value


def listed(expression: str, names: Mapping[str, Any]) -> list[Any]:
    """The list that the expression makes. Raises ExpressionError, also when its value is none."""
    value = _evaluate(expression, names)
    if not isinstance(value, list):
        raise ExpressionError(expression, f"its value is a {type(value).__name__}, and not a list")
    return value


def _evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    try:
        return _program(expression).execute(dict(names))
    except ImportError:
        raise ExpressionError(expression, "it needs a package that is missing: pip install kneo-serv[cel]") from None
    except Exception as fault:  # noqa: BLE001 - the package raises built-in errors of many kinds
        raise ExpressionError(expression, _reason(fault)) from None


def _reason(fault: Exception) -> str:
    if isinstance(fault, KeyError):
        return f"there is no {fault.args[0] if fault.args else 'such name'!r}"
    lines = str(fault).splitlines()
    return (lines[0].rstrip(".") if lines else "") or type(fault).__name__


@lru_cache(maxsize=512)
def _program(expression: str) -> Any:
    import cel

    return cel.compile(expression)
