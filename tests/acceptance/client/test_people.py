"""People in the loop by the public client: asked, answered once, and told why an answer does not count."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from kneo_client import KneoClient
from kneo_client.core import (
    KneoConflictError,
    KneoHumanTaskExpiredError,
    KneoIdempotencyMismatchError,
    KneoNotFoundError,
    KneoPermissionError,
    KneoValidationError,
    iterate_all,
)
from kneo_client.types import HumanResumeRequest, HumanResumeRequestDecision, RunCreateResponse

from tests.acceptance.client.served import ONCE, caller, eventually, workflow
from tests.acceptance.client.test_runs import fresh, known, reached
from tests.acceptance.server import Server

pytestmark = pytest.mark.anyio


async def asked(client: KneoClient, *steps: str, text: str = "x", **person: Any) -> RunCreateResponse:
    """A run that waits for a person."""
    spec = workflow("first", "person", *steps, person=person)
    run = await client.platform.runs.create({"input": text, "spec": spec, "target": "workflow"})
    assert run.status == "paused", run
    return run


def request_of(run: RunCreateResponse) -> str:
    """The id of the question."""
    return str(known(run.metadata)["pending_human_request"]["request_id"])


def approval(run: RunCreateResponse, **more: Any) -> dict[str, Any]:
    """The answer that says yes."""
    return {"request_id": request_of(run), "decision": "approved", **more}


async def test_a_person_with_a_service_key_goes_the_whole_way(server: Server) -> None:
    async with caller(server, "service") as client:
        run = await asked(client, "second", assignee="me@example.com", timeout_seconds=3600, on_timeout="escalate")
        assert (run.output_text, run.human_intervention_required) == (None, True)
        told = known(run.metadata).to_dict()
        assert told["request"]["id"] == told["pending_human_request"]["request_id"]
        assert told["pending_human_request"]["prompt"] == "Is it good?"
        assert told["continuation_id"] == run.continuation_id

        tasks = await client.platform.human_tasks.list(run_id=str(run.run_id))
        assert (tasks.count, tasks.total, tasks.has_more, tasks.window) == (1, 1, False, 10_000)
        row = tasks[0].to_dict()
        keys = (
            "id run_id workflow_name workflow_kind current_step_index current_node_id current_input visited_steps "
            "visited_nodes messages variables pending_human_request_id pending_human_request expires_at trace_events "
            "metadata"
        )
        assert set(keys.split()) <= set(row)
        assert (row["id"], row["run_id"], row["workflow_kind"]) == (run.continuation_id, run.run_id, "sequential")
        assert row["pending_human_request_id"] == request_of(run)
        assert isinstance(row["expires_at"], float)

        task = await client.platform.human_tasks.get(str(run.continuation_id))
        assert task.continuation_id == run.continuation_id
        request = known(task.request).to_dict()
        assert (request["id"], request["request_id"]) == (request_of(run), request_of(run))
        assert (request["type"], request["prompt"], request["requested_by"]) == ("approval", "Is it good?", "person")
        assert (request["assignee"], request["on_timeout"]) == ("me@example.com", "escalate")
        assert request["context"]["input_text"] == "first x"

        body = HumanResumeRequest(
            request_id=request_of(run), decision=HumanResumeRequestDecision.APPROVED, content="Looks good. Ship it."
        )
        done = await client.platform.human_tasks.resume(str(run.continuation_id), body)
        assert (done.run_id, done.status, done.output_text) == (run.run_id, "completed", "second first x")
        assert known(done.metadata)["resumed_from_continuation_id"] == run.continuation_id
        assert (await client.platform.human_tasks.list(run_id=str(run.run_id))).total == 0
        with pytest.raises(KneoNotFoundError) as gone:
            await client.platform.human_tasks.resume(str(run.continuation_id), body)
        assert gone.value.code == "not_found"

        events = await client.platform.audit.list(event_type="human.decision", run_id=str(run.run_id))
        event = events[0].to_dict()
        assert (event["actor"], event["continuation_id"]) == ("service-person", run.continuation_id)
        told = event["metadata"]
        assert (told["request_id"], told["decision"], told["has_content"]) == (request_of(run), "approved", True)
        assert (told["selected_option"], told["status"]) == (None, "running")
        assert "Ship it" not in str(event)


@pytest.mark.parametrize(
    ("kind", "answer", "output"),
    [
        ("approval", {"decision": "approved"}, "second first x"),
        ("approval", {"decision": "edited", "content": "better"}, "second better"),
        ("approval", {"decision": "rejected", "content": "no"}, "second Rejected by human reviewer: no"),
        ("selection", {"decision": "selected", "selected_option": "blue"}, "second blue"),
        ("freeform", {"decision": "provided", "content": "mine"}, "second mine"),
    ],
)
async def test_every_decision_has_its_effect(
    client: KneoClient, kind: str, answer: dict[str, str], output: str
) -> None:
    run = await asked(client, "second", request_type=kind, options=["red", "blue"])
    body = {"request_id": request_of(run), **answer}
    done = await client.platform.human_tasks.resume_by_id(str(run.continuation_id), body)
    assert (done.status, done.output_text) == ("completed", output)


async def test_resuming_by_an_id_that_is_gone_is_not_found_before_anything_is_sent(client: KneoClient) -> None:
    run = await asked(client)
    await client.platform.human_tasks.resume(str(run.continuation_id), approval(run))
    with pytest.raises(KneoNotFoundError) as gone:
        await client.platform.human_tasks.resume_by_id(str(run.continuation_id), approval(run))
    assert gone.value.idempotency_key is None


async def test_the_most_urgent_question_is_answered_first(client: KneoClient) -> None:
    kind = {"request_type": "freeform"}
    spec = workflow("person", person=kind)
    late = await client.platform.runs.create({"input": "x", "spec": spec})
    hours = [workflow("person", person={**kind, "timeout_seconds": 3600.0 * n}) for n in (2, 1)]
    second, first = [await client.platform.runs.create({"input": "x", "spec": spec}) for spec in hours]

    async def answer(run: RunCreateResponse) -> Any:
        body = {"request_id": request_of(run), "decision": "provided", "content": "y"}
        return await client.platform.human_tasks.resume_first_pending(
            body, run_id=str(run.run_id), workflow_kind="sequential"
        )

    by_deadline = await client.platform.human_tasks.list(sort_by="expires_at", sort_order="asc", limit=1000)
    order = [row["run_id"] for row in by_deadline if row["run_id"] in {late.run_id, first.run_id, second.run_id}]
    assert order == [first.run_id, second.run_id, late.run_id]
    done = await answer(first)
    assert (done.run_id, done.status, done.output_text) == (first.run_id, "completed", "y")
    assert await answer(first) is None
    for run in (second, late):
        assert (await answer(run)).run_id == run.run_id


async def test_the_next_question_is_told_by_the_answer_to_the_first(client: KneoClient) -> None:
    spec = workflow("one", "two", one={}, two={"request_type": "freeform"})
    run = await client.platform.runs.create({"input": "x", "spec": spec})
    again = await client.platform.human_tasks.resume(str(run.continuation_id), approval(run))
    assert (again.run_id, again.status, again.output_text) == (run.run_id, "paused", None)
    told = known(again.metadata).to_dict()
    assert told["continuation_id"] != run.continuation_id
    assert (told["pending_step_id"], told["request"]["type"]) == ("two", "freeform")
    body = {"request_id": told["pending_human_request"]["request_id"], "decision": "provided", "content": "y"}
    done = await client.platform.human_tasks.resume(told["continuation_id"], body)
    assert (done.status, done.output_text) == ("completed", "y")


async def test_an_answer_that_does_not_fit_the_question_is_refused_and_the_question_stays(client: KneoClient) -> None:
    run = await asked(client, request_type="selection", options=["red", "blue"])
    task = str(run.continuation_id)
    with pytest.raises(KneoConflictError) as wrong:
        await client.platform.human_tasks.resume(task, {"request_id": "req_other", "decision": "approved"})
    assert (wrong.value.status, wrong.value.code) == (409, "request_id_mismatch")
    for answer in (
        {"decision": "approved"},
        {"decision": "selected"},
        {"decision": "selected", "selected_option": "green"},
    ):
        with pytest.raises(KneoValidationError) as refused:
            await client.platform.human_tasks.resume(task, {"request_id": request_of(run), **answer})
        assert (refused.value.status, refused.value.code) == (422, "decision_not_allowed")
        assert set(refused.value.body["detail"]["allowed"]) == {"selected", "rejected"}
    with pytest.raises(KneoValidationError) as shapeless:
        await client.platform.human_tasks.resume(task, {"decision": "approve"})
    assert shapeless.value.code is None
    assert str(shapeless.value).startswith("body.")
    assert (await client.platform.human_tasks.list(run_id=str(run.run_id))).total == 1


async def test_an_answer_counts_once_and_is_told_again_under_its_key(client: KneoClient) -> None:
    run, key = await asked(client, "second"), fresh("key")
    task = str(run.continuation_id)
    first = await client.platform.human_tasks.resume(task, approval(run), idempotency_key=key)
    again = await client.platform.human_tasks.resume(task, approval(run), idempotency_key=f"  {key} ")
    assert again == first
    with pytest.raises(KneoIdempotencyMismatchError) as other:
        await client.platform.human_tasks.resume(task, approval(run, content="more"), idempotency_key=key)
    assert (other.value.status, other.value.code) == (409, "idempotency_key_conflict")
    assert other.value.idempotency_key == key
    decisions = await client.platform.audit.list(event_type="human.decision", run_id=str(run.run_id))
    assert decisions.total == 1


async def test_two_who_answer_at_once_have_one_winner_and_the_other_is_told_to_wait(
    client: KneoClient, folder: Path
) -> None:
    gate = fresh("gate")
    run = await asked(client, "gated", request_type="freeform")
    body = {"request_id": request_of(run), "decision": "provided", "content": gate}
    winner = asyncio.create_task(client.platform.human_tasks.resume(str(run.continuation_id), body))
    await reached(folder / f"{gate}.reached")
    with pytest.raises(KneoConflictError) as locked:
        await client.platform.human_tasks.resume(str(run.continuation_id), body)
    assert (locked.value.status, locked.value.code) == (409, "resource_locked")
    assert locked.value.body["detail"]["resource"] == f"continuation:{run.continuation_id}"
    (folder / gate).touch()
    done = await winner
    assert (done.status, done.output_text) == ("completed", f"passed {gate}")
    with pytest.raises(KneoNotFoundError):
        await client.platform.human_tasks.resume(str(run.continuation_id), body)
    assert (folder / "marks").read_text().split().count(gate) == 1


async def test_many_who_answer_at_once_have_one_winner(client: KneoClient) -> None:
    run = await asked(client, "second")
    answers = await asyncio.gather(
        *(client.platform.human_tasks.resume(str(run.continuation_id), approval(run)) for _ in range(6)),
        return_exceptions=True,
    )
    won = [answer for answer in answers if not isinstance(answer, BaseException)]
    lost = [answer for answer in answers if isinstance(answer, BaseException)]
    assert [answer.status for answer in won] == ["completed"]
    assert {getattr(error, "code", None) for error in lost} <= {"resource_locked", "not_found"}


async def test_a_late_answer_is_refused_with_the_deadline_unless_the_task_was_escalated(patient: Server) -> None:
    async with caller(patient) as client:
        late = await asked(client, timeout_seconds=0.01)
        escalating = await asked(client, timeout_seconds=0.01, on_timeout="escalate")
        with pytest.raises(KneoHumanTaskExpiredError) as refused:
            await client.platform.human_tasks.resume(str(late.continuation_id), approval(late))
        error = refused.value
        assert (error.status, error.code, error.continuation_id) == (409, "human_task_expired", late.continuation_id)
        row = (await client.platform.human_tasks.list(run_id=str(late.run_id)))[0]
        assert error.expires_at == pytest.approx(row["expires_at"])
        done = await client.platform.human_tasks.resume(str(escalating.continuation_id), approval(escalating))
        assert done.status == "completed"


async def test_the_timekeeper_ends_what_was_not_answered_in_time(client: KneoClient) -> None:
    late = await asked(client, timeout_seconds=0.2)
    run = await client.platform.runs.wait_for_completion(str(late.run_id), timeout=30, poll_interval=0.05)
    assert (run.status, known(run.error)["type"]) == ("expired", "human_task_expired")
    event = (await client.platform.audit.list(event_type="human.expired", run_id=str(late.run_id)))[0].to_dict()
    assert (event["actor"], event["continuation_id"]) == (None, late.continuation_id)
    keys = {"timeout_seconds", "expires_at", "expired_at", "on_timeout"}
    assert keys <= set(event["metadata"])


async def test_an_escalated_task_is_found_as_such_and_still_answered(client: KneoClient) -> None:
    run = await asked(client, timeout_seconds=0.2, on_timeout="escalate", assignee="me@example.com")
    run_id = str(run.run_id)
    escalated = await eventually(lambda: client.platform.human_tasks.list(run_id=run_id, status="escalated"))
    assert (await client.platform.human_tasks.list(run_id=run_id, status="pending")).total == 0
    assert isinstance(escalated[0]["pending_human_request"]["escalated_at"], float)
    done = await client.platform.human_tasks.resume(str(run.continuation_id), approval(run))
    assert done.status == "completed"


async def test_open_tasks_are_walked_page_by_page(client: KneoClient) -> None:
    runs = [await asked(client) for _ in range(5)]
    rows = [
        row
        async for row in iterate_all(
            lambda limit, offset: client.platform.human_tasks.list(
                limit=limit, offset=offset, sort_by="id", sort_order="asc"
            ),
            page_size=3,
        )
    ]
    ids = [row["id"] for row in rows]
    assert ids == sorted(set(ids))
    assert {run.continuation_id for run in runs} <= set(ids)


async def test_who_may_only_look_cannot_answer(server: Server, client: KneoClient) -> None:
    run = await asked(client)
    async with caller(server, "operator", retry_policy=ONCE) as operator:
        assert (await operator.platform.human_tasks.get(str(run.continuation_id))).continuation_id
        with pytest.raises(KneoPermissionError, match="Missing required scope: human:write") as refused:
            await operator.platform.human_tasks.resume(str(run.continuation_id), approval(run))
    assert (refused.value.status, refused.value.code) == (403, "forbidden")
    assert refused.value.body["detail"]["required_scope"] == "human:write"


async def test_an_unknown_status_of_tasks_is_refused(client: KneoClient) -> None:
    with pytest.raises(KneoValidationError, match=r"^query\.status"):
        await client.platform.human_tasks.list(status="done")
