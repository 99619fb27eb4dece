"""A real `kneo service serve` on a free port, and a client at its door."""

import contextlib
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.acceptance.shell import PATIENCE, Shell

_LISTENING = re.compile(r"Listening on (https?://\S+)")


@dataclass
class Server:
    """A process that serves."""

    process: subprocess.Popen[str]
    url: str
    folder: Path
    """Where it works."""
    log: list[str] = field(default_factory=list)
    """The lines of stderr so far."""

    def get(self, path: str, **given: object) -> httpx.Response:
        """One request on a connection of its own."""
        return httpx.get(self.url + path, timeout=PATIENCE, **given)  # type: ignore[arg-type]

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Asks the process to end, and gives its exit code."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def serving(shell: Shell, *words: str) -> Iterator[Server]:
    """A server in the folder of a shell, once it listens; it is killed in the end if it is still there."""
    with shell.start_kneo("service", "serve", "--port", "0", *words) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            server = Server(process, "", shell.folder)
            # Somebody has to read, or the process stands still when the pipe is full.
            reader = threading.Thread(target=lambda: server.log.extend(process.stderr or ()), daemon=True)
            reader.start()
            found = _LISTENING.match(process.stdout.readline())
            if found is None:
                process.wait(PATIENCE)
                reader.join(PATIENCE)
                raise AssertionError(f"it does not listen: {''.join(server.log)}")
            server.url = found[1]
            yield server
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE)
            reader.join(PATIENCE)
