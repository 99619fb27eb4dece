"""Every refusal that the server can cause, as the exception that the public client makes of it."""

import asyncio
import traceback
from pathlib import Path
from typing import Any

import pytest
from kneo_client import KneoClient
from kneo_client.core import (
    KneoAuthError,
    KneoBadRequestError,
    KneoConflictError,
    KneoError,
    KneoIdempotencyMismatchError,
    KneoNetworkError,
    KneoNotFoundError,
    KneoPayloadTooLargeError,
    KneoPermissionError,
    KneoRateLimitedError,
    KneoServerError,
    KneoServiceUnavailableError,
    KneoValidationError,
    RetryPolicy,
)

from tests.acceptance.client.served import AGENT, ONCE, caller, profile, workflow
from tests.acceptance.client.test_runs import fresh, reached
from tests.acceptance.server import Server
from tests.acceptance.shell import PATIENCE

pytestmark = pytest.mark.anyio


def detail(error: KneoError) -> dict[str, Any]:
    """The envelope, which every refusal with a code has."""
    told = error.body["detail"]
    assert isinstance(told, dict)
    assert told["error"] == error.code
    assert told["message"] == str(error)
    return told


async def test_every_refusal_carries_the_request_id_that_was_sent(client: KneoClient) -> None:
    with pytest.raises(KneoNotFoundError) as refused:
        await client.request("GET", "/v1/runs/nothing", request_id="mine-4711")
    assert refused.value.request_id == "mine-4711"
    assert detail(refused.value)["error"] == "not_found"
    with pytest.raises(KneoValidationError) as posted:
        await client.request("POST", "/v1/runs", json={}, request_id="mine-4712", idempotency_key="a-key")
    assert (posted.value.request_id, posted.value.idempotency_key) == ("mine-4712", "a-key")


async def test_a_key_that_nobody_has_is_not_let_in(server: Server) -> None:
    for scheme in ("bearer", "kneo_api_key"):
        async with KneoClient.from_profile(url=server.url, api_key="no-key", auth_scheme=scheme) as stranger:
            with pytest.raises(KneoAuthError) as refused:
                await stranger.platform.runs.list()
            assert (refused.value.status, refused.value.code) == (401, "unauthorized")
            assert refused.value.request_id
            assert (await stranger.platform.health.livez()).ok is True


async def test_a_key_that_may_not_is_told_what_it_lacks(server: Server) -> None:
    async with caller(server, "mute") as mute, caller(server, "viewer") as viewer:
        for attempt, scope in (
            (lambda: mute.platform.runs.list(), "runs:read"),
            (lambda: mute.agent.specs.validate({"spec": AGENT}), "specs:read"),
            (lambda: mute.platform.audit.list(), "audit:read"),
            (lambda: viewer.platform.runs.create({"input": "x", "spec": AGENT}), "runs:write"),
            (
                lambda: viewer.platform.human_tasks.resume("x", {"request_id": "x", "decision": "approved"}),
                "human:write",
            ),
            (lambda: viewer.platform.credentials.list(), "credentials:read"),
            (lambda: viewer.platform.policies.environment_list(), "policies:read"),
            (lambda: viewer.platform.policies.environment_put("x", {}), "policies:write"),
        ):
            with pytest.raises(KneoPermissionError) as refused:
                await attempt()
            assert str(refused.value) == f"Missing required scope: {scope}"
            assert detail(refused.value)["required_scope"] == scope


async def test_parameters_that_nobody_knows_are_named(client: KneoClient) -> None:
    with pytest.raises(KneoValidationError) as refused:
        await client.request("GET", "/v1/runs", params={"zeal": 1, "colour": "red", "limit": 1})
    assert refused.value.code == "unknown_query_parameters"
    assert detail(refused.value)["unknown"] == ["colour", "zeal"]


async def test_a_body_of_the_wrong_shape_is_told_field_by_field(client: KneoClient) -> None:
    with pytest.raises(KneoValidationError) as refused:
        await client.platform.runs.create({"inputt": "x", "spec": AGENT})
    assert (refused.value.status, refused.value.code) == (422, None)
    assert str(refused.value).endswith("(+1 more)")
    assert {tuple(item["loc"]) for item in refused.value.body["detail"]} == {("body", "input"), ("body", "inputt")}
    with pytest.raises(KneoBadRequestError) as neither:
        await client.platform.runs.create({"input": "x"})
    assert neither.value.code == "invalid_request"


async def test_what_is_too_large_is_refused_with_the_limit(patient: Server) -> None:
    async with caller(patient) as client:
        with pytest.raises(KneoPayloadTooLargeError) as refused:
            await client.platform.runs.create({"input": "x" * 30_000, "spec": AGENT})
        assert (refused.value.status, refused.value.code) == (413, "payload_too_large")
        assert refused.value.max_body_bytes == 20_000
        assert refused.value.request_id
        with pytest.raises(KneoValidationError) as long:
            await client.platform.runs.create({"input": "x" * 1_001, "spec": AGENT})
        assert (long.value.code, long.value.body["detail"][0]["loc"]) == (None, ["body", "input"])


async def test_a_key_used_for_something_else_is_a_conflict(client: KneoClient) -> None:
    key, body = fresh("key"), {"input": "x", "spec": AGENT}
    first = await client.platform.runs.create(body, idempotency_key=key)
    assert await client.platform.runs.create({**body, "target": "workflow"}, idempotency_key=key) == first
    with pytest.raises(KneoIdempotencyMismatchError) as refused:
        await client.platform.runs.create({**body, "input": "y"}, idempotency_key=key)
    assert (refused.value.status, refused.value.code) == (409, "idempotency_key_conflict")
    assert refused.value.idempotency_key == key
    assert detail(refused.value)["scope"] == "runs:create"


