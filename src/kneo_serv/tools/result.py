"""What a tool answered."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The answer of one tool call, as text. `tool_call_id` is the id under which a model asked for it, if one did."""

    name: str
    output: str
    id: str | None = None
    tool_call_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def result(self) -> str:
        """The same as `output`."""
        return self.output


def output_text(value: object) -> str:
    """Text of what a handler returned: a string as it is, dicts and lists as JSON, anything else by `str()`."""
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        try:
            return json.dumps(value, ensure_ascii=False, default=str)
        except (TypeError, ValueError):
            # Keys that JSON does not know, or a value that holds itself: Python's own text still says the most.
            return str(value)
    return str(value)
