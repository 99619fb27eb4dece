"""What environments demand, over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi.testclient import TestClient

from kneo_serv.platform import PlatformManager
from tests.service.doors import HUMAN, STEPS, as_role, refusal

PROD = "/v1/policies/environment/prod"
DEFAULTS = {
    "enabled": True,
    "fail_on_warnings": False,
    "blocked_diagnostic_codes": [],
    "require_human_review": False,
    "require_tool_permissions": False,
    "deny_unrestricted_tools": False,
    "require_guardrails": False,
}


def test_an_environment_without_a_policy_is_told_as_one_that_has_none(client: TestClient) -> None:
    assert client.get(PROD).json() == {"environment": "prod", "policy": None, "previous_policy": None}
    assert client.get("/policies/environment").json() == {"policies": {}, "count": 0}


def test_a_policy_is_replaced_as_a_whole_and_the_previous_one_is_told(client: TestClient) -> None:
    first = client.put(PROD, json={"require_human_review": "yes", "blocked_diagnostic_codes": ["W_X"]})
    assert first.status_code == 200
    strict = {**DEFAULTS, "require_human_review": True, "blocked_diagnostic_codes": ["W_X"]}
    assert first.json() == {"environment": "prod", "policy": strict, "previous_policy": None}
    second = client.put(PROD, json={}).json()
    assert (second["policy"], second["previous_policy"]) == (DEFAULTS, strict)
    assert client.get(PROD).json()["policy"] == DEFAULTS
    assert client.get("/policies/environment").json() == {"policies": {"prod": DEFAULTS}, "count": 1}


def test_a_change_is_audited_with_what_changed(guarded: TestClient) -> None:
    guarded.put(PROD, json={"require_guardrails": True}, headers=as_role("operator"))
    guarded.put(PROD, json={"fail_on_warnings": True}, headers=as_role("admin"))
    asked = guarded.get("/v1/audit-events", params={"event_type": "policy.changed"}, headers=as_role("viewer")).json()
    newest, first = asked["events"]
    assert (newest["actor"], first["actor"], first["run_id"]) == ("admin", "operator", None)
    assert first["metadata"]["changed_fields"] == list(DEFAULTS)
    assert first["metadata"]["surface"] == "environment_policy_enforcement"
    assert newest["metadata"]["changed_fields"] == ["fail_on_warnings", "require_guardrails"]
    assert newest["metadata"]["previous"] == {**DEFAULTS, "require_guardrails": True}
    assert newest["metadata"]["current"] == {**DEFAULTS, "fail_on_warnings": True}


def test_no_change_goes_unseen_when_many_come_at_once(client: TestClient) -> None:
    def put(place: int) -> dict[str, Any]:
        answer: dict[str, Any] = client.put(PROD, json={"blocked_diagnostic_codes": [f"W_{place}"]}).json()
        return answer

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(put, range(24)))
    seen = [answer["previous_policy"]["blocked_diagnostic_codes"][0] for answer in answers if answer["previous_policy"]]
    (last,) = client.get(PROD).json()["policy"]["blocked_diagnostic_codes"]
    assert sorted([*seen, last]) == sorted(f"W_{place}" for place in range(24))


def test_a_preview_tells_what_would_change_and_stores_nothing(client: TestClient, manager: PlatformManager) -> None:
    plain = manager.run_from_spec(input_text="tea", spec=STEPS, environment="prod").run_id
    manager.run_from_spec(input_text="tea", spec=HUMAN, environment="prod")
    manager.run_from_spec(input_text="tea", spec=STEPS, environment="dev")
    first = client.post(f"{PROD}/preview", json={"require_human_review": True})
    assert first.status_code == 200
    wanted = {**DEFAULTS, "require_human_review": True}
    assert first.json() == {
        "environment": "prod",
        "diff": {name: {"from": None, "to": value} for name, value in wanted.items()},
        "affected_run_ids": [plain],
        "newly_blocking": [plain],
        "runs_evaluated": 2,
    }
    assert client.get(PROD).json()["policy"] is None
    client.put(PROD, json={"require_human_review": True})
    again = client.post(f"{PROD}/preview", json={"require_human_review": True, "enabled": "off"}).json()
    assert again["diff"] == {"enabled": {"from": True, "to": False}}
    assert (again["affected_run_ids"], again["newly_blocking"]) == ([], [])
    same = client.post(f"{PROD}/preview", json={"require_human_review": True}).json()
    assert (same["diff"], same["affected_run_ids"], same["newly_blocking"]) == ({}, [plain], [])
    assert manager.count_audit_events(event_type="policy.changed") == 1


def test_the_bounds_of_a_policy_are_told(client: TestClient) -> None:
    assert client.put(f"/v1/policies/environment/{'e' * 128}", json={}).status_code == 200
    assert client.put(f"/v1/policies/environment/{'e' * 129}", json={}).status_code == 422
    refusal(client.get("/v1/policies/environment/a%2Fb"), 404)
    faults = client.put(PROD, json={"blocked_diagnostic_codes": ["c"] * 101}).json()["detail"]
    assert faults[0]["loc"] == ["body", "blocked_diagnostic_codes"]
    faults = client.put(PROD, json={"blocked_diagnostic_codes": ["c" * 4097]}).json()["detail"]
    assert faults[0]["loc"] == ["body", "blocked_diagnostic_codes", 0]
    assert client.put(PROD, json={"require_humans": True}).json()["detail"][0]["type"] == "extra_forbidden"
    assert client.put(PROD, json={"enabled": "perhaps"}).status_code == 422
    assert refusal(client.get(PROD, params={"limit": 1}), 422)["unknown"] == ["limit"]


def test_who_may_read_policies_may_not_set_them(guarded: TestClient) -> None:
    assert guarded.post(f"{PROD}/preview", json={}, headers=as_role("service")).status_code == 200
    detail = refusal(guarded.put(PROD, json={}, headers=as_role("service")), 403)
    assert detail["required_scope"] == "policies:write"
    refusal(guarded.get(PROD, headers=as_role("reviewer")), 403)
    refusal(guarded.get(PROD), 401)
