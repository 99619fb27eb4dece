import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from agents import Agent, OpenAIChatCompletionsModel, function_tool, set_tracing_disabled
from agents.exceptions import UserError
from openai import AsyncOpenAI
from pydantic import BaseModel

from kneo_serv.model.message import Usage
from kneo_serv.testing.scripted_openai import ScriptedOpenAI, error, text, tool_call
from tests.runtime.adapters.foreign import CANARY, LONG, PLAIN, answer, cancelled, clients, failure, roles


@pytest.fixture(autouse=True)
def _untraced() -> Iterator[None]:
    """The SDK sends traces to OpenAI by default, and tests speak with this machine only."""
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)


class Drink(BaseModel):
    colour: str


@function_tool
def pantry(item: str) -> str:
    """Looks for something in the pantry."""
    return f"no {item} left"


@function_tool(needs_approval=True)
def buy(item: str) -> str:
    """Buys something."""
    return f"bought {item}"


def model(base_url: str) -> OpenAIChatCompletionsModel:
    client = AsyncOpenAI(api_key=CANARY, base_url=base_url, max_retries=0)
    clients.append(client.close)
    return OpenAIChatCompletionsModel("m", openai_client=client)


def seller(base_url: str, **options: Any) -> Agent[Any]:
    return Agent(name="seller", instructions="You sell drinks.", model=model(base_url), tools=[pantry, buy], **options)


def test_the_agent_gets_the_conversation_behind_its_own_instructions() -> None:
    with ScriptedOpenAI([text("brown", input_tokens=12, output_tokens=3)]) as server:
        turn = answer(seller, server, LONG)

        assert (turn.text, turn.tool_calls, turn.model_name) == ("brown", (), "m")
        assert turn.usage == Usage(12, 3, requests=1, unpriced=1)
        assert roles(server.requests[0]) == [
            ("system", "You sell drinks."),
            ("system", "be kind"),
            ("user", "milk?"),
            ("assistant", "Let me look."),
            ("assistant", None),
            ("tool", "one bottle"),
            ("assistant", "There is one."),
            ("user", "tea?"),
        ]
        assert server.requests[0]["messages"][4]["tool_calls"][0]["function"]["name"] == "pantry"
        assert server.headers[0]["authorization"] == f"Bearer {CANARY}"


def test_the_agent_calls_its_own_tools_and_all_its_requests_are_counted() -> None:
    with ScriptedOpenAI([tool_call("pantry", {"item": "tea"}), text("None is left.")]) as server:
        turn = answer(seller, server)

        assert turn.text == "None is left."
        assert turn.usage == Usage(20, 10, requests=2, unpriced=2)
        assert roles(server.requests[1])[-1] == ("tool", "no tea left")


def test_an_agent_that_another_one_handed_over_to_answers() -> None:
    def front(base_url: str) -> Agent[Any]:
        return Agent(name="front", model=model(base_url), handoffs=[seller(base_url)])

    with ScriptedOpenAI([tool_call("transfer_to_seller", {}), text("brown")]) as server:
        assert answer(front, server).text == "brown"


def test_structured_output_of_the_agent_is_json() -> None:
    with ScriptedOpenAI([text('{"colour": "brown"}')]) as server:
        assert answer(lambda base_url: seller(base_url, output_type=Drink), server).text == '{"colour":"brown"}'


def test_text_is_heard_while_it_comes_and_in_the_end_the_answer_alone() -> None:
    heard: list[str] = []
    answers = [tool_call("pantry", {"item": "tea"}, content="Let me look."), text("None is left.")]
    with ScriptedOpenAI(answers) as server:
        turn = answer(seller, server, replace(PLAIN, on_text=heard.append))

    assert turn.text == "None is left."
    assert turn.usage == Usage(20, 10, requests=2, unpriced=2)
    assert heard == ["Let", " me", " look.", "None", " is", " left.", "", "None is left."]


def test_the_bound_of_the_strategy_stops_the_agent_and_is_named() -> None:
    calls = [tool_call("pantry", {"item": "tea"})] * 3
    problem = failure(seller, *calls, request=replace(PLAIN, max_requests=2))

    assert problem.message == (
        "Adapter 'shop.agent' asked its model 2 times and came to no end. Raise strategy.max_iterations."
    )


def test_without_a_bound_of_ours_that_of_the_sdk_holds() -> None:
    problem = failure(seller, *[tool_call("pantry", {"item": "tea"})] * 11)

    assert problem.message == "Adapter 'shop.agent' failed: MaxTurnsExceeded: Max turns (10) exceeded"


def test_an_agent_that_waits_for_approval_is_told() -> None:
    problem = failure(seller, tool_call("buy", {"item": "tea"}))

    assert problem.message == (
        "Adapter 'shop.agent' waits for a person's word on buy, which cannot reach it here. "
        "Let people decide in the workflow, in a human step before or after this agent."
    )


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("status", "kind", "transient"), [(500, "InternalServerError", True), (401, "AuthenticationError", False)]
)
def test_what_the_server_refuses_is_told_by_its_status(status: int, kind: str, transient: bool, streams: bool) -> None:
    heard: list[str] = []
    request = replace(PLAIN, on_text=heard.append if streams else None)
    problem = failure(seller, error(status, message=f"Incorrect API key provided: {CANARY}"), request=request)

    assert re.fullmatch(rf"Adapter 'shop.agent' failed: {kind} \(HTTP {status}\)\.", problem.message)
    assert problem.transient is transient


def test_an_error_of_the_sdk_is_told() -> None:
    def without_end(base_url: str) -> Agent[Any]:
        def instructions(context: Any, agent: Any) -> str:
            raise UserError("no such customer")

        return seller(base_url).clone(instructions=instructions)

    problem = failure(without_end)

    assert problem.message == "Adapter 'shop.agent' failed: UserError: no such customer"


def test_a_cancelled_turn_ends_at_once() -> None:
    cancelled(seller)


def test_a_cancelled_stream_leaves_no_task_behind() -> None:
    heard: list[str] = []
    cancelled(seller, replace(PLAIN, on_text=heard.append))
