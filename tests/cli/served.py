"""A real service in a thread of this process, for commands that talk to one."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from kneo_serv.platform import PlatformManager
from kneo_serv.service import create_app
from kneo_serv.service.auth import AuthConfig
from tests.service.doors import keys, platform_in

PATIENCE = 30.0


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


@contextlib.contextmanager
def serving(manager: PlatformManager, auth: AuthConfig | None = None) -> Iterator[str]:
    """The address of a service over this platform, which asks nobody for a key unless `auth` says so."""
    app = create_app(manager=manager, auth_config=auth or AuthConfig.disabled())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _Server(uvicorn.Config(app, lifespan="on", log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert server.listens.wait(PATIENCE)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


@contextlib.contextmanager
def service_in(folder: Path, *, guarded: bool = False, auth: AuthConfig | None = None) -> Iterator[str]:
    """The address of a service whose runs are kept in the folder; with keys for every role where it is `guarded`."""
    manager = platform_in(folder)
    try:
        with serving(manager, keys() if guarded else auth) as url:
            yield url
    finally:
        manager.shutdown()
