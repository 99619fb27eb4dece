"""A chat completions server on the loopback address, and the words to script it with."""

from kneo_serv.testing.answers import Answer, broken, completion, error, silence, text, tool_call, tool_calls
from kneo_serv.testing.scripted_server import Script, ScriptedOpenAI

__all__ = [
    "Answer",
    "Script",
    "ScriptedOpenAI",
    "broken",
    "completion",
    "error",
    "silence",
    "text",
    "tool_call",
    "tool_calls",
]
