from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from google.adk.agents import BaseAgent, LlmAgent
from google.adk.agents.invocation_context import InvocationContext
from google.adk.events.event import Event
from google.adk.models.google_llm import Gemini
from google.adk.tools.long_running_tool import LongRunningFunctionTool
from google.adk.workflow import START, Workflow
from google.genai import types
from pydantic import BaseModel

from kneo_serv.model.message import Usage
from kneo_serv.testing.answers import completion, error, text, tool_call
from kneo_serv.testing.scripted_server import ScriptedGoogle
from tests.runtime.adapters.foreign import CANARY, LONG, PLAIN, answer, cancelled, clients, failure

ONE = Usage(10, 5, requests=1, unpriced=1)


class Drink(BaseModel):
    colour: str


def pantry(item: str) -> dict[str, str]:
    """Looks for something in the pantry."""
    return {"found": f"no {item} left"}


def order(item: str) -> None:
    """Orders something, which takes days."""


def seller(base_url: str, **options: Any) -> LlmAgent:
    model = Gemini(model="gemini-test", base_url=base_url, client_kwargs={"api_key": CANARY})
    clients.append(model.api_client.aio.aclose)
    given: dict[str, Any] = {"name": "seller", "instruction": "You sell drinks.", "tools": [pantry], **options}
    return LlmAgent(model=model, **given)


class Echo(BaseAgent):
    """An agent without a model."""

    async def _run_async_impl(self, ctx: InvocationContext) -> AsyncGenerator[Event]:
        asked = ctx.user_content.parts[0].text if ctx.user_content and ctx.user_content.parts else ""
        content = types.Content(role="model", parts=[types.Part(text=f"{len(ctx.session.events)} {asked}")])
        yield Event(author=self.name, invocation_id=ctx.invocation_id, content=content)


def said(request: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(content["role"], next(iter(content["parts"][0].values()))) for content in request["contents"]]


def test_the_agent_gets_the_conversation_and_keeps_its_own_instruction() -> None:
    with ScriptedGoogle([text("brown")]) as server:
        turn = answer(seller, server, LONG)

        assert (turn.text, turn.tool_calls, turn.model_name) == ("brown", (), "scripted")
        assert turn.usage == ONE
        request = server.requests[0]
        instruction = request["systemInstruction"]["parts"][0]["text"]
        assert "You sell drinks." in instruction
        assert instruction.endswith("be kind")
        first, looked, returned, then, last = said(request)
        assert first == ("user", "milk?")
        assert looked == ("model", "Let me look.")
        assert request["contents"][1]["parts"][1]["functionCall"]["name"] == "pantry"
        assert returned[1]["response"] == {"result": "one bottle"}
        assert (then, last) == (("model", "There is one."), ("user", "tea?"))
        assert server.headers[0]["x-goog-api-key"] == CANARY


def test_the_agent_calls_its_own_tools_and_all_its_requests_are_counted() -> None:
    with ScriptedGoogle([tool_call("pantry", {"item": "tea"}), text("None is left.")]) as server:
        turn = answer(seller, server)

        assert turn.text == "None is left."
        assert turn.usage == ONE + ONE
        assert said(server.requests[1])[-1][1]["response"] == {"found": "no tea left"}


def test_an_agent_without_a_model_answers_too() -> None:
    heard: list[str] = []
    with ScriptedGoogle([]) as server:
        turn = answer(lambda _: Echo(name="echo"), server, replace(PLAIN, on_text=heard.append))

    assert (turn.text, turn.usage) == ("1 tea?", Usage())
    assert heard == ["1 tea?"]


def test_the_last_agent_of_a_workflow_answers() -> None:
    def both(base_url: str) -> Workflow:
        first, second = seller(base_url), seller(base_url, name="checker")
        return Workflow(name="both", edges=[(START, first), (first, second)])

    with ScriptedGoogle([text("brown"), text("brown it is")]) as server:
        turn = answer(both, server)

    assert turn.text == "brown it is"
    assert turn.usage == ONE + ONE


def test_the_output_of_a_workflow_that_says_nothing_is_json() -> None:
    def colour(node_input: Any) -> dict[str, str]:
        return {"colour": "brown"}

    with ScriptedGoogle([]) as server:
        turn = answer(lambda _: Workflow(name="plain", edges=[(START, colour)]), server)

    assert turn.text == '{"colour":"brown"}'


def test_structured_output_of_the_agent_is_json() -> None:
    with ScriptedGoogle([text('{"colour": "brown"}')]) as server:
        turn = answer(lambda base_url: seller(base_url, tools=[], output_schema=Drink), server)

    assert turn.text == '{"colour": "brown"}'


def test_text_is_heard_while_it_comes_and_in_the_end_the_answer_alone() -> None:
    heard: list[str] = []
    answers = [tool_call("pantry", {"item": "tea"}, content="Let me look."), text("None is left.")]
    with ScriptedGoogle(answers) as server:
        turn = answer(seller, server, replace(PLAIN, on_text=heard.append))

    assert turn.text == "None is left."
    assert turn.usage == ONE + ONE
    assert heard == ["Let", " me", " look.", "None", " is", " left.", "", "None is left."]


def test_the_bound_of_the_strategy_stops_the_agent_and_is_named() -> None:
    problem = failure(
        seller,
        *[tool_call("pantry", {"item": "tea"})] * 3,
        request=replace(PLAIN, max_requests=2),
        serve=ScriptedGoogle,
    )

    assert problem.message == (
        "Adapter 'shop.agent' asked its model 2 times and came to no end. Raise strategy.max_iterations."
    )


def test_an_agent_that_rests_on_a_long_running_tool_is_told() -> None:
    def patient(base_url: str) -> LlmAgent:
        return seller(base_url, tools=[LongRunningFunctionTool(order)])

    problem = failure(patient, *[tool_call("order", {"item": "tea"}), text("")], serve=ScriptedGoogle)

    assert problem.message.startswith("Adapter 'shop.agent' waits for a person's word on order, which cannot reach it")


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("status", "transient"), [(500, True), (401, False)])
def test_what_the_server_refuses_is_told_by_its_status(status: int, transient: bool, streams: bool) -> None:
    heard: list[str] = []
    request = replace(PLAIN, on_text=heard.append if streams else None)
    problem = failure(
        seller, error(status, message=f"API key {CANARY} not valid"), request=request, serve=ScriptedGoogle
    )

    assert problem.message.startswith("Adapter 'shop.agent' failed: ")
    assert problem.message.endswith(f"Error (HTTP {status}).")
    assert problem.transient is transient


def test_an_answer_that_is_held_back_is_told() -> None:
    withheld = completion({"candidates": [{"finishReason": "SAFETY", "index": 0}]})
    problem = failure(seller, withheld, serve=ScriptedGoogle)

    assert problem.message == "Adapter 'shop.agent' got no answer from its model (SAFETY)."


@pytest.mark.parametrize("streams", [False, True])
def test_a_cancelled_turn_ends_at_once(streams: bool) -> None:
    heard: list[str] = []
    request = replace(PLAIN, on_text=heard.append if streams else None)
    cancelled(seller, request, serve=ScriptedGoogle)
