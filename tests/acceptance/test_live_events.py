"""Live events from real servers: nothing is lost and nothing comes twice, whoever dies and however slowly one reads."""

import asyncio
import json
import signal
import socket
import time
from typing import Any

import httpx
import pytest

from kneo_serv.model.run import Phase, RunStatus
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.store_suite.samples import new_run
from tests.acceptance.follower import Follower, Told
from tests.acceptance.server import Server, serving
from tests.acceptance.shell import PATIENCE, Shell, until

FUNCTIONS = '''
import time
from pathlib import Path


def first(text: str) -> str:
    return text + "1"


def slow(text: str) -> str:
    """Lasts until it is let go on."""
    Path(f"slow-{text}").touch()
    while not Path("go").exists():
        time.sleep(0.02)
    return text + "2"
'''


def spec(*names: str) -> dict[str, Any]:
    """A workflow of these functions, one after the other."""
    return {
        "version": "v1",
        "agent": {"name": "idle", "model": {"provider": "dummy", "name": "dummy"}},
        "workflow": {
            "type": "sequential",
            "name": "-".join(names),
            "steps": [{"id": name, "kind": "function", "ref": name} for name in names],
        },
        "components": {
            "functions": {name: {"implementation": f"followed.{name}", "effect": "idempotent"} for name in names}
        },
    }


@pytest.fixture
def desk(shell: Shell) -> Shell:
    """A folder with functions of its own, served with a sign of life every second."""
    shell.write("followed.py", FUNCTIONS)
    return Shell(shell.folder, {"KNEO_SERV_EVENT_HEARTBEAT_SECONDS": "1", "PYTHONPATH": str(shell.folder)})


def start(server: Server, *names: str, text: str = "x") -> str:
    """The id of a run that goes on by itself."""
    asked = {"input": text, "spec": spec(*names), "async_mode": True}
    answer = httpx.post(f"{server.url}/v1/runs", json=asked, timeout=PATIENCE).raise_for_status()
    return str(answer.json()["run_id"])


def whole(server: Server, run_id: str) -> list[Told]:
    """The stream of a run that has ended."""
    with Follower(server.url, f"/v1/runs/{run_id}/events") as follower:
        return follower.end().events


def recorded(desk: Shell) -> list[int]:
    """The positions of all events that the trace names, as the database has them."""

    async def read() -> list[int]:
        store = SQLiteStore(desk.folder / ".kneo" / "kneo_runs.sqlite")
        await store.open()
        items = await store.feed(limit=100_000)
        await store.close()
        return [item.position for item in items if not _is_first_leg(item.row.kind, item.row.payload)]

    return asyncio.run(read())


def _is_first_leg(kind: str, payload: str) -> bool:
    return kind == "leg_started" and json.loads(payload)["reason"] == "start"


def fill(desk: Shell, runs: int) -> None:
    """A store with many runs that have ended."""

    async def write() -> None:
        path = desk.folder / ".kneo" / "kneo_runs.sqlite"
        path.parent.mkdir(exist_ok=True)
        store = SQLiteStore(path)
        await store.open()
        for at in range(0, runs, 500):
            rows = (new_run(f"{n}", status=RunStatus.COMPLETED, phase=Phase.ENDED) for n in range(at, at + 500))
            await asyncio.gather(*(store.create(row) for row in rows))
        await store.close()

    asyncio.run(write())


def test_a_killed_server_is_followed_on_from_the_last_id_and_nothing_is_lost_or_told_twice(desk: Shell) -> None:
    with serving(desk) as server:
        run_id = start(server, "first", "slow")
        with (
            Follower(server.url, f"/v1/runs/{run_id}/events") as run,
            Follower(server.url, "/v1/events", query={"after": 0}) as feed,
        ):
            run.named("step_started", 2)
            feed.named("step_started", 2)
            until((desk.folder / "slow-x1").exists, server.process)
            server.process.send_signal(signal.SIGKILL)
            run.end()
            feed.end()
    (desk.folder / "go").touch()
    with serving(desk) as server:
        with (
            Follower(server.url, f"/v1/runs/{run_id}/events", last_id=run.last_id) as run_again,
            Follower(server.url, "/v1/events", last_id=feed.last_id) as feed_again,
        ):
            assert run_again.end().events[-1].data["status"] == "completed"
            feed_again.named("workflow_completed")
        told = [event for event in run.events + run_again.events if event.id is not None]
        assert told == [event for event in whole(server, run_id) if event.id is not None]
        assert "workflow_resumed" in [event.name for event in told]
    assert [int(position) for position in feed.ids + feed_again.ids] == recorded(desk)


