"""The audit over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from kneo_serv.platform import PlatformManager
from tests.service.doors import STEPS, as_role, refusal

AUDIT = "/v1/audit-events"


def types(client: TestClient, **query: Any) -> list[str]:
    return [event["event_type"] for event in client.get(AUDIT, params=query).json()["events"]]


def test_the_newest_event_comes_first_and_has_all_its_facts(client: TestClient, manager: PlatformManager) -> None:
    run = manager.run_from_spec(input_text="tea", spec=STEPS, actor="mia", session_id="s-1")
    listed = client.get(AUDIT).json()
    events = listed.pop("events")
    assert listed == {
        "count": 2,
        "total": 2,
        "total_exact": True,
        "window": 10_000,
        "limit": 100,
        "offset": 0,
        "sort_by": "created_at",
        "sort_order": "desc",
        "next_cursor": None,
    }
    assert [event["event_type"] for event in events] == ["run.rested", "run.created"]
    created = events[1]
    assert created.pop("id").startswith("aud_")
    assert datetime.fromisoformat(created.pop("created_at")).utcoffset() == timedelta(0)
    assert created.pop("metadata")["session_id"] == "s-1"
    assert created == {"event_type": "run.created", "run_id": run.run_id, "continuation_id": None, "actor": "mia"}


def test_events_are_filtered_and_the_filters_are_anded(client: TestClient, manager: PlatformManager) -> None:
    first = manager.run_from_spec(input_text="tea", spec=STEPS, actor="mia").run_id
    second = manager.run_from_spec(input_text="tea", spec=STEPS, actor="ben").run_id
    assert types(client, run_id=first) == ["run.rested", "run.created"]
    assert types(client, run_id=second, event_type="run.created") == ["run.created"]
    assert types(client, actor="ben") == ["run.created"]
    assert types(client, actor="ben", run_id=first) == []
    assert types(client, event_type="run.unheard_of") == []
    assert refusal(client.get(AUDIT, params={"type": "x"}), 422)["unknown"] == ["type"]


def test_events_are_bounded_in_time_in_every_form_of_a_moment(client: TestClient, manager: PlatformManager) -> None:
    now = datetime.now(UTC)
    manager.run_from_spec(input_text="tea", spec=STEPS)
    before, after = (now - timedelta(hours=1)), (now + timedelta(hours=1))
    assert len(types(client, created_after=before.isoformat(), created_before=after.isoformat())) == 2
    assert types(client, created_before=before.strftime("%Y-%m-%dT%H:%M:%SZ")) == []
    assert types(client, created_after=after.replace(tzinfo=None).isoformat()) == []
    assert len(types(client, created_after=(now - timedelta(days=2)).date().isoformat())) == 2
    unencoded = f"{AUDIT}?created_after={before.isoformat()}"
    assert client.get(unencoded).json()["count"] == 2
    exact = client.get(AUDIT).json()["events"][0]["created_at"]
    assert "run.rested" in types(client, created_after=exact, created_before=exact)
    for wrong in ("yesterday", "2026-13-01", ""):
        detail = refusal(client.get(AUDIT, params={"created_after": wrong}), 422)
        assert (detail["error"], detail["param"]) == ("invalid_timestamp", "created_after")


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_by_cursor_show_each_event_once_while_others_are_written(
    client: TestClient, manager: PlatformManager, order: str
) -> None:
    for number in range(5):
        manager.record_audit_event(f"test.{number}", metadata={"n": number})
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2, "sort_order": order}
    while True:
        page = client.get(AUDIT, params=query).json()
        seen += [event["event_type"] for event in page["events"] if event["event_type"].startswith("test.")]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
        if order == "desc":
            manager.record_audit_event("later")
    expected = [f"test.{number}" for number in range(5)]
    assert seen == (expected if order == "asc" else expected[::-1])


def test_any_path_sorts_within_the_window_and_what_has_nothing_there_comes_last(
    client: TestClient, manager: PlatformManager
) -> None:
    for value in (2, None, "b", 10, "a"):
        manager.record_audit_event("test", metadata={} if value is None else {"n": value})

    def sorted_by(path: str, order: str) -> list[Any]:
        asked = {"event_type": "test", "sort_by": path, "sort_order": order}
        return [event["metadata"].get("n") for event in client.get(AUDIT, params=asked).json()["events"]]

    assert sorted_by("metadata.n", "asc") == [2, 10, "a", "b", None]
    assert sorted_by("metadata.n", "desc") == ["b", "a", 10, 2, None]
    asked: dict[str, Any] = {
        "event_type": "test",
        "sort_by": "metadata.n",
        "sort_order": "asc",
        "limit": 2,
        "offset": 1,
    }
    assert [event["metadata"]["n"] for event in client.get(AUDIT, params=asked).json()["events"]] == [10, "a"]
    asked["cursor"] = "x"
    assert client.get(AUDIT, params=asked).status_code == 400


def test_the_audit_is_for_those_who_may_read_it(guarded: TestClient) -> None:
    for role in ("viewer", "reviewer", "operator", "service", "admin"):
        assert guarded.get(AUDIT, headers=as_role(role)).status_code == 200
    refusal(guarded.get(AUDIT), 401)
