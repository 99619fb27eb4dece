"""Executing runs from this process without serving them: what `kneo worker` does, and how it ends."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from kneo_serv.service.log_lines import configure_logging
from kneo_serv.settings import Settings

if TYPE_CHECKING:
    from kneo_serv.platform import PlatformManager

_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """How to work. What is None follows from the environment, or is not wanted."""

    health_host: str = "127.0.0.1"
    health_port: int | None = None
    """Where to answer /livez, /readyz and /metrics; 0 takes a free port."""
    log_format: str | None = None
    log_level: str | None = None


def work(
    options: WorkOptions, *, make_manager: "Callable[[], PlatformManager]", tell: Callable[[str], None] = print
) -> bool:
    """Executes runs until SIGTERM or SIGINT; whether every run in hand came to a rest then.

    With the signal nothing more is claimed. Runs in hand have the time of KNEO_SERV_SHUTDOWN_TIMEOUT_SECONDS; those
    that need longer are handed back to the store, and another worker goes on with them. A second SIGINT ends the
    process at once.

    Args:
        options: How to work.
        make_manager: Makes the platform; its worker is started here, and it is shut down in the end.
        tell: Is given a line that says what is done, once it is, and one that says where health is answered.

    Raises:
        ServeError: health cannot be answered there.
        SettingsError: a variable has a value that cannot be used.
        StoreError: the store cannot be opened.
    """
    settings = Settings.from_env(os.environ)
    configure_logging(level=options.log_level or settings.log_level, form=options.log_format or settings.log_format)
    with _asked_to_end() as ends:
        manager = make_manager()
        try:
            with _health(options, manager, settings) as where:
                manager.start_worker()
                tell(f"Working: {_kind(manager)}.")
                if where is not None:
                    tell(f"Health at {where}")
                ends.wait()
                return manager.shutdown()
        finally:
            manager.shutdown(timeout=0)


def _kind(manager: "PlatformManager") -> str:
    number, queues = manager.options.worker_concurrency, manager.options.queues
    runs = f"{number} runs at a time" if number > 1 else "one run at a time"
    return f"{runs}, of the queues {', '.join(queues)}" if queues else f"{runs}, of all queues"


@contextlib.contextmanager
def _health(options: WorkOptions, manager: "PlatformManager", settings: Settings) -> Iterator[str | None]:
    if options.health_port is None:
        yield None
        return
    # The server and its framework are loaded only where somebody is to be answered.
    from kneo_serv.service.health_door import answering

    with answering(manager, settings, host=options.health_host, port=options.health_port) as where:
        yield where


@contextlib.contextmanager
def _asked_to_end() -> Iterator[threading.Event]:
    """Set once somebody asks the process to end."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set() and number == signal.SIGINT:
            # Whoever asks twice means now. The journal stands a kill, so nothing is lost but what is in flight.
            os._exit(_INTERRUPTED)
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
