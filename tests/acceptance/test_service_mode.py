"""The command line against a real server: what the founding document shows, and what a person at a terminal needs."""

import json
import os
import signal
import stat
import subprocess
import threading
from dataclasses import replace

import pytest

from tests.acceptance.server import serving
from tests.acceptance.shell import PATIENCE, Paused, Shell, pending, until

SMOKE = "examples/smoke_human_workflow.yaml"
APPROVAL = "examples/human_approval_workflow.yaml"
DRAFT = "draft the launch announcement"
KEYS = "operator:operator-token:operator;reviewer:reviewer-token:reviewer;one:service-token:service"
SERVED = {"KNEO_SERV_AUTH_ENABLED": "true", "KNEO_SERV_API_KEYS": KEYS}

SLOW = """
import time
from pathlib import Path


def slow(text: str) -> str:
    Path("slow").touch()
    while not Path("go").exists():
        time.sleep(0.02)
    return text + "!"
"""
SLOW_SPEC = {
    "version": "v1",
    "agent": {"name": "idle", "model": {"provider": "dummy", "name": "dummy"}},
    "workflow": {"type": "sequential", "steps": [{"id": "slow", "kind": "function", "ref": "slow"}]},
    "components": {"functions": {"slow": {"implementation": "served.slow", "effect": "idempotent"}}},
}


@pytest.fixture
def desk(shell: Shell) -> Shell:
    """Another folder than the server's, with the same home and the examples, where nothing is kept."""
    (shell.folder / "desk").mkdir()
    (shell.folder / "desk" / "examples").symlink_to(shell.folder / "examples")
    variables = {"HOME": str(shell.folder)}
    return Shell(shell.folder / "desk", variables)


def set_up(desk: Shell, url: str, key: str = "operator-token", name: str = "local") -> None:
    desk.kneo("config", "profile", "set", name, "--service-url", url, "--api-key", key)


def test_quickstart_6_a_run_is_submitted_to_the_service(shell: Shell, desk: Shell) -> None:
    caller = replace(desk, variables={**desk.variables, "KNEO_SERV_API_KEY": "operator-token"})
    with serving(replace(shell, variables=SERVED)) as server:
        words = ["--service-url", server.url, "--input", "hello", "--target", "workflow", "--json"]
        answer = caller.kneo("run", SMOKE, *words).json
        assert answer["status"] == "paused"
        assert pending(answer)["request_id"].startswith("req_")
        assert server.get(f"/v1/runs/{answer['run_id']}").status_code == 401
        refused = desk.kneo("run", SMOKE, *words, code=1).error
        assert (refused["code"], refused["key_source"]) == ("unauthorized", None)
    assert not (desk.folder / ".kneo").exists()


def test_quickstart_7_a_profile_is_used_for_repeated_calls(shell: Shell, desk: Shell) -> None:
    with serving(replace(shell, variables=SERVED)) as server:
        set_up(desk, server.url)
        used = desk.kneo("config", "profile", "use", "local")
        ran = desk.kneo("run", SMOKE, "--input", "hello", "--target", "workflow", "--profile", "local")
        listed = desk.kneo("human", "list", "--profile", "local")
    kept = shell.folder / ".kneo_serv" / "profiles.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text()) == {
        "active": "local",
        "profiles": {"local": {"service_url": server.url, "api_key": "operator-token"}},
    }
    assert "cont_" in ran.out
    assert "1 open question" in listed.err
    shown = desk.kneo("config", "profile", "show").out + desk.kneo("config", "profile", "list").out
    for answer in (used, ran, listed):
        shown += answer.out + answer.err
    assert "operator-token" not in shown


def test_people_in_the_loop_3_to_8_on_the_command_line(shell: Shell, desk: Shell) -> None:
    host = replace(shell, variables=SERVED)
    with serving(host) as server:
        set_up(desk, server.url)
        task = desk.pause(APPROVAL, DRAFT)
        assert task.continuation_id in desk.kneo("human", "list", "--profile", "local").out
        told = desk.kneo("human", "get", task.continuation_id, "--profile", "local")
        assert f"Draft report for: {DRAFT}" in told.out
        assert f"kneo human resume {task.continuation_id} --request-id {task.request_id} --approve" in told.out
        refused = desk.resume(task, "--approve", code=1).error
        assert (refused["code"], refused["required_scope"]) == ("forbidden", "human:write")
        assert server.stop() == 0
    # The question survives its service.
    with serving(host) as server:
        set_up(desk, server.url, "service-token", "one")
        assert [row["id"] for row in desk.kneo("human", "list", "--json").json["tasks"]] == [task.continuation_id]
        deciding = replace(desk, variables={**desk.variables, "KNEO_SERV_IDEMPOTENCY_KEY": "decision-1"})
        done = deciding.resume(task, "--approve").json
        assert done["status"] == "completed"
        assert done["output_text"] == f"Published: Draft report for: {DRAFT}"
        assert deciding.resume(task, "--approve").json == done
        assert deciding.resume(task, "--reject", code=1).error["code"] == "idempotency_key_conflict"
        assert desk.resume(task, "--approve", code=1).error["code"] == "not_found"
        assert desk.kneo("runs", "get", task.run_id, "--json").json["status"] == "completed"
        types = [event["type"] for event in desk.trace(task.run_id)]
        assert "human_intervention_requested" in types
        assert types[-1] == "workflow_completed"
        points = desk.kneo("runs", "checkpoints", task.run_id, "--json").json["checkpoints"]
        assert [point["type"] for point in points if point["type"].startswith("human")] == [
            "human_pause",
            "human_resume",
        ]
        (decision,) = desk.kneo("audit", "list", "--type", "human.decision", "--json").json["events"]
        assert (decision["actor"], decision["run_id"]) == ("one", task.run_id)
    assert not (desk.folder / ".kneo").exists()


