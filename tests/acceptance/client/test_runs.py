"""Runs by the public client: started, waited for, listed, read, ended and taken up again."""

import asyncio
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from kneo_client import KneoClient
from kneo_client.core import KneoConflictError, KneoNotFoundError, KneoValidationError, iterate_all
from kneo_client.types import RunCreateRequest, RunCreateRequestMetadata, RunCreateRequestSpecType0, RunUsage, Unset

from tests.acceptance.client.served import AGENT, eventually, workflow
from tests.acceptance.shell import PATIENCE

pytestmark = pytest.mark.anyio

PLAIN = workflow("first", "second")


def fresh(word: str) -> str:
    """A name that no other test uses."""
    return f"{word}-{uuid.uuid4().hex[:8]}"


def known(value: Any) -> Any:
    """A value that the server did send."""
    assert not isinstance(value, Unset)
    return value


async def reached(path: Path) -> None:
    """Waits until a function of the server has left this file."""
    await eventually(anyio.Path(path).exists)


async def test_a_run_is_answered_at_its_end_with_what_it_did(client: KneoClient) -> None:
    run = await client.platform.runs.create({"input": "x", "spec": PLAIN, "target": "workflow"})
    assert (run.status, run.output_text) == ("completed", "second first x")
    assert run.human_intervention_required is False
    assert run.continuation_id is None
    told = known(run.metadata).to_dict()
    assert told["workflow"] == {"name": "first-second", "type": "sequential", "visited_steps": ["first", "second"]}
    assert told["workflow_type"] == "sequential"
    assert told["trace"]["run_id"] == run.run_id


async def test_a_typed_request_with_everything_is_kept_with_the_run(client: KneoClient) -> None:
    session = fresh("session")
    request = RunCreateRequest(
        input_="x",
        spec=RunCreateRequestSpecType0.from_dict(AGENT),
        session_id=session,
        metadata=RunCreateRequestMetadata.from_dict({"ticket": 4711}),
        async_mode=False,
    )
    started = await client.platform.runs.create(request)
    assert (started.status, started.output_text) == ("completed", "Final answer: x")
    run = await client.platform.runs.get(str(started.run_id))
    assert (run.run_id, run.status, run.session_id) == (started.run_id, "completed", session)
    assert (run.agent_name, run.workflow_kind) == ("echo", "agent")
    assert (run.input_text, run.output_text, run.error) == ("x", "Final answer: x", None)
    assert known(run.metadata).to_dict()["caller_metadata"] == {"ticket": 4711}
    assert known(run.trace_event_count) > 0


async def test_a_run_in_the_background_is_waited_for(client: KneoClient, folder: Path) -> None:
    gate = fresh("gate")
    asked = {"input": gate, "spec": workflow("gated", "second"), "async_mode": True}
    started = await client.platform.runs.create(asked)
    assert (started.status, started.output_text) == ("running", None)
    run_id = str(started.run_id)
    with pytest.raises(TimeoutError, match="'running'"):
        await client.platform.runs.wait_for_completion(run_id, timeout=0.1, poll_interval=0.02)
    (folder / gate).touch()
    run = await client.platform.runs.wait_for_completion(run_id, timeout=PATIENCE, poll_interval=0.02)
    assert (run.status, run.output_text, run.visited_steps) == (
        "completed",
        f"second passed {gate}",
        ["gated", "second"],
    )


async def test_waiting_may_end_where_the_run_waits_for_people(client: KneoClient) -> None:
    asked = {"input": "x", "spec": workflow("first", "person", person={}), "async_mode": True}
    started = await client.platform.runs.create(asked)
    run = await client.platform.runs.wait_for_completion(
        str(started.run_id), timeout=PATIENCE, poll_interval=0.02, terminal_statuses={"blocked", "failed"}
    )
    assert run.status == "blocked"
    assert str(run.continuation_id).startswith("cont_")
    assert known(run.pending_human_request)["prompt"] == "Is it good?"


async def test_the_trace_is_followed_to_the_end_of_the_run(client: KneoClient, folder: Path) -> None:
    gate = fresh("gate")
    asked = {"input": gate, "spec": workflow("first", "gated", "second"), "async_mode": True}
    run_id = str((await client.platform.runs.create(asked)).run_id)
    seen: list[dict[str, Any]] = []
    async for event in client.platform.runs.tail_trace(run_id, poll_interval=0.02, page_size=2, timeout=PATIENCE):
        seen.append(event.to_dict())
        if event["type"] == "step_started" and event["step_id"] == "gated":
            (folder / gate).touch()
    assert (seen[0]["type"], seen[-1]["type"]) == ("workflow_started", "workflow_completed")
    whole = await client.platform.runs.trace(run_id, limit=1000)
    assert [event["event_id"] for event in seen] == [event["event_id"] for event in whole]
    assert whole.complete is True
    assert (whole.dropped, whole.total, whole.window) == (0, len(seen), 10_000)
    assert (whole.sort_by, whole.sort_order) == ("timestamp", "asc")
    later = [event["event_id"] async for event in client.platform.runs.tail_trace(run_id, start_offset=2)]
    assert later == [event["event_id"] for event in seen[2:]]
    only = [event["type"] async for event in client.platform.runs.tail_trace(run_id, event_type="workflow_completed")]
    assert only == ["workflow_completed"]


