"""How one MCP server is reached. Equal configs are one server, whatever plans call it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from itertools import pairwise
from pathlib import PurePath
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from kneo_serv.errors import InvalidRequestError
from kneo_serv.model.plan import McpServerPlan
from kneo_serv.observe import REDACTED, redact_error
from kneo_serv.observe.secret_names import Secrecy, secrecy

_LONG_VALUE = 8
"""From this length on the value of any variable is hidden, whatever its name says."""
_SHORT_VALUE = 3
"""Values of this length or less hide nothing, and masking them would damage every text."""
_SHOWN = 500
"""Characters of a foreign text that are shown."""


class Transport(StrEnum):
    """How messages travel."""

    STDIO = "stdio"
    HTTP = "http"
    SSE = "sse"


_REQUIRED = {Transport.STDIO: "command", Transport.HTTP: "url", Transport.SSE: "sse_url"}
_PATHS = ("cwd", "ca_bundle", "client_cert", "client_key")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The fields of `mcp_servers.<name>`. Its text forms name the server and hold no secret. Times in seconds."""

    transport: Transport
    command: str | None = None
    args: tuple[str, ...] = field(default=(), repr=False)
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cwd: str | None = None
    url: str | None = field(default=None, repr=False)
    sse_url: str | None = field(default=None, repr=False)
    message_url: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: float | None = None
    max_response_bytes: int | None = None
    sse_read_timeout: float | None = None
    verify: bool | None = None
    ca_bundle: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    client_key_ref: str | None = None

    @classmethod
    def of(cls, server: McpServerPlan | Mapping[str, Any]) -> Self:
        """The config of a plan's server, or of a mapping with the keys of the spec.

        Raises:
            InvalidRequestError: a key is unknown, missing, or has a value that cannot be; the value is not shown.
        """
        given = {"transport": server.transport, **server.config} if isinstance(server, McpServerPlan) else dict(server)
        known = {each.name for each in fields(cls)}
        if unknown := sorted(str(key) for key in given.keys() - known):
            raise InvalidRequestError(
                f"An MCP server has no {', '.join(unknown)}; known are {', '.join(sorted(known))}."
            )
        try:
            transport = Transport(given.pop("transport", ""))
        except ValueError:
            raise InvalidRequestError(f"The transport of an MCP server is one of {', '.join(Transport)}.") from None
        if not given.get(_REQUIRED[transport]):
            raise InvalidRequestError(f"An MCP server with transport {transport} needs `{_REQUIRED[transport]}`.")
        values = {key: _value(key, value) for key, value in given.items() if value is not None}
        return cls(transport, **values)

    @property
    def address(self) -> str:
        """Where it is, for people: the command, or the URL without credentials and query."""
        if self.transport is Transport.STDIO:
            return PurePath(self.command or "").name
        parts = urlsplit((self.url if self.transport is Transport.HTTP else self.sse_url) or "")
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def told(self, text: str) -> str:
        """A text that came from the server or a library: in one line, cut, without this config's secrets."""
        for secret in self._secrets():
            text = text.replace(secret, REDACTED)
        clean = " ".join(redact_error(text).split())
        return clean if len(clean) <= _SHOWN else f"{clean[:_SHOWN]}..."

    def _secrets(self) -> list[str]:
        """What must not be shown, longest first, so that no secret leaves a part of itself behind."""
        sent = [part for _, value in self.headers for part in (value, *value.split())]
        named = [value for name, value in self.env if len(value) >= _LONG_VALUE or secrecy(name) is not Secrecy.OPEN]
        found = {*sent, *named, *_secret_arguments(self.args), *(part for url in self._urls() for part in _in_url(url))}
        return sorted((value for value in found if len(value) > _SHORT_VALUE), key=len, reverse=True)

    def _urls(self) -> Iterable[str]:
        return [url for url in (self.url, self.sse_url, self.message_url) if url]


def _in_url(url: str) -> Iterable[str]:
    parts = urlsplit(url)
    if parts.password:
        yield from (parts.password, unquote(parts.password))
    yield from (value for _, value in parse_qsl(parts.query))


def _secret_arguments(args: tuple[str, ...]) -> Iterable[str]:
    """The values of arguments such as `--api-key=...` and `--token ...`."""
    for word, following in pairwise((*args, "")):
        name, sign, value = word.partition("=")
        if secrecy(name) is not Secrecy.OPEN:
            yield value if sign else following


def _value(key: str, value: Any) -> Any:
    match key:
        case "args":
            fits = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
            wanted, made = "a list of texts", tuple(value) if fits else ()
        case "env" | "headers":
            fits = isinstance(value, Mapping) and all(isinstance(item, str) for pair in value.items() for item in pair)
            wanted, made = "a mapping of texts", tuple(sorted(value.items())) if fits else ()
        case "verify":
            fits, wanted, made = isinstance(value, bool), "true or false", value
        case "max_response_bytes":
            fits = isinstance(value, int) and not isinstance(value, bool) and value > 0
            wanted, made = "a whole number above 0", value
        case "timeout" | "sse_read_timeout":
            fits = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
            wanted, made = "a number of seconds above 0", value
        case _:
            fits, wanted, made = isinstance(value, str), "a text", value
    if fits and key in _PATHS and (value.startswith("~") or ".." in PurePath(value).parts):
        fits, wanted = False, "a path without `~` and `..`"
    if not fits:
        raise InvalidRequestError(f"`{key}` of an MCP server must be {wanted}.")
    return made
