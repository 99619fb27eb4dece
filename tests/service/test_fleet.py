"""What holds for the whole fleet, over HTTP."""

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from kneo_serv.platform import PlatformManager, PlatformOptions
from kneo_serv.service.auth import AuthConfig
from tests.service.doors import STEPS, as_role, door, platform_in, refusal

LIMITS = {
    "queues": {"batch": {"running": 4, "waiting": 0}},
    "tenants": {"*": {"running": 10}},
    "agents": {},
    "providers": {"openai": {"requests_per_minute": 600.0}},
}


def asked(**more: Any) -> dict[str, Any]:
    return {"spec": STEPS, "input": "tea", **more}


def test_limits_are_set_as_a_whole_and_audited(guarded: TestClient) -> None:
    operator = as_role("operator")
    nothing: dict[str, Any] = {"queues": {}, "tenants": {}, "agents": {}, "providers": {}}
    assert guarded.get("/v1/limits", headers=operator).json() == {"limits": nothing, "previous_limits": None}
    put = guarded.put("/v1/limits", json=LIMITS, headers=operator).json()
    assert put == {"limits": LIMITS, "previous_limits": nothing}
    assert guarded.put("/v1/limits", json={}, headers=operator).json()["previous_limits"] == LIMITS
    events = guarded.get("/v1/audit-events", params={"event_type": "limits.changed"}, headers=operator).json()["events"]
    assert [(one["actor"], one["metadata"]["current"]) for one in events] == [
        ("operator", nothing),
        ("operator", LIMITS),
    ]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"queues": {"a": {"running": -1}}}, "running"),
        ({"queues": {"a": {"requests_per_minute": 1}}}, "requests_per_minute"),
        ({"providers": {"a": {"requests_per_minute": 0}}}, "requests_per_minute"),
        ({"tenants": {"a": {"running": 1.5}}}, "running"),
        ({"planets": {}}, "planets"),
    ],
)
def test_limits_of_another_form_are_refused_and_their_place_is_named(
    client: TestClient, body: dict[str, Any], place: str
) -> None:
    answer = client.put("/v1/limits", json=body)
    assert answer.status_code == 422
    assert place in answer.json()["detail"][0]["loc"]


def test_a_tenant_sees_its_own_bound_and_no_other_tenants(manager: PlatformManager) -> None:
    manager.set_limits({"tenants": {"*": {"running": 1}, "north": {"running": 2}, "south": {"running": 3}}})
    listed = "n:north-token:operator,tenant=north;all:all-token:operator"
    with door(manager, AuthConfig.from_env({"KNEO_SERV_API_KEYS": listed})) as client:
        mine = client.get("/v1/limits", headers={"Authorization": "Bearer north-token"}).json()["limits"]["tenants"]
        assert mine == {"*": {"running": 1}, "north": {"running": 2}}
        assert len(client.get("/v1/limits", headers=as_role("all")).json()["limits"]["tenants"]) == 3


def test_who_may_only_look_changes_nothing(guarded: TestClient) -> None:
    for verb, path in (("put", "/v1/limits"), ("post", "/v1/providers/p/pause"), ("post", "/v1/providers/p/resume")):
        refusal(
            getattr(guarded, verb)(path, **({"json": {}} if "resume" not in path else {}), headers=as_role("service")),
            403,
        )
    assert guarded.get("/v1/providers", headers=as_role("service")).json() == {"providers": [], "count": 0}


def test_a_run_is_refused_where_its_queue_is_full_and_nothing_of_it_is_kept(client: TestClient) -> None:
    client.put("/v1/limits", json=LIMITS)
    answer = client.post("/v1/runs", json=asked(queue="batch"))
    detail = refusal(answer, 503)
    assert (detail["error"], detail["queue_depth"], detail["limit"]) == ("queue_full", 0, 0)
    assert answer.headers["retry-after"] == "5"
    assert "batch" in detail["message"]
    assert client.get("/v1/runs").json()["total"] == 0
    assert "kneo_runs_rejected_total 1.0" in client.get("/metrics").text
    assert client.post("/v1/runs", json=asked()).status_code == 200


def test_a_tenant_has_a_line_of_its_own(tmp_path: Any) -> None:
    manager = platform_in(tmp_path, options=PlatformOptions(max_queue_depth=3), workers=False)
    try:
        manager.set_limits({"tenants": {"*": {"waiting": 1}}})
        from kneo_serv.errors import QueueFullError

        def hand_in(tenant: str | None) -> None:
            submission = manager.prepare(input_text="tea", spec=STEPS, tenant=tenant)
            manager._do(lambda platform: platform.start(submission))

        hand_in("north")
        with pytest.raises(QueueFullError, match="1 runs are waiting of this tenant; the limit is 1"):
            hand_in("north")
        hand_in("south")
        hand_in(None)
        with pytest.raises(QueueFullError, match="3 runs are waiting; the limit is 3"):
            hand_in(None)
        assert manager.count_runs() == 3
    finally:
        manager.shutdown()


@pytest.mark.parametrize("body", [{"queue": ""}, {"queue": "a b"}, {"priority": 101}, {"priority": "high"}])
def test_a_queue_or_priority_that_cannot_be_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post("/v1/runs", json=asked(**body)).status_code == 422


def test_a_run_says_which_queue_it_is_in(client: TestClient) -> None:
    run_id = client.post("/v1/runs", json=asked(queue="batch", priority=7)).json()["run_id"]
    metadata = client.get(f"/v1/runs/{run_id}").json()["metadata"]
    assert (metadata["queue"], metadata["priority"]) == ("batch", 7)
    spec = {**STEPS, "dispatch": {"queue": "night", "priority": -5}}
    run_id = client.post("/v1/runs", json={"spec": spec, "input": "tea"}).json()["run_id"]
    metadata = client.get(f"/v1/runs/{run_id}").json()["metadata"]
    assert (metadata["queue"], metadata["priority"]) == ("night", -5)


def test_a_provider_is_paused_and_resumed_by_hand_and_readiness_tells_of_it(client: TestClient) -> None:
    where = "/v1/providers/openai@models.example:8443"
    paused = client.post(f"{where}/pause", json={"reason": "sk-proj-abcdefghijkl12345678"})
    assert paused.status_code == 200
    state = paused.json()
    assert (state["name"], state["standing"]) == ("openai@models.example:8443", "held")
    assert "sk-proj" not in paused.text
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["metadata"]["checks"]["providers"]["paused"] == {"openai@models.example:8443": "held"}
    assert 'kneo_provider_paused{provider="openai@models.example:8443"} 1.0' in client.get("/metrics").text
    assert [one["standing"] for one in client.get("/v1/providers").json()["providers"]] == ["held"]
    resumed = client.post(f"{where}/resume").json()
    assert (resumed["standing"], resumed["reason"]) == ("open", None)
    assert "paused" not in client.get("/readyz").json()["metadata"]["checks"]["providers"]
    events = client.get("/v1/audit-events").json()["events"]
    assert [one["event_type"] for one in events] == ["provider.resumed", "provider.held"]


def test_waiting_runs_are_counted_by_queue_in_the_metrics(tmp_path: Any) -> None:
    manager: PlatformManager = platform_in(tmp_path, workers=False)
    try:
        with door(manager) as client:
            client.post("/v1/runs", json=asked(queue="batch", async_mode=True))
            assert re.search(r'^kneo_queue_waiting\{queue="batch"\} 1\.0$', client.get("/metrics").text, re.MULTILINE)
    finally:
        manager.shutdown()
