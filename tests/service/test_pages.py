"""Lists of runs: sorts, filters, totals, cursors, and rows as small as one likes."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from kneo_serv.errors import KneoError
from kneo_serv.platform import PlatformManager
from kneo_serv.service.auth import AuthConfig
from kneo_serv.service.timestamps import moment_of
from tests.service.doors import AGENT, FAILING, HUMAN, STEPS, door, refusal


@pytest.fixture
def ids(client: TestClient) -> list[str]:
    """Six runs of several sorts, the oldest first."""
    specs = [STEPS, AGENT, FAILING, HUMAN, STEPS, AGENT]
    return [
        client.post("/v1/runs", json={"input": f"text {number}", "spec": spec, "metadata": {"n": number}}).json()[
            "run_id"
        ]
        for number, spec in enumerate(specs)
    ]


def listed(client: TestClient, **params: Any) -> dict[str, Any]:
    answer = client.get("/v1/runs", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def names(page: dict[str, Any]) -> list[str]:
    return [row["id"] for row in page["runs"]]


def test_the_newest_come_first_with_both_ids(client: TestClient, ids: list[str]) -> None:
    page = listed(client, limit=2, offset=1, sort_by="created_at")
    assert names(page) == [ids[4], ids[3]]
    assert all(row["run_id"] == row["id"] for row in page["runs"])
    told = {key: page[key] for key in page if key not in ("runs", "next_cursor")}
    assert told == {
        "count": 2, "total": 6, "total_exact": True, "window": 10_000, "limit": 2, "offset": 1,
        "sort_by": "created_at", "sort_order": "desc",
    }  # fmt: skip


@pytest.mark.parametrize("sort", ["created_at", "updated_at", "status", "workflow_name", "completed_at"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_cursors_lead_through_every_run_once_whatever_is_written_meanwhile(
    client: TestClient, ids: list[str], sort: str, order: str
) -> None:
    found: list[str] = []
    params: dict[str, Any] = {"limit": 2, "sort_by": sort, "sort_order": order}
    whole = names(listed(client, sort_by=sort, sort_order=order))
    while True:
        page = listed(client, **params)
        found += names(page)
        if page["next_cursor"] is None:
            break
        client.post("/v1/runs", json={"input": "new", "spec": STEPS})
        params["cursor"] = page["next_cursor"]
    assert [one for one in found if one in ids] == whole


def test_any_path_sorts_and_what_is_missing_comes_last_both_ways(client: TestClient, ids: list[str]) -> None:
    path = "metadata.caller_metadata.n"
    assert names(listed(client, sort_by=path, sort_order="asc")) == ids
    assert names(listed(client, sort_by=path, sort_order="desc", limit=2)) == [ids[5], ids[4]]
    for order in ("asc", "desc"):
        assert names(listed(client, sort_by="error.type", sort_order=order))[0] == ids[2]
    assert len(names(listed(client, sort_by="no.such.path"))) == 6


def test_filters_hold_together(client: TestClient, ids: list[str]) -> None:
    assert set(names(listed(client, workflow_kind="agent"))) == {ids[1], ids[5]}
    assert set(names(listed(client, workflow_kind="workflow"))) == {ids[0], ids[2], ids[3], ids[4]}
    assert set(names(listed(client, workflow_kind="sequential", status="completed"))) == {ids[0], ids[4]}
    assert names(listed(client, has_error="true")) == [ids[2]]
    assert names(listed(client, q="ANSWER: TEXT 4")) == [ids[4]]
    assert names(listed(client, q="cannot DO")) == [ids[2]]
    assert names(listed(client, q="100%")) == []
    assert listed(client, status="no-such-status")["total"] == 0
    assert listed(client, q="")["total"] == 6


def test_bounds_of_time_are_inclusive(client: TestClient, ids: list[str]) -> None:
    at = client.get(f"/v1/runs/{ids[2]}").json()["created_at"]
    assert set(names(listed(client, created_after=at))) == set(ids[2:])
    assert set(names(listed(client, created_before=at))) == set(ids[:3])
    assert client.get(f"/v1/runs?created_after={at}").status_code == 200
    assert listed(client, created_after="2020-01-01", created_before="2030-01-01T00:00:00Z")["total"] == 6
    detail = refusal(client.get("/v1/runs", params={"created_after": "yesterday"}), 422)
    assert (detail["error"], detail["param"]) == ("invalid_timestamp", "created_after")


def test_a_moment_without_an_offset_is_utc() -> None:
    assert moment_of("x", "1970-01-01") == 0
    assert moment_of("x", "1970-01-01T01:00:00+01:00") == moment_of("x", "1970-01-01T01:00:00 01:00") == 0
    with pytest.raises(KneoError):
        moment_of("x", "0000-00-00")


def test_rows_have_the_fields_that_were_asked_for(client: TestClient, ids: list[str]) -> None:
    rows = listed(client, fields="status, error", limit=1)["runs"]
    assert set(rows[0]) == {"id", "run_id", "status", "error"}
    answer = client.get("/v1/runs", params={"fields": "nonsense"})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "fields"]


def test_light_rows_have_no_texts_and_no_row_has_a_spec(client: TestClient, ids: list[str]) -> None:
    light = listed(client, light=True)["runs"][0]
    assert not {"input_text", "output_text", "tags"} & set(light)
    whole = listed(client)["runs"][0]
    assert whole["output_text"] == "Final answer: text 5"
    assert whole["metadata"]["caller_metadata"] == {"n": 5}
    assert "frozen_spec" not in whole["metadata"]


def test_a_cursor_that_does_not_belong_is_refused(client: TestClient, ids: list[str]) -> None:
    cursor = listed(client, limit=1, sort_by="created_at")["next_cursor"]
    for params in (
        {"cursor": "nonsense"},
        {"cursor": cursor, "sort_by": "updated_at"},
        {"cursor": cursor, "sort_by": "metadata.n"},
    ):
        assert refusal(client.get("/v1/runs", params=params), 400)["error"] == "invalid_request"


def test_an_offset_behind_the_end_gives_an_empty_page(client: TestClient, ids: list[str]) -> None:
    page = listed(client, offset=10_000)
    assert (page["count"], page["total"], page["next_cursor"]) == (0, 6, None)
    assert client.get("/v1/runs", params={"offset": 10_001}).status_code == 422
    assert client.get("/v1/runs", params={"limit": 0}).status_code == 422


def test_runs_of_other_tenants_are_not_there(manager: PlatformManager) -> None:
    auth = AuthConfig.from_plaintext_keys(
        [
            ("one", "one", ["service", "tenant=one"]),
            ("two", "two", ["service", "tenant=two"]),
            ("all", "all", ["admin"]),
        ]
    )
    with door(manager, auth) as client:
        client.headers["X-Kneo-Api-Key"] = "one"
        run_id = client.post("/v1/runs", json={"input": "x", "spec": STEPS}).json()["run_id"]
        assert names(listed(client)) == [run_id]
        client.headers["X-Kneo-Api-Key"] = "two"
        assert listed(client)["total"] == 0
        assert listed(client, sort_by="error.type")["count"] == 0
        for verb, path in [
            ("GET", ""), ("POST", "/cancel"), ("POST", "/continue"), ("GET", "/trace"), ("GET", "/checkpoints"),
            ("GET", "/checkpoints/diff"), ("GET", "/graph"), ("GET", "/recovery"), ("GET", "/replay"),
            ("GET", "/policy-report"),
        ]:  # fmt: skip
            assert client.request(verb, f"/v1/runs/{run_id}{path}").status_code == 404, path
        client.headers["X-Kneo-Api-Key"] = "all"
        assert names(listed(client)) == [run_id]