def test_two_people_at_once_decide_once(shell: Shell, desk: Shell) -> None:
    with serving(replace(shell, variables=SERVED)) as server:
        set_up(desk, server.url, "service-token")
        task: Paused = desk.pause(APPROVAL, DRAFT)
        words = ["human", "resume", task.continuation_id, "--request-id", task.request_id, "--approve", "--json"]
        both = [desk.start_kneo(*words) for _ in range(2)]
        ends = []
        for process in both:
            out, _ = process.communicate(timeout=PATIENCE)
            ends.append((process.returncode, json.loads(out)))
    assert sorted(code for code, _ in ends) == [0, 1]
    (lost,) = [answer["error"]["code"] for code, answer in ends if code]
    assert lost in ("not_found", "resource_locked")


def test_who_stops_waiting_leaves_the_run_at_work_and_knows_how_to_follow_it(shell: Shell, desk: Shell) -> None:
    shell.write("served.py", SLOW)
    desk.write("slow.json", json.dumps(SLOW_SPEC))
    with serving(shell) as server:
        set_up(desk, server.url)
        with desk.start_kneo("run", "slow.json", "--input", "hello") as waiting:
            assert waiting.stderr is not None
            first = waiting.stderr.readline()
            assert first.startswith("Run run_")
            run_id = first.split()[1]
            waiting.send_signal(signal.SIGINT)
            ended = desk.end(waiting, code=130)
        assert f"`kneo runs get {run_id}`" in ended.err
        assert desk.kneo("runs", "get", run_id, "--json").json["status"] == "running"
        (shell.folder / "go").touch()
        until(lambda: desk.kneo("runs", "get", run_id, "--json").json["status"] == "completed", server.process)


def test_a_run_outlives_its_service_for_whoever_waits(shell: Shell, desk: Shell) -> None:
    shell.write("served.py", SLOW)
    desk.write("slow.json", json.dumps(SLOW_SPEC))
    patient = {**desk.variables, "KNEO_SERV_CLIENT_RETRIES": "60", "KNEO_SERV_CLIENT_RETRY_BACKOFF_SECONDS": "0.05"}
    with serving(shell) as server:
        set_up(desk, server.url)
        waiting = replace(desk, variables=patient).start_kneo("run", "slow.json", "--input", "hello", "--json")
        until((shell.folder / "slow").exists, waiting)
        server.process.kill()
        server.process.wait(PATIENCE)
    (shell.folder / "go").touch()
    with serving(shell, "--port", server.url.rpartition(":")[2]):
        answer = desk.end(waiting).json
        assert (answer["status"], answer["output_text"]) == ("completed", "hello!")
        assert desk.kneo("runs", "list", "--json").json["total"] == 1


def test_a_service_with_a_certificate_of_its_own_is_believed_when_that_is_named(shell: Shell, desk: Shell) -> None:
    make = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost "
        "-keyout key.pem -out cert.pem"
    )
    subprocess.run(make.split(), cwd=shell.folder, check=True, capture_output=True)
    with serving(shell, "--ssl-keyfile", "key.pem", "--ssl-certfile", "cert.pem") as server:
        url = server.url.replace("127.0.0.1", "localhost")
        doubting = desk.kneo("runs", "list", "--service-url", url, code=1)
        assert "its certificate is not accepted" in doubting.err
        assert "SSL_CERT_FILE" in doubting.err
        trust = {**desk.variables, "SSL_CERT_FILE": str(shell.folder / "cert.pem")}
        assert replace(desk, variables=trust).kneo("runs", "list", "--service-url", url, "--json").json["total"] == 0


def test_many_at_once_keep_their_profiles(desk: Shell) -> None:
    def save(number: int) -> None:
        set_up(desk, f"http://127.0.0.1:{number}", name=f"p{number}")

    writers = [threading.Thread(target=save, args=(number,)) for number in range(1, 7)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    rows = desk.kneo("config", "profile", "list", "--json").json["profiles"]
    assert {row["name"] for row in rows} == {f"p{number}" for number in range(1, 7)}
    assert os.listdir(desk.folder) == ["examples"]
