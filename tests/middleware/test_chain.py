from dataclasses import replace
from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, StepError
from kneo_serv.middleware import (
    NextCall,
    NextRun,
    RunContext,
    ToolCallContext,
    check,
    compose_run_middlewares,
    compose_tool_middlewares,
)
from kneo_serv.model.message import Turn
from kneo_serv.model.tool import ToolResult
from tests.middleware.calls import call, done, giving, question, saying


class Marking:
    """Writes its letter on the way in and on the way out."""

    def __init__(self, letter: str, marks: list[str]) -> None:
        self.letter = letter
        self.marks = marks

    async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
        self.marks.append(f"{self.letter}>")
        turn = await next_run(ctx)
        self.marks.append(f"<{self.letter}")
        return turn

    async def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> ToolResult:
        self.marks.append(f"{self.letter}>")
        result = await next_call(ctx)
        self.marks.append(f"<{self.letter}")
        return result


def test_the_first_middleware_is_outermost_around_a_turn() -> None:
    marks: list[str] = []
    model, asked = saying("yes")
    turn = done(compose_run_middlewares([Marking("a", marks), Marking("b", marks)], model)(question("tea?")))
    assert turn == Turn("yes")
    assert asked == [question("tea?")]
    assert marks == ["a>", "b>", "<b", "<a"]


def test_the_first_middleware_is_outermost_around_a_tool_call() -> None:
    marks: list[str] = []
    tool, called = giving("42")
    result = done(compose_tool_middlewares([Marking("a", marks), Marking("b", marks)], tool)(call(query="tea")))
    assert result.output == "42"
    assert called == [call(query="tea")]
    assert marks == ["a>", "b>", "<b", "<a"]


def test_without_middleware_the_call_itself_is_made() -> None:
    model, _ = saying("yes")
    assert done(compose_run_middlewares([], model)(question("tea?"))) == Turn("yes")


def test_a_middleware_may_answer_in_the_place_of_the_model() -> None:
    class Cached:
        async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
            return Turn("from the cache")

    model, asked = saying("yes")
    assert done(compose_run_middlewares([Cached()], model)(question("tea?"))).text == "from the cache"
    assert asked == []


def test_a_middleware_may_ask_twice() -> None:
    class Twice:
        async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Turn:
            await next_run(ctx)
            return await next_run(replace(ctx, messages=()))

    model, asked = saying("yes")
    done(compose_run_middlewares([Twice()], model)(question("tea?")))
    assert [len(context.messages) for context in asked] == [1, 0]


class Blocking:
    def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Any:
        return next_run(ctx)

    def wrap_tool_call(self, ctx: ToolCallContext, next_call: NextCall) -> Any:
        return next_call(ctx)


class Unrelated:
    pass


@pytest.mark.parametrize(
    ("middleware", "methods", "text"),
    [
        (Blocking(), ("wrap_run",), "Blocking.wrap_run must be async: write `async def wrap_run(...)`."),
        (Blocking(), ("wrap_tool_call",), "Blocking.wrap_tool_call must be async"),
        (Unrelated(), ("wrap_run",), "Unrelated is no middleware: it needs `async def wrap_run(self, ctx, next_run)`."),
        (
            Unrelated(),
            ("wrap_run", "wrap_tool_call"),
            "`async def wrap_run(self, ctx, next_run)` or `async def wrap_tool_call(self, ctx, next_call)`.",
        ),
        (lambda ctx, next_run: None, ("wrap_run",), "function is no middleware"),
    ],
)
def test_what_is_no_middleware_is_refused_with_what_is_missing(
    middleware: object, methods: tuple[str, ...], text: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check(middleware, *methods)
    assert text in str(caught.value)


def test_a_blocking_middleware_is_refused_when_it_is_composed() -> None:
    model, _ = saying("yes")
    with pytest.raises(InvalidRequestError, match="must be async"):
        compose_run_middlewares([Blocking()], model)


def test_an_object_that_is_called_asynchronously_will_do() -> None:
    class Call:
        async def __call__(self, ctx: RunContext, next_run: NextRun) -> Turn:
            return Turn("called")

    class Holder:
        wrap_run: Any = Call()

    model, _ = saying("yes")
    assert done(compose_run_middlewares([Holder()], model)(question("tea?"))).text == "called"


def test_a_middleware_that_forgets_to_return_is_told_so() -> None:
    class Forgetful:
        async def wrap_run(self, ctx: RunContext, next_run: NextRun) -> Any:
            await next_run(ctx)

    model, _ = saying("yes")
    with pytest.raises(StepError) as caught:
        done(compose_run_middlewares([Forgetful()], model)(question("tea?")))
    assert str(caught.value) == "Forgetful.wrap_run gave back NoneType; it must give a Turn."