async def test_the_key_of_one_person_means_nothing_to_another(server: Server) -> None:
    key, body = fresh("key"), {"input": "x", "spec": AGENT}
    async with caller(server, "operator") as one, caller(server, "service") as other:
        mine = await one.platform.runs.create(body, idempotency_key=key)
        theirs = await other.platform.runs.create({**body, "input": "y"}, idempotency_key=key)
    assert mine.run_id != theirs.run_id


async def test_a_key_in_use_is_retried_by_the_client_until_there_is_an_answer(client: KneoClient, folder: Path) -> None:
    gate, key = fresh("gate"), fresh("key")
    body = {"input": gate, "spec": workflow("gated"), "target": "workflow", "wait": 0.2}
    first = await client.platform.runs.create(body, idempotency_key=key)
    assert (first.status, first.output_text) == ("running", None)
    with pytest.raises(KneoConflictError) as refused:
        await client.request("POST", "/v1/runs", json=body, idempotency_key=key, retry_policy=ONCE)
    assert (refused.value.status, refused.value.code) == (409, "idempotency_key_in_progress")
    assert refused.value.retry_after == 1.0
    assert detail(refused.value)["scope"] == "runs:create"
    second = asyncio.create_task(client.platform.runs.create(body, idempotency_key=key))
    await asyncio.sleep(0.3)  # its first attempt is refused by now, and the client waits for the second
    (folder / gate).touch()
    done = await second
    assert (done.run_id, done.status, done.output_text) == (first.run_id, "completed", f"passed {gate}")
    assert (folder / "marks").read_text().split().count(gate) == 1


async def test_a_spec_that_uses_too_much_or_breaks_a_rule_is_refused_with_its_run(client: KneoClient) -> None:
    rule = {"id": "no-x", "type": "keyword", "action": "block", "config": {"keywords": ["forbidden"]}}
    guarded = {**AGENT, "agent": {**AGENT["agent"], "guardrails": {"input": [rule]}}}
    with pytest.raises(KneoValidationError) as refused:
        await client.platform.runs.create({"input": "a forbidden word", "spec": guarded})
    assert refused.value.code == "guardrail_violation"
    told = detail(refused.value)
    assert told["violation_type"]
    run = await client.platform.runs.get(told["run_id"])
    assert run.status == "failed"


async def test_who_asks_too_often_is_told_when_to_come_back(server: Server) -> None:
    async with caller(server, "reviewer", retry_policy=RetryPolicy(max_delay=1.0)) as client:

        async def hurry() -> None:
            for _ in range(3):
                await client.platform.runs.list()

        with pytest.raises(KneoRateLimitedError) as refused:
            await hurry()
        assert (refused.value.status, refused.value.code) == (429, "rate_limited")
        assert refused.value.retry_after is not None
        assert 1.0 < refused.value.retry_after <= 3600
        assert detail(refused.value)
        assert (await client.platform.health.livez()).ok is True
    async with caller(server, "viewer") as other:
        assert (await other.platform.runs.list(limit=1)).limit == 1


async def test_a_full_queue_takes_nothing_in_and_stores_nothing(patient: Server) -> None:
    gates, session = [fresh("gate") for _ in range(2)], fresh("session")
    spec = workflow("gated")
    async with caller(patient, retry_policy=RetryPolicy(max_delay=1.0)) as client:
        bodies = [{"input": gate, "spec": spec, "async_mode": True, "session_id": session} for gate in gates]
        first = await client.platform.runs.create({**bodies[0], "session_id": fresh("session")})
        await reached(patient.folder / f"{gates[0]}.reached")
        second = await client.platform.runs.create(bodies[1])
        with pytest.raises(KneoServiceUnavailableError) as refused:
            await client.platform.runs.create({**bodies[1], "input": "one too many"})
        assert isinstance(refused.value, KneoServerError)
        assert (refused.value.status, refused.value.code, refused.value.retry_after) == (503, "queue_full", 5.0)
        told = detail(refused.value)
        assert (told["queue_depth"], told["limit"]) == (1, 1)
        assert (await client.platform.runs.list(session_id=session)).total == 1
        for gate in gates:
            (patient.folder / gate).touch()
        for run in (first, second):
            done = await client.platform.runs.wait_for_completion(str(run.run_id), timeout=30, poll_interval=0.02)
            assert done.status == "completed"


async def test_where_nobody_listens_is_a_network_error_that_does_not_tell_the_key(server: Server) -> None:
    nowhere = profile(server, url="http://127.0.0.1:9", timeout=PATIENCE)
    async with KneoClient(nowhere, retry_policy=RetryPolicy(max_attempts=2, base_delay=0.01)) as client:
        with pytest.raises(KneoNetworkError) as refused:
            await client.platform.runs.create({"input": "x", "spec": AGENT})
    assert refused.value.status is None
    assert refused.value.idempotency_key
    assert "admin-key" not in "".join(traceback.format_exception(refused.value))


async def test_an_unknown_route_and_method_are_in_the_envelope_too(client: KneoClient) -> None:
    with pytest.raises(KneoNotFoundError) as missing:
        await client.request("GET", "/v1/nothing-here")
    assert missing.value.code == "not_found"
    with pytest.raises(KneoError) as method:
        await client.request("DELETE", "/v1/runs")
    assert (method.value.status, method.value.code) == (405, "method_not_allowed")
