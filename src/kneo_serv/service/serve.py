"""Serving the app from this process: where it listens, what it logs, and how it ends."""

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal

import uvicorn

from kneo_serv.errors import KneoError
from kneo_serv.service.app import create_app
from kneo_serv.service.auth import AuthConfig
from kneo_serv.service.connections import bounded
from kneo_serv.service.interpreter import keep_what_is_there, take_short_turns
from kneo_serv.service.log_lines import configure_logging
from kneo_serv.service.several import Part, Several, SeveralError
from kneo_serv.service.state import Service
from kneo_serv.settings import Settings

if TYPE_CHECKING:
    from kneo_serv.platform import PlatformManager

_BACKLOG = 2048
_INTERRUPTED = 130
_AFTER_DRAINING = 5.0
"""Seconds that answers to callers may take which the end of the platform has set free."""

_TO_HEAR_THE_END = 3.0
"""Seconds in which a client of a stream has to take what was left to be sent. It comes back for what it has missed."""


class ServeError(KneoError):
    """The service cannot be started as it was asked for."""

    code = "cannot_serve"


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve. What is None follows from the environment."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    proxy_headers: bool = False
    forwarded_allow_ips: str = "127.0.0.1"
    """Proxies whose `X-Forwarded-*` headers are believed, with commas between them; `*` is all."""
    root_path: str = ""
    """The prefix that a proxy takes away before it passes a request on."""
    log_format: str | None = None
    log_level: str | None = None
    ssl_keyfile: Path | None = None
    ssl_certfile: Path | None = None
    insecure: bool = False
    """Whether others than this machine may call without a key."""


def serve(
    options: ServeOptions, *, make_manager: "Callable[[], PlatformManager]", tell: Callable[[str], None] = print
) -> None:
    """Serves until SIGTERM or SIGINT, then ends in order: runs in hand finish, or are handed back to the store.

    Args:
        options: How to serve.
        make_manager: Makes the platform, whose worker is started; it is shut down in the end.
        tell: Is given one line that says where the service listens, once it does.

    Raises:
        ServeError: it cannot be served like this; the text says what to do.
        SettingsError: a variable has a value that cannot be used.
    """
    settings = Settings.from_env(os.environ)
    auth = AuthConfig.from_env(os.environ)
    _check(options, auth, settings)
    configure_logging(level=options.log_level or settings.log_level, form=options.log_format or settings.log_format)
    part = Part.taken(os.environ)
    with listening(options.host, options.port) if part is None else part.socket() as listener:
        if part is None and options.workers > 1:
            _serve_several(options, listener, settings, tell)
            return
        app = create_app(make_manager=make_manager, auth_config=auth, settings=settings)
        config = uvicorn.Config(
            app,
            loop=loop_kind(),
            http=bounded(
                head_seconds=settings.request_head_seconds, max_head_bytes=app.state.service.limits.max_head_bytes
            ),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=options.proxy_headers,
            forwarded_allow_ips=options.forwarded_allow_ips,
            root_path=options.root_path.rstrip("/"),
            ssl_keyfile=options.ssl_keyfile,
            ssl_certfile=options.ssl_certfile,
            timeout_graceful_shutdown=int(settings.shutdown_timeout_seconds + _AFTER_DRAINING),
        )
        where = address_of(listener, secure=options.ssl_certfile is not None)

        def started() -> None:
            if part is None:
                tell(f"Listening on {where}{config.root_path}")
            else:
                part.tell_ready()

        if part is not None:
            part.end_with_the_first()
        server = _Server(config, app.state.service, started)
        take_short_turns()
        with _quiet_signals():
            try:
                server.run(sockets=[listener])
            except SystemExit as ended:
                raise ServeError("The service could not start; the log above says why.") from ended