async def test_following_a_run_that_waits_for_people_ends_with_the_callers_patience(client: KneoClient) -> None:
    started = await client.platform.runs.create({"input": "x", "spec": workflow("person", person={})})
    seen: list[str] = []

    async def follow() -> None:
        async for event in client.platform.runs.tail_trace(str(started.run_id), poll_interval=0.02, timeout=0.1):
            seen.append(event["type"])

    with pytest.raises(TimeoutError, match="'blocked'"):
        await follow()
    assert seen[-1] == "human_intervention_requested"


async def test_trace_events_have_the_keys_that_dashboards_read(client: KneoClient) -> None:
    run = await client.platform.runs.create({"input": "x", "spec": AGENT, "target": "agent"})
    page = await client.platform.runs.trace(str(run.run_id), event_type="run_completed")
    assert (page.count, page.has_more) == (1, False)
    event = page[0].to_dict()
    keys = (
        "type run_id event_id timestamp parent_event_id span_id parent_span_id agent_name workflow_name step_id "
        "runtime_mode model_provider model_name tool_name guardrail_id memory_policy input_preview output_preview "
        "metadata error"
    )
    assert set(keys.split()) <= set(event)
    assert (event["run_id"], event["agent_name"]) == (run.run_id, "echo")
    assert (event["runtime_mode"], event["model_provider"], event["model_name"]) == ("bridge", "dummy", "dummy")
    assert datetime.fromisoformat(event["timestamp"]).tzinfo is not None


async def test_what_a_model_took_is_told_with_the_run_its_row_and_its_trace(client: KneoClient) -> None:
    session = fresh("session")
    spec = {**AGENT, "agent": {**AGENT["agent"], "model": {"provider": "openai", "name": "gpt-4o-mini"}}}
    started = await client.platform.runs.create({"input": "2 + 2?", "spec": spec, "session_id": session})
    assert (started.status, started.output_text) == ("completed", "Four.")
    run = await client.platform.runs.get(str(started.run_id))
    assert isinstance(run.usage, RunUsage)
    used = run.usage.to_dict()
    assert used["total_tokens"] == used["input_tokens"] + used["output_tokens"] > 0
    counts = {name: used[name] for name in ("input_tokens", "output_tokens", "total_tokens")}
    assert counts.items() <= known(started.metadata)["usage"].items()
    row = (await client.platform.runs.list(session_id=session))[0]
    assert counts.items() <= row["metadata"]["usage"].items()
    event = (await client.platform.runs.trace(str(started.run_id), event_type="run_completed"))[0]
    # The name is the one by which the model itself answered.
    assert (event["model_provider"], event["model_name"]) == ("openai", "scripted")
    assert event["metadata"]["duration_ms"] >= 0


async def test_checkpoints_tell_the_run_step_by_step_and_differ_by_what_happened(client: KneoClient) -> None:
    run_id = str((await client.platform.runs.create({"input": "x", "spec": PLAIN})).run_id)
    page = await client.platform.runs.checkpoints(run_id)
    assert [item["sequence"] for item in page] == [1, 2, 3, 4]
    kinds = [item["type"] for item in page]
    assert kinds == ["run_started", "step_completed", "step_completed", "run_completed"]
    steps = await client.platform.runs.checkpoints(run_id, type="step_completed", sort_order="desc", limit=1)
    assert (steps.total, steps.has_more, steps[0]["step_id"]) == (2, True, "second")
    keys = "id run_id type workflow_name step_id node_id sequence iteration state trace_events metadata created_at"
    assert set(keys.split()) <= set(steps[0].to_dict())

    diff = await client.platform.runs.checkpoints_diff(run_id, from_sequence=1, to_sequence=4)
    assert (diff.from_checkpoint["sequence"], diff.to_checkpoint["sequence"]) == (1, 4)
    assert diff.truncated is False
    changes = [item.to_dict() for item in known(diff.changed)]
    assert {"path": "state.status", "before": "running", "after": "completed"} in changes
    assert diff.change_count >= len(changes)
    last = await client.platform.runs.checkpoints_diff(run_id)
    assert (last.from_checkpoint["sequence"], last.to_checkpoint["sequence"]) == (3, 4)


