from dataclasses import replace
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, DeferredToolRequests, ModelRetry, Tool
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.output import PromptedOutput
from pydantic_ai.providers.openai import OpenAIProvider

from kneo_serv.model.message import Usage
from kneo_serv.testing.scripted_openai import ScriptedOpenAI, error, text, tool_call
from tests.runtime.adapters.foreign import CANARY, LONG, PLAIN, answer, cancelled, clients, failure, roles


class Drink(BaseModel):
    colour: str


def pantry(item: str) -> str:
    """Looks for something in the pantry."""
    if item == "nothing":
        raise ModelRetry("name something")
    return f"no {item} left"


def buy(item: str) -> str:
    """Buys something."""
    return f"bought {item}"


def seller(base_url: str, **options: Any) -> Agent[None, Any]:
    client = AsyncOpenAI(api_key=CANARY, base_url=base_url, max_retries=0)
    clients.append(client.close)
    model = OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client))
    return Agent(model, **{"tools": [pantry], "system_prompt": "You sell drinks.", **options})


def test_the_agent_gets_the_conversation_and_keeps_its_own_instructions() -> None:
    with ScriptedOpenAI([text("brown", input_tokens=12, output_tokens=3)]) as server:
        turn = answer(seller, server, LONG)

        assert (turn.text, turn.tool_calls, turn.model_name) == ("brown", (), "scripted")
        assert turn.usage == Usage(12, 3, requests=1, unpriced=1)
        said = roles(server.requests[0])
        assert sorted(said[:2]) == [("system", "You sell drinks."), ("system", "be kind")]
        assert said[2:] == [
            ("user", "milk?"),
            ("assistant", "Let me look."),
            ("tool", "one bottle"),
            ("assistant", "There is one."),
            ("user", "tea?"),
        ]
        assert server.headers[0]["authorization"] == f"Bearer {CANARY}"


def test_without_a_history_both_prompts_open_the_conversation() -> None:
    with ScriptedOpenAI([text("brown")]) as server:
        answer(lambda base_url: seller(base_url, instructions="Be brief."), server)

        said = [content for role, content in roles(server.requests[0]) if role == "system"]
        assert "You sell drinks." in said
        assert "be kind" in " ".join(said)
        assert "Be brief." in " ".join(said)


def test_the_agent_calls_its_own_tools_and_all_its_requests_are_counted() -> None:
    answers = [tool_call("pantry", {"item": "nothing"}), tool_call("pantry", {"item": "tea"}), text("None is left.")]
    with ScriptedOpenAI(answers) as server:
        turn = answer(seller, server)

        assert turn.text == "None is left."
        assert turn.usage == Usage(30, 15, requests=3, unpriced=3)
        assert roles(server.requests[2])[-1] == ("tool", "no tea left")


def test_structured_output_of_the_agent_is_json() -> None:
    with ScriptedOpenAI([text('{"colour": "brown"}')]) as server:
        turn = answer(lambda base_url: seller(base_url, output_type=PromptedOutput(Drink)), server)

    assert turn.text == '{"colour":"brown"}'


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


def test_an_agent_that_waits_for_approval_is_told() -> None:
    def careful(base_url: str) -> Agent[None, Any]:
        tool = Tool(buy, requires_approval=True)
        return seller(base_url, tools=[tool], output_type=[str, DeferredToolRequests])

    problem = failure(careful, tool_call("buy", {"item": "tea"}))

    assert problem.message.startswith("Adapter 'shop.agent' waits for a person's word on buy, which cannot reach it")


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(("status", "transient"), [(500, True), (401, False)])
def test_what_the_server_refuses_is_told_by_its_status(status: int, transient: bool, streams: bool) -> None:
    heard: list[str] = []
    request = replace(PLAIN, on_text=heard.append if streams else None)
    problem = failure(seller, error(status, message=f"Incorrect API key provided: {CANARY}"), request=request)

    assert problem.message.startswith("Adapter 'shop.agent' failed: ")
    assert problem.message.endswith(f"Error (HTTP {status}).")
    assert problem.transient is transient


def test_a_server_that_is_not_there_is_a_failure_that_may_pass() -> None:
    problem = failure(lambda _: seller("http://127.0.0.1:1/v1"))

    assert problem.message.endswith("Error (the connection failed).")
    assert problem.transient


@pytest.mark.parametrize("streams", [False, True])
def test_a_cancelled_turn_ends_at_once(streams: bool) -> None:
    heard: list[str] = []
    cancelled(seller, replace(PLAIN, on_text=heard.append if streams else None))
