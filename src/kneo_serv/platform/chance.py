"""The machine's clock and fresh ids: the only place of the platform where time and chance come in."""

import os
import secrets
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
        return RunId(f"run_{moment}_{secrets.token_urlsafe(16)}")

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
    value = int.from_bytes((time.time_ns() // 1_000_000).to_bytes(6) + os.urandom(10))
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