async def test_graph_recovery_replay_and_policy_report_tell_of_the_same_run(client: KneoClient) -> None:
    spec = workflow("first", "person", "second", person={})
    run_id = str((await client.platform.runs.create({"input": "x", "spec": spec})).run_id)
    graph = await client.platform.runs.graph(run_id)
    assert (graph.run_id, graph.status, graph.workflow_kind, graph.start) == (run_id, "blocked", "sequential", "first")
    nodes = [node.to_dict() for node in known(graph.nodes)]
    assert [(node["id"], node["kind"]) for node in nodes] == [
        ("first", "function"),
        ("person", "human"),
        ("second", "function"),
    ]
    edges = [edge.to_dict() for edge in known(graph.edges)]
    assert [(edge["source"], edge["target"], edge["conditional"]) for edge in edges] == [
        ("first", "person", False),
        ("person", "second", False),
    ]
    assert (graph.current, graph.visited) == ("person", ["first"])

    recovery = await client.platform.runs.recovery(run_id)
    assert (recovery.run_id, recovery.status, recovery.visited_steps) == (run_id, "blocked", ["first"])
    assert recovery.error is None
    assert str(recovery.continuation_id).startswith("cont_")
    assert recovery.checkpoint_count == (await client.platform.runs.checkpoints(run_id)).total
    context = known(recovery.replay_context).to_dict()
    assert (context["can_continue"], context["completed_steps"]) == (False, ["first"])

    replay = await client.platform.runs.replay(run_id)
    assert (replay.run_id, replay.status, replay.checkpoint_count) == (run_id, "blocked", recovery.checkpoint_count)
    line = [item.to_dict() for item in known(replay.timeline)]
    assert [item["type"] for item in line] == ["run_started", "step_completed", "human_pause"]
    assert line[-1]["continuation_id"] == recovery.continuation_id

    report = await client.platform.runs.policy_report(run_id)
    assert report.valid is True
    assert report.report["summary"]["human_review_step_count"] == 1
    assert [item["step_id"] for item in report.report["human_review"]["workflow_steps"]] == ["person"]


async def test_a_cancelled_run_has_ended_and_cancelling_again_changes_nothing(client: KneoClient) -> None:
    started = await client.platform.runs.create({"input": "x", "spec": workflow("person", person={})})
    run = await client.platform.runs.cancel(str(started.run_id))
    assert (run.status, known(run.error)["type"], run.continuation_id) == ("cancelled", "cancelled", None)
    again = await client.platform.runs.cancel(str(started.run_id), idempotency_key=fresh("key"))
    assert (again.status, again.error) == (run.status, run.error)
    with pytest.raises(KneoNotFoundError):
        await client.platform.human_tasks.get(str(started.continuation_id))
    with pytest.raises(KneoConflictError) as refused:
        await client.platform.runs.continue_(str(started.run_id))
    assert (refused.value.code, refused.value.status) == ("run_state_conflict", 409)
    detail = refused.value.body["detail"]
    assert (detail["run_id"], detail["status"]) == (started.run_id, "cancelled")


async def test_a_failed_run_is_an_outcome_and_is_continued_where_it_failed(client: KneoClient, folder: Path) -> None:
    (folder / "mended").unlink(missing_ok=True)
    started = await client.platform.runs.create({"input": "x", "spec": workflow("first", "breaks", "second")})
    assert (started.status, started.output_text) == ("failed", None)
    run_id = str(started.run_id)
    run = await client.platform.runs.get(run_id)
    assert known(run.error).to_dict() == {"type": "ValueError", "message": "it is broken"}
    recovery = await client.platform.runs.recovery(run_id)
    context = known(recovery.replay_context).to_dict()
    assert (context["can_continue"], context["failed_step"], context["resume_input"]) == (True, "breaks", "first x")
    (folder / "mended").touch()
    key = fresh("key")
    continued = await client.platform.runs.continue_(run_id, idempotency_key=key)
    assert (continued.run_id, continued.status) == (run_id, "completed")
    assert continued.output_text == "second mended first x"
    assert await client.platform.runs.continue_(run_id, idempotency_key=key) == continued
    run = await client.platform.runs.get(run_id)
    assert (run.status, run.error) == ("completed", None)


