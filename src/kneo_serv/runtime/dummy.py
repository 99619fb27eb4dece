"""A model without a model: it answers by rule, at once and for free."""

import re
from itertools import takewhile

from kneo_serv.model.message import Message, Role, ToolCall, Turn, TurnRequest
from kneo_serv.model.tool import ToolDefinition


class DummyRuntime:
    """Answers that depend on nothing but the conversation, so that workflows can be tried out and tested.

    - Tool results since the last user message: `Final answer based on tool results: <results>`.
    - Tools on offer and the word "search" in the last user message: `I need to search.` and a call of `web_search` with
      that message as `query`; a tool of this name that knows no `query` gets it as the first argument that it requires.
    - Anything else: `Final answer: <last user message>`.

    No usage is reported, since no tokens are used. A listener hears the answer word by word.
    """

    def __init__(self, *, model_name: str | None = None) -> None:
        self._model_name = model_name

    async def turn(self, request: TurnRequest) -> Turn:
        """The answer that the rules above give."""
        turn = self._turn(request)
        if request.on_text is not None:
            for word in re.findall(r"\s*\S+|\s+$", turn.text):
                request.on_text(word)
        return turn

    async def aclose(self) -> None:
        """Nothing to let go of."""

    def _turn(self, request: TurnRequest) -> Turn:
        question = _last_user_text(request.messages)
        results = _tool_results_since_then(request.messages)
        if results:
            return self._say(f"Final answer based on tool results: {' '.join(results)}")
        if request.tools and "search" in question.lower():
            return self._say(
                "I need to search.", ToolCall("web_search_1", "web_search", {_argument(request.tools): question})
            )
        return self._say(f"Final answer: {question}")

    def _say(self, text: str, *calls: ToolCall) -> Turn:
        return Turn(text=text, tool_calls=calls, model_name=self._model_name)


def _last_user_text(messages: tuple[Message, ...]) -> str:
    return next((message.content for message in reversed(messages) if message.role is Role.USER), "")


def _argument(tools: tuple[ToolDefinition, ...]) -> str:
    for tool in tools:
        required = tool.parameters.get("required") if tool.name == "web_search" else None
        if required and "query" not in tool.parameters.get("properties", {}):
            return str(required[0])
    return "query"


def _tool_results_since_then(messages: tuple[Message, ...]) -> list[str]:
    newest_first = takewhile(lambda message: message.role is not Role.USER, reversed(messages))
    return [message.content for message in newest_first if message.role is Role.TOOL][::-1]
