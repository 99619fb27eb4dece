"""Following a run of a service: what happens in it is told to a listener while the command waits for the answer.

The stream is a comfort. When it breaks, is refused or is not there, the command waits all the same.
"""

import json
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx2

from kneo_serv.cli.remote.rows import delta_in, recorded_in
from kneo_serv.cli.remote.server_events import ServerEvent, server_events

if TYPE_CHECKING:
    from kneo_serv.cli.following import Listener
    from kneo_serv.cli.remote.client import ServiceClient

_MOST_FAILURES = 5
"""Streams in a row that brought nothing, after which no other is asked for."""
_LONGEST_PAUSE = 5.0
_PAUSE = 1.0
"""Seconds until a stream that broke is asked for again, unless the service says otherwise."""
_PATIENCE = 2.0
"""Seconds that the end of a stream is waited for, when the answer is there."""


class RunFollower:
    """Tells a listener, from a thread of its own, each event of a run behind `after` once, and what models say."""

    def __init__(self, client: "ServiceClient", run_id: str, listener: "Listener", *, path: str, after: int) -> None:
        self._client = client
        self._listener = listener
        self._path = path
        self._query: dict[str, Any] = {
            "after": after,
            "until": "rest",
            "deltas": "false" if listener.on_text is None else "true",
        }
        self._last: str | None = None
        self._pause = _PAUSE
        self._begun = time.monotonic()
        self._opened = threading.Event()
        self._over = threading.Event()
        self._socket: socket.socket | None = None
        # Where a connection cannot be had out of its sleep, the process may end all the same.
        self._thread = threading.Thread(target=self._follow, name=f"following {run_id}", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Lets what is on its way be told, for a moment, and ends."""
        # A proxy that gathers what it passes on brings nothing in time: then nobody waits for more.
        if self._opened.wait(max(0.0, self._begun + _PATIENCE - time.monotonic())):
            self._thread.join(_PATIENCE)
        self.stop()

    def stop(self) -> None:
        """Ends at once; nothing more is told."""
        self._over.set()
        held = self._socket
        if held is not None:
            # Closing would not wake who is reading. Of TLS there is nothing to be said good-bye to.
            with suppress(OSError):
                socket.socket.shutdown(held, socket.SHUT_RDWR)
        self._thread.join(_PATIENCE / 2)

    def _follow(self) -> None:
        failures = 0
        try:
            while not self._over.is_set() and failures < _MOST_FAILURES:
                before = self._last
                # Whatever goes wrong here goes wrong with the request for the answer too, which tells of it.
                with suppress(httpx2.HTTPError, httpx2.StreamError, OSError, RuntimeError, ValueError):
                    if self._one_stream():
                        return
                failures = failures + 1 if self._last == before else 0
                self._over.wait(self._pause)
        finally:
            self._opened.set()

    def _one_stream(self) -> bool:
        """Whether there is nothing more to follow."""
        with self._client.stream(self._path, last_id=self._last, **self._query) as response:
            kind = response.headers.get("content-type", "").partition(";")[0].strip()
            if response.status_code != 200 or kind != "text/event-stream":
                return True
            stream = response.extensions.get("network_stream")
            self._socket = None if stream is None else stream.get_extra_info("socket")
            try:
                for event in server_events(response.iter_bytes()):
                    self._opened.set()
                    if self._over.is_set() or self._heard(event):
                        return True
            finally:
                self._socket = None
        return False

    def _heard(self, event: ServerEvent) -> bool:
        """Tells the listener of an event; whether it was the last one."""
        if event.retry is not None:
            self._pause = min(event.retry / 1000, _LONGEST_PAUSE)
        if event.data:
            data = json.loads(event.data)
            if not isinstance(data, dict):
                raise ValueError("the data of an event is no object")
            match event.name:
                case "end":
                    return True
                case "close":
                    return bool(data.get("reason") == "unauthorized")
                case "text_delta":
                    delta = delta_in(data)
                    if delta is not None and self._listener.on_text is not None:
                        self._listener.on_text(delta)
                case _:
                    recorded = recorded_in(data)
                    if recorded is not None:
                        self._listener.on_event(recorded)
        # Not before it was told: who comes back says what it has heard.
        self._last = event.id or self._last
        return False
