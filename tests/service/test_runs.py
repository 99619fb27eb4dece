"""Runs over HTTP: how they are answered, listed, looked up, ended and continued."""

import copy
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from kneo_serv.model.task import Decision, HumanResponse
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.service import create_app
from kneo_serv.service.auth import AuthConfig
from tests.service.doors import AGENT, FAILING, HUMAN, STEPS, as_role, door, keys, platform_in, refusal

WAITS: dict[str, Any] = {
    **STEPS,
    "components": {"functions": {"shout": {"implementation": "tests.service.test_runs.wait_for_it"}}},
}
"""A workflow whose last step takes until `OPEN` is set."""

OPEN = threading.Event()
BROKEN = threading.Event()
TERMINAL = ("completed", "failed", "cancelled", "timed_out", "expired")


def wait_for_it(text: str) -> str:
    """The text, once the gate is open."""
    OPEN.wait(20)
    return text.upper()


def fail_while_broken(text: str) -> str:
    """Fails while something is broken."""
    if BROKEN.is_set():
        raise ValueError("it is broken")
    return text.upper()


@pytest.fixture(autouse=True)
def gate() -> Iterator[None]:
    """Open behind every test, so that no thread is left waiting."""
    OPEN.clear()
    BROKEN.clear()
    yield
    OPEN.set()


def started(client: TestClient, spec: dict[str, Any], **asked: Any) -> Any:
    return client.post("/v1/runs", json={"input": "hello", "spec": spec, **asked})


def ended(client: TestClient, run_id: str) -> dict[str, Any]:
    """The run, once it rests or has ended."""
    etag = None
    for _ in range(60):
        answer = client.get(f"/v1/runs/{run_id}", params={"wait": 10}, headers={"If-None-Match": etag} if etag else {})
        body: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        if body.get("status") in (*TERMINAL, "blocked"):
            return body
        etag = answer.headers["etag"]
    raise AssertionError("The run came to no rest.")


def test_a_completed_run_is_answered_with_its_text(client: TestClient) -> None:
    answer = started(client, STEPS, metadata={"ticket": 7}, tags=["a"], session_id="s")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "completed"
    assert body["output_text"] == "FINAL ANSWER: HELLO"
    assert body["metadata"]["workflow"]["visited_steps"] == ["answer", "loud"]
    run = client.get(f"/runs/{body['run_id']}").json()
    assert run["metadata"]["caller_metadata"] == {"ticket": 7}
    assert (run["session_id"], run["tags"], run["workflow_kind"]) == ("s", ["a"], "workflow")


def test_a_spec_without_a_workflow_runs_its_agent(client: TestClient) -> None:
    body = started(client, AGENT).json()
    assert body["output_text"] == "Final answer: hello"
    assert client.get(f"/v1/runs/{body['run_id']}").json()["workflow_kind"] == "agent"


def test_a_run_that_waits_for_people_is_answered_as_paused_and_told_as_blocked(
    client: TestClient, manager: PlatformManager
) -> None:
    answer = started(client, HUMAN)
    assert answer.status_code == 202
    body = answer.json()
    assert (body["status"], body["output_text"], body["human_intervention_required"]) == ("paused", None, True)
    pending, request = body["metadata"]["pending_human_request"], body["metadata"]["request"]
    assert pending == {"request_id": request["id"], "prompt": "Is it good?"}
    run = client.get(f"/v1/runs/{body['run_id']}").json()
    assert run["status"] == "blocked"
    assert run["continuation_id"] == body["continuation_id"]
    for word in ("blocked", "paused"):
        assert [row["id"] for row in client.get("/v1/runs", params={"status": word}).json()["runs"]] == [body["run_id"]]
    manager.resume_human_task(
        continuation_id=body["continuation_id"],
        response=HumanResponse(request_id=request["id"], decision=Decision.APPROVED),
    )
    assert ended(client, body["run_id"])["status"] == "completed"


def test_a_failed_step_is_an_outcome_and_no_fault_of_the_service(client: TestClient) -> None:
    answer = started(client, FAILING)
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "failed"
    assert body["error"] == {"type": "ValueError", "message": "cannot do hello"}
    assert client.get("/v1/runs", params={"has_error": True}).json()["runs"][0]["id"] == body["run_id"]


