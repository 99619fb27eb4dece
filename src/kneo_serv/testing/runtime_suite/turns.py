"""Texts, wishes and conversations."""
# ruff: noqa: S101 - these are tests

import asyncio
import json

from kneo_serv.model.message import Message, Role, ToolCall, Turn
from kneo_serv.testing.runtime_suite.case import (
    TOOL,
    Failure,
    Make,
    Reply,
    asked,
    case,
    echo,
    made,
    plain_case,
    refusal,
    saying,
    user,
)

_ODD = 'Grüße 🫖 "quoted" \\ back\tslash, 茶, שלום, e\u0301, \u2028 end'
_CONCURRENT = 20


@plain_case
async def an_answer_is_a_turn_with_text(make: Make) -> None:
    """Whatever is asked, a turn comes back."""
    async with made(make, saying("Tea is a drink.")) as runtime:
        turn = await runtime.turn(asked(user("What is tea?")))
    assert isinstance(turn, Turn), f"a turn is expected, not {type(turn).__name__}"
    assert isinstance(turn.text, str), f"the text of a turn is text, not {type(turn.text).__name__}"


@case
async def the_answer_is_what_the_model_said(make: Make) -> None:
    """Not more, not less, line breaks and spaces included."""
    text = "  Tea is a drink.\n\n- green\n- black\n"
    assert await _text(make, text) == text


@case
async def letters_of_every_script_survive(make: Make) -> None:
    """In both directions."""
    assert await _text(make, _ODD) == _ODD
    async with made(make, echo) as runtime:
        turn = await runtime.turn(asked(user(_ODD)))
    assert turn.text == f"You said: {_ODD}", turn.text


@case
async def an_empty_answer_is_an_empty_text(make: Make) -> None:
    """A model that says nothing is no failure."""
    assert await _text(make, "") == ""


@plain_case
async def empty_messages_are_taken(make: Make) -> None:
    """An empty question, and empty instructions."""
    async with made(make, saying("Yes?")) as runtime:
        turn = await runtime.turn(asked(Message(Role.SYSTEM, ""), user("")))
    assert isinstance(turn, Turn)


@case
async def a_wish_for_a_tool_has_a_name_arguments_and_an_id(make: Make) -> None:
    """Nested arguments and foreign letters arrive as they were."""
    arguments = {"query": _ODD, "filters": {"tags": ["a", "b"], "limit": 3, "deep": {"on": True, "none": None}}}
    async with made(make, lambda question: Turn(tool_calls=(ToolCall("call_1", TOOL.name, arguments),))) as runtime:
        turn = await runtime.turn(asked(user("Search for tea."), tools=(TOOL,)))
    (wish,) = turn.tool_calls
    assert (wish.name, dict(wish.arguments)) == (TOOL.name, arguments), wish
    assert wish.id, "a wish needs an id"
    assert wish.invalid_arguments is None


@case
async def several_wishes_keep_their_order_and_differ_in_their_ids(make: Make) -> None:
    """And the text that goes with them is there."""
    wishes = tuple(ToolCall(f"call_{number}", TOOL.name, {"query": str(number)}) for number in range(3))
    async with made(make, lambda question: Turn("Looking.", wishes)) as runtime:
        turn = await runtime.turn(asked(user("Search."), tools=(TOOL,)))
    assert [wish.arguments["query"] for wish in turn.tool_calls] == ["0", "1", "2"]
    assert len({wish.id for wish in turn.tool_calls}) == 3, "the ids of one turn must differ"
    assert turn.text == "Looking."


@case
async def arguments_that_are_no_object_are_handed_on_as_text(make: Make) -> None:
    """The platform tells the model; the turn does not fail."""
    async with made(
        make, lambda question: Turn(tool_calls=(ToolCall("call_1", TOOL.name, invalid_arguments="{oh"),))
    ) as runtime:
        turn = await runtime.turn(asked(user("Search."), tools=(TOOL,)))
    (wish,) = turn.tool_calls
    assert wish.invalid_arguments is not None, "the raw text belongs into invalid_arguments"
    assert "{oh" in wish.invalid_arguments


