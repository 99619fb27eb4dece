"""How middlewares stand around a call: the first of a list is outermost."""

import inspect
from collections.abc import Awaitable, Callable, Sequence

from kneo_serv.errors import InvalidRequestError, StepError

type Next[Context, Result] = Callable[[Context], Awaitable[Result]]
"""What stands inside: the next middleware, or at last the call itself."""


def compose[Context, Result](
    middlewares: Sequence[object], terminal: Next[Context, Result], *, method: str, result: type[Result]
) -> Next[Context, Result]:
    """One function in which `method` of the first middleware is outermost and `terminal` innermost.

    Raises:
        InvalidRequestError: a middleware has no async method of this name.
    """
    composed = terminal
    for middleware in reversed(middlewares):
        composed = _around(middleware, composed, method, result)
    return composed


def check(middleware: object, *methods: str) -> None:
    """Refuses what has none of these methods, or has one that is not async.

    Raises:
        InvalidRequestError: the text names the class and the method.
    """
    found = [name for name in methods if callable(getattr(middleware, name, None))]
    name = _name(middleware)
    if not found:
        wanted = " or ".join(f"`async def {method}(self, ctx, {_NEXT[method]})`" for method in methods)
        raise InvalidRequestError(f"{name} is no middleware: it needs {wanted}.")
    for method in found:
        if not _is_async(getattr(middleware, method)):
            raise InvalidRequestError(f"{name}.{method} must be async: write `async def {method}(...)`.")


_NEXT = {"wrap_run": "next_run", "wrap_tool_call": "next_call"}


def _around[Context, Result](
    middleware: object, inner: Next[Context, Result], method: str, result: type[Result]
) -> Next[Context, Result]:
    check(middleware, method)
    wrap: Callable[[Context, Next[Context, Result]], Awaitable[Result]] = getattr(middleware, method)

    async def call(context: Context) -> Result:
        value = await wrap(context, inner)
        if not isinstance(value, result):
            name = _name(middleware)
            raise StepError(f"{name}.{method} gave back {type(value).__name__}; it must give a {result.__name__}.")
        return value

    return call


def _is_async(function: Callable[..., object]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _name(middleware: object) -> str:
    return middleware.__name__ if inspect.isclass(middleware) else type(middleware).__name__