def test_two_servers_at_one_database_tell_the_same_and_go_on_from_each_others_ids(desk: Shell) -> None:
    with serving(desk) as one, serving(desk) as other:
        with (
            Follower(one.url, "/v1/events", query={"after": 0}) as here,
            Follower(other.url, "/v1/events", query={"after": 0}) as there,
        ):
            runs = {start(server, "first", text=f"{n}") for n in range(5) for server in (one, other)}
            for follower in (here, there):
                follower.named("workflow_completed", 10)
            assert here.ids == there.ids
            assert {event.data["run_id"] for event in here.events} == runs
        held = start(one, "first", "slow", text="held")
        with Follower(one.url, f"/v1/runs/{held}/events") as begun:
            begun.named("step_started", 2)
        with (
            Follower(other.url, f"/v1/runs/{held}/events", last_id=begun.last_id) as rest,
            Follower(other.url, "/v1/events", last_id=here.last_id) as feed,
        ):
            (desk.folder / "go").touch()
            rest.end()
            feed.named("workflow_completed")
            assert {event.data["run_id"] for event in feed.events} == {held}
        assert [event for event in begun.events + rest.events if event.id] == [
            event for event in whole(one, held) if event.id
        ]
        assert here.ids + feed.ids == [str(position) for position in recorded(desk)]


class Deaf:
    """A client that has asked for a stream and reads nothing of it."""

    def __init__(self, server: Server, path: str) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((host, int(port)))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def hear(self, last_id: str) -> str:
        """Reads after all, up to the event of this id."""
        raw = bytearray()
        # An event is far shorter than what is looked through again.
        while f"id: {last_id}\n".encode() not in raw[-131_072:]:
            piece = self.socket.recv(65_536)
            assert piece, raw[-300:]
            raw += piece
        return _unframed(bytes(raw))


def _unframed(raw: bytes) -> str:
    """The body of an answer in chunks, as far as it has come."""
    pieces, at = [], raw.index(b"\r\n\r\n") + 4
    while (line := raw.find(b"\r\n", at)) >= 0:
        size = int(raw[at:line], 16)
        pieces.append(raw[line + 2 : line + 2 + size])
        at = line + 4 + size
    return b"".join(pieces).decode()


def test_a_reader_who_takes_nothing_for_long_stalls_nothing_and_misses_nothing(desk: Shell) -> None:
    fill(desk, runs=20_000)
    with serving(desk) as server:
        deaf = Deaf(server, "/v1/events?after=0")
        until(lambda: "kneo_event_streams_open 1.0" in server.get("/metrics").text, server.process)
        with Follower(server.url, "/v1/events") as quick:
            runs = [start(server, "first", text=f"{n}") for n in range(20)]
            quick.named("workflow_completed", 20)
        began = time.monotonic()
        assert server.get("/livez").status_code == 200
        assert time.monotonic() - began < 5
        last = quick.ids[-1]
        text = deaf.hear(last)
        ids = [int(line.removeprefix("id: ")) for line in text.split("\n") if line.startswith("id: ")]
        assert ids == recorded(desk)
        assert all(run_id in text for run_id in runs)
        deaf.socket.close()


def test_who_hangs_up_leaves_nothing_open(desk: Shell) -> None:
    with serving(desk) as server:
        run_id = start(server, "slow", text="held")
        with (
            Follower(server.url, "/v1/events"),
            Follower(server.url, f"/v1/runs/{run_id}/events"),
        ):
            assert "kneo_event_streams_open 2.0" in server.get("/metrics").text
        until(lambda: "kneo_event_streams_open 0.0" in server.get("/metrics").text, server.process)
        (desk.folder / "go").touch()
        assert whole(server, run_id)[-1].data["status"] == "completed"


def test_sigterm_ends_streams_at_once_and_tells_clients_to_come_back(desk: Shell) -> None:
    with serving(desk) as server:
        run_id = start(server, "slow", text="held")
        with (
            Follower(server.url, f"/v1/runs/{run_id}/events") as run,
            Follower(server.url, "/v1/events", query={"after": 0}) as feed,
        ):
            for follower in (run, feed):
                follower.named("step_started")
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            for follower in (run, feed):
                last = follower.end().events[-1]
                assert (last.name, last.data["reason"], last.id) == ("close", "draining", None)
                assert follower.over_at is not None
                # The run in hand has 30 s to come to a rest; nobody who listens waits for that.
                assert follower.over_at - began < 10
        assert server.process.poll() is None
        (desk.folder / "go").touch()
        assert server.process.wait(PATIENCE) == 0
    with serving(desk) as server, Follower(server.url, f"/v1/runs/{run_id}/events", last_id=run.last_id) as again:
        assert again.end().events[-1].data["status"] == "completed"


def test_a_reader_who_takes_nothing_does_not_hold_up_the_end_of_the_server(desk: Shell) -> None:
    fill(desk, runs=20_000)
    with serving(desk) as server:
        deaf = Deaf(server, "/v1/events?after=0")
        until(lambda: "kneo_event_streams_open 1.0" in server.get("/metrics").text, server.process)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 20
        deaf.socket.close()


def test_the_log_tells_how_long_somebody_listened_apart_from_how_soon_they_were_answered(desk: Shell) -> None:
    with serving(desk) as server:
        with Follower(server.url, "/v1/events") as follower:
            follower.until(lambda one: one.last_id is not None)
        assert server.stop() == 0
    (line,) = [json.loads(one) for one in server.log if '"/v1/events"' in one]
    assert line["status_code"] == 200
    assert line["stream_seconds"] > line["duration_ms"] / 1000
