"""People's tasks over HTTP: listed, read, and answered once."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from kneo_serv.model.run import RunResult
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.submission import Submission
from kneo_serv.service.auth import AuthConfig
from kneo_serv.service.limits import RequestLimits
from tests.service.doors import HUMAN, as_role, door, platform_in, refusal

TASKS = "/v1/human-tasks"
SECRET = "sk-live-0123456789abcdefghij"
GATE = {"entered": threading.Event(), "open": threading.Event()}


def gate(text: str) -> str:
    """Says that it is at work, and goes on once it may."""
    GATE["entered"].set()
    GATE["open"].wait(30)
    return text.upper()


@pytest.fixture(autouse=True)
def closed_gate() -> Iterator[None]:
    for event in GATE.values():
        event.clear()
    yield
    GATE["open"].set()


def asking(*after: str, **human: Any) -> dict[str, Any]:
    """A spec whose person is asked first, and whose functions come then (names of this module and of doors)."""
    spec = deepcopy(HUMAN)
    steps = [{"id": "approve", "kind": "human", "ref": "reviewer"}]
    for place, name in enumerate(after):
        kind = "human" if name == "reviewer" else "function"
        steps.append({"id": f"step-{place}", "kind": kind, "ref": name})
    spec["workflow"]["steps"] = steps
    spec["components"]["functions"] = {
        "gate": {"implementation": "tests.service.test_human_tasks.gate"},
        "shout": {"implementation": "tests.service.doors.shout"},
        "fail": {"implementation": "tests.service.doors.fail"},
    }
    spec["components"]["humans"]["reviewer"].update(human)
    return spec


def paused(manager: PlatformManager, *after: str, text: str = "tea", **human: Any) -> RunResult:
    """A run that waits for a person."""
    result = manager.run_from_spec(input_text=text, spec=asking(*after, **human))
    assert result.status == "paused", result
    return result


def answer(run: RunResult, decision: str = "approved", **more: Any) -> dict[str, Any]:
    """The body that answers what the run waits for."""
    return {"request_id": run.metadata["pending_human_request"]["request_id"], "decision": decision, **more}


def resume_path(run: RunResult) -> str:
    return f"{TASKS}/{run.continuation_id}/resume"


BY_TENANT = AuthConfig.from_plaintext_keys(
    [(tenant, tenant, ["service", "policies:write", f"tenant={tenant}"]) for tenant in ("north", "south")]
)


# Reading


def test_open_tasks_are_listed_with_what_people_need_to_choose(client: TestClient, manager: PlatformManager) -> None:
    run = paused(manager, "shout", assignee="mia@example.com", timeout_seconds=600)
    listed = client.get(TASKS).json()
    (task,) = listed.pop("tasks")
    assert listed == {
        "count": 1,
        "total": 1,
        "total_exact": True,
        "window": 10_000,
        "limit": 100,
        "offset": 0,
        "sort_by": "id",
        "sort_order": "asc",
        "next_cursor": None,
    }
    request = task.pop("pending_human_request")
    assert (request["id"], request["request_id"]) == (answer(run)["request_id"],) * 2
    assert (request["prompt"], request["assignee"], request["on_timeout"]) == ("Is it good?", "mia@example.com", "fail")
    assert task["expires_at"] == pytest.approx(time.time() + 600, abs=60)
    assert task["created_at"].endswith("+00:00")
    assert (task["id"], task["continuation_id"]) == (run.continuation_id, run.continuation_id)
    assert (task["run_id"], task["workflow_name"]) == (run.run_id, "with-a-person")
    assert (task["workflow_kind"], task["current_step_index"], task["current_input"]) == ("sequential", 0, "tea")
    assert (task["messages"], task["trace_events"], task["variables"]) == ([], [], {})
    assert task["pending_human_request_id"] == request["id"]


def test_tasks_are_filtered_and_the_filters_are_anded(client: TestClient, manager: PlatformManager) -> None:
    first, second = paused(manager), paused(manager, timeout_seconds=60, on_timeout="escalate")
    manager.prune_expired_human_tasks(now=time.time() + 3600)

    def ids(**query: Any) -> list[str]:
        return [task["id"] for task in client.get(TASKS, params=query).json()["tasks"]]

    both = [first.continuation_id, second.continuation_id]
    assert ids() == both
    assert ids(run_id=first.run_id) == both[:1]
    assert ids(workflow_kind="sequential") == both
    assert ids(workflow_kind="graph") == []
    assert ids(status="pending") == both[:1]
    assert ids(status="escalated") == both[1:]
    assert ids(status="escalated", run_id=first.run_id) == []
    assert client.get(TASKS, params={"status": "open"}).json()["detail"][0]["loc"] == ["query", "status"]
    assert refusal(client.get(TASKS, params={"state": "x"}), 422)["unknown"] == ["state"]
    (row,) = client.get(TASKS, params={"status": "escalated"}).json()["tasks"]
    assert row["pending_human_request"]["escalated_at"] > 0


def test_tasks_without_a_deadline_come_last_when_sorted_by_it(client: TestClient, manager: PlatformManager) -> None:
    runs = [paused(manager, timeout_seconds=seconds) for seconds in (None, 900, 300, None)]
    none, late, soon, other = (run.continuation_id for run in runs)

    def ids(**query: Any) -> list[str]:
        return [task["id"] for task in client.get(TASKS, params=query).json()["tasks"]]

    assert ids(sort_by="expires_at", sort_order="asc") == [soon, late, none, other]
    assert ids(sort_by="expires_at", sort_order="desc")[:2] == [late, soon]
    assert ids(sort_by="created_at", sort_order="desc") == [other, soon, late, none]
    assert ids(sort_by="pending_human_request.timeout_seconds", sort_order="desc") == [late, soon, none, other]
    assert ids(sort_by="nothing.there") == [none, late, soon, other]
    assert ids(offset=3) == [other]
    assert ids(offset=9000) == []


@pytest.mark.parametrize("sort_by", ["id", "created_at", "expires_at"])
def test_pages_by_cursor_pass_over_nothing_while_tasks_come_and_go(
    client: TestClient, manager: PlatformManager, sort_by: str
) -> None:
    runs = [paused(manager, timeout_seconds=600 + place) for place in range(5)]
    seen, cursor = [], None
    for turn in range(4):
        query: dict[str, Any] = {"limit": 2, "sort_by": sort_by, **({"cursor": cursor} if cursor else {})}
        page = client.get(TASKS, params=query).json()
        seen += [task["id"] for task in page["tasks"]]
        cursor = page["next_cursor"]
        if turn == 0:
            client.post(resume_path(runs[0]), json=answer(runs[0]))
        if cursor is None:
            break
    assert seen == [run.continuation_id for run in runs]
    refusal(client.get(TASKS, params={"cursor": "nonsense"}), 400)
    first = client.get(TASKS, params={"limit": 1, "sort_by": sort_by}).json()["next_cursor"]
    refusal(client.get(TASKS, params={"cursor": first, "sort_by": sort_by, "sort_order": "desc"}), 400)


@pytest.mark.parametrize(
    "packed",
    [
        [],
        {"sort_by": "id"},
        ["id", False, 1],
        ["id", False, [], "cont_x"],
        ["id", False, True, "cont_x"],
        ["id", False, 10**400, "cont_x"],
        ["id", False, float("nan"), "cont_x"],
        ["id", False, 1.0, 7],
        ["id", False, 1.0, "\ud800"],
        ["id", False, "\ud800", "cont_x"],
        ["expires_at", False, 1.0, "cont_x"],
    ],
    ids=str,
)
def test_a_cursor_that_nobody_gave_out_is_refused(client: TestClient, packed: Any) -> None:
    made = base64.urlsafe_b64encode(json.dumps(packed).encode()).decode().rstrip("=")
    assert refusal(client.get(TASKS, params={"cursor": made}), 400)["error"] == "invalid_request"


def test_only_who_may_answer_sees_the_real_text_and_that_is_audited(
    guarded: TestClient, manager: PlatformManager
) -> None:
    run = paused(manager, text=f"The key is {SECRET}.")
    path = f"{TASKS}/{run.continuation_id}"
    assert SECRET not in guarded.get(TASKS, headers=as_role("reviewer")).text
    public = guarded.get(path, headers=as_role("viewer"))
    assert SECRET not in public.text
    assert public.json()["request"]["context"]["input_text"] == "The key is [REDACTED]."
    assert manager.count_audit_events(event_type="human.task_read") == 0
    private = guarded.get(path, headers=as_role("reviewer")).json()
    assert private["request"]["context"]["input_text"] == f"The key is {SECRET}."
    assert private["messages"] == [
        {"role": "user", "content": "The key is [REDACTED].", "name": None, "tool_call_id": None, "metadata": {}}
    ]
    assert (private["continuation_id"], private["run_id"]) == (run.continuation_id, run.run_id)
    assert (private["status"], private["expires_at"], private["deadline_at"]) == ("open", None, None)
    (event,) = manager.list_audit_events(event_type="human.task_read")
    assert (event.actor, event.run_id, event.continuation_id) == ("reviewer", run.run_id, run.continuation_id)
    assert event.metadata == {"request_id": answer(run)["request_id"]}


def test_the_thread_tells_what_led_to_the_question(client: TestClient, manager: PlatformManager) -> None:
    run = manager.run_from_spec(input_text="tea", spec=HUMAN)
    messages = client.get(f"{TASKS}/{run.continuation_id}").json()["messages"]
    assert [(message["role"], message["name"]) for message in messages] == [("user", None), ("assistant", "answer")]
    assert messages[0]["content"] == "tea"
    assert messages == manager.get_human_task_thread(run.continuation_id or "")


def test_a_task_that_is_not_there_is_not_found(client: TestClient, manager: PlatformManager) -> None:
    refusal(client.get(f"{TASKS}/cont_nothing"), 404)
    refusal(client.post(f"{TASKS}/cont_nothing/resume", json={"request_id": "req_x", "decision": "approved"}), 404)
    run = paused(manager)
    client.post(resume_path(run), json=answer(run))
    refusal(client.get(f"{TASKS}/{run.continuation_id}"), 404)
    assert client.get(TASKS).json()["tasks"] == []


# Answering


def test_an_answer_takes_the_run_to_its_end(client: TestClient, manager: PlatformManager) -> None:
    run = paused(manager)
    answered = client.post(resume_path(run), json=answer(run, "edited", content=f"coffee {SECRET}"))
    assert answered.status_code == 200
    body = answered.json()
    assert (body["run_id"], body["status"], body["output_text"]) == (run.run_id, "completed", "coffee [REDACTED]")
    assert body["metadata"]["resumed_from_continuation_id"] == run.continuation_id
    assert (body["error"], body["continuation_id"], body["human_intervention_required"]) == (None, None, False)
    refusal(client.post(resume_path(run), json=answer(run)), 404)


def test_the_path_of_continuations_is_the_same_door(client: TestClient, manager: PlatformManager) -> None:
    run = paused(manager)
    path = f"/v1/continuations/{run.continuation_id}/resume"
    sent = {"Idempotency-Key": "once"}
    body = client.post(path, json=answer(run), headers=sent).json()
    assert (body["status"], body["output_text"]) == ("completed", "tea")
    assert client.post(f"/continuations/{run.continuation_id}/resume", json=answer(run), headers=sent).json() == body
    assert client.post(resume_path(run), json=answer(run), headers=sent).json() == body


def test_a_run_that_asks_again_answers_with_its_next_question(client: TestClient, manager: PlatformManager) -> None:
    run = paused(manager, "reviewer", "shout")
    answered = client.post(resume_path(run), json=answer(run))
    assert answered.status_code == 200
    body = answered.json()
    assert (body["status"], body["output_text"], body["human_intervention_required"]) == ("paused", None, True)
    assert body["continuation_id"] != run.continuation_id
    pending = body["metadata"]["pending_human_request"]
    assert pending["prompt"] == "Is it good?"
    assert body["metadata"]["request"]["id"] == pending["request_id"]
    again = client.post(
        f"{TASKS}/{body['continuation_id']}/resume", json={"request_id": pending["request_id"], "decision": "approved"}
    )
    assert (again.status_code, again.json()["output_text"]) == (200, "TEA")


def test_a_step_that_fails_after_the_answer_is_an_outcome_and_no_fault(
    client: TestClient, manager: PlatformManager
) -> None:
    run = paused(manager, "fail")
    answered = client.post(resume_path(run), json=answer(run), headers={"Idempotency-Key": "k"})
    assert answered.status_code == 200
    body = answered.json()
    assert (body["run_id"], body["status"], body["output_text"]) == (run.run_id, "failed", None)
    assert body["error"] == {"type": "ValueError", "message": "cannot do tea"}
    assert client.post(resume_path(run), json=answer(run), headers={"Idempotency-Key": "k"}).json() == body


def test_a_run_that_ends_with_a_refusal_keeps_the_code_of_that(client: TestClient, manager: PlatformManager) -> None:
    spec = asking("shout")
    rule = {
        "id": "no-tea",
        "type": "keyword",
        "action": "block",
        "config": {"keywords": ["TEA"], "case_sensitive": True},
    }
    spec["agent"]["guardrails"] = {"workflow": [rule]}
    run = manager.run_from_spec(input_text="tea", spec=spec)
    sent = {"Idempotency-Key": "k"}
    for _ in range(2):
        detail = refusal(client.post(resume_path(run), json=answer(run), headers=sent), 422)
        assert (detail["error"], detail["run_id"]) == ("guardrail_violation", run.run_id)


def test_an_answer_to_another_question_does_not_count(client: TestClient, manager: PlatformManager) -> None:
    run = paused(manager)
    wrong = client.post(resume_path(run), json={"request_id": "req_other", "decision": "approved"})
    detail = refusal(wrong, 409)
    assert (detail["error"], detail["request_id"]) == ("request_id_mismatch", "req_other")
    assert client.post(resume_path(run), json=answer(run)).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"decision": "provided", "content": "x"},
        {"decision": "edited"},
        {"decision": "edited", "content": " "},
        {"decision": "selected", "selected_option": "tea"},
        {"decision": "edited", "content": "see [REDACTED]"},
    ],
)
def test_a_decision_that_the_task_does_not_take_is_refused(
    client: TestClient, manager: PlatformManager, wrong: dict[str, Any]
) -> None:
    run = paused(manager, request_type="approval")
    detail = refusal(client.post(resume_path(run), json={**answer(run), **wrong}), 422)
    assert (detail["error"], detail["continuation_id"]) == ("decision_not_allowed", run.continuation_id)
    assert detail["allowed"] == ["approved", "rejected", "edited"]
    assert client.post(resume_path(run), json=answer(run, "rejected", content="no")).status_code == 200


def test_an_option_must_be_one_of_those_offered(client: TestClient, manager: PlatformManager) -> None:
    run = paused(manager, request_type="selection", options=["tea", "milk"])
    detail = refusal(client.post(resume_path(run), json=answer(run, "selected", selected_option="rum")), 422)
    assert detail["error"] == "decision_not_allowed"
    done = client.post(resume_path(run), json=answer(run, "selected", selected_option="milk"))
    assert done.json()["output_text"] == "milk"


@pytest.mark.parametrize("swept", [False, True])
def test_after_the_deadline_an_answer_is_told_that_it_is_late(tmp_path: Path, swept: bool) -> None:
    manager = platform_in(tmp_path, options=PlatformOptions(idle_poll_seconds=0.05, timekeeper=False))
    try:
        with door(manager) as client:
            run = paused(manager, timeout_seconds=0.001)
            due = client.get(f"{TASKS}/{run.continuation_id}").json()["expires_at"]
            while time.time() <= due:
                threading.Event().wait(0.001)
            if swept:
                assert manager.prune_expired_human_tasks() == 1
            detail = refusal(client.post(resume_path(run), json=answer(run)), 409)
            assert detail["error"] == "human_task_expired"
            assert (detail["continuation_id"], detail["expires_at"]) == (run.continuation_id, due)
    finally:
        manager.shutdown()


def test_an_escalated_task_is_still_answered(client: TestClient, manager: PlatformManager) -> None:
    run = paused(manager, timeout_seconds=60, on_timeout="escalate")
    assert manager.prune_expired_human_tasks(now=time.time() + 3600) == 1
    shown = client.get(f"{TASKS}/{run.continuation_id}").json()
    assert shown["request"]["original_expires_at"] == shown["expires_at"]
    assert client.post(resume_path(run), json=answer(run)).json()["status"] == "completed"


def test_of_two_answers_one_wins_and_the_other_is_told_to_wait_and_then_that_it_is_gone(
    client: TestClient, manager: PlatformManager
) -> None:
    run = paused(manager, "gate")
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, resume_path(run), json=answer(run))
        assert GATE["entered"].wait(30)
        locked = refusal(client.post(resume_path(run), json=answer(run, "rejected")), 409)
        assert (locked["error"], locked["resource"]) == ("resource_locked", f"continuation:{run.continuation_id}")
        assert client.get("/livez").status_code == 200
        GATE["open"].set()
        assert first.result(30).json()["output_text"] == "TEA"
    refusal(client.post(resume_path(run), json=answer(run, "rejected")), 404)
    assert manager.count_audit_events(event_type="human.decision") == 1


def test_of_many_answers_at_once_exactly_one_counts(client: TestClient, manager: PlatformManager) -> None:
    run = paused(manager, "shout")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: client.post(resume_path(run), json=answer(run)), range(8)))
    assert sorted(one.status_code for one in answers)[0] == 200
    assert {one.status_code for one in answers} <= {200, 404, 409}
    assert sum(one.status_code == 200 for one in answers) == 1
    assert manager.count_audit_events(event_type="human.decision") == 1


def test_whose_patience_ends_is_told_that_the_run_goes_on(client: TestClient, manager: PlatformManager) -> None:
    run = paused(manager, "gate")
    early = client.post(resume_path(run), params={"wait": 0.05}, json=answer(run), headers={"Idempotency-Key": "k"})
    assert (early.status_code, early.json()["status"], early.json()["output_text"]) == (202, "running", None)
    again = client.post(resume_path(run), params={"wait": 0.05}, json=answer(run), headers={"Idempotency-Key": "k"})
    assert refusal(again, 409)["error"] == "idempotency_key_in_progress"
    assert again.headers["retry-after"] == "1"
    GATE["open"].set()
    done = client.post(resume_path(run), json=answer(run), headers={"Idempotency-Key": "k"})
    assert (done.status_code, done.json()["output_text"]) == (200, "TEA")


# Sent twice


def test_the_same_answer_sent_again_gets_the_first_reply_whatever_happened_since(
    client: TestClient, manager: PlatformManager
) -> None:
    run = paused(manager, "reviewer")
    sent = {"Idempotency-Key": " mine "}
    first = client.post(resume_path(run), json=answer(run), headers=sent).json()
    assert first["status"] == "paused"
    second = {"request_id": first["metadata"]["pending_human_request"]["request_id"], "decision": "approved"}
    assert client.post(f"{TASKS}/{first['continuation_id']}/resume", json=second).json()["status"] == "completed"
    replay = client.post(f"/human-tasks/{run.continuation_id}/resume", json=answer(run), headers=sent)
    assert (replay.status_code, replay.json()) == (200, first)
    explicit = answer(run, content=None, selected_option=None, metadata={})
    assert client.post(resume_path(run), json=explicit, headers=sent).json() == first
    assert manager.count_audit_events(event_type="human.decision") == 2


def test_one_key_for_two_different_answers_is_a_conflict(client: TestClient, manager: PlatformManager) -> None:
    run, other = paused(manager), paused(manager)
    sent = {"Idempotency-Key": "k"}
    client.post(resume_path(run), json=answer(run), headers=sent)
    for path, body in ((resume_path(run), answer(run, "rejected")), (resume_path(other), answer(other))):
        detail = refusal(client.post(path, json=body, headers=sent), 409)
        assert (detail["error"], detail["scope"]) == ("idempotency_key_conflict", "human:resume")
    long = client.post(resume_path(other), json=answer(other), headers={"Idempotency-Key": "k" * 257})
    assert refusal(long, 400)["error"] == "invalid_idempotency_key"
    assert client.post(resume_path(other), json=answer(other), headers={"Idempotency-Key": " "}).status_code == 200


def test_a_refused_answer_may_be_mended_with_the_same_key(client: TestClient, manager: PlatformManager) -> None:
    run = paused(manager)
    sent = {"Idempotency-Key": "k"}
    refusal(client.post(resume_path(run), json=answer(run, "edited"), headers=sent), 422)
    assert client.post(resume_path(run), json=answer(run), headers=sent).status_code == 200


def test_the_key_of_one_caller_means_nothing_to_another(guarded: TestClient, manager: PlatformManager) -> None:
    run = paused(manager)
    sent = {"Idempotency-Key": "k"}
    assert guarded.post(resume_path(run), json=answer(run), headers={**sent, **as_role("service")}).status_code == 200
    refusal(guarded.post(resume_path(run), json=answer(run), headers={**sent, **as_role("reviewer")}), 404)


# Bounds


def test_what_is_too_large_or_misshapen_is_refused_before_anything_is_decided(
    manager: PlatformManager,
) -> None:
    run = paused(manager)
    limits = RequestLimits(max_human_content_chars=10, max_metadata_bytes=20, max_path_chars=60)
    with door(manager, request_limits=limits) as client:

        def fault(**body: Any) -> Any:
            answered = client.post(resume_path(run), json={**answer(run), **body})
            assert answered.status_code == 422
            return answered.json()["detail"][0]["loc"]

        assert fault(content="x" * 11) == ["body", "content"]
        assert fault(metadata={"note": "x" * 20}) == ["body", "metadata"]
        assert fault(request_id="r" * 61) == ["body", "request_id"]
        assert fault(selected_option="o" * 61) == ["body", "selected_option"]
        assert fault(decision="approve") == ["body", "decision"]
        assert fault(note="x") == ["body", "note"]
        assert fault(metadata=[]) == ["body", "metadata"]
        endless = '{"request_id": "r", "decision": "approved", "metadata": {"n": 1e999}}'
        sent = {"Content-Type": "application/json"}
        assert client.post(resume_path(run), content=endless, headers=sent).status_code == 422
        for halved in ('"metadata": {"n": "\\ud800"}', '"content": "\\ud800"'):
            body = f'{{"request_id": "r", "decision": "approved", {halved}}}'
            assert client.post(resume_path(run), content=body, headers=sent).status_code == 400
        assert client.post(resume_path(run), params={"wait": "nan"}, json=answer(run)).status_code == 422
        fits = client.post(resume_path(run), json=answer(run, "edited", content="x" * 10, metadata={"a": "b"}))
        assert fits.json()["output_text"] == "x" * 10


# Who


def test_reading_is_for_human_read_and_answering_for_human_write(guarded: TestClient, manager: PlatformManager) -> None:
    run = paused(manager)
    detail = refusal(guarded.post(resume_path(run), json=answer(run), headers=as_role("operator")), 403)
    assert (detail["message"], detail["required_scope"]) == ("Missing required scope: human:write", "human:write")
    refusal(guarded.post(resume_path(run), json={"nonsense": 1}, headers=as_role("viewer")), 403)
    refusal(guarded.post(resume_path(run), json=answer(run)), 401)
    assert guarded.get(TASKS, headers=as_role("operator")).status_code == 200
    assert guarded.post(resume_path(run), json=answer(run), headers=as_role("reviewer")).status_code == 200
    (event,) = manager.list_audit_events(event_type="human.decision")
    assert event.actor == "reviewer"


def test_nothing_of_one_tenant_is_seen_or_answered_by_another(manager: PlatformManager) -> None:
    plan = manager.compile_spec(spec=asking()).plan

    async def ask(tenant: str) -> str:
        async def start(platform: Any) -> str:
            submission = Submission(plan=plan, input_text="tea", tenant=tenant)
            record = await platform.start(submission, hold=True)
            await platform.run_to_rest(record.id, patience=30)
            return str(record.id)

        return await manager.reach(start)

    north, south = asyncio.run(ask("north")), asyncio.run(ask("south"))
    with door(manager, BY_TENANT) as client:

        def by(tenant: str) -> dict[str, str]:
            return {"Authorization": f"Bearer {tenant}"}

        for tenant, mine in (("north", north), ("south", south)):
            listed = client.get(TASKS, headers=by(tenant)).json()
            assert ([task["run_id"] for task in listed["tasks"]], listed["total"]) == ([mine], 1)
            events = client.get("/v1/audit-events", headers=by(tenant)).json()
            assert {event["run_id"] for event in events["events"]} == {mine}
        (theirs,) = client.get(TASKS, headers=by("north")).json()["tasks"]
        assert client.get(TASKS, params={"run_id": north}, headers=by("south")).json()["total"] == 0
        refusal(client.get(f"{TASKS}/{theirs['id']}", headers=by("south")), 404)
        body = {"request_id": theirs["pending_human_request_id"], "decision": "approved"}
        refusal(client.post(f"{TASKS}/{theirs['id']}/resume", json=body, headers=by("south")), 404)
        policy = client.put("/v1/policies/environment/prod", json={}, headers=by("south"))
        assert refusal(policy, 403)["error"] == "forbidden"
        done = client.post(f"{TASKS}/{theirs['id']}/resume", json=body, headers=by("north"))
        assert done.json()["status"] == "completed"
