"""The service under attack: whatever is sent, it refuses in words, tells nothing, keeps its size and goes on."""

import contextlib
import http.client
import io
import json
import re
import socket
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.acceptance.hostile import CANARY, KEY, lay_traps, odd, post, refused, request
from tests.acceptance.server import Server, serving
from tests.acceptance.shell import Shell

DEADLINE = 15.0
"""Seconds that any one answer may take on a busy machine; most take milliseconds."""
SECRET = "sk-hostile5a7b9c1d3e5f7a9b"
"""A key of a provider in the environment of the server."""
LEAKS = re.compile(rf"Traceback|File \\?\"|site-packages|{CANARY}|{KEY}|{SECRET}")
GROWTH_BYTES = 64 * 1_048_576
"""What the process may grow by while it is sent the corpus once more: more than 100 MiB, of which it keeps nothing.

What it grows by at first are the arenas of the threads that look through bodies of 1 MiB, and caches with bounds.
"""
MOST_BYTES = 400 * 1_048_576
"""What it may have in all: some 80 MiB to begin with, and bodies several times over while they are looked through."""


@dataclass
class Told:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    seconds: float


def address(server: Server) -> tuple[str, int]:
    host, port = server.url.removeprefix("http://").split(":")
    return host, int(port)


def ask(server: Server, raw: bytes) -> Told:
    """Sends these bytes on a connection of their own, and reads one answer; OSError where none came in time."""
    began = time.monotonic()
    with socket.create_connection(address(server), timeout=DEADLINE) as connection:
        # Who is refused early need not take the rest.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(raw)
        answer = http.client.HTTPResponse(connection, method=raw[:4].decode("latin-1").strip())
        with contextlib.closing(answer):
            answer.begin()
            body = answer.read()
    return Told(answer.status, answer.headers, body, time.monotonic() - began)


def faults(name: str, server: Server, raw: bytes, *, must_be_refused: bool) -> Iterator[str]:
    """What is wrong with the answer to this."""
    try:
        told = ask(server, raw)
    except (OSError, http.client.HTTPException) as error:
        yield f"{name}: no answer ({type(error).__name__}: {error})"
        return
    text = told.body.decode("utf-8", "replace")
    shown = f"{told.status} {text[:300]}"
    if told.seconds > DEADLINE:
        yield f"{name}: took {told.seconds:.1f} s"
    if told.status >= 500 or (must_be_refused and told.status < 400):
        yield f"{name}: {shown}"
    if LEAKS.search(text) or str(server.folder) in text:
        yield f"{name}: tells too much: {shown}"
    if "x-injected" in told.headers:
        yield f"{name}: takes headers from others"
    if not told.headers.get("x-request-id"):
        yield f"{name}: has no request id: {shown}"
    if told.status >= 400 and told.body:
        try:
            detail = json.loads(told.body)["detail"]
            if isinstance(detail, list):
                fine = told.status == 422 and all({"type", "loc", "msg"} == set(one) for one in detail)
            else:
                fine = bool(detail["error"] and detail["message"])
        except (ValueError, KeyError, TypeError):
            fine = False
        if not fine:
            yield f"{name}: not as errors are told: {shown}"


