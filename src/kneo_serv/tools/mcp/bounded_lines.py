"""Messages of a server, of which none may be larger than a bound: one that is gives way to a small one."""

import json
import re
from collections.abc import Callable

TOO_LARGE = -32_055
"""Code of the JSON-RPC error that stands in for an answer over the bound; from the range left to implementations."""

_EDGE = 256
"""Bytes of an over-long line that are looked at, at its beginning and at its end."""
_HEAD = rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?'
_ID = rb'(-?[0-9]+|"(?:[^"\\]|\\.)*")'
_ID_FIRST = re.compile(_HEAD + rb'"id"\s*:\s*' + _ID + rb'\s*,\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"(?:result|error)"')
_ANSWER_FIRST = re.compile(_HEAD + rb'"(?:result|error)"')
_ID_LAST = re.compile(rb',\s*"id"\s*:\s*' + _ID + rb'\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*\Z')
_NO_ANSWER = re.compile(_HEAD + rb'(?:"id"\s*:\s*' + _ID + rb'\s*,\s*)?"(?:method|params)"')


class MessageTooLargeError(Exception):
    """A message over the bound that answers nobody knows which request: the connection cannot go on."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"it sent a message of more than {limit} bytes")


class BoundedLines:
    """Cuts a stream into lines and holds at most `limit` bytes of one, whatever the server sends.

    Of a line that is longer, its first and last bytes go to `instead`, and what that gives takes its place.
    """

    def __init__(self, limit: int, instead: Callable[[bytes, bytes], bytes]) -> None:
        self._limit = limit
        self._instead = instead
        self._held = bytearray()
        self._tail = b""
        self._length = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without their ends."""
        *whole, rest = chunk.split(b"\n")
        lines = []
        for piece in whole:
            self._take(piece)
            lines.append(self.rest())
        self._take(rest)
        return lines

    def rest(self) -> bytes:
        """What stands behind the last line end; afterwards there is nothing."""
        line = bytes(self._held) if self._length <= self._limit else self._instead(bytes(self._held), self._tail)
        self._held.clear()
        self._tail, self._length = b"", 0
        return line

    def _take(self, piece: bytes) -> None:
        within = self._length <= self._limit
        self._length += len(piece)
        if self._length <= self._limit:
            self._held += piece
            return
        if within:
            self._tail = bytes(self._held[-_EDGE:])
            self._held += piece[:_EDGE]
            del self._held[_EDGE:]
        self._tail = (self._tail + piece[-_EDGE:])[-_EDGE:]


def instead_of(head: bytes, tail: bytes, limit: int, request_id: bytes | None = None) -> bytes:
    """The message that takes the place of one over the bound: an error for who asked, or nothing for a notification.

    Args:
        head: The first bytes of the message.
        tail: Its last bytes.
        limit: The bound, in bytes.
        request_id: The id as JSON, where the way of travel tells which request is answered.

    Raises:
        MessageTooLargeError: it is an answer, and not to be seen to what.
    """
    if _NO_ANSWER.match(head):
        return b""
    if request_id is None:
        found = _ID_FIRST.match(head) or (_ANSWER_FIRST.match(head) and _ID_LAST.search(tail))
        if not found:
            raise MessageTooLargeError(limit)
        request_id = found[1]
    error = {"code": TOO_LARGE, "message": f"the answer has more than {limit} bytes"}
    return b'{"jsonrpc":"2.0","id":' + request_id + b',"error":' + json.dumps(error).encode() + b"}"
