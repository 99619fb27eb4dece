"""A real `kneo worker` beside others on one store."""

import contextlib
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.acceptance.shell import PATIENCE, Shell

_HEALTH = re.compile(r"Health at (http://\S+)")


@dataclass
class Worker:
    """A process that executes runs."""

    process: subprocess.Popen[str]
    told: str
    """Its first line."""
    health: str = ""
    log: list[str] = field(default_factory=list)
    """The lines of stderr so far."""

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Asks the process to end, and gives its exit code."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def working(shell: Shell, *words: str) -> Iterator[Worker]:
    """A worker in the folder of a shell, once it works; it is killed in the end if it is still there."""
    with shell.start_kneo("worker", *words) as process:
        reader = threading.Thread(target=lambda: worker.log.extend(process.stderr or ()), daemon=True)
        worker = Worker(process, "")
        try:
            assert process.stdout is not None
            # Somebody has to read, or the process stands still when the pipe is full.
            reader.start()
            worker.told = process.stdout.readline()
            if not worker.told.startswith("Working: "):
                process.wait(PATIENCE)
                reader.join(PATIENCE)
                raise AssertionError(f"it does not work: {''.join(worker.log)}")
            if "--health-port" in words:
                found = _HEALTH.match(process.stdout.readline())
                assert found is not None
                worker.health = found[1]
            yield worker
        finally:
            if process.poll() is None:
                # One that was stopped hears nothing but this.
                process.kill()
            process.wait(PATIENCE)
            reader.join(PATIENCE)
