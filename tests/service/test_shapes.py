"""What is told of a request of the wrong form is bounded, whatever was sent."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.doors import refusal


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/specs/validate", "/v1/human-tasks/x/resume"])
def test_an_object_of_very_many_fields_is_one_fault(client: TestClient, path: str) -> None:
    answer = client.post(path, json={f"k{n}": 1 for n in range(50_000)})
    assert answer.status_code == 422
    assert [one["type"] for one in answer.json()["detail"]] == ["too_many_fields"]


@pytest.mark.parametrize(
    "wrong", [{"tags": [1] * 100_000}, {"overlays": [1] * 100_000}, {"skills": {"add": [0] * 9999}}]
)
def test_of_a_list_of_wrong_items_the_first_one_is_told_of(client: TestClient, wrong: dict[str, Any]) -> None:
    answer = client.post("/v1/runs", json={"input": "x", **wrong})
    assert answer.status_code == 422
    (fault,) = answer.json()["detail"]
    assert fault["loc"][-1] == 0


def test_a_query_of_very_many_parameters_is_told_as_unknown_ones_are(client: TestClient) -> None:
    query = "&".join(f"p{n}=1" for n in range(5_000))
    detail = refusal(client.get(f"/v1/runs?{query}"), 422)
    assert detail["error"] == "unknown_query_parameters"
    assert len(json.dumps(detail)) < 1_000


def test_a_moment_that_is_empty_is_none(client: TestClient) -> None:
    for path in ("/v1/runs", "/v1/audit-events"):
        detail = refusal(client.get(path, params={"created_after": ""}), 422)
        assert (detail["error"], detail["param"]) == ("invalid_timestamp", "created_after")
