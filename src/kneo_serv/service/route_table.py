"""What may be asked of which path: for the `Allow` header, for HEAD, and for routes' names in logs and metrics."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from starlette.routing import BaseRoute, Route, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

UNKNOWN = "unknown"
"""The template of a path that no route has: one name for all of them, so that strangers cannot make up series."""
_ORDER = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class _Row:
    template: str
    methods: frozenset[str]
    pattern: re.Pattern[str]


class RouteTable:
    """Every path of an app with its methods, in the order in which the routes are tried."""

    def __init__(self, rows: Iterable[tuple[str, Iterable[str]]]) -> None:
        self._rows = [_Row(path, frozenset(methods), compile_path(path)[0]) for path, methods in rows]

    @classmethod
    def of(cls, mounted: Iterable[tuple[str, Sequence[BaseRoute]]]) -> Self:
        """The table of routes that are mounted under prefixes."""
        return cls(
            (prefix + route.path, route.methods or ())
            for prefix, routes in mounted
            for route in routes
            if isinstance(route, Route)
        )

    def find(self, path: str, method: str) -> tuple[str, Mapping[str, str]]:
        """Template of the route that answers, and the parameters in the path."""
        partial: tuple[str, Mapping[str, str]] | None = None
        wanted = "GET" if method == "HEAD" else method
        for row in self._rows:
            found = row.pattern.match(path)
            if found is None:
                continue
            if wanted in row.methods:
                return row.template, found.groupdict()
            partial = partial or (row.template, found.groupdict())
        return partial or (UNKNOWN, {})

    def allowed(self, path: str) -> tuple[str, ...]:
        """The methods that this path answers to, in a fixed order."""
        methods: set[str] = set()
        for row in self._rows:
            if row.pattern.match(path):
                methods |= row.methods
        if "GET" in methods:
            methods.add("HEAD")
        return tuple(method for method in _ORDER if method in methods)


def path_of(scope: Scope) -> str:
    """The path of a request as the routes see it: without the prefix that a proxy has put before the app."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


class HeadAsGet:
    """Answers HEAD as GET would be answered, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        over = asyncio.Event()

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
            elif not over.is_set():
                over.set()
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def until_over() -> Message:
            # A stream that nobody reads ends with its first piece.
            heard, ended = asyncio.ensure_future(receive()), asyncio.ensure_future(over.wait())
            try:
                await asyncio.wait([heard, ended], return_when=asyncio.FIRST_COMPLETED)
                return {"type": "http.disconnect"} if over.is_set() else heard.result()
            finally:
                heard.cancel()
                ended.cancel()

        await self._app({**scope, "method": "GET"}, until_over, without_body)
