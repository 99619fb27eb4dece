import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from kneo_serv import __version__
from kneo_serv.errors import StoreError
from kneo_serv.platform import PlatformManager
from kneo_serv.service.readiness import Readiness
from kneo_serv.service.state import Service
from kneo_serv.settings import Settings
from kneo_serv.store.sqlite import SQLiteStore
from tests.service.doors import door, platform_in, refusal

READY = {
    "ok": True,
    "metadata": {
        "ready": True,
        "manager": "PlatformManager",
        "checks": {
            "run_state_store": {"name": "run_state_store", "ok": True},
            "continuation_store": {"name": "continuation_store", "ok": True},
            "queue": {"name": "queue", "ok": True},
            "runtime_registry": {
                "name": "runtime_registry",
                "ok": True,
                "count": 3,
                "names": ["adapter", "bridge", "native"],
            },
            "tool_registry": {
                "name": "tool_registry",
                "ok": True,
                "count": 4,
                "names": ["compress_history", "publish_report", "summarize", "web_search"],
            },
            "providers": {"name": "providers", "ok": True},
            "mcp": {"name": "mcp", "ok": True},
        },
    },
}


class SickStore(SQLiteStore):
    """A database that stops answering, or fails, when told so."""

    hangs = False
    fails = False
    asked = 0

    async def now(self) -> float:
        SickStore.asked += 1
        if self.fails:
            raise StoreError("The database /srv/secret.sqlite is gone.")
        if self.hangs:
            await asyncio.Event().wait()
        return await super().now()


@pytest.fixture
def sick(tmp_path: Path) -> Iterator[tuple[SickStore, PlatformManager]]:
    store = SickStore(tmp_path / "runs.sqlite")
    SickStore.asked = 0
    manager = platform_in(tmp_path, store=store, workers=False)
    yield store, manager
    store.hangs = store.fails = False
    manager.shutdown()


def test_alive_is_said_in_two_words(client: TestClient) -> None:
    assert client.get("/livez").json() == {"ok": True, "metadata": {}}


def test_health_names_service_and_version(client: TestClient) -> None:
    body = client.get("/v1/healthz").json()
    assert body == {
        "ok": True,
        "service": "kneo-serv-platform",
        "version": __version__,
        "metadata": {"status": "healthy"},
    }


def test_ready_names_the_seven_things_that_were_looked_at(client: TestClient) -> None:
    assert client.get("/readyz").json() == READY
    assert list(client.get("/v1/readyz").json()["metadata"]["checks"]) == list(READY["metadata"]["checks"])  # type: ignore[index]


def test_a_database_that_fails_is_named_and_its_reason_is_not(sick: tuple[SickStore, PlatformManager]) -> None:
    store, manager = sick
    with door(manager) as client:
        store.fails = True
        answer = client.get("/readyz")
        detail = refusal(answer, 503)
        assert detail["error"] == "not_ready"
        assert detail["metadata"]["ready"] is False
        checks = detail["metadata"]["checks"]
        assert checks["run_state_store"] == {"name": "run_state_store", "ok": False, "error": "check_failed"}
        assert checks["queue"]["ok"] is True
        assert "secret" not in answer.text
        store.fails = False
        assert client.get("/readyz").status_code == 200


def test_a_database_that_hangs_makes_the_service_unready_within_its_time_and_is_asked_only_once(
    sick: tuple[SickStore, PlatformManager],
) -> None:
    store, manager = sick

    async def look() -> tuple[Any, ...]:
        service = Service(manager=manager)
        readiness = Readiness(service, seconds=0.05)
        store.hangs = True
        began = time.monotonic()
        answers = [await readiness.look() for _ in range(3)]
        took = time.monotonic() - began
        asked = SickStore.asked
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        return answers, took, asked

    answers, took, asked = asyncio.run(look())
    assert [ready for ready, _ in answers] == [False, False, False]
    assert took < 5
    assert asked == 1


def test_a_shut_down_platform_is_not_ready_and_the_process_is_alive(tmp_path: Path) -> None:
    manager = platform_in(tmp_path)
    with door(manager) as client:
        manager.shutdown()
        assert refusal(client.get("/readyz"), 503)["error"] == "not_ready"
        assert client.get("/livez").status_code == 200


def test_keys_that_must_be_there_are_looked_for_and_never_shown(
    manager: PlatformManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "ACME_CORP_API_KEY", "SEARCH_KEY"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings(health_providers=("openai", "acme-corp"), health_mcp_secrets=("SEARCH_KEY",))
    with door(manager, settings=settings) as client:
        checks = refusal(client.get("/readyz"), 503)["metadata"]["checks"]
        missing = {"name": "openai", "env_var": "OPENAI_API_KEY", "present": False, "value": None}
        assert checks["providers"]["items"]["openai"] == missing
        assert checks["providers"]["items"]["acme-corp"]["env_var"] == "ACME_CORP_API_KEY"
        assert (checks["providers"]["ok"], checks["mcp"]["ok"]) == (False, False)
        for name in ("OPENAI_API_KEY", "ACME_CORP_API_KEY", "SEARCH_KEY"):
            monkeypatch.setenv(name, "something-secret")
        answer = client.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["metadata"]["checks"]["mcp"]["items"]["SEARCH_KEY"]["value"] == "[REDACTED]"
        assert "something-secret" not in answer.text


def test_nobody_minds_unknown_parameters_of_a_probe(client: TestClient) -> None:
    assert client.get("/livez?x=1").status_code == 200
    assert client.get("/readyz?x=1").status_code == 200
