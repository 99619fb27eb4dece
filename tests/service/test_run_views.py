"""What can be seen of a run: trace, checkpoints, differences, graph, recovery, replay, policies."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.doors import AGENT, FAILING, HUMAN, STEPS, refusal

GRAPH: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "echo", "model": {"provider": "dummy", "name": "dummy"}},
    "workflow": {
        "type": "graph",
        "name": "drawn",
        "start": "answer",
        "nodes": {
            "answer": {"id": "answer", "kind": "agent", "ref": "echo"},
            "loud": {"id": "loud", "kind": "function", "ref": "shout"},
        },
        "edges": [{"from": "answer", "to": "loud", "condition": {"type": "always"}}],
    },
    "components": {"functions": {"shout": {"implementation": "tests.service.doors.shout"}}},
}
CONCURRENT: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "echo", "model": {"provider": "dummy", "name": "dummy"}},
    "components": {"agents": {"b": {"name": "b", "model": {"provider": "dummy", "name": "dummy"}}}},
    "workflow": {
        "type": "concurrent",
        "name": "beside",
        "participants": [{"id": "a", "kind": "agent", "ref": "echo"}, {"id": "b", "kind": "agent", "ref": "b"}],
    },
}


def run(client: TestClient, spec: dict[str, Any]) -> str:
    answer = client.post("/v1/runs", json={"input": "hello", "spec": spec})
    assert answer.status_code in (200, 202), answer.text
    return str(answer.json()["run_id"])


def get(client: TestClient, path: str, **params: Any) -> dict[str, Any]:
    answer = client.get(f"/v1/runs/{path}", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_trace_is_paged_filtered_and_sorted(client: TestClient) -> None:
    run_id = run(client, STEPS)
    whole = get(client, f"{run_id}/trace")
    assert (whole["complete"], whole["dropped"], whole["sort_by"], whole["sort_order"]) == (
        True, 0, "timestamp", "asc",
    )  # fmt: skip
    assert whole["events"][0]["type"] == "workflow_started"
    assert whole["events"][-1]["type"] == "workflow_completed"
    assert get(client, run_id)["trace_event_count"] == whole["total"] == whole["count"]
    paged = [get(client, f"{run_id}/trace", limit=1, offset=place)["events"][0] for place in range(whole["total"])]
    assert paged == whole["events"]
    steps = get(client, f"{run_id}/trace", event_type="step_completed")
    assert (steps["total"], {event["type"] for event in steps["events"]}) == (2, {"step_completed"})
    assert get(client, f"{run_id}/trace", event_type="nonsense")["events"] == []
    backwards = get(client, f"{run_id}/trace", sort_order="desc")["events"]
    assert backwards[0]["timestamp"] == whole["events"][-1]["timestamp"]


def test_a_failed_run_tells_so_in_its_trace(client: TestClient) -> None:
    types = [event["type"] for event in get(client, f"{run(client, FAILING)}/trace")["events"]]
    assert types[-1] == "workflow_failed"


def test_checkpoints_count_without_gaps_and_can_be_filtered(client: TestClient) -> None:
    run_id = run(client, HUMAN)
    whole = get(client, f"{run_id}/checkpoints")
    assert [one["sequence"] for one in whole["checkpoints"]] == [1, 2, 3]
    assert [one["type"] for one in whole["checkpoints"]] == ["run_started", "step_completed", "human_pause"]
    pause = get(client, f"{run_id}/checkpoints", type="human_pause")
    assert pause["total"] == 1
    assert pause["checkpoints"][0]["step_id"] == "approve"
    assert get(client, f"{run_id}/checkpoints", sort_order="desc", limit=1)["checkpoints"][0]["sequence"] == 3


def test_the_difference_of_two_checkpoints_names_paths(client: TestClient) -> None:
    run_id = run(client, HUMAN)
    told = get(client, f"{run_id}/checkpoints/diff")
    assert (told["from_checkpoint"]["sequence"], told["to_checkpoint"]["sequence"]) == (2, 3)
    assert {"path": "state.status", "before": "running", "after": "blocked"} in told["changed"]
    other = get(client, f"{run_id}/checkpoints/diff", from_sequence=1, to_sequence=3)
    assert other["from_checkpoint"]["sequence"] == 1
    path = f"/v1/runs/{run_id}/checkpoints/diff"
    for params in ({"to_sequence": 9}, {"from_sequence": 2, "to_sequence": 2}):
        assert refusal(client.get(path, params=params), 400)["error"] == "invalid_request"
    assert client.get(path, params={"from_sequence": 0}).status_code == 422


def test_the_graph_of_a_run_shows_where_it_stands(client: TestClient) -> None:
    paused = get(client, f"{run(client, HUMAN)}/graph")
    assert (paused["status"], paused["current"], paused["visited"]) == ("blocked", "approve", ["answer"])
    assert [node["kind"] for node in paused["nodes"]] == ["agent", "human", "function"]
    done = get(client, f"{run(client, GRAPH)}/graph")
    assert (done["workflow_kind"], done["current"], done["visited"]) == ("graph", None, ["answer", "loud"])
    assert done["edges"][0]["conditional"] is False


def test_a_run_that_cannot_be_drawn_has_an_empty_graph(client: TestClient) -> None:
    alone = get(client, f"{run(client, AGENT)}/graph")
    assert (alone["workflow_name"], alone["nodes"], alone["edges"]) == (None, [], [])
    beside = get(client, f"{run(client, CONCURRENT)}/graph")
    assert (beside["workflow_name"], beside["workflow_kind"], beside["nodes"]) == ("beside", None, [])
    assert beside["view"]["workflow_kind"] == "concurrent"


def test_recovery_says_from_where_a_failed_run_would_go_on(client: TestClient) -> None:
    failed = get(client, f"{run(client, FAILING)}/recovery")
    assert failed["error"]["type"] == "ValueError"
    assert failed["replay_context"]["can_continue"] is True
    waiting = get(client, f"{run(client, HUMAN)}/recovery")
    assert waiting["replay_context"]["can_continue"] is False
    assert waiting["pending_human_request"]["prompt"] == "Is it good?"


def test_a_replay_executes_nothing(client: TestClient) -> None:
    run_id = run(client, STEPS)
    told = get(client, f"{run_id}/replay")
    assert [item["type"] for item in told["timeline"]] == [
        "run_started", "step_completed", "step_completed", "run_completed",
    ]  # fmt: skip
    assert told["checkpoint_count"] == 4
    assert client.get("/v1/runs").json()["total"] == 1


def test_the_policy_report_of_a_run_is_that_of_its_spec(client: TestClient) -> None:
    told = get(client, f"{run(client, HUMAN)}/policy-report")
    assert told["valid"] is True
    assert told["report"]["summary"]["human_review_step_count"] == 1


@pytest.mark.parametrize("path", ["graph", "recovery", "replay", "policy-report"])
def test_views_take_no_parameters(client: TestClient, path: str) -> None:
    answer = client.get(f"/v1/runs/{run(client, AGENT)}/{path}", params={"limit": 1})
    assert refusal(answer, 422)["unknown"] == ["limit"]
