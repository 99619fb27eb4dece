"""What the public client gets when the server dies or ends, or the client goes away, in the midst of a request."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from kneo_client.core import KneoNetworkError, RetryPolicy

from tests.acceptance.client.served import ONCE, caller, served, workflow
from tests.acceptance.client.test_runs import fresh, reached
from tests.acceptance.server import Server
from tests.acceptance.shell import PATIENCE

pytestmark = pytest.mark.anyio

GATED = workflow("first", "gated", "second")


@pytest.fixture
def port() -> int:
    """A port that is free, and that a server which comes back takes again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found: int = taken.getsockname()[1]
    return found


@contextlib.contextmanager
def again(folder: Path, port: int) -> Iterator[Server]:
    """A server in this folder, at this port."""
    with served(folder, "--port", str(port), KNEO_SERV_SHUTDOWN_TIMEOUT_SECONDS="0.2") as server:
        yield server


@pytest.mark.crash
async def test_a_request_whose_server_is_killed_is_sent_again_by_the_client_and_gets_the_same_run(
    tmp_path: Path, port: int
) -> None:
    gate, key = fresh("gate"), fresh("key")
    body = {"input": gate, "spec": GATED}
    stubborn = RetryPolicy(max_attempts=200, base_delay=0.1, max_delay=0.1)
    with contextlib.ExitStack() as first:
        killed = first.enter_context(again(tmp_path, port))
        async with caller(killed, retry_policy=stubborn) as client:
            waiting = asyncio.create_task(client.platform.runs.create(body, idempotency_key=key))
            await reached(tmp_path / f"{gate}.reached")
            run_id = (await client.platform.runs.list())[0]["id"]
            assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
            (tmp_path / gate).touch()
            with again(tmp_path, port):
                run = await waiting
                assert (run.run_id, run.status, run.output_text) == (run_id, "completed", f"second passed {gate}")
                assert await client.platform.runs.create(body, idempotency_key=key) == run
                assert (await client.platform.runs.list()).total == 1
                created = await client.platform.audit.list(event_type="run.created")
                assert created.total == 1


@pytest.mark.crash
async def test_an_answer_whose_server_is_killed_counts_once(tmp_path: Path, port: int) -> None:
    gate, key = fresh("gate"), fresh("key")
    spec = workflow("person", "gated", person={"request_type": "freeform"})
    with contextlib.ExitStack() as first:
        killed = first.enter_context(again(tmp_path, port))
        async with caller(killed, retry_policy=ONCE) as client:
            run = await client.platform.runs.create({"input": "x", "spec": spec})
            request = run.metadata["pending_human_request"]["request_id"]  # type: ignore[index]
            body = {"request_id": request, "decision": "provided", "content": gate}
            task = str(run.continuation_id)
            answering = asyncio.create_task(client.platform.human_tasks.resume(task, body, idempotency_key=key))
            await reached(tmp_path / f"{gate}.reached")
            killed.stop(signal.SIGKILL)
            with pytest.raises(KneoNetworkError) as lost:
                await answering
            assert lost.value.idempotency_key == key
            (tmp_path / gate).touch()
            with again(tmp_path, port):
                done = await client.platform.human_tasks.resume(task, body, idempotency_key=key)
                assert (done.run_id, done.status, done.output_text) == (run.run_id, "completed", f"passed {gate}")
                assert (await client.platform.audit.list(event_type="human.decision")).total == 1
                assert (await client.platform.human_tasks.list()).total == 0


async def test_a_client_that_goes_away_does_not_take_the_run_along(server: Server, folder: Path) -> None:
    gate, key, session = fresh("gate"), fresh("key"), fresh("session")
    body = {"input": gate, "spec": GATED, "session_id": session}
    async with caller(server) as client:
        leaving = asyncio.create_task(client.platform.runs.create(body, idempotency_key=key))
        await reached(folder / f"{gate}.reached")
        # The connection is closed while the server waits for the run.
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    (folder / gate).touch()
    async with caller(server) as client:
        run_id = (await client.platform.runs.list(session_id=session))[0]["id"]
        run = await client.platform.runs.wait_for_completion(run_id, timeout=PATIENCE, poll_interval=0.02)
        assert (run.status, run.output_text) == ("completed", f"second passed {gate}")
        again = await client.platform.runs.create(body, idempotency_key=key)
        assert (again.run_id, again.status, again.output_text) == (run_id, "completed", run.output_text)
        assert (await client.platform.runs.list(session_id=session)).total == 1


async def test_who_waits_while_the_server_ends_is_told_that_the_run_goes_on(tmp_path: Path, port: int) -> None:
    gate = fresh("gate")
    with again(tmp_path, port) as server:
        async with caller(server, retry_policy=ONCE) as client:
            waiting = asyncio.create_task(client.platform.runs.create({"input": gate, "spec": GATED}))
            await reached(tmp_path / f"{gate}.reached")
            assert await asyncio.to_thread(server.stop) == 0
            run = await waiting
            assert (run.status, run.output_text) == ("running", None)
            with pytest.raises(KneoNetworkError):
                await client.platform.runs.get(str(run.run_id))
    (tmp_path / gate).touch()
    with again(tmp_path, port) as server:
        async with caller(server) as client:
            done = await client.platform.runs.wait_for_completion(str(run.run_id), timeout=PATIENCE, poll_interval=0.05)
            assert (done.status, done.output_text) == ("completed", f"second passed {gate}")
