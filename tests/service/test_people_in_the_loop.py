"""The tutorial's chapter on people in the loop, sections 3 to 9, over HTTP; and the public client's view of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from kneo_client import KneoClient
from kneo_client.core.errors import (
    KneoConflictError,
    KneoHumanTaskExpiredError,
    KneoIdempotencyMismatchError,
    KneoNotFoundError,
    KneoPermissionError,
    KneoValidationError,
)

from kneo_serv.platform import PlatformManager
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.service import create_app
from tests.service.doors import as_role, door, keys, platform_in, refusal
from tests.service.test_human_tasks import paused

ROOT = Path(__file__).parents[2]


def started(client: TestClient) -> dict[str, Any]:
    """Section 2: the draft waits for its reviewer."""
    asked = {
        "input": "draft the launch announcement",
        "spec_path": "examples/human_approval_workflow.yaml",
        "target": "workflow",
    }
    answered = client.post("/v1/runs", json=asked, headers=as_role("service"))
    assert answered.status_code == 202, answered.text
    body: dict[str, Any] = answered.json()
    assert (body["status"], body["output_text"], body["human_intervention_required"]) == ("paused", None, True)
    return body


@pytest.mark.parametrize("role", ["service", "reviewer"])
def test_a_holder_of_one_key_walks_the_chapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    monkeypatch.chdir(ROOT)
    options = PlatformOptions(idle_poll_seconds=0.05, timekeeper=False)
    manager = platform_in(tmp_path, options=options)
    with door(manager, keys()) as client:
        client.headers.update(as_role(role))
        run = started(client)
        run_id, continuation_id = run["run_id"], run["continuation_id"]

        # 3: list and inspect; reading is for human:read, answering for human:write.
        (task,) = client.get("/v1/human-tasks", params={"run_id": run_id}).json()["tasks"]
        assert task["id"] == continuation_id
        assert task["pending_human_request"]["assignee"] == "reviewer@example.com"
        shown = client.get(f"/v1/human-tasks/{task['id']}").json()
        assert shown["request"]["prompt"] == "Please approve or edit the draft report."
        assert shown["request"]["context"]["input_text"] == "Draft report for: draft the launch announcement"
        assert [message["name"] for message in shown["messages"]] == [None, "draft"]
        path = f"/v1/human-tasks/{task['id']}/resume"
        body = {"request_id": shown["request"]["request_id"], "decision": "approved", "content": "Looks good. Ship it."}
        forbidden = client.post(path, json=body, headers=as_role("operator"))
        assert refusal(forbidden, 403)["message"] == "Missing required scope: human:write"

    # 8: the service restarts, and the task is still there.
    manager.shutdown()
    manager = platform_in(tmp_path, options=options)
    with door(manager, keys()) as client:
        client.headers.update(as_role(role))
        (again,) = client.get("/v1/human-tasks", params={"run_id": run_id}).json()["tasks"]
        assert again == task

        # 4: resume with a decision. 5: the same key and body get the original answer, another body does not.
        sent = {"Idempotency-Key": "5f1c6f1e"}
        answered = client.post(path, json=body, headers=sent)
        assert answered.status_code == 200
        expected = "Published: Draft report for: draft the launch announcement"
        assert (answered.json()["status"], answered.json()["output_text"]) == ("completed", expected)
        assert client.post(path, json=body, headers=sent).json() == answered.json()
        changed = client.post(path, json={**body, "decision": "rejected"}, headers=sent)
        assert refusal(changed, 409)["error"] == "idempotency_key_conflict"

        # 6: nobody answers it twice.
        refusal(client.post(path, json=body), 404)
        assert client.get("/v1/human-tasks").json()["count"] == 0

        # 7: the decision is audited, its content is not. Finished steps were not done again.
        audit = client.get("/v1/audit-events", params={"event_type": "human.decision"})
        assert "Ship it" not in audit.text
        (decision,) = audit.json()["events"]
        assert (decision["actor"], decision["run_id"], decision["continuation_id"]) == (role, run_id, task["id"])
        told = decision["metadata"]
        assert (told["request_id"], told["decision"], told["has_content"]) == (body["request_id"], "approved", True)
        assert (told["selected_option"], told["status"]) == (None, "running")
        started_steps = [
            event["step_id"]
            for event in client.get(f"/v1/runs/{run_id}/trace").json()["events"]
            if event["type"] == "step_started"
        ]
        assert started_steps.count("draft") == 1

        # 9: a passed deadline escalates once, and the task is answered late.
        late = started(client)
        far = time.time() + 90_000
        assert (manager.prune_expired_human_tasks(now=far), manager.prune_expired_human_tasks(now=far)) == (1, 0)
        (escalated,) = client.get("/v1/human-tasks", params={"status": "escalated"}).json()["tasks"]
        assert escalated["pending_human_request"]["escalated_at"] == pytest.approx(far)
        assert escalated["pending_human_request"]["original_expires_at"] == escalated["expires_at"]
        (event,) = client.get("/v1/audit-events", params={"event_type": "human.escalated"}).json()["events"]
        assert (event["actor"], event["metadata"]["on_timeout"]) == (None, "escalate")
        assert event["metadata"]["assignee"] == "[REDACTED_EMAIL]"
        body = {"request_id": escalated["pending_human_request_id"], "decision": "edited", "content": "Monday."}
        done = client.post(f"/v1/continuations/{late['continuation_id']}/resume", json=body).json()
        assert (done["status"], done["output_text"]) == ("completed", "Published: Monday.")
    manager.shutdown()


def as_client(manager: PlatformManager, role: str, use: Callable[[KneoClient], Awaitable[None]]) -> None:
    """The public client with a key of this role, at the door of an app over this platform."""

    async def main() -> None:
        app = create_app(manager=manager, auth_config=keys())
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://door", headers=as_role(role)) as door:
            await use(KneoClient.from_profile(url="http://door", api_key=f"{role}-token", http_client=door))

    asyncio.run(main())


def test_the_public_client_lists_reads_and_answers_tasks(manager: PlatformManager) -> None:
    runs = [paused(manager, timeout_seconds=seconds) for seconds in (900, 300)]

    async def use(kneo: KneoClient) -> None:
        tasks = kneo.platform.human_tasks
        page = await tasks.list(status="pending", limit=1)
        assert (page.count, page.total, page.has_more, page[0]["id"]) == (1, 2, True, runs[0].continuation_id)
        one = await tasks.get(runs[0].continuation_id or "")
        assert one.continuation_id == runs[0].continuation_id
        request: Any = one.request
        assert request["prompt"] == "Is it good?"
        body = {"request_id": runs[1].metadata["request"]["id"], "decision": "approved"}
        soonest = await tasks.resume_first_pending(body)
        assert soonest is not None
        assert (soonest.run_id, soonest.status, soonest.output_text) == (runs[1].run_id, "completed", "tea")
        wrong = {"request_id": "req_other", "decision": "approved"}
        with pytest.raises(KneoConflictError) as mismatch:
            await tasks.resume(runs[0].continuation_id or "", wrong)
        assert mismatch.value.code == "request_id_mismatch"
        given = {"request_id": request["id"], "decision": "rejected"}
        await tasks.resume(runs[0].continuation_id or "", given, idempotency_key="k")
        with pytest.raises(KneoIdempotencyMismatchError):
            await tasks.resume(runs[0].continuation_id or "", {**given, "decision": "approved"}, idempotency_key="k")
        with pytest.raises(KneoNotFoundError):
            await tasks.resume_by_id(runs[0].continuation_id or "", given)
        assert await tasks.resume_first_pending(body) is None

    as_client(manager, "service", use)


def test_the_public_client_knows_a_late_answer(tmp_path: Path) -> None:
    manager = platform_in(tmp_path, options=PlatformOptions(idle_poll_seconds=0.05, timekeeper=False))
    run = paused(manager, timeout_seconds=60)
    assert manager.prune_expired_human_tasks(now=time.time() + 3600) == 1

    async def use(kneo: KneoClient) -> None:
        body = {"request_id": run.metadata["request"]["id"], "decision": "approved"}
        with pytest.raises(KneoHumanTaskExpiredError) as late:
            await kneo.platform.human_tasks.resume(run.continuation_id or "", body)
        assert late.value.continuation_id == run.continuation_id
        assert late.value.expires_at is not None

    as_client(manager, "reviewer", use)
    manager.shutdown()


def test_the_public_client_reads_audit_credentials_policies_and_skills(manager: PlatformManager) -> None:
    run = paused(manager)

    async def use(kneo: KneoClient) -> None:
        events = await kneo.platform.audit.list(run_id=run.run_id)
        assert {event["event_type"] for event in events} == {"run.created", "run.rested"}
        inventory = await kneo.platform.credentials.list(providers=["openai"], include_service_tokens=False)
        assert inventory["providers"]["openai"]["env_var"] == "OPENAI_API_KEY"
        policies = kneo.platform.policies
        assert (await policies.environment_get("prod")).policy is None
        preview = await policies.environment_preview("prod", {"require_guardrails": True})
        assert (preview.runs_evaluated, preview.affected_run_ids) == (0, [])
        put = await policies.environment_put("prod", {"require_guardrails": True})
        assert put.policy is not None
        listed = await policies.environment_list()
        assert listed["prod"]["require_guardrails"] is True
        assert (await kneo.agent.skills.list(limit=5)).limit == 5
        with pytest.raises(KneoValidationError):
            await kneo.platform.human_tasks.list(status="open")

    as_client(manager, "admin", use)

    async def forbidden(kneo: KneoClient) -> None:
        with pytest.raises(KneoPermissionError):
            await kneo.platform.policies.environment_put("prod", {})

    as_client(manager, "service", forbidden)