def resident(server: Server) -> int:
    """Bytes of memory that the process has."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def quickest(server: Server, path: str = "/livez") -> float:
    """Seconds of the quickest of some answers."""
    taken = []
    with httpx.Client(base_url=server.url, timeout=DEADLINE) as client:
        for _ in range(10):
            began = time.perf_counter()
            assert client.get(path).status_code == 200
            taken.append(time.perf_counter() - began)
    return min(taken)


@contextlib.contextmanager
def under_attack(folder: Path, **variables: str) -> Iterator[Server]:
    """A server whose folder for specs holds traps; in the end its log is looked through."""
    lay_traps(folder / "specs")
    settings = {
        "KNEO_SERV_API_KEYS": f"mallory:{KEY}:admin",
        "KNEO_SERV_SPEC_ROOT": str(folder / "specs"),
        "KNEO_SERV_PATIENCE_SECONDS": "2",
        "KNEO_SERV_REQUEST_HEAD_SECONDS": "3",
        "KNEO_SERV_REQUEST_BODY_SECONDS": "3",
        "OPENAI_API_KEY": SECRET,
        **variables,
    }
    with serving(Shell(folder, settings)) as server:
        server.folder = folder
        yield server
        assert server.get("/livez").status_code == 200
        assert server.stop() == 0
    log = "".join(server.log)
    assert not (found := LEAKS.search(log)), found
    assert not list(folder.rglob("hacked"))
    assert not [line for line in server.log if json.loads(line)["level"] in ("ERROR", "CRITICAL")]


def all_faults(server: Server, requests: Iterable[tuple[str, bytes]], *, must_be_refused: bool) -> list[str]:
    """What is wrong with the answers to all of these, sixteen of which are under way at a time."""

    def one(named: tuple[str, bytes]) -> list[str]:
        return list(faults(named[0], server, named[1], must_be_refused=must_be_refused))

    with ThreadPoolExecutor(16) as many:
        return [fault for found in many.map(one, requests) for fault in found]


def test_no_hostile_request_breaks_hangs_or_fills_the_service(tmp_path: Path) -> None:
    with under_attack(tmp_path) as server:
        all_faults(server, refused(tmp_path / "specs"), must_be_refused=True)
        before = resident(server)
        found = all_faults(server, refused(tmp_path / "specs"), must_be_refused=True)
        found += all_faults(server, odd(), must_be_refused=False)
        grown = resident(server) - before
        assert not found, f"{len(found)} faults:\n" + "\n".join(found)
        print(f"grown by {grown / 1_048_576:.1f} MiB to {resident(server) / 1_048_576:.1f} MiB")
        assert grown < GROWTH_BYTES
        assert resident(server) < MOST_BYTES
        assert quickest(server) < 0.05
        assert quickest(server, "/readyz") < 0.5


def dribble(server: Server, raw: bytes, *, then: bytes = b"", pause: float = 0.1) -> Told | None:
    """Sends a beginning, and then a byte at a time, until there is an answer (given) or the end (None)."""
    with socket.create_connection(address(server), timeout=pause) as connection:
        connection.sendall(raw)
        came, began = b"", time.monotonic()
        while time.monotonic() - began < DEADLINE:
            with contextlib.suppress(TimeoutError):
                piece = connection.recv(65_536)
                if not piece:
                    break
                came += piece
                continue
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(then)
        else:
            raise AssertionError(f"nobody ended this: {raw[:80]!r}")
    if not came:
        return None
    head, _, body = came.partition(b"\r\n\r\n")
    fields = http.client.parse_headers(io.BytesIO(head.partition(b"\r\n")[2] + b"\r\n\r\n"))
    return Told(int(head.split()[1]), fields, body, time.monotonic() - began)


SLOW: dict[str, tuple[bytes, bytes, int | None]] = {
    "nothing": (b"", b"", None),
    "the head, a byte at a time": (b"GET /livez HTTP/1.1\r\nX-A: ", b"x", 408),
    "half a head, and then nothing": (b"GET /livez HTTP/1.1\r\n", b"", 408),
    "blank lines": (b"\r\n", b"\r\n", 408),
    "the body, a byte at a time": (request("POST", "/v1/runs", b"{", "Content-Length: 100000"), b" ", 408),
    "half a body, and then nothing": (request("POST", "/v1/runs", b"{", "Content-Length: 10"), b"", 408),
    "pieces, a byte at a time": (
        request("POST", "/v1/runs", b"1\r\n{\r\n", "Transfer-Encoding: chunked"),
        b"1\r\n \r\n",
        408,
    ),
    "a second head after an answer": (request("GET", "/livez") + b"GET", b"X", 200),
}
"""What is sent first, what then again and again, and the status that ends it."""


def test_who_sends_slowly_is_sent_away_and_holds_nobody_else_up(tmp_path: Path) -> None:
    patient = {"KNEO_SERV_REQUEST_HEAD_SECONDS": "2", "KNEO_SERV_REQUEST_BODY_SECONDS": "2"}
    with under_attack(tmp_path, **patient) as server, ThreadPoolExecutor(64) as many:
        began = time.monotonic()
        slow = {name: many.submit(dribble, server, raw, then=then) for name, (raw, then, _) in SLOW.items()}
        crowd = [many.submit(dribble, server, *SLOW["half a body, and then nothing"][:1]) for _ in range(50)]
        taken = []
        with httpx.Client(base_url=server.url, timeout=DEADLINE) as client:
            while not all(one.done() for one in [*slow.values(), *crowd]):
                asked = time.perf_counter()
                assert client.get("/livez").status_code == 200
                taken.append(time.perf_counter() - asked)
                time.sleep(0.01)
        for name, (_, _, status) in SLOW.items():
            told = slow[name].result()
            assert (told and told.status) == status, (name, told)
            if told is not None and told.status == 408:
                assert json.loads(told.body)["detail"]["error"] == "request_timeout", name
                assert told.headers["x-request-id"], name
        assert [told is not None and told.status for told in (one.result() for one in crowd)] == [408] * 50
        assert time.monotonic() - began < DEADLINE
        taken.sort()
        assert len(taken) > 20
        # Sixty connections that send nothing cost nothing; what is measured here is this test and its machine.
        assert taken[len(taken) // 2] < 0.1, taken[-5:]


def test_what_follows_a_request_on_its_connection_does_not_spoil_its_answer(tmp_path: Path) -> None:
    with under_attack(tmp_path) as server:
        told = dribble(server, request("GET", "/livez") + b"\x00garbage\r\n\r\n")
        assert told is not None
        assert (told.status, json.loads(told.body)) == (200, {"ok": True, "metadata": {}})
        many = b"".join([request("GET", "/livez")] * 500)
        with socket.create_connection(address(server), timeout=DEADLINE) as connection:
            connection.sendall(many)
            came = b""
            while came.count(b"HTTP/1.1 200 OK") < 500:
                came += connection.recv(65_536)


def test_who_hangs_up_or_leaves_connections_open_costs_nothing(tmp_path: Path) -> None:
    with under_attack(tmp_path, KNEO_SERV_REQUEST_HEAD_SECONDS="1", KNEO_SERV_REQUEST_BODY_SECONDS="1") as server:
        body = post("/v1/runs", {"input": "x", "spec_path": "fine.yaml"})
        for end in range(0, len(body), 16):
            with socket.create_connection(address(server), timeout=DEADLINE) as connection:
                connection.sendall(body[:end])
        left = [socket.create_connection(address(server), timeout=DEADLINE) for _ in range(300)]
        try:
            assert quickest(server) < 0.05
            for connection in left:
                # The end of a connection, not an answer, is what somebody gets who says nothing.
                assert connection.recv(1) == b""
        finally:
            for connection in left:
                connection.close()
