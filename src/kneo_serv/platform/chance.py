"""The machine's clock and fresh ids: the only place of the platform where time and chance come in."""

import base64
import os
import threading
import time
from datetime import UTC, datetime

from kneo_serv.model.ids import AuditId, ContinuationId, RequestId, RunId


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()


class RandomIds:
    """Fresh ids. UUIDs are version 7 (RFC 9562), so that they sort by time."""

    def run(self, now: float) -> RunId:
        """`run_<ISO time to the second>_<22 url-safe characters>`."""
        moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return RunId(f"run_{moment}_{base64.urlsafe_b64encode(_entropy(16)).rstrip(b'=').decode()}")

    def continuation(self) -> ContinuationId:
        """`cont_<UUIDv7>`."""
        return ContinuationId(f"cont_{_uuid7()}")

    def request(self) -> RequestId:
        """`req_<UUIDv7>`."""
        return RequestId(f"req_{_uuid7()}")

    def audit(self) -> AuditId:
        """`aud_<UUIDv7>`."""
        return AuditId(f"aud_{_uuid7()}")


def _uuid7() -> str:
    value = int.from_bytes((time.time_ns() // 1_000_000).to_bytes(6) + _entropy(10))
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    return _written(value)


def random_uuid() -> str:
    """A UUID of version 4 (RFC 9562)."""
    value = int.from_bytes(_entropy(16))
    value = value & ~(0xF000 << 64) | 0x4000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    return _written(value)


def _written(value: int) -> str:
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_STORE_BYTES = 4096
_store = b""
_lock = threading.Lock()


def _entropy(size: int) -> bytes:
    """Bytes from the system's source, asked for in stores of some size, since each question is a call of the system."""
    global _store
    with _lock:
        if len(_store) < size:
            _store = os.urandom(_STORE_BYTES)
        taken, _store = _store[:size], _store[size:]
    return taken


def _forget() -> None:
    # Two processes that live on one store would make the same ids.
    global _store, _lock
    _store, _lock = b"", threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