@case
async def a_conversation_with_the_answers_of_tools_goes_on(make: Make) -> None:
    """What the runtime gave in one turn is given back to it in the next one."""

    def model(question: str) -> Reply:
        if question == "Search for tea.":
            return Turn("Looking.", (ToolCall("call_1", TOOL.name, {"query": "tea"}),))
        return Turn(f"After that: {question}")

    async with made(make, model) as runtime:
        question = user("Search for tea.")
        turn = await runtime.turn(asked(Message(Role.SYSTEM, "Be brief."), question, tools=(TOOL,)))
        (wish,) = turn.tool_calls
        said = Message(Role.ASSISTANT, turn.text, tool_calls=turn.tool_calls, raw=turn.raw)
        found = Message(Role.TOOL, "Tea is a drink.", name=TOOL.name, tool_call_id=wish.id)
        more = user("And coffee?")
        turn = await runtime.turn(asked(Message(Role.SYSTEM, "Be brief."), question, said, found, more, tools=(TOOL,)))
    assert turn.text == "After that: And coffee?", turn.text


@plain_case
async def a_long_history_is_taken(make: Make) -> None:
    """A hundred messages, without what a provider may have kept of them."""
    history = [
        message
        for number in range(50)
        for message in (user(f"question {number}"), Message(Role.ASSISTANT, f"answer {number}"))
    ]
    async with made(make, saying("Yes.")) as runtime:
        turn = await runtime.turn(asked(*history, user("And now?")))
    assert isinstance(turn, Turn)


@case
async def turns_at_the_same_time_are_not_mixed_up(make: Make) -> None:
    """One runtime serves many runs."""
    async with made(make, echo) as runtime:
        turns = await asyncio.gather(*(runtime.turn(asked(user(f"question {n}"))) for n in range(_CONCURRENT)))
    assert [turn.text for turn in turns] == [f"You said: question {n}" for n in range(_CONCURRENT)]


@plain_case
async def what_a_turn_took_is_never_negative(make: Make) -> None:
    """Zero where nobody says."""
    async with made(make, saying("Tea.")) as runtime:
        usage = (await runtime.turn(asked(user("What is tea?")))).usage
    counts = (usage.input_tokens, usage.output_tokens, usage.requests, usage.cached_tokens, usage.unpriced)
    assert min(*counts, usage.cost_usd) >= 0, usage
    assert usage.cached_tokens <= usage.input_tokens, "cached tokens are part of the input"


@case
async def a_failure_of_the_model_is_a_provider_error(make: Make) -> None:
    """And the runtime can be asked again."""
    replies: list[Reply] = [Failure("refused by the suite")]
    async with made(make, lambda question: replies[0]) as runtime:
        error = await refusal(runtime)
        assert not error.transient, "a refusal is not transient"
        assert error.provider, "the error names the provider"
        replies[0] = Turn("Tea is a drink.")
        assert (await runtime.turn(asked(user("What is tea?")))).text == "Tea is a drink."


@plain_case
async def what_is_streamed_is_the_answer(make: Make) -> None:
    """Somebody who listens hears all of it and nothing else, or nothing at all; the turn is the same."""
    heard: list[str] = []
    async with made(make, saying("Tea is a drink.\nIt is hot.")) as runtime:
        told = await runtime.turn(asked(user("What is tea?"), on_text=heard.append))
        plain = await runtime.turn(asked(user("What is tea?")))
    assert told.text == plain.text, f"streamed {told.text!r}, not streamed {plain.text!r}"
    begun = len(heard) - heard[::-1].index("") if "" in heard else 0  # what came before an empty piece is void
    rest = "".join(heard[begun:])
    assert not heard or rest == told.text, f"heard {json.dumps(heard)}, but the text is {told.text!r}"


async def _text(make: Make, text: str) -> str:
    async with made(make, saying(text)) as runtime:
        return (await runtime.turn(asked(user("What is tea?")))).text
