"""The service on PostgreSQL: a crash between two steps and one while a person thinks, and another process goes on."""

import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.server import Server, serving
from tests.acceptance.shell import PATIENCE, Shell, until

MARKS = """
import time
from pathlib import Path


def mark(name: str) -> None:
    with Path("marks").open("a") as file:
        print(name, file=file)


def draft(text: str) -> str:
    mark("draft")
    return f"draft of {text}"


def publish(text: str) -> str:
    Path("publishing").touch()
    while not Path("go").exists():
        time.sleep(0.02)
    mark("publish")
    return f"published {text}"
"""
SPEC: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "idle", "model": {"provider": "dummy", "name": "dummy"}},
    "workflow": {
        "type": "sequential",
        "steps": [
            {"id": "draft", "kind": "function", "ref": "draft"},
            {"id": "ask", "kind": "human", "ref": "person"},
            {"id": "publish", "kind": "function", "ref": "publish"},
        ],
    },
    "components": {
        "functions": {
            name: {"implementation": f"marked.{name}", "effect": "idempotent"} for name in ("draft", "publish")
        },
        "humans": {"person": {"description": "May it go out?", "request_type": "approval"}},
    },
}


@pytest.fixture
def desk(shell: Shell, postgres_url: str) -> Shell:
    """A folder with functions of its own, and a database on a server."""
    shell.write("marked.py", MARKS)
    variables = {
        "KNEO_SERV_DATABASE_URL": postgres_url.replace("kneo@", "kneo:hunter2@"),
        # A lease on PostgreSQL ends by running out, and only so.
        "KNEO_SERV_WORKER_LEASE_SECONDS": "1.5",
    }
    return Shell(shell.folder, variables)


def _marks(folder: Path) -> list[str]:
    return (folder / "marks").read_text().split()


def _run(server: Server, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = server.get(f"/v1/runs/{run_id}").json()
    return found


def test_a_run_with_a_person_in_it_outlives_the_processes_that_execute_it(desk: Shell) -> None:
    with serving(desk) as first:
        body = {"input": "the letter", "spec": SPEC, "target": "workflow"}
        started = httpx.post(f"{first.url}/v1/runs", json=body, timeout=PATIENCE).json()
        assert started["status"] == "paused"
        run_id = started["run_id"]
        first.stop(signal.SIGKILL)
    with serving(desk) as second:
        (task,) = second.get("/v1/human-tasks").json()["tasks"]
        shown = second.get(f"/v1/human-tasks/{task['id']}").json()
        answer = {"request_id": shown["request"]["id"], "decision": "approved"}
        path = f"/v1/human-tasks/{task['id']}/resume?wait=0"
        assert httpx.post(second.url + path, json=answer, timeout=PATIENCE).status_code == 202
        until((desk.folder / "publishing").exists, second.process)
        second.stop(signal.SIGKILL)
    (desk.folder / "go").touch()
    with serving(desk) as third:
        until(lambda: _run(third, run_id)["status"] == "completed", third.process)
        assert _run(third, run_id)["output_text"] == "published draft of the letter"
        assert third.get("/readyz").status_code == 200
        assert third.stop() == 0
    assert _marks(desk.folder) == ["draft", "publish"]
    assert not (desk.folder / ".kneo").exists()
    for server in (first, second, third):
        assert "hunter2" not in "".join(server.log)
    assert "Applied migration" not in "".join(first.log)


def test_the_command_line_works_on_the_same_database(desk: Shell) -> None:
    begin = time.monotonic()
    desk.write("flow.yaml", str(SPEC).replace("'", '"'))
    (desk.folder / "go").touch()
    answer = desk.kneo("run", "flow.yaml", "--input", "the letter", "--json").json
    (task,) = desk.kneo("human", "list", "--json").json["tasks"]
    request = answer["metadata"]["pending_human_request"]
    desk.kneo("human", "resume", task["id"], "--request-id", request["request_id"], "--approve")
    checked = desk.kneo("doctor")
    assert "hunter2" not in checked.out + checked.err
    assert _marks(desk.folder) == ["draft", "publish"]
    assert not (desk.folder / ".kneo").exists()
    assert time.monotonic() - begin < PATIENCE
