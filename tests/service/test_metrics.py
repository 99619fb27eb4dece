import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from kneo_serv.model.task import HumanResponse
from kneo_serv.platform import PlatformManager
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.service.state import Service
from kneo_serv.testing.scripted_openai import ScriptedOpenAI, text
from tests.service.doors import AGENT, FAILING, HUMAN, STEPS, door, platform_in

CONTRACT = {
    *("kneo_runs_started_total", "kneo_runs_completed_total", "kneo_runs_failed_total"),
    *("kneo_runs_dead_lettered_total", "kneo_runs_rejected_total", "kneo_tokens_input_total"),
    *("kneo_tokens_output_total", "kneo_tokens_total", "kneo_runs_queued", "kneo_runs_running", "kneo_worker_count"),
}


def numbers(client: TestClient) -> dict[str, float]:
    """All samples; labels stand behind the name."""
    text = client.get("/metrics").text
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def until(client: TestClient, name: str, value: float) -> dict[str, float]:
    """The numbers, once this one has this value."""
    patience = time.monotonic() + 30
    while (seen := numbers(client)).get(name) != value and time.monotonic() < patience:
        pass
    if seen.get(name) == value:
        return seen
    raise AssertionError(f"{name} is {seen.get(name)}, not {value}")


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[PlatformManager]:
    """A platform without a worker: what is handed in waits."""
    made = platform_in(tmp_path, workers=False)
    yield made
    made.shutdown()


def test_the_names_of_the_contract_are_there_without_labels(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert set(numbers(client)) >= CONTRACT
    assert "_created" not in answer.text
    for name in CONTRACT:
        kind = "counter" if name.endswith("_total") else "gauge"
        assert f"# TYPE {name} {kind}\n" in answer.text


def test_runs_of_the_workers_are_counted_with_their_tokens_and_their_time(
    manager: PlatformManager, client: TestClient
) -> None:
    manager.start_run_from_spec(spec=STEPS, input_text="hello", target="workflow")
    manager.run_from_spec(spec=AGENT, input_text="hello", target="agent")
    manager.run_from_spec(spec=FAILING, input_text="hello", target="workflow")
    seen = until(client, "kneo_runs_completed_total", 2)
    assert seen["kneo_runs_started_total"] == 3
    assert seen["kneo_runs_failed_total"] == 1
    assert seen["kneo_runs_dead_lettered_total"] == 0
    assert seen["kneo_runs_ended_total status=failed"] == 1
    assert seen["kneo_run_duration_seconds_count status=completed"] == 2


def test_tokens_are_counted_as_the_provider_counts_them(
    manager: PlatformManager, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedOpenAI([text("hi", input_tokens=30, output_tokens=4)] * 2) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        spec = {"version": "v1", "agent": {"name": "asks", "model": {"provider": "openai", "name": "gpt-4o-mini"}}}
        for _ in range(2):
            run = manager.run_from_spec(spec=spec, input_text="hello", target="agent")
            assert run.status == "completed", run
    seen = numbers(client)
    assert seen["kneo_tokens_input_total"] == 60
    assert seen["kneo_tokens_output_total"] == 8
    assert seen["kneo_tokens_total"] == 68


def test_a_cancelled_run_has_ended_and_has_not_failed(manager: PlatformManager, client: TestClient) -> None:
    run = manager.run_from_spec(spec=HUMAN, input_text="hello", target="workflow")
    assert run.run_id is not None
    manager.cancel_run(run.run_id)
    seen = numbers(client)
    assert seen["kneo_runs_ended_total status=cancelled"] == 1
    assert seen["kneo_runs_failed_total"] == 0


def test_what_waits_is_shown_with_its_age(idle: PlatformManager) -> None:
    with door(idle) as client:
        empty = numbers(client)
        assert (empty["kneo_runs_queued"], empty["kneo_queue_oldest_seconds"]) == (0, 0)
        assert empty["kneo_store_reachable"] == 1
        idle.start_run_from_spec(spec=AGENT, input_text="hello", target="agent")
        idle.run_from_spec(spec=HUMAN, input_text="hello", target="workflow")
        seen = numbers(client)
        assert (seen["kneo_runs_queued"], seen["kneo_human_tasks_open"]) == (1, 1)
        assert seen["kneo_queue_oldest_seconds"] > 0
        assert seen["kneo_human_tasks_oldest_seconds"] > 0


def test_the_time_of_a_decision_is_counted_from_the_question_even_by_another_process(tmp_path: Path) -> None:
    first = platform_in(tmp_path)
    run = first.run_from_spec(spec=HUMAN, input_text="hello", target="workflow")
    first.shutdown()
    assert run.continuation_id is not None
    second = platform_in(tmp_path)
    try:
        with door(second) as client:
            request = second.get_human_task(run.continuation_id)
            assert request is not None
            answer = HumanResponse(request["id"], "approved")
            second.resume_human_task(run.continuation_id, response=answer)
            seen = until(client, "kneo_human_decision_seconds_count", 1)
            assert 0 < seen["kneo_human_decision_seconds_sum"] < 600
            assert seen["kneo_runs_completed_total"] == 1
            assert seen["kneo_runs_started_total"] == 0
    finally:
        second.shutdown()


def test_requests_are_measured_by_route_and_never_by_path(client: TestClient) -> None:
    client.get("/v1/livez")
    for number in range(3):
        client.get(f"/v1/made-up-{number}")
    seen = numbers(client)
    name = "kneo_http_request_duration_seconds_count"
    assert seen[f"{name} method=GET route=/v1/livez status=200"] == 1
    assert seen[f"{name} method=GET route=unknown status=404"] == 3
    assert not [key for key in seen if "made-up" in key]


def test_a_store_that_cannot_be_asked_leaves_the_counters(tmp_path: Path) -> None:
    manager = platform_in(tmp_path)
    with door(manager) as client:
        manager.run_from_spec(spec=AGENT, input_text="hello", target="agent")
        manager.shutdown()
        seen = numbers(client)
        assert seen["kneo_runs_completed_total"] == 1
        assert seen["kneo_store_reachable"] == 0
        assert "kneo_runs_queued" not in seen


def test_two_doors_of_one_platform_count_each_run_once(manager: PlatformManager) -> None:
    with door(manager) as one, door(manager) as other:
        for _ in range(3):
            numbers(one)
        manager.run_from_spec(spec=AGENT, input_text="hello", target="agent")
        assert numbers(one)["kneo_runs_completed_total"] == 1
        assert numbers(other)["kneo_runs_completed_total"] == 1


def test_the_workers_are_as_many_as_may_be_at_work(tmp_path: Path) -> None:
    manager = platform_in(tmp_path, options=PlatformOptions(worker_concurrency=7))
    try:
        with door(manager) as client:
            assert numbers(client)["kneo_worker_count"] == 7
    finally:
        manager.shutdown()


def test_a_run_that_was_refused_is_counted() -> None:
    service = Service()
    service.metrics.rejected()
    assert b"kneo_runs_rejected_total 1.0" in service.metrics.text(None)
