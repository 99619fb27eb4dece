"""Every runtime of ours keeps the contract that the kit proves; and the suite finds out those that do not."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kneo_serv.errors import ProviderError
from kneo_serv.model.message import Role, ToolCall, Turn, TurnRequest
from kneo_serv.model.plan import ModelPlan, RuntimePreferences
from kneo_serv.runtime import AdapterRuntime, DummyRuntime, RetryPolicy, Runtime, create_bridge_runtime
from kneo_serv.testing import scripted_openai
from kneo_serv.testing.runtime_suite import CASES, PLAIN_CASES, SECRET, Failure, Make, Model, Reply, Silence, prove
from kneo_serv.testing.scripted import Fault, ScriptedCall, ScriptedProvider, ScriptedTurn, fail
from kneo_serv.testing.scripted_openai import Answer, ScriptedOpenAI


@pytest.mark.parametrize("name", PLAIN_CASES)
def test_the_dummy_keeps_what_it_can_be_held_to(name: str) -> None:
    prove(name, lambda model: DummyRuntime())


def _adapted(model: Model) -> Runtime:
    async def answer(text: str) -> Turn:
        match model(text):
            case Failure(message, transient):
                raise ProviderError(message.replace(SECRET, "***"), provider="adapted", transient=transient)
            case Silence():
                await asyncio.Event().wait()
                raise AssertionError
            case Turn() as turn:
                return turn

    return AdapterRuntime(run_fn=answer)


@pytest.mark.parametrize("name", CASES)
def test_an_adapter_keeps_the_contract(name: str) -> None:
    prove(name, _adapted)


class _Following:
    """The scripted provider, asked anew for each question."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def turn(self, request: TurnRequest) -> Turn:
        question = next((one.content for one in reversed(request.messages) if one.role is Role.USER), "")
        turn = _scripted(self._model(question))
        runtime = ScriptedProvider([turn])(model=None, preferences=RuntimePreferences())
        return await runtime.turn(request)

    async def aclose(self) -> None:
        return


def _scripted(reply: Reply) -> ScriptedTurn:
    match reply:
        case Failure(message, transient):
            return fail(Fault.TRANSIENT if transient else Fault.PERMANENT, message.replace(SECRET, "***"))
        case Silence():
            return fail(Fault.SILENCE)
        case Turn(text, calls):
            wishes = (ScriptedCall(wish.name, wish.invalid_arguments or wish.arguments) for wish in calls)
            return ScriptedTurn(text, tuple(wishes))


@pytest.mark.parametrize("name", CASES)
def test_the_scripted_provider_keeps_the_contract(name: str) -> None:
    prove(name, _Following)


@contextmanager
def _openai() -> Iterator[Make]:
    """Runtimes of the provider `openai`, each with a server of its own."""
    servers: list[ScriptedOpenAI] = []

    def make(model: Model) -> Runtime:
        server = ScriptedOpenAI(lambda body: _served(model, body)).start()
        servers.append(server)
        return create_bridge_runtime(
            model=ModelPlan("openai", "scripted", base_url=server.base_url),
            environ={"OPENAI_API_KEY": SECRET, "OPENAI_BASE_URL": server.base_url},
            policy=RetryPolicy(),
        )

    try:
        yield make
    finally:
        for server in servers:
            server.stop()


def _served(model: Model, body: dict[str, Any]) -> Answer:
    users = [_text_of(message["content"]) for message in body["messages"] if message["role"] == "user"]
    match model(users[-1] if users else ""):
        case Failure(message, transient):
            return scripted_openai.error(503 if transient else 400, message=message)
        case Silence():
            return scripted_openai.silence()
        case Turn(text, ()):
            return scripted_openai.text(text)
        case Turn(text, calls):
            wishes = (
                (wish.id, wish.name, wish.invalid_arguments or json.dumps(dict(wish.arguments))) for wish in calls
            )
            return scripted_openai.tool_calls(*wishes, content=text or None)


def _text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@pytest.mark.parametrize("name", CASES)
def test_openai_keeps_the_contract(name: str) -> None:
    with _openai() as make:
        prove(name, make)


class _Faulty:
    """A runtime with a fault, around one without."""

    def __init__(self, inner: Runtime) -> None:
        self.inner = inner

    async def turn(self, request: TurnRequest) -> Turn:
        return await self.inner.turn(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


class _Shouting(_Faulty):
    async def turn(self, request: TurnRequest) -> Turn:
        return Turn((await self.inner.turn(request)).text.upper())


class _Swallowing(_Faulty):
    async def turn(self, request: TurnRequest) -> Turn:
        try:
            return await self.inner.turn(request)
        except asyncio.CancelledError:
            return Turn("cancelled, but here I am")


class _Failing(_Faulty):
    async def turn(self, request: TurnRequest) -> Turn:
        try:
            return await self.inner.turn(request)
        except ProviderError as error:
            raise ProviderError(f"{error} (key {SECRET})", provider="x", transient=True) from None


class _Closing(_Faulty):
    closed = False

    async def aclose(self) -> None:
        assert not self.closed, "closed before"
        self.closed = True


class _Babbling(_Faulty):
    async def turn(self, request: TurnRequest) -> Turn:
        if request.on_text is not None:
            request.on_text("Well, ")
        return await self.inner.turn(request)


class _Talking(_Faulty):
    def __repr__(self) -> str:
        return f"Talking(key={SECRET!r})"


class _Numbering(_Faulty):
    async def turn(self, request: TurnRequest) -> Turn:
        turn = await self.inner.turn(request)
        return Turn(turn.text, tuple(ToolCall("same", wish.name, wish.arguments) for wish in turn.tool_calls))


@pytest.mark.parametrize(
    ("faulty", "name"),
    [
        (_Shouting, "the_answer_is_what_the_model_said"),
        (_Swallowing, "a_cancelled_turn_ends_at_once_and_as_cancelled"),
        (_Failing, "a_failure_of_the_model_is_a_provider_error"),
        (_Failing, "the_key_is_in_no_error"),
        (_Closing, "closing_is_possible_at_any_time"),
        (_Babbling, "what_is_streamed_is_the_answer"),
        (_Talking, "the_key_is_in_no_text_of_the_runtime"),
        (_Numbering, "several_wishes_keep_their_order_and_differ_in_their_ids"),
    ],
)
def test_the_suite_finds_a_runtime_out_that_breaks_a_sentence(faulty: type[_Faulty], name: str) -> None:
    with pytest.raises(AssertionError):
        prove(name, lambda model: faulty(_adapted(model)))