def test_a_refusal_by_a_guardrail_has_its_own_code_and_names_the_run(client: TestClient) -> None:
    guarded = copy.deepcopy(AGENT)
    guarded["agent"]["guardrails"] = {
        "output": [{"id": "no-answers", "type": "regex", "action": "block", "config": {"patterns": ["Final"]}}]
    }
    detail = refusal(started(client, guarded), 422)
    assert detail["error"] == "guardrail_violation"
    assert detail["violation_type"] == "guardrail_violation"
    assert client.get(f"/v1/runs/{detail['run_id']}").json()["status"] == "failed"


def test_an_asynchronous_run_is_answered_at_once_and_runs_all_the_same(client: TestClient) -> None:
    answer = started(client, STEPS, async_mode=True)
    assert answer.status_code == 202
    assert answer.json()["status"] == "running"
    assert ended(client, answer.json()["run_id"])["output_text"] == "FINAL ANSWER: HELLO"


def test_the_end_of_patience_answers_and_the_run_goes_on(client: TestClient) -> None:
    answer = started(client, WAITS, wait=0.05)
    assert answer.status_code == 202
    assert answer.json()["status"] == "running"
    OPEN.set()
    assert ended(client, answer.json()["run_id"])["status"] == "completed"


def test_a_deadline_ends_the_run(client: TestClient) -> None:
    answer = started(client, WAITS, timeout_seconds=0.2)
    assert answer.status_code == 200
    assert answer.json()["status"] == "timed_out"
    assert answer.json()["error"]["type"] == "run_timed_out"


@pytest.mark.parametrize("how", [{}, {"async_mode": True}])
def test_an_invalid_spec_is_refused_before_anything_is_stored(client: TestClient, how: dict[str, Any]) -> None:
    broken = {**AGENT, "workflow": {"type": "sequential", "steps": [{"id": "a", "kind": "agent", "ref": "nobody"}]}}
    detail = refusal(started(client, broken, **how), 400)
    assert detail["error"] == "spec_invalid"
    assert detail["diagnostics"][0]["code"] == "E_STEP_AGENT_REF"
    assert client.get("/v1/runs").json()["total"] == 0


def test_neither_a_spec_nor_a_path_is_a_request_that_cannot_be_carried_out(client: TestClient) -> None:
    assert refusal(client.post("/v1/runs", json={"input": "x"}), 400)["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("input", "x" * 20_001, ["body", "input"]),
        ("metadata", {"a": "x" * 40_000}, ["body", "metadata"]),
        ("overrides", {"a": "x" * 70_000}, ["body", "overrides"]),
        ("session_id", "x" * 5_000, ["body", "session_id"]),
        ("overlays", ["a.yaml"] * 101, ["body", "overlays"]),
        ("spec_path", "../secret.yaml", ["body", "spec_path"]),
        ("spec_path", "~/secret.yaml", ["body", "spec_path"]),
        ("timeout_seconds", 0, ["body", "timeout_seconds"]),
        ("nonsense", 1, ["body", "nonsense"]),
    ],
)
def test_what_is_too_large_or_misshapen_is_told_by_its_place(
    client: TestClient, field: str, value: Any, place: list[str]
) -> None:
    answer = started(client, AGENT, **{field: value})
    assert answer.status_code == 422
    assert place in [one["loc"][:2] for one in answer.json()["detail"]]


def test_cancelling_ends_a_run_at_work_and_changes_nothing_about_one_that_has_ended(client: TestClient) -> None:
    run_id = started(client, WAITS, wait=0).json()["run_id"]
    first = client.post(f"/v1/runs/{run_id}/cancel")
    assert first.status_code == 200
    assert first.json()["status"] == "cancelled"
    assert first.json()["error"]["type"] == "cancelled"
    OPEN.set()
    again = client.post(f"/v1/runs/{run_id}/cancel")
    assert again.status_code == 200
    assert all(again.json()[key] == first.json()[key] for key in ("status", "error", "completed_at"))


