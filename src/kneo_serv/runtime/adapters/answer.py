"""The answer of a foreign agent as text."""

from typing import Any


def as_text(answer: Any) -> str:
    """A text as it is, nothing as an empty text, and structured output (models, dataclasses, dicts) as JSON text."""
    if isinstance(answer, str):
        return answer
    if answer is None:
        return ""
    from pydantic_core import to_json  # late: adapters of plain functions need no pydantic

    return to_json(answer, fallback=str).decode()
