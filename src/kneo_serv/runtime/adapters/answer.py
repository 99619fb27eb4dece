"""The answer of a foreign agent as text, and what it took."""

from typing import Any

from kneo_serv.model.message import Usage


def as_text(answer: Any) -> str:
    """A text as it is, nothing as an empty text, and structured output (models, dataclasses, dicts) as JSON text."""
    if isinstance(answer, str):
        return answer
    if answer is None:
        return ""
    from pydantic_core import to_json  # late: adapters of plain functions need no pydantic

    return to_json(answer, fallback=str).decode()


def unpriced(*, input_tokens: int, output_tokens: int, requests: int, cached_tokens: int) -> Usage:
    """What a foreign agent took. Nobody here knows whom it asks, hence no price either."""
    priceless = requests if input_tokens or output_tokens else 0
    return Usage(input_tokens, output_tokens, requests, cached_tokens, unpriced=priceless)