def test_a_failed_run_is_continued_after_its_last_finished_step(client: TestClient) -> None:
    spec = copy.deepcopy(STEPS)
    spec["components"]["functions"]["shout"]["implementation"] = "tests.service.test_runs.fail_while_broken"
    BROKEN.set()
    run_id = started(client, spec).json()["run_id"]
    still = client.post(f"/v1/runs/{run_id}/continue")
    assert (still.status_code, still.json()["status"]) == (200, "failed")
    BROKEN.clear()
    body = client.post(f"/v1/runs/{run_id}/continue").json()
    assert body["output_text"] == "FINAL ANSWER: HELLO"
    assert client.get(f"/v1/runs/{run_id}").json()["error"] is None
    detail = refusal(client.post(f"/v1/runs/{run_id}/continue"), 409)
    assert (detail["error"], detail["run_id"], detail["status"]) == ("run_state_conflict", run_id, "completed")


def test_the_patience_of_whoever_continues_a_run_is_its_own(client: TestClient) -> None:
    spec = copy.deepcopy(WAITS)
    spec["workflow"]["steps"].insert(0, {"id": "first", "kind": "function", "ref": "first"})
    spec["components"]["functions"]["first"] = {"implementation": "tests.service.test_runs.fail_while_broken"}
    BROKEN.set()
    run_id = started(client, spec).json()["run_id"]
    BROKEN.clear()
    answer = client.post(f"/v1/runs/{run_id}/continue", params={"wait": 0})
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    OPEN.set()
    assert ended(client, run_id)["status"] == "completed"
    assert client.post(f"/v1/runs/{run_id}/continue", params={"wait": -1}).status_code == 422


def test_several_statuses_let_any_of_them_pass(client: TestClient) -> None:
    for spec in (STEPS, HUMAN, FAILING):
        started(client, spec)
    told = client.get("/v1/runs", params={"status": "paused, failed"}).json()
    assert sorted(row["status"] for row in told["runs"]) == ["blocked", "failed"]
    assert (told["total"], told["total_exact"]) == (2, True)


def test_a_run_that_waits_for_a_person_is_not_continued(client: TestClient) -> None:
    run_id = started(client, HUMAN).json()["run_id"]
    assert refusal(client.post(f"/v1/runs/{run_id}/continue"), 409)["error"] == "run_state_conflict"