def _serve_several(
    options: ServeOptions, listener: socket.socket, settings: Settings, tell: Callable[[str], None]
) -> None:
    where = address_of(listener, secure=options.ssl_certfile is not None) + options.root_path.rstrip("/")
    several = Several(
        listener,
        processes=options.workers,
        seconds_to_end=settings.shutdown_timeout_seconds + 2 * _AFTER_DRAINING,
        environ=os.environ,
    )
    try:
        several.run(lambda: tell(f"Listening on {where} with {options.workers} processes"))
    except SeveralError as failed:
        raise ServeError(f"The service could not start: {failed}; the log above says why.") from failed


class _Server(uvicorn.Server):
    """Says where it listens; and begins to end the platform while callers still wait, since that sets them free."""

    def __init__(self, config: uvicorn.Config, service: Service, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            keep_what_is_there()
            self._tell()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and sig == signal.SIGINT:
            # Whoever asks twice means now. The journal stands a kill, so nothing is lost but what is in flight.
            os._exit(_INTERRUPTED)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.drain()
        manager = self._service.manager
        drained = asyncio.create_task(asyncio.to_thread(manager.shutdown)) if manager else None
        deaf = asyncio.create_task(self._hang_up_on_the_deaf())
        await super().shutdown(sockets)
        deaf.cancel()
        if drained is not None:
            await drained

    async def _hang_up_on_the_deaf(self) -> None:
        """Ends connections whose streams are over, and whose clients take nothing of what was left to be sent."""
        await asyncio.sleep(_TO_HEAR_THE_END)
        for connection in list(self.server_state.connections):
            cycle, transport = getattr(connection, "cycle", None), connection.transport
            if transport.is_closing() and cycle is not None and cycle.scope.get("state", {}).get("streamed"):
                transport.abort()


def _check(options: ServeOptions, auth: AuthConfig, settings: Settings) -> None:
    if options.workers > 1 and (settings.database_url is None or os.name != "posix"):
        raise ServeError(_one_process(options.workers, settings))
    if (options.ssl_keyfile is None) != (options.ssl_certfile is None):
        raise ServeError("TLS needs both --ssl-certfile and --ssl-keyfile.")
    for file in (options.ssl_keyfile, options.ssl_certfile):
        if file is not None and not os.access(file, os.R_OK):
            raise ServeError(f"The TLS file {file} cannot be read.")
    if not auth.enabled and not options.insecure and not _is_loopback(options.host):
        raise ServeError(
            f"Others could reach {options.host}, and nobody would be asked for a key. Set KNEO_SERV_API_KEYS or "
            "KNEO_SERV_ADMIN_API_KEY, or listen on 127.0.0.1, or say --insecure."
        )


def _one_process(workers: int, settings: Settings) -> str:
    instead = "KNEO_SERV_WORKER_CONCURRENCY says how many runs one process executes at a time."
    if settings.database_url is None:
        return f"{workers} workers are too many for a SQLite database, which has one writer. Say --workers 1; {instead}"
    return f"On this system one command serves from one process, not from {workers}. Say --workers 1; {instead}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None) if host else []
    except OSError:
        found = []
    return bool(found) and all(ipaddress.ip_address(str(one[4][0]).split("%")[0]).is_loopback for one in found)


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens there, until the end of the block. Raises ServeError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ServeError(f"There is no host {host!r}: {error.strerror}.") from None
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # A port whose last owner has just ended may be taken; one that somebody listens on may not.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ServeError(
                f"Cannot listen on {host}:{port}: {reason}. Choose another port, or end the process that has it."
            ) from None
        yield listener
    finally:
        listener.close()


def address_of(listener: socket.socket, *, secure: bool = False) -> str:
    """Where it listens, as a URL."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if secure else 'http'}://{shown}:{port}"


def loop_kind() -> Literal["uvloop", "asyncio"]:
    """The event loop to serve on: the faster one, where it is installed."""
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return "asyncio"
    return "uvloop"


@contextlib.contextmanager
def _quiet_signals() -> Iterator[None]:
    # The server raises a signal once more after its orderly end; by then there is nothing left for it to do.
    before = {one: signal.signal(one, lambda number, frame: None) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
