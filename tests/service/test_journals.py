"""A look into the journals over HTTP: what is wrong is found, for whom it belongs to, and without secrets."""

import asyncio
import sqlite3
from pathlib import Path

from fastapi.testclient import TestClient

from kneo_serv.model.ids import RunId
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.platform import Platform
from kneo_serv.platform.submission import Submission
from kneo_serv.service.auth import AuthConfig
from tests.service.doors import STEPS, as_role, door, keys, platform_in, refusal

PATH = "/v1/journals/findings"
SECRET = "sk-abcdefghijklmnopqrstuvwx"


def done(manager: PlatformManager, *, tenant: str | None = None) -> str:
    plan = manager.compile_spec(spec=STEPS).plan

    async def begin(platform: Platform) -> RunId:
        record = await platform.start(Submission(plan, "tea", tenant=tenant), hold=True)
        await platform.run_to_rest(record.id, patience=30)
        return record.id

    return asyncio.run(manager.reach(begin))


def harm(folder: Path, change: str) -> None:
    with sqlite3.connect(folder / "runs.sqlite") as database:
        database.execute(change)
    database.close()


def test_sound_journals_have_no_findings(client: TestClient, manager: PlatformManager) -> None:
    assert client.get(PATH).json() == {"findings": [], "count": 0, "checked": 0, "next_cursor": None}
    done(manager)
    assert client.get(PATH).json() == {"findings": [], "count": 0, "checked": 1, "next_cursor": None}


def test_what_is_wrong_is_told_as_the_doctor_tells_it_and_without_secrets(
    client: TestClient, manager: PlatformManager, tmp_path: Path
) -> None:
    run_id = done(manager)
    harm(tmp_path, f"UPDATE run_outputs SET output_text = '{SECRET}'")
    harm(tmp_path, "UPDATE runs SET requests = 7")
    told = client.get(PATH).json()
    here = manager.check_journals()
    assert [(one["run_id"], one["code"]) for one in told["findings"]] == [(run_id, "projection")] * 2
    assert SECRET in here[0].message
    assert SECRET not in str(told)
    assert told["findings"][1]["message"] == here[1].message
    assert told["count"] == 2


def test_many_journals_are_looked_through_in_parts(
    client: TestClient, manager: PlatformManager, tmp_path: Path
) -> None:
    ids = {done(manager) for _ in range(3)}
    harm(tmp_path, "UPDATE runs SET requests = 7")
    cursor, found = None, []
    for checked in (1, 1, 1, 0):
        part = client.get(PATH, params={"limit": 1} | ({"cursor": cursor} if cursor else {})).json()
        assert part["checked"] == checked
        found += [one["run_id"] for one in part["findings"]]
        cursor = part["next_cursor"]
    assert cursor is None
    assert len(found) == 3
    assert set(found) == ids
    assert refusal(client.get(PATH, params={"cursor": "nonsense"}), 400)["error"] == "invalid_request"
    assert client.get(PATH, params={"limit": 1001}).status_code == 422


def test_a_caller_of_a_tenant_hears_of_the_runs_of_that_tenant_alone(tmp_path: Path) -> None:
    config = AuthConfig.from_plaintext_keys(
        [("north", "north-key", ["viewer", "tenant=north"]), ("all", "all-key", ["viewer"])]
    )
    manager = platform_in(tmp_path)
    mine, theirs = done(manager, tenant="north"), done(manager, tenant="south")
    harm(tmp_path, "UPDATE runs SET requests = 7")
    with door(manager, config) as client:
        told = client.get(PATH, headers={"Authorization": "Bearer north-key"}).json()
        assert ([one["run_id"] for one in told["findings"]], told["checked"]) == ([mine], 1)
        told = client.get(PATH, headers={"Authorization": "Bearer all-key"}).json()
        assert {one["run_id"] for one in told["findings"]} == {mine, theirs}
    manager.shutdown()


def test_looking_needs_the_scope_of_the_audit(manager: PlatformManager) -> None:
    listed = AuthConfig.from_env({"KNEO_SERV_API_KEYS": "reader:reader-token:runs:read"})
    with door(manager, listed) as client:
        refused = client.get(PATH, headers={"Authorization": "Bearer reader-token"})
        assert refusal(refused, 403)["required_scope"] == "audit:read"
    with door(manager, keys()) as client:
        assert client.get(PATH, headers=as_role("viewer")).status_code == 200
