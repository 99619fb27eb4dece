"""Several processes that serve one address: started together, replaced when one dies, ended together.

Each is this very command once more, with the listening socket handed to it; so it does all that a single one does.
"""

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from types import FrameType
from typing import Self

log = logging.getLogger("kneo_serv.service")

_PART = "KNEO_SERV_PART"
METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""Where processes keep their counters, so that each of them can tell the sums; the name is Prometheus's own."""
_LOOK = 0.2
_STEADY = 10.0
"""Seconds after which the death of a process is an accident, and no fault of its start."""
_LONGEST_PAUSE = 30.0


class SeveralError(Exception):
    """One of the processes did not come up."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one of several processes is given: descriptors of three things."""

    listener: int
    ready: int
    """Of a pipe in which it says that it answers."""
    lifeline: int
    """Of a pipe that ends when the first process does."""

    @classmethod
    def taken(cls, environ: MutableMapping[str, str]) -> Self | None:
        """The part of this process, None if it is no part of several. Taken once: its own children are none."""
        text = environ.pop(_PART, None)
        return None if text is None else cls(*map(int, text.split(":")))

    def socket(self) -> socket.socket:
        """The listening socket."""
        return socket.socket(fileno=self.listener)

    def tell_ready(self) -> None:
        """Says that this process answers."""
        os.write(self.ready, b"1")
        os.close(self.ready)

    def end_with_the_first(self) -> None:
        """Has this process end when the first one is gone, however that went."""

        def wait() -> None:
            with contextlib.suppress(OSError):
                os.read(self.lifeline, 1)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=wait, name="kneo-lifeline", daemon=True).start()


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    ready: int
    lifeline: int
    since: float


class Several:
    """The first process, which serves nothing itself."""

    def __init__(
        self,
        listener: socket.socket,
        *,
        processes: int,
        seconds_to_end: float,
        environ: Mapping[str, str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener = listener
        self._processes = processes
        self._seconds_to_end = seconds_to_end
        self._environ = environ
        self._monotonic = monotonic
        self._children: list[_Child] = []
        self._ending = threading.Event()
        self._asked = 0

    def run(self, started: Callable[[], None]) -> None:
        """Starts the processes, calls `started` when all of them answer, and keeps them until SIGTERM or SIGINT.

        Raises:
            SeveralError: one of them ended before it answered; the others are ended too.
        """
        with tempfile.TemporaryDirectory(prefix="kneo-metrics-") as folder, self._signals():
            try:
                for _ in range(self._processes):
                    self._start(folder)
                if not self._all_ready():
                    return
                started()
                self._keep(folder)
            finally:
                self._end()

    def _start(self, folder: str) -> None:
        told, ready = os.pipe()
        lifeline, ours = os.pipe()
        descriptors = (self._listener.fileno(), ready, lifeline)
        environ = {**self._environ, METRICS_DIRECTORY: folder, _PART: ":".join(map(str, descriptors))}
        try:
            process = subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=environ, pass_fds=descriptors)
        finally:
            os.close(ready)
            os.close(lifeline)
        self._children.append(_Child(process, told, ours, self._monotonic()))

    def _all_ready(self) -> bool:
        waiting = {child.ready: child for child in self._children}
        while waiting and not self._ending.is_set():
            found, _, _ = select.select(list(waiting), [], [], _LOOK)
            for descriptor in found:
                child = waiting.pop(descriptor)
                if not os.read(descriptor, 1):
                    raise SeveralError(f"process {child.process.pid} ended before it answered")
        return not waiting

    def _keep(self, folder: str) -> None:
        pause = 0.0
        while not self._ending.wait(_LOOK):
            for child in [one for one in self._children if one.process.poll() is not None]:
                self._let_go(child)
                _forget(child.process.pid, folder)
                lived = self._monotonic() - child.since
                pause = 0.0 if lived >= _STEADY else min(max(1.0, pause * 2), _LONGEST_PAUSE)
                log.error(
                    "process %d ended with %s; another one takes its place in %g s",
                    *(child.process.pid, child.process.returncode, pause),
                )
                if self._ending.wait(pause):
                    return
                self._start(folder)

    def _end(self) -> None:
        for child in self._children:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        over = self._monotonic() + self._seconds_to_end
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, over - self._monotonic()))
        for child in list(self._children):
            if child.process.poll() is None:
                log.error("process %d did not end in time and is killed; its runs go on elsewhere", child.process.pid)
                child.process.kill()
                child.process.wait()
            self._let_go(child)

    def _let_go(self, child: _Child) -> None:
        self._children.remove(child)
        os.close(child.ready)
        os.close(child.lifeline)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def asked(number: int, frame: FrameType | None) -> None:
            self._asked += 1
            self._ending.set()
            if self._asked > 1 and number == signal.SIGINT:
                # Whoever asks twice means now.
                for child in self._children:
                    child.process.kill()

        before = {one: signal.signal(one, asked) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _forget(pid: int, folder: str) -> None:
    """Takes the gauges of a dead process out of the sums; what it has counted stays."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid, path=folder)  # type: ignore[no-untyped-call]
