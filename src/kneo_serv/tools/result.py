"""What a tool answered."""

import json

from kneo_serv.model.tool import ToolResult as ToolResult


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
