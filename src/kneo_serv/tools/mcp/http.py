"""Messages over HTTP: the streamable transport, and the older one with server-sent events."""

import asyncio
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from kneo_serv.model.secret import RESERVED_PREFIX, Secrets
from kneo_serv.tools.mcp.bounded_lines import BoundedLines, instead_of
from kneo_serv.tools.mcp.config import ServerConfig, Transport
from kneo_serv.tools.mcp.connection import ConnectionLostError

_SILENCE_SECONDS = 300.0
"""How long the one stream of the older transport may say nothing before it counts as lost."""
_SSE_EVENT_LIMIT = 1024 * 1024 - 1024
"""The library takes no larger events over the older transport."""
_EVENT_HEAD = 1024
"""What an event has beside its message."""
_SESSION_HEADER = "mcp-session-id"


@dataclass(slots=True)
class Exchange:
    """What HTTP said about one question, which the protocol's own errors leave out."""

    refusal: str | None = None
    """The status of an answer that was none."""
    forgotten: bool = False
    """The server does not know the session any more, so it did nothing."""


exchange: ContextVar[Exchange | None] = ContextVar("kneo_serv_mcp_exchange", default=None)
"""The question that is being asked. The library sends it in a task of its own, under the context of who asked."""


@asynccontextmanager
async def http_streams(
    config: ServerConfig,
    *,
    secrets: Secrets,
    connect_seconds: float,
    limit: int,
    refused: Callable[[str], None],
) -> AsyncIterator[Any]:
    """The two streams to a server over HTTP. Time limits of calls are the caller's affair.

    `refused` is called with a reason when the server takes no messages over the older transport, where no answer would
    tell of it.

    Raises:
        ConnectionLostError: certificates or keys cannot be used; names the field.
    """
    context = await asyncio.to_thread(tls_context, config, secrets)  # reads files
    silence = config.sse_read_timeout
    if config.transport is Transport.HTTP:
        async with (
            _client(config, context, httpx2.Timeout(connect_seconds, read=silence), limit, refused) as client,
            streamable_http_client(
                config.url or "", http_client=client, max_sse_event_size=limit + _EVENT_HEAD
            ) as streams,
        ):
            yield streams
        return
    limit = min(limit, _SSE_EVENT_LIMIT)
    timeout = httpx2.Timeout(connect_seconds, read=silence or _SILENCE_SECONDS)

    def factory(
        headers: dict[str, str] | None = None, timeout: httpx2.Timeout | None = timeout, auth: httpx2.Auth | None = None
    ) -> httpx2.AsyncClient:
        return _client(config, context, timeout, limit, refused)

    async with sse_client(
        config.sse_url or "",
        timeout=connect_seconds,
        sse_read_timeout=silence or _SILENCE_SECONDS,
        httpx_client_factory=factory,
    ) as streams:
        yield streams