async def test_runs_are_found_by_every_filter(client: KneoClient, folder: Path) -> None:
    session = fresh("session")
    before = datetime.now(UTC)
    (folder / "mended").unlink(missing_ok=True)
    asked = [
        {"input": f"Needle {session}", "spec": PLAIN},
        {"input": "y", "spec": AGENT, "target": "agent"},
        {"input": "z", "spec": workflow("person", person={})},
        {"input": "w", "spec": workflow("breaks")},
    ]
    plain, agent, waiting, broken = [
        (await client.platform.runs.create({**one, "session_id": session})).run_id for one in asked
    ]

    async def found(**filters: Any) -> list[str]:
        page = await client.platform.runs.list(session_id=session, **filters)
        assert page.total == page.count
        assert all(row["id"] == row["run_id"] for row in page)
        return [row["id"] for row in page]

    assert await found() == [broken, waiting, agent, plain]
    assert await found(sort_by="created_at", sort_order="asc") == [plain, agent, waiting, broken]
    assert await found(status="blocked") == await found(status="paused") == [waiting]
    assert await found(status="never-heard-of") == []
    assert await found(workflow_kind="agent") == [agent]
    assert await found(workflow_name="first-second") == [plain]
    assert await found(has_error=True) == [broken]
    assert await found(has_error=False) == [waiting, agent, plain]
    assert await found(q=f"needle {session}".upper()) == [plain]
    assert await found(q="IT IS BROKEN") == [broken]
    assert await found(q="%") == []
    assert await found(created_after=before.isoformat()) == [broken, waiting, agent, plain]
    assert await found(created_before=before.isoformat()) == []
    assert await found(created_before="2020-01-01") == []
    row = (await client.platform.runs.list(session_id=session, status="blocked"))[0].to_dict()
    keys = (
        "id run_id status agent_name workflow_name workflow_kind input_text output_text current_step_index "
        "current_step_id current_node_id continuation_id metadata error session_id tags created_at updated_at "
        "started_at completed_at deadline_at"
    )
    assert set(keys.split()) <= set(row)
    assert (row["session_id"], row["deadline_at"], row["current_step_id"]) == (session, None, "person")


async def test_hundreds_of_runs_are_walked_page_by_page_and_each_is_met_once(client: KneoClient) -> None:
    session, count = fresh("session"), 250
    spec = workflow("first")
    at_once = asyncio.Semaphore(16)

    async def start(number: int) -> str:
        async with at_once:
            asked = {"input": str(number), "spec": spec, "session_id": session, "metadata": {"n": number}}
            run = await client.platform.runs.create({**asked, "async_mode": True})
        return str(run.run_id)

    started = await asyncio.gather(*(start(number) for number in range(count)))
    assert len(set(started)) == count
    first = await client.platform.runs.list(session_id=session, limit=100, sort_by="created_at", sort_order="asc")
    assert (first.count, first.total, first.limit, first.offset, first.has_more) == (100, count, 100, 0, True)
    assert (first.window, first.sort_by, first.sort_order) == (10_000, "created_at", "asc")

    walked = [
        row
        async for row in iterate_all(
            lambda limit, offset: client.platform.runs.list(
                session_id=session, limit=limit, offset=offset, sort_by="created_at", sort_order="asc"
            ),
            page_size=40,
        )
    ]
    assert len(walked) == count
    assert {row["id"] for row in walked} == set(started)
    created = [row["created_at"] for row in walked]
    assert created == sorted(created)
    late = await client.platform.runs.list(session_id=session, limit=100, offset=count)
    assert (late.count, late.total, late.has_more) == (0, count, False)


async def test_what_does_not_exist_is_not_found_by_any_method(client: KneoClient) -> None:
    runs = client.platform.runs
    for ask in (
        runs.get, runs.cancel, runs.continue_, runs.trace, runs.checkpoints, runs.checkpoints_diff, runs.graph,
        runs.replay, runs.recovery, runs.policy_report, runs.wait_for_completion,
    ):  # fmt: skip
        with pytest.raises(KneoNotFoundError) as refused:
            await ask("run_x/../y")
        assert (refused.value.status, refused.value.code) == (404, "not_found"), ask


@pytest.mark.parametrize(
    ("filters", "code"),
    [
        ({"created_after": "yesterday"}, "invalid_timestamp"),
        ({"created_before": "2026-13-01"}, "invalid_timestamp"),
        ({"limit": 0}, None),
        ({"limit": 1001}, None),
        ({"offset": 10_001}, None),
        ({"sort_order": "up"}, None),
    ],
)
async def test_a_filter_that_means_nothing_is_refused(
    client: KneoClient, filters: dict[str, Any], code: str | None
) -> None:
    with pytest.raises(KneoValidationError) as refused:
        await client.platform.runs.list(**filters)
    assert (refused.value.status, refused.value.code) == (422, code)
    name = next(iter(filters))
    assert name in str(refused.value) if code is None else refused.value.body["detail"]["param"] == name