def test_who_knows_a_run_already_is_told_so_in_no_bytes(client: TestClient) -> None:
    run_id = started(client, STEPS).json()["run_id"]
    first = client.get(f"/v1/runs/{run_id}")
    again = client.get(f"/v1/runs/{run_id}", headers={"If-None-Match": f'"nothing", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert client.get(f"/v1/runs/{run_id}", headers={"If-None-Match": '"0"'}).status_code == 200


def test_news_of_a_run_are_waited_for(client: TestClient) -> None:
    run_id = started(client, WAITS, wait=0).json()["run_id"]
    threading.Timer(0.2, OPEN.set).start()
    assert client.get(f"/v1/runs/{run_id}", params={"wait": 20}).json()["status"] == "completed"
    assert client.get(f"/v1/runs/{run_id}", params={"wait": 61}).status_code == 422


def test_a_rest_that_is_known_is_no_news(client: TestClient) -> None:
    run_id = started(client, HUMAN).json()["run_id"]
    first = client.get(f"/v1/runs/{run_id}", params={"wait": 20})
    assert first.json()["status"] == "blocked"
    known = client.get(f"/v1/runs/{run_id}", params={"wait": 0.2}, headers={"If-None-Match": first.headers["etag"]})
    assert known.status_code == 304


def test_other_callers_are_answered_while_runs_are_waited_for(client: TestClient) -> None:
    waiting = [threading.Thread(target=started, args=(client, WAITS)) for _ in range(3)]
    for one in waiting:
        one.start()
    begun = time.perf_counter()
    for _ in range(5):
        assert client.get("/v1/livez").status_code == 200
    assert time.perf_counter() - begun < 5
    OPEN.set()
    for one in waiting:
        one.join(20)
    assert client.get("/v1/runs", params={"status": "completed"}).json()["total"] == 3


def test_a_client_that_goes_away_does_not_take_its_run_along(manager: PlatformManager, client: TestClient) -> None:
    # The first request has the framework build what it needs, with warnings off; two threads at that cross each other.
    assert client.get("/v1/runs").json()["runs"] == []
    app = create_app(manager=manager, auth_config=AuthConfig.disabled())
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none"))
    serving = threading.Thread(target=server.run)
    serving.start()
    try:
        while not server.started:
            serving.join(0.01)
        address = server.servers[0].sockets[0].getsockname()
        body = json.dumps({"input": "hello", "spec": WAITS}).encode()
        head = f"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        with socket.create_connection(address) as connection:
            connection.sendall(head.encode() + b"\r\n\r\n" + body)
            while not (rows := client.get("/v1/runs").json()["runs"]):
                serving.join(0.01)
        OPEN.set()
        assert ended(client, rows[0]["id"])["status"] == "completed"
    finally:
        server.should_exit = True
        serving.join(20)


def test_an_unknown_run_is_not_found(client: TestClient) -> None:
    for verb, path in [
        ("GET", ""), ("POST", "/cancel"), ("POST", "/continue"), ("GET", "/trace"), ("GET", "/checkpoints"),
        ("GET", "/checkpoints/diff"), ("GET", "/graph"), ("GET", "/recovery"), ("GET", "/replay"),
        ("GET", "/policy-report"),
    ]:  # fmt: skip
        assert refusal(client.request(verb, f"/v1/runs/run_nowhere{path}"), 404)["error"] == "not_found"


def test_a_full_queue_stores_nothing(tmp_path: Path) -> None:
    manager = platform_in(tmp_path, options=PlatformOptions(max_queue_depth=1), workers=False)
    try:
        with door(manager) as client:
            assert started(client, STEPS, async_mode=True).status_code == 202
            answer = started(client, STEPS, async_mode=True)
            assert refusal(answer, 503)["error"] == "queue_full"
            assert answer.headers["retry-after"] == "5"
            assert client.get("/v1/runs").json()["total"] == 1
    finally:
        manager.shutdown()


def test_scopes_and_parameters_are_checked_before_the_body(guarded: TestClient) -> None:
    assert refusal(guarded.post("/v1/runs", content=b"{"), 401)["error"] == "unauthorized"
    detail = refusal(guarded.post("/v1/runs", content=b"{", headers=as_role("viewer")), 403)
    assert detail["required_scope"] == "runs:write"
    detail = refusal(guarded.get("/v1/runs", params={"nonsense": 1}, headers=as_role("viewer")), 422)
    assert (detail["error"], detail["unknown"]) == ("unknown_query_parameters", ["nonsense"])


def test_what_somebody_did_is_audited_with_the_name_of_the_key(manager: PlatformManager) -> None:
    with door(manager, keys()) as client:
        client.headers.update(as_role("service"))
        run_id = client.post("/v1/specs/run", json={"input": "x", "spec": STEPS}).json()["run_id"]
        client.post(f"/v1/runs/{run_id}/cancel")
        client.get(f"/v1/runs/{run_id}/policy-report")
        client.post("/v1/specs/validate", json={"spec": STEPS})
    events = {event.event_type: event for event in manager.list_audit_events()}
    for name in ("run.created", "spec.run", "run.cancelled", "spec.policy_reported", "spec.validated"):
        assert events[name].actor == "service", name
    assert events["spec.run"].run_id == run_id
    assert events["spec.run"].metadata["status"] == "completed"


def test_a_run_is_exported_as_lines_and_deleted_once_it_has_ended(client: TestClient) -> None:
    run_id = client.post("/v1/runs", json={"input": "tea", "spec": STEPS}).json()["run_id"]
    exported = client.get(f"/v1/runs/{run_id}/export")
    assert exported.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [lines[0]["type"], lines[-1]["type"]] == ["run", "end"]
    assert lines[-1]["events"] == lines[0]["seq"]
    paused = client.post("/v1/runs", json={"input": "tea", "spec": HUMAN}).json()["run_id"]
    assert refusal(client.delete(f"/v1/runs/{paused}"), 409)["error"] == "run_state_conflict"
    assert client.delete(f"/v1/runs/{run_id}").json() == {"run_id": run_id, "deleted": True}
    for gone in (client.get(f"/v1/runs/{run_id}"), client.get(f"/v1/runs/{run_id}/export")):
        assert refusal(gone, 404)["error"] == "not_found"
    audit = client.get("/v1/audit-events", params={"run_id": run_id}).json()["events"]
    assert "run.deleted" in {event["event_type"] for event in audit}