def tls_context(config: ServerConfig, secrets: Secrets) -> ssl.SSLContext:
    """How certificates are checked, and which one is shown.

    Raises:
        ConnectionLostError: a file or key cannot be read; names the field, never a content.
    """
    key_text = _secret_key(config, secrets)
    step = "ca_bundle"
    try:
        context = ssl.create_default_context(cafile=config.ca_bundle)
        if config.verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if config.client_cert is not None:
            step = "client_cert and its key"
            if key_text is not None and key_text.startswith("-----BEGIN"):
                # The TLS library reads keys from files only; this one is ours alone and gone at once.
                with tempfile.NamedTemporaryFile("w") as file:
                    file.write(f"{key_text}\n")
                    file.flush()
                    context.load_cert_chain(config.client_cert, file.name, password=_no_password)
            else:
                context.load_cert_chain(config.client_cert, key_text or config.client_key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        problem = "no such file" if isinstance(error, FileNotFoundError) else type(error).__name__
        raise ConnectionLostError(f"its {step} cannot be used: {problem}", lacking=True) from None
    return context


def _secret_key(config: ServerConfig, secrets: Secrets) -> str | None:
    """The key that `client_key_ref` names, or the path of its file."""
    if config.client_key_ref is None:
        return None
    if config.client_cert is None:
        raise ConnectionLostError("client_key_ref goes with a client_cert, and there is none", lacking=True)
    variable = secrets.variable(config.client_key_ref)
    for name in (config.client_key_ref, variable):
        if name.startswith(RESERVED_PREFIX):
            raise ConnectionLostError(
                f"client_key_ref must not name {name}: variables that begin with {RESERVED_PREFIX} belong to the "
                "platform",
                lacking=True,
            )
    value = secrets.value(variable)
    if not value:
        # Not what it stands for: who mistook that place for the key itself put the key there.
        raise ConnectionLostError(
            f"{config.client_key_ref} is not set; client_key_ref names it as the variable that holds the client's key",
            lacking=True,
        )
    if not value.startswith("-----BEGIN") and not Path(value).is_file():
        raise ConnectionLostError(
            f"{config.client_key_ref} holds neither a key in PEM form nor the path of one", lacking=True
        )
    return value


def _no_password() -> str:
    # Without it the TLS library would ask on the terminal, and wait there.
    raise ValueError("the key has a passphrase")


def _client(
    config: ServerConfig,
    context: ssl.SSLContext,
    timeout: httpx2.Timeout | None,
    limit: int,
    refused: Callable[[str], None],
) -> httpx2.AsyncClient:
    def is_message(request: httpx2.Request) -> bool:
        return request.method == "POST" and config.transport is Transport.SSE

    async def address(request: httpx2.Request) -> None:
        if is_message(request) and config.message_url is not None:
            given = httpx2.URL(config.message_url)
            # Which session is meant stands in the query that the server has told.
            request.url = given if given.query else given.copy_with(query=request.url.query or None)
            request.headers["host"] = request.url.netloc.decode("ascii")

    async def answer(response: httpx2.Response) -> None:
        _note(response)
        if is_message(response.request) and not response.is_success:
            refused(f"it answered a message with {_status(response)}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx2.DecodingError("it compresses its answers although it was asked not to")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if isinstance(stream := response.stream, httpx2.AsyncByteStream):
            asked = _request_id(response.request)
            response.stream = (_Events if kind == "text/event-stream" else _Body)(stream, limit, asked)

    return httpx2.AsyncClient(
        # A compressed answer is as large as it says only after it was unpacked.
        headers={**dict(config.headers), "Accept-Encoding": "identity"},
        timeout=timeout,
        verify=context,
        event_hooks={"request": [address], "response": [answer]},
    )


def _note(response: httpx2.Response) -> None:
    asked = exchange.get()
    if asked is None or response.is_success:
        return
    if response.status_code == HTTPStatus.NOT_FOUND and _SESSION_HEADER in response.request.headers:
        asked.forgotten = True
    asked.refusal = _status(response)


def _status(response: httpx2.Response) -> str:
    return f"HTTP {response.status_code} {response.reason_phrase}".strip()


def _request_id(request: httpx2.Request) -> bytes | None:
    """The id of the question in a request, as JSON."""
    try:
        return json.dumps(json.loads(request.content)["id"]).encode()
    except (ValueError, KeyError, TypeError, httpx2.RequestNotRead):
        return None


class _Events(httpx2.AsyncByteStream):
    """A stream of events, of which none has more data than the bound."""

    def __init__(self, stream: httpx2.AsyncByteStream, limit: int, request_id: bytes | None) -> None:
        self._stream = stream
        self._lines = BoundedLines(limit + len("data: "), partial(_instead_of_line, limit=limit, request_id=request_id))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            if lines := self._lines.feed(chunk):
                yield b"\n".join([*lines, b""])
        yield self._lines.rest()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _instead_of_line(head: bytes, tail: bytes, *, limit: int, request_id: bytes | None) -> bytes:
    name, _, data = head.partition(b":")
    return b"data: " + instead_of(data, tail, limit, request_id) if name == b"data" else b""


class _Body(httpx2.AsyncByteStream):
    """A body that is one message, and gives way to a small one where it is over the bound."""

    def __init__(self, stream: httpx2.AsyncByteStream, limit: int, request_id: bytes | None) -> None:
        self._stream = stream
        self._limit = limit
        self._request_id = request_id

    async def __aiter__(self) -> AsyncIterator[bytes]:
        held = bytearray()
        async for chunk in self._stream:
            held += chunk
            if len(held) > self._limit:
                yield instead_of(bytes(held[:256]), b"", self._limit, self._request_id or b"null")
                return
        yield bytes(held)

    async def aclose(self) -> None:
        await self._stream.aclose()
