"""Messages over the standard input and output of a server's process, one in each line."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from kneo_serv.tools.mcp.bounded_lines import BoundedLines, MessageTooLargeError, instead_of
from kneo_serv.tools.mcp.process import ServerProcess

type Received = MemoryObjectReceiveStream[SessionMessage | Exception]
type Sent = MemoryObjectSendStream[SessionMessage]

logger = logging.getLogger("kneo_serv.tools.mcp")


@asynccontextmanager
async def stdio_streams(process: ServerProcess, limit: int) -> AsyncIterator[tuple[Received, Sent]]:
    """The two streams of a started server, of which no message is larger than `limit` bytes. Stops it at the end."""
    to_us, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    sent, to_server = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, process, to_us, limit)
        tasks.start_soon(_write, process, to_server, to_us)
        try:
            yield received, sent
        finally:
            received.close()
            sent.close()
            with anyio.CancelScope(shield=True):
                await process.stop()
            tasks.cancel_scope.cancel()


async def _read(process: ServerProcess, to_us: MemoryObjectSendStream[SessionMessage | Exception], limit: int) -> None:
    lines = BoundedLines(limit, partial(instead_of, limit=limit))
    async with to_us:
        while chunk := await process.read():
            try:
                for line in lines.feed(chunk):
                    if (message := _message(line)) is not None:
                        await to_us.send(message)
            except MessageTooLargeError as error:
                process.kill(because=str(error))
                break
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                break
    # A server that is ending may have much left to say, and ends only when somebody takes it.
    while await process.read():
        pass


async def _write(
    process: ServerProcess,
    to_server: MemoryObjectReceiveStream[SessionMessage],
    to_us: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    async with to_server:
        try:
            async for message in to_server:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.write(text.encode() + b"\n")
        except OSError:
            await to_us.aclose()  # whoever waits for an answer learns that none will come


def _message(line: bytes) -> SessionMessage | None:
    """The message in a line; None for what is none, since many servers greet or log on their output."""
    if not line.strip():
        return None
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        logger.debug("An MCP server wrote a line of %d bytes that is no message.", len(line))
        return None
