"""Requests with a key: done once, and answered as the first time, whatever has happened since."""

import copy
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from kneo_serv.model.task import Decision, HumanResponse
from kneo_serv.platform import PlatformManager
from kneo_serv.service.auth import AuthPrincipal
from kneo_serv.service.idempotency import digest, principal_of
from tests.service.doors import AGENT, FAILING, HUMAN, STEPS, as_role, door, keys, platform_in, refusal
from tests.service.test_runs import BROKEN, OPEN, WAITS, ended


@pytest.fixture(autouse=True)
def gate() -> Iterator[None]:
    """Open behind every test, so that no thread is left waiting."""
    OPEN.clear()
    BROKEN.clear()
    yield
    OPEN.set()


def send(client: TestClient, key: str, spec: dict[str, Any], path: str = "/v1/runs", **asked: Any) -> Any:
    return client.post(path, json={"input": "hello", "spec": spec, **asked}, headers={"Idempotency-Key": key})


def total(client: TestClient) -> int:
    return int(client.get("/v1/runs").json()["total"])


@pytest.mark.parametrize(
    ("spec", "asked", "status"),
    [(STEPS, {}, 200), (HUMAN, {}, 202), (FAILING, {}, 200), (STEPS, {"async_mode": True}, 202)],
)
def test_the_same_request_again_gets_the_same_answer(
    client: TestClient, spec: dict[str, Any], asked: dict[str, Any], status: int
) -> None:
    first = send(client, " a-key ", spec, **asked)
    # The default is as good as no word, and the routes at the root are the same routes.
    again = send(client, "a-key", spec, "/runs", target="workflow", **asked)
    assert first.status_code == again.status_code == status
    assert again.json() == first.json()
    assert total(client) == 1


def test_an_answer_stays_what_it_was_though_the_run_goes_on(client: TestClient, manager: PlatformManager) -> None:
    first = send(client, "k", HUMAN).json()
    answer = HumanResponse(request_id=first["metadata"]["request"]["id"], decision=Decision.APPROVED)
    manager.resume_human_task(continuation_id=first["continuation_id"], response=answer)
    assert ended(client, first["run_id"])["status"] == "completed"
    again = send(client, "k", HUMAN)
    assert again.status_code == 202
    assert again.json() == first


def test_a_refusal_is_kept_too(client: TestClient) -> None:
    guarded = copy.deepcopy(AGENT)
    guarded["agent"]["guardrails"] = GUARDRAILS
    first, again = send(client, "k", guarded), send(client, "k", guarded)
    assert refusal(first, 422) == refusal(again, 422)
    assert total(client) == 1


def test_a_request_that_was_refused_before_a_run_was_there_may_be_sent_again(client: TestClient) -> None:
    broken = {**AGENT, "agent": {"name": "x", "nonsense": 1}}
    assert send(client, "k", broken).status_code == 400
    assert send(client, "k", STEPS).status_code == 200


def test_another_request_with_the_key_is_refused(client: TestClient) -> None:
    send(client, "k", STEPS)
    detail = refusal(send(client, "k", STEPS, input="other"), 409)
    assert (detail["error"], detail["scope"]) == ("idempotency_key_conflict", "runs:create")
    assert total(client) == 1


def test_a_key_means_something_for_one_operation_and_one_caller_only(manager: PlatformManager) -> None:
    with door(manager, keys()) as client:
        client.headers.update(as_role("service"))
        ids = {send(client, "k", STEPS).json()["run_id"], send(client, "k", STEPS, "/v1/specs/run").json()["run_id"]}
        client.headers.update(as_role("operator"))
        ids.add(send(client, "k", STEPS).json()["run_id"])
    assert len(ids) == 3


def test_a_key_that_is_too_long_is_refused_and_an_empty_one_is_none(client: TestClient) -> None:
    assert refusal(send(client, "k" * 257, STEPS), 400)["error"] == "invalid_idempotency_key"
    assert send(client, "  ", STEPS).json()["run_id"] != send(client, "  ", STEPS).json()["run_id"]
    assert send(client, "k" * 256, STEPS).status_code == 200


def test_two_clients_with_one_key_get_one_run(client: TestClient) -> None:
    answers: list[Any] = []
    clients = [threading.Thread(target=lambda: answers.append(send(client, "k", WAITS))) for _ in range(4)]
    for one in clients:
        one.start()
    OPEN.set()
    for one in clients:
        one.join(20)
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({json.dumps(answer.json(), sort_keys=True) for answer in answers}) == 1
    assert total(client) == 1


def test_who_waits_for_the_run_of_another_request_is_told_when_patience_ends(client: TestClient) -> None:
    first = send(client, "k", WAITS, wait=0.05)
    assert (first.status_code, first.json()["status"]) == (202, "running")
    second = send(client, "k", WAITS, wait=0.05)
    detail = refusal(second, 409)
    assert (detail["error"], detail["scope"]) == ("idempotency_key_in_progress", "runs:create")
    assert second.headers["retry-after"] == "1"
    OPEN.set()
    ended(client, first.json()["run_id"])
    assert send(client, "k", WAITS, wait=0.05).json()["status"] == "completed"


def test_how_long_somebody_waits_is_no_part_of_the_request(client: TestClient) -> None:
    first, again = send(client, "k", STEPS, wait=20), send(client, "k", STEPS)
    assert again.json() == first.json()
    assert total(client) == 1


def test_continuing_with_a_key_is_done_once(client: TestClient) -> None:
    spec = copy.deepcopy(STEPS)
    spec["components"]["functions"]["shout"]["implementation"] = "tests.service.test_runs.fail_while_broken"
    BROKEN.set()
    run_id = send(client, "k", spec).json()["run_id"]
    BROKEN.clear()
    path, headers = f"/v1/runs/{run_id}/continue", {"Idempotency-Key": "k"}
    first, again = client.post(path, headers=headers), client.post(path, headers=headers)
    assert first.json()["status"] == "completed"
    assert again.json() == first.json()
    # What the creation was answered has not changed by that.
    assert send(client, "k", spec).json()["status"] == "failed"


def test_a_key_outlives_the_process(tmp_path: Path) -> None:
    answers = []
    for _ in range(2):
        manager = platform_in(tmp_path)
        with door(manager) as client:
            answers.append(send(client, "k", HUMAN).json())
        manager.shutdown()
    assert answers[0] == answers[1]


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_keys_of_tenants_never_meet() -> None:
    assert len({principal_of(AuthPrincipal("x", tenant=tenant)) for tenant in (None, "a", "b")}) == 3


GUARDRAILS: dict[str, Any] = {
    "output": [{"id": "no-answers", "type": "regex", "action": "block", "config": {"patterns": ["Final"]}}]
}
