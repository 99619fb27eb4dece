"""What a case of the suite is, and the model that it gives a runtime to ask."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from kneo_serv.errors import ProviderError
from kneo_serv.model.message import Message, Role, Turn, TurnRequest
from kneo_serv.model.tool import ToolDefinition
from kneo_serv.runtime import Runtime

SECRET = "kneo-suite-8f14e45fceea167a5a36dedd4bea2543"  # noqa: S105 - a canary, not a key
"""The key to give to a runtime that needs one: no text of the runtime may hold it."""

TIME_LIMIT = 30.0
"""Seconds after which a case has failed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The model does not answer, and says why; `transient` when asking again may help."""

    message: str = "the model failed as the suite says"
    transient: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """The model never answers."""


type Reply = Turn | Failure | Silence
"""What the model behind a runtime does: the texts, wishes and usage of a turn, a failure, or nothing."""

type Model = Callable[[str], Reply]
"""The model behind a runtime: gets the newest text of the user, says what to reply. Safe to call on any thread."""

type Make = Callable[[Model], Runtime]
"""Makes a runtime whose model replies as it is told. One that asks no model passes the argument over."""

type Case = Callable[[Make], Awaitable[None]]
"""Proves one sentence of the contract. Its name is the sentence."""

CASES: dict[str, Case] = {}
"""All cases by name, for runtimes whose model can be told what to reply."""

PLAIN_CASES: dict[str, Case] = {}
"""Those that ask nothing of the model: also for runtimes that answer by rules of their own."""

TOOL = ToolDefinition(
    "web_search",
    "Search the web.",
    {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
)


def case(prove: Case) -> Case:
    """Adds a case that needs a model which replies as it is told."""
    CASES[getattr(prove, "__name__", repr(prove))] = prove
    return prove


def plain_case(prove: Case) -> Case:
    """Adds a case for every runtime."""
    PLAIN_CASES[getattr(prove, "__name__", repr(prove))] = prove
    return case(prove)


def saying(text: str) -> Model:
    """A model that always says this."""
    return lambda question: Turn(text)


def echo(question: str) -> Reply:
    """A model that says what it is asked."""
    return Turn(f"You said: {question}")


def asked(*messages: Message, tools: tuple[ToolDefinition, ...] = (), **more: Any) -> TurnRequest:
    """A question."""
    return TurnRequest("helper", messages, tools, more.pop("idempotency_key", "run_1:main/s#1:1:1"), **more)


def user(text: str) -> Message:
    """The user says this."""
    return Message(Role.USER, text)


@asynccontextmanager
async def made(make: Make, model: Model) -> AsyncIterator[Runtime]:
    """A runtime that is closed in the end."""
    runtime = make(model)
    try:
        yield runtime
    finally:
        await runtime.aclose()


async def refusal(runtime: Runtime) -> ProviderError:
    """The error with which a question fails.

    Raises:
        AssertionError: it does not fail.
    """
    try:
        await runtime.turn(asked(user("What is tea?")))
    except ProviderError as error:
        return error
    raise AssertionError("the turn succeeded; a ProviderError is expected")
