import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from kneo_serv.model.ids import RunId
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.platform import Platform
from kneo_serv.service.auth import AuthConfig
from kneo_serv.settings import Settings
from tests.service.doors import AGENT, STEPS, as_role, door, keys, platform_in, refusal


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[PlatformManager]:
    manager = platform_in(tmp_path, options=PlatformOptions(spec_root=tmp_path, idle_poll_seconds=0.05))
    yield manager
    manager.shutdown()


@pytest.fixture
def client(platform: PlatformManager, tmp_path: Path) -> Iterator[TestClient]:
    with door(platform, settings=Settings(spec_root=tmp_path)) as client:
        yield client


def made(client: TestClient, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/schedules", json={"name": "tea", "cron": "@hourly", "spec": STEPS, **more})
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_a_schedule_lives_its_whole_life_over_http(client: TestClient, platform: PlatformManager) -> None:
    told = made(client, input="good morning", timezone="Europe/Berlin", overlap="queue", tags=["a"])
    assert told["next_due_at"] == told["next_moments"][0]
    assert len(told["next_moments"]) == 5
    assert (told["inline_spec"], told["spec"]["agent"]["name"]) == (True, "echo")
    listed = client.get("/v1/schedules").json()
    assert (listed["count"], listed["total"]) == (1, 1)
    assert listed["schedules"][0]["spec"] is None
    changed = client.patch("/v1/schedules/tea", json={"cron": "0 6 * * *", "input": "tea"}).json()
    assert (changed["cron"], changed["input"], changed["timezone"]) == ("0 6 * * *", "tea", "Europe/Berlin")
    paused = client.post("/v1/schedules/tea/pause").json()
    assert (paused["paused"], paused["next_due_at"]) == (True, None)
    assert client.get("/v1/schedules", params={"paused": False}).json()["total"] == 0
    triggered = client.post("/v1/schedules/tea/trigger")
    assert triggered.status_code == 202
    run_id = triggered.json()["run_id"]
    assert platform.execute_run(run_id).output_text == "FINAL ANSWER: TEA"
    assert client.post("/v1/schedules/tea/resume").json()["paused"] is False
    shown = client.get("/v1/schedules/tea").json()
    assert (shown["last_run_id"], shown["last_outcome"], shown["runs"]) == (run_id, "started", 1)
    assert client.get(f"/v1/runs/{run_id}").json()["metadata"]["schedule"]["name"] == "tea"
    assert client.delete("/v1/schedules/tea").json() == {"name": "tea", "deleted": True}
    refusal(client.get("/v1/schedules/tea"), 404)
    types = {event["event_type"] for event in client.get("/v1/audit-events").json()["events"]}
    words = ("created", "updated", "paused", "triggered", "resumed", "deleted")
    assert {f"schedule.{word}" for word in words} <= types


def test_a_trigger_that_is_sent_again_starts_one_run(client: TestClient, platform: PlatformManager) -> None:
    made(client)
    key = {"Idempotency-Key": "k"}
    first = client.post("/v1/schedules/tea/trigger", headers=key).json()
    assert client.post("/v1/schedules/tea/trigger", headers=key).json() == first
    assert platform.count_runs() == 1
    made(client, name="coffee")
    refusal(client.post("/v1/schedules/coffee/trigger", headers=key), 409)


def test_what_cannot_be_kept_is_refused_with_its_reason(client: TestClient) -> None:
    made(client)
    body = {"name": "b", "cron": "@hourly", "spec": AGENT}
    assert refusal(client.post("/v1/schedules", json={**body, "name": "tea"}), 409)["error"] == "schedule_exists"
    for change, status, error in (
        ({"cron": "* *"}, 400, "invalid_request"),
        ({"timezone": "Mars/Olympus"}, 400, "invalid_request"),
        ({"at": "2020-01-01T00:00:00Z"}, 400, "invalid_request"),
        ({"cron": None, "at": "2020-01-01T00:00:00Z"}, 400, "invalid_request"),
        ({"cron": None, "at": "soon"}, 422, "invalid_timestamp"),
        ({"spec": {"version": "v1"}}, 400, "spec_invalid"),
        ({"spec": None, "spec_path": "nowhere.yaml"}, 400, "invalid_request"),
        ({"spec": None}, 400, "invalid_request"),
    ):
        detail = refusal(client.post("/v1/schedules", json={**body, **change}), status)
        assert detail["error"] == error, (change, detail)
    misshapen: list[dict[str, Any]] = [
        {"name": "a/b"}, {"colour": "red"}, {"overlap": "maybe"}, {"jitter_seconds": -1}, {"input": "x" * 10**5}
    ]  # fmt: skip
    for wrong in misshapen:
        assert client.post("/v1/schedules", json={**body, **wrong}).status_code == 422, wrong
    assert client.get("/v1/schedules").json()["total"] == 1


def test_files_are_found_in_the_folder_for_specs_and_told_by_their_names_there(
    client: TestClient, platform: PlatformManager, tmp_path: Path
) -> None:
    (tmp_path / "specs").mkdir()
    file = tmp_path / "specs" / "a.json"
    file.write_text(json.dumps(STEPS))
    told = made(client, spec=None, spec_path="specs/a.json", overlap="allow")
    assert told["spec_path"] == "specs/a.json"
    run_id = client.post("/v1/schedules/tea/trigger").json()["run_id"]
    assert client.get(f"/v1/runs/{run_id}").json()["metadata"]["spec_path"] == "specs/a.json"
    file.write_text(json.dumps({"version": "v1", "agent": 3}))
    for answer in (
        client.post("/v1/schedules/tea/trigger"),
        client.patch("/v1/schedules/tea", json={"tags": ["x"]}),
    ):
        assert refusal(answer, 400)["error"] == "spec_invalid"
        assert str(tmp_path) not in answer.text
    due = platform.get_schedule("tea").next_due_at
    assert due is not None
    platform.fire_due_schedules(now=due)
    shown = client.get("/v1/schedules/tea")
    assert shown.json()["last_outcome"] == "failed"
    assert str(tmp_path) not in shown.text
    refusal(client.post("/v1/schedules", json={"name": "b", "cron": "@daily", "spec_path": "/etc/passwd"}), 422)


def test_who_may_only_read_makes_no_schedule(platform: PlatformManager) -> None:
    with door(platform, keys()) as client:
        body = {"name": "tea", "cron": "@hourly", "spec": AGENT, "target": "agent"}
        refusal(client.post("/v1/schedules", json=body, headers=as_role("viewer")), 403)
        assert client.post("/v1/schedules", json=body, headers=as_role("operator")).status_code == 201
        assert client.get("/v1/schedules/tea", headers=as_role("viewer")).json()["created_by"] == "operator"
        refusal(client.post("/v1/schedules/tea/trigger", headers=as_role("viewer")), 403)
        refusal(client.delete("/v1/schedules/tea", headers=as_role("reviewer")), 403)


def test_a_schedule_belongs_to_the_tenant_of_who_made_it(platform: PlatformManager) -> None:
    config = AuthConfig.from_plaintext_keys(
        [
            ("north", "north-key", ["service", "tenant=north"]),
            ("south", "south-key", ["service", "tenant=south"]),
            ("all", "all-key", ["admin"]),
        ]
    )

    def by(name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {name}-key"}

    with door(platform, config) as client:
        body = {"name": "tea", "cron": "@hourly", "spec": AGENT}
        for name in ("north", "south"):
            assert client.post("/v1/schedules", json=body, headers=by(name)).json()["tenant"] == name
        refusal(client.get("/v1/schedules/tea", params={"tenant": "south"}, headers=by("north")), 404)
        assert "several tenants" in refusal(client.get("/v1/schedules/tea", headers=by("all")), 400)["message"].lower()
        run_id = client.post("/v1/schedules/tea/trigger", params={"tenant": "south"}, headers=by("all")).json()[
            "run_id"
        ]

        async def owner(platform: Platform) -> str | None:
            return (await platform.record(RunId(run_id))).tenant

        assert asyncio.run(platform.reach(owner)) == "south"
        assert client.get("/v1/schedules", headers=by("all")).json()["total"] == 2
        assert client.delete("/v1/schedules/tea", headers=by("north")).json() == {"name": "tea", "deleted": True}
        assert client.get("/v1/schedules/tea", headers=by("all")).json()["tenant"] == "south"
