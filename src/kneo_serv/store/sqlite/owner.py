"""Who holds a lease on this machine, and whether that process still lives."""

import os
import secrets
import socket
import time
from functools import cache
from pathlib import Path

from kneo_serv.model.ids import Owner

# Systems without /proc tell no start time of other processes; then the process id alone has to do.
_UNKNOWN = "-"


def local_owner() -> Owner:
    """A new name for a worker in this process: host, boot id, process id, start time and a random part.

    Unique for each call, so that two platforms in one process are two owners.
    """
    pid = os.getpid()
    return Owner(":".join((_host(), _boot_id(), str(pid), _start_time(pid) or _UNKNOWN, secrets.token_hex(4))))


def is_dead(owner: Owner | str) -> bool:
    """Whether the owner was a process of this machine that is gone.

    False for owners on other machines and names of another form: only their leases' end tells.
    """
    parts = owner.split(":")
    if len(parts) < 4 or parts[0] != _host() or not parts[2].isdigit():
        return False
    if parts[1] != _boot_id():
        # The same host since a restart: nothing from before it lives. Unknown boot ids prove nothing.
        return _UNKNOWN not in (parts[1], _boot_id())
    pid = int(parts[2])
    started = _start_time(pid)
    if started is not None:
        return parts[3] not in (started, _UNKNOWN)
    return not _exists(pid)


@cache
def _host() -> str:
    return socket.gethostname().replace(":", "_")


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _UNKNOWN


def _start_time(pid: int) -> str | None:
    """In clock ticks since boot, as the kernel tells it; None when there is no such process, or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The program's name stands in parentheses and may itself hold blanks and parentheses.
    fields = stat.rpartition(")")[2].split()
    # A zombie has ended; only its parent has not asked yet.
    return None if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class JumpWatch:
    """Notices that the wall clock moved by another amount than the monotonic one (sleep, NTP, somebody's hand)."""

    def __init__(self, tolerance: float = 2.0) -> None:
        self._tolerance = tolerance
        self._offset = time.time() - time.monotonic()

    def jump(self) -> float | None:
        """Seconds that the wall clock jumped since the last call, beyond the tolerance; else None."""
        offset = time.time() - time.monotonic()
        jumped = offset - self._offset
        self._offset = offset
        return jumped if abs(jumped) > self._tolerance else None
