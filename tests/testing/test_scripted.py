"""The scripted provider says what its script says, in the order and with the faults that are written there."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, ProviderError, SpecParseError
from kneo_serv.model.message import Message, Role, ToolCall, Turn, TurnRequest, Usage
from kneo_serv.model.plan import AgentPlan, ModelPlan, RuntimeMode, RuntimePreferences
from kneo_serv.testing.scripted import (
    Fault,
    Per,
    Script,
    ScriptedCall,
    ScriptedProvider,
    ScriptedTurn,
    ScriptSource,
    as_script,
    call,
    fail,
    no_waiting,
    say,
    scripted_registry,
)

YAML = """\
per: conversation
agents:
  researcher:
    - when: tea
      calls:
        - {tool: web_search, arguments: {query: tea}}
        - {tool: web_search, arguments: "{not json"}
      usage: {input_tokens: 100, output_tokens: 20, cached_tokens: 7, cost_usd: 0.5}
    - fault: transient
      message: busy
      times: 2
      delay_seconds: 1.5
    - text: Tea is a drink.
      pieces: ["Tea ", "is a drink."]
      times: always
  "*":
    - Nothing to say.
"""


def asked(text: str = "?", agent: str = "helper", *, before: tuple[Message, ...] = (), **more: Any) -> TurnRequest:
    return TurnRequest(agent, (*before, Message(Role.USER, text)), **more)


def answers(provider: ScriptedProvider, *requests: TurnRequest) -> list[Turn]:
    async def ask() -> list[Turn]:
        return [await provider.answer(request, None) for request in requests]

    return asyncio.run(ask())


def texts(script: ScriptSource, *requests: TurnRequest) -> list[str]:
    return [turn.text for turn in answers(ScriptedProvider(script, sleep=no_waiting), *requests)]


def test_turns_are_said_in_their_order() -> None:
    assert texts([say("one"), say("two")], asked(), asked()) == ["one", "two"]


def test_each_agent_has_turns_of_its_own_and_all_others_share_some() -> None:
    script = {"agents": {"a": [say("from a")], "*": ["for the rest", "and more"]}}
    assert texts(script, asked(agent="b"), asked(agent="a"), asked(agent="c")) == ["for the rest", "from a", "and more"]


def test_a_turn_with_a_condition_waits_for_its_question() -> None:
    script = [say("of tea", when="TEA"), say("of anything", times=None), say("never said")]
    assert texts(script, asked("coffee"), asked("a cup of tea"), asked("tea")) == [
        "of anything",
        "of tea",
        "of anything",
    ]


def test_a_condition_is_looked_for_in_the_answers_of_tools_to_the_newest_question() -> None:
    before = (Message(Role.USER, "old tea"), Message(Role.ASSISTANT, "tea"))
    after = Message(Role.TOOL, "found: tea", tool_call_id="c")
    request = asked("new", before=before)
    provider = ScriptedProvider([say("yes", when="tea")])
    with pytest.raises(ProviderError):
        answers(provider, request)
    assert texts([say("yes", when="tea")], TurnRequest("helper", (*request.messages, after))) == ["yes"]


def test_wishes_for_tools_carry_ids_and_wrong_arguments_are_told_as_such() -> None:
    turn = ScriptedTurn("Looking.", (ScriptedCall("web_search", {"query": "tea"}), ScriptedCall("web_search", "{oh")))
    (said,) = answers(ScriptedProvider([turn]), asked())
    assert said.text == "Looking."
    assert said.tool_calls == (
        ToolCall("call_1", "web_search", {"query": "tea"}),
        ToolCall("call_2", "web_search", invalid_arguments="{oh"),
    )


def test_usage_is_told_as_written() -> None:
    usage = Usage(100, 20, 1, 7)
    (said,) = answers(ScriptedProvider([say("x", usage=usage)]), asked())
    assert said.usage == usage
    assert answers(ScriptedProvider(["x"]), asked())[0].usage == Usage(requests=1)


def test_a_delay_is_waited_for_by_the_sleep_that_was_given() -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    answers(ScriptedProvider([say("x", delay_seconds=3600)], sleep=sleep), asked())
    assert waited == [3600]


def test_a_delay_does_not_hold_up_others() -> None:
    gate = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await gate.wait()

    provider = ScriptedProvider(
        {"agents": {"slow": [say("late", delay_seconds=1)], "fast": [say("early")]}}, sleep=sleep
    )

    async def both() -> list[str]:
        slow = asyncio.ensure_future(provider.answer(asked(agent="slow"), None))
        fast = await provider.answer(asked(agent="fast"), None)
        gate.set()
        return [fast.text, (await slow).text]

    assert asyncio.run(both()) == ["early", "late"]


def test_transient_faults_are_tried_again_and_too_many_are_a_transient_error() -> None:
    provider = ScriptedProvider([fail("transient", times=2), say("at last")], retries=2, sleep=no_waiting)
    assert answers(provider, asked())[0].text == "at last"
    assert len(provider.requests) == 1
    with pytest.raises(ProviderError, match=r"busy .* Gave up after 3 attempts") as caught:
        answers(ScriptedProvider([fail(times=3)], sleep=no_waiting), asked())
    assert caught.value.transient


@pytest.mark.parametrize(("fault", "transient"), [(Fault.PERMANENT, False), (Fault.TIMEOUT, True)])
def test_other_faults_are_told_at_once(fault: Fault, transient: bool) -> None:
    provider = ScriptedProvider([fail(fault, "no luck"), say("not said")])
    with pytest.raises(ProviderError, match=r"^no luck$") as caught:
        answers(provider, asked())
    assert caught.value.transient is transient
    assert (caught.value.provider, provider.complaints) == ("scripted", [])


def test_silence_ends_when_somebody_else_ends_it() -> None:
    async def patience() -> None:
        async with asyncio.timeout(0.01):
            await ScriptedProvider([fail("silence")]).answer(asked(), None)

    with pytest.raises(TimeoutError):
        asyncio.run(patience())


def test_a_listener_hears_the_pieces_and_they_make_up_the_text() -> None:
    heard: list[str] = []
    request = asked(on_text=heard.append)
    (said,) = answers(ScriptedProvider([say("Tea  is a\ndrink.")]), request)
    assert "".join(heard) == said.text
    assert len(heard) == 4
    heard.clear()
    answers(ScriptedProvider([say("ab", pieces=("a", "b"))]), request)
    assert heard == ["a", "b"]


def test_what_was_asked_is_noted() -> None:
    provider = ScriptedProvider({"agents": {"*": [say("x", times=None)]}})
    first, second = asked("1", agent="a"), asked("2", agent="b")
    answers(provider, first, second)
    assert provider.requests == [first, second]
    assert provider.asked("b") == [second]


def test_a_script_that_is_used_up_says_so_and_is_complained_of() -> None:
    provider = ScriptedProvider([say("one")])
    with pytest.raises(ProviderError) as caught:
        answers(provider, asked(), asked("and what now?"))
    assert str(caught.value) == (
        "The script has no turn left for agent 'helper' (those of '*'): 1 said, 1 written. "
        "It was asked: 'and what now?'"
    )
    with pytest.raises(AssertionError, match="no turn left"):
        provider.check()


def test_an_agent_that_is_not_in_the_script_is_complained_of() -> None:
    provider = ScriptedProvider({"agents": {"a": ["x"], "b": []}})
    with pytest.raises(ProviderError, match=r"no turns for agent 'helper' \(it has turns for: a, b\)"):
        answers(provider, asked())
    with pytest.raises(AssertionError):
        provider.check()


def test_turns_that_nobody_asked_for_are_told_when_that_matters() -> None:
    provider = ScriptedProvider(
        [say("one"), call("web_search", {"query": "tea"}), fail("permanent"), say("z", times=None)]
    )
    answers(provider, asked())
    provider.check()
    with pytest.raises(AssertionError) as caught:
        provider.check(used_up=True)
    assert str(caught.value).splitlines()[1:] == ['*[1]: web_search({"query": "tea"})', "*[2]: fault permanent"]


def test_each_conversation_goes_through_the_turns_for_itself() -> None:
    script = Script({"*": (call("web_search", {"query": "x"}), say("done"))}, Per.CONVERSATION)
    later = asked(
        before=(Message(Role.USER, "q"), Message(Role.ASSISTANT, "", tool_calls=(ToolCall("c", "web_search"),)))
    )
    first = answers(ScriptedProvider(script), asked(), asked(), later, later)
    assert [turn.text or turn.tool_calls[0].name for turn in first] == ["web_search", "web_search", "done", "done"]


def test_in_a_conversation_a_fault_comes_once_before_its_turn_also_when_the_step_is_tried_again() -> None:
    script = Script({"*": (fail("permanent"), say("done"))}, Per.CONVERSATION)
    provider = ScriptedProvider(script)
    with pytest.raises(ProviderError):
        answers(provider, asked(idempotency_key="run_1:main/s#1:1:1"))
    assert answers(provider, asked(idempotency_key="run_1:main/s#1:2:1"))[0].text == "done"
    with pytest.raises(ProviderError):
        answers(provider, asked(idempotency_key="run_2:main/s#1:1:1"))


def test_a_conversation_that_is_over_has_no_turn_left() -> None:
    provider = ScriptedProvider(Script({"*": (say("done"),)}, Per.CONVERSATION))
    with pytest.raises(ProviderError, match="no turn left"):
        answers(provider, asked(before=(Message(Role.ASSISTANT, "done"),)))
    assert provider.unused == []


def test_a_script_is_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(YAML)
    script = as_script(path)
    assert script == as_script(str(path))
    assert script.per is Per.CONVERSATION
    wish, busy, drink = script.agents["researcher"]
    assert wish == ScriptedTurn(
        calls=(ScriptedCall("web_search", {"query": "tea"}), ScriptedCall("web_search", "{not json")),
        when="tea",
        usage=Usage(100, 20, 1, 7, 0.5),
    )
    assert busy == fail("transient", "busy", times=2, delay_seconds=1.5)
    assert drink == say("Tea is a drink.", pieces=("Tea ", "is a drink."), times=None)
    assert script.agents["*"] == (say("Nothing to say."),)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "script: `agents` must map names of agents to lists of turns."),
        ({"agent": {}}, "script: the key `agent` is not known. Did you mean `agents`?"),
        ({"agents": {"a": {}}}, "script: agents.a must be a list of turns."),
        ({"agents": {"a": [7]}}, "script: agents.a[0] must be a mapping of text, calls"),
        ({"agents": {"a": ["x", {"dely": 1}]}}, "script: agents.a[1]: the key `dely` is not known."),
        ({"agents": {"a": [{"text": 7}]}}, "script: agents.a[0].text: 7 cannot be used."),
        ({"agents": {"a": [{"fault": "odd"}]}}, "agents.a[0].fault: 'odd' is none of transient, permanent"),
        ({"agents": {"a": [{"fault": "timeout", "text": "x"}]}}, "agents.a[0]: A turn with a fault says nothing"),
        ({"agents": {"a": [{"times": 0}]}}, "agents.a[0]: `delay_seconds` must not be below 0"),
        ({"agents": {"a": [{"text": "ab", "pieces": ["a"]}]}}, "agents.a[0]: The pieces ['a'] do not make up"),
        ({"agents": {"a": [{"calls": [{"arguments": {}}]}]}}, "agents.a[0].calls[0]: `tool` is missing."),
        ({"agents": {"a": [{"usage": {"tokens": 1}}]}}, "agents.a[0].usage: the key `tokens` is not known."),
        ({"agents": {}, "per": "run"}, "script: per: 'run' is none of script, conversation."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_script_is_told_with_its_place(data: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        as_script(data)
    assert text in str(caught.value)


def test_a_file_that_is_no_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_text("agents:\n  a: [\n")
    with pytest.raises(SpecParseError, match=r"script\.yaml:"):
        as_script(path)


def _ask(registry: Any, plan: AgentPlan) -> str:
    turn: Awaitable[Turn] = registry.create(plan).turn(asked(agent=plan.name))

    async def wait() -> Turn:
        return await turn

    return asyncio.run(wait()).text


def test_a_spec_gets_the_provider_by_its_name_and_the_others_stay() -> None:
    registry = scripted_registry([say("from the script")])
    scripted, dummy = AgentPlan("a", model=ModelPlan("scripted", "m")), AgentPlan("b", model=ModelPlan("dummy", "m"))
    assert registry.problem(scripted) is None
    assert _ask(registry, scripted) == "from the script"
    assert _ask(registry, dummy) == "Final answer: ?"


@pytest.mark.parametrize("mode", list(RuntimeMode))
def test_every_model_can_be_replaced(mode: RuntimeMode) -> None:
    registry = scripted_registry([say("from the script")], replace_models=True)
    plan = AgentPlan("a", model=ModelPlan("openai", "gpt"), runtime=RuntimePreferences(preferred_mode=mode))
    assert registry.problem(plan) is None
    assert _ask(registry, plan) == "from the script"
