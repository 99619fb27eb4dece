"""Several processes of one command at one address, over PostgreSQL: counted together, replaced, ended together."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.server import Server, serving
from tests.acceptance.shell import PATIENCE, Shell, until

SPEC = {
    "version": "v1",
    "agent": {"name": "idle", "model": {"provider": "dummy", "name": "dummy"}},
}


@pytest.fixture
def desk(shell: Shell, postgres_url: str) -> Shell:
    """A folder with a spec, and a database on a server."""
    shell.write("idle.yaml", json.dumps(SPEC))
    return Shell(shell.folder, {"KNEO_SERV_DATABASE_URL": postgres_url, "KNEO_SERV_LOG_LEVEL": "warning"})


@pytest.fixture
def server(desk: Shell) -> Iterator[Server]:
    with serving(desk, "--workers", "2") as made:
        yield made


def _children(pid: int) -> set[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(one) for one in text.split()}


def _metric(server: Server, name: str) -> float:
    text = server.get("/metrics").text
    found = re.search(rf"^{name} (\S+)$", text, re.M)
    assert found is not None, text
    return float(found[1])


def _run(server: Server) -> str:
    # A connection of its own each time, so that now the one and now the other process answers.
    answer = httpx.post(
        server.url + "/v1/runs",
        json={"spec_path": "idle.yaml", "input": "tea", "target": "agent"},
        timeout=PATIENCE,
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "completed"
    return str(answer.json()["run_id"])


def test_each_process_tells_what_all_of_them_have_counted(server: Server) -> None:
    assert len(_children(server.process.pid)) == 2
    assert len({_run(server) for _ in range(12)}) == 12
    for _ in range(6):
        assert _metric(server, "kneo_runs_completed_total") == 12
        assert _metric(server, "kneo_runs_started_total") == 12
        assert _metric(server, "kneo_worker_count") == 8
        assert server.get("/metrics").text.count("# TYPE kneo_worker_count gauge") == 1


def test_a_process_that_dies_is_replaced_and_what_it_counted_stays(server: Server) -> None:
    for _ in range(4):
        _run(server)
    (victim, *_) = before = sorted(_children(server.process.pid))
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(_children(server.process.pid) - {victim}) == 2, server.process)
    until(lambda: _metric(server, "kneo_worker_count") == 8, server.process)
    _run(server)
    assert _metric(server, "kneo_runs_completed_total") == 5
    assert before != sorted(_children(server.process.pid))
    assert any(f"process {victim} ended" in line for line in server.log)


def test_all_of_them_end_when_the_first_is_asked_to(server: Server) -> None:
    children = _children(server.process.pid)
    assert server.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_none_of_them_outlives_the_first(server: Server) -> None:
    children = _children(server.process.pid)
    server.stop(signal.SIGKILL)
    over = time.monotonic() + PATIENCE
    while any(_lives(pid) for pid in children):
        assert time.monotonic() < over, "they go on without the first"
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_what_no_process_can_start_with_is_said_once(desk: Shell) -> None:
    astray = Shell(desk.folder, {"KNEO_SERV_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
    done = astray.kneo("service", "serve", "--port", "0", "--workers", "2", code=1)
    assert "could not start" in done.err


def test_a_sqlite_file_is_served_by_one_process(shell: Shell) -> None:
    done = shell.kneo("service", "serve", "--port", "0", "--workers", "2", code=1)
    assert "SQLite" in done.err
