"""Forks over HTTP: what they keep and repeat, how they are answered, and that nothing is forked twice."""

import copy
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from kneo_serv.platform import PlatformManager
from kneo_serv.platform.options import PlatformOptions
from tests.service.doors import HUMAN, as_role, door, keys, platform_in, refusal

DONE: Counter[str] = Counter()
"""How often a function did what it does, by its name."""
BROKEN = threading.Event()
OPEN = threading.Event()


def note(text: str) -> str:
    """Does something that counts."""
    DONE["note"] += 1
    return f"{text}!"


def need(text: str) -> str:
    """Fails while something is broken, and waits until it may go on."""
    DONE["need"] += 1
    if BROKEN.is_set():
        raise OSError("disk full")
    assert OPEN.wait(20)
    return f"mended {text}"


NOTING: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "nobody"},
    "workflow": {
        "type": "sequential",
        "name": "noting",
        "steps": [{"id": "note", "kind": "function", "ref": "note"}, {"id": "need", "kind": "function", "ref": "need"}],
    },
    "components": {
        "functions": {
            "note": {"implementation": f"{__name__}.note", "effect": "keyed"},
            "need": {"implementation": f"{__name__}.need", "effect": "idempotent"},
        }
    },
}


@pytest.fixture(autouse=True)
def gate() -> Iterator[None]:
    """Open in and behind every test, so that no thread is left waiting."""
    DONE.clear()
    BROKEN.clear()
    OPEN.set()
    yield
    OPEN.set()


def begun(client: TestClient, spec: dict[str, Any] = NOTING, **asked: Any) -> dict[str, Any]:
    told: dict[str, Any] = client.post("/v1/runs", json={"input": "tea", "spec": spec, **asked}).json()
    return told


def failed(client: TestClient) -> str:
    """A run that failed in its second step, which would work now."""
    BROKEN.set()
    told = begun(client)
    assert told["status"] == "failed"
    BROKEN.clear()
    return str(told["run_id"])


def fork(client: TestClient, run_id: str, key: str | None = None, /, **asked: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(f"/v1/runs/{run_id}/fork", json=asked, headers=headers)


def total(client: TestClient) -> int:
    return int(client.get("/v1/runs").json()["total"])


def test_a_preview_tells_what_is_kept_and_what_may_be_repeated_and_starts_nothing(client: TestClient) -> None:
    run_id = failed(client)
    assert client.get(f"/v1/runs/{run_id}/fork-preview").json()["kept_steps"] == ["note"]
    early = client.get(f"/v1/runs/{run_id}/fork-preview", params={"at_sequence": 1}).json()
    assert early == {
        "run_id": run_id,
        "at_sequence": 1,
        "kept_steps": [],
        "repeated_side_effects": [{"step_id": "note", "kind": "function", "ref": "note", "effect": "keyed"}],
    }
    assert total(client) == 1


def test_a_retry_keeps_what_was_finished_and_is_answered_as_a_run(client: TestClient) -> None:
    run_id = failed(client)
    answer = fork(client, run_id, retry=True)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["status"], told["output_text"]) == ("completed", "mended tea!")
    assert told["forked_from"] == {"run_id": run_id, "at_sequence": 2}
    assert told["run_id"] != run_id
    assert DONE == {"note": 1, "need": 2}
    assert client.get(f"/v1/runs/{told['run_id']}").json()["parent_run_id"] == run_id
    assert client.get(f"/v1/runs/{run_id}").json()["status"] == "failed"


def test_side_effects_are_repeated_with_consent_only_and_listed_where_it_is_missing(client: TestClient) -> None:
    run_id = failed(client)
    detail = refusal(fork(client, run_id, "k", at_sequence=1, input="coffee"), 409)
    assert detail["error"] == "fork_consent_required"
    assert (detail["run_id"], detail["at_sequence"]) == (run_id, 1)
    assert [effect["step_id"] for effect in detail["repeated_side_effects"]] == ["note"]
    assert (total(client), DONE["note"]) == (1, 1)
    # Who agrees then may send the same key: it stands for nothing yet.
    agreed = fork(client, run_id, "k", at_sequence=1, input="coffee", accept_side_effects=True)
    assert agreed.json()["output_text"] == "mended coffee!"
    assert DONE["note"] == 2


def test_an_answer_in_the_fork_leaves_the_question_of_its_parent_open(client: TestClient) -> None:
    parent = begun(client, HUMAN)
    request = parent["metadata"]["request"]["id"]
    answer = {"request_id": request, "decision": "edited", "content": "by hand"}
    told = fork(client, parent["run_id"], answer=answer, accept_side_effects=True)
    assert (told.status_code, told.json()["output_text"]) == (200, "BY HAND")
    decided = client.get("/v1/audit-events", params={"event_type": "human.decision"}).json()["events"]
    assert [event["run_id"] for event in decided] == [told.json()["run_id"]]
    assert client.get(f"/v1/human-tasks/{parent['continuation_id']}").status_code == 200
    asked_anew = fork(client, parent["run_id"])
    assert (asked_anew.status_code, asked_anew.json()["status"]) == (202, "paused")
    assert asked_anew.json()["continuation_id"] != parent["continuation_id"]
    wrong = fork(client, parent["run_id"], answer={**answer, "request_id": "req_other"})
    assert refusal(wrong, 409)["error"] == "request_id_mismatch"
    unfit = fork(client, parent["run_id"], answer={"decision": "selected", "selected_option": "one"})
    assert refusal(unfit, 422)["error"] == "decision_not_allowed"


@pytest.mark.parametrize("spec", [NOTING, HUMAN], ids=["ends", "waits"])
def test_a_fork_that_is_sent_again_is_made_once_and_answered_as_then(client: TestClient, spec: dict[str, Any]) -> None:
    run_id = begun(client, spec)["run_id"]
    first, again = (fork(client, run_id, "k", accept_side_effects=True) for _ in range(2))
    assert first.status_code == again.status_code
    assert first.json() == again.json()
    assert total(client) == 2
    other = refusal(fork(client, run_id, "k", accept_side_effects=True, input="other"), 409)
    assert (other["error"], other["scope"]) == ("idempotency_key_conflict", "runs:fork")


def test_an_answered_fork_is_not_taken_for_one_that_waits_when_it_is_sent_again(client: TestClient) -> None:
    run_id = begun(client, HUMAN)["run_id"]
    first, again = (fork(client, run_id, "k", answer={"decision": "approved"}) for _ in range(2))
    assert first.json()["status"] == "completed"
    assert first.json() == again.json()
    assert total(client) == 2


def test_forks_that_come_in_at_once_with_one_key_are_one(client: TestClient) -> None:
    run_id = failed(client)
    answers: list[Any] = []
    OPEN.clear()
    senders = [threading.Thread(target=lambda: answers.append(fork(client, run_id, "k", retry=True))) for _ in range(4)]
    for one in senders:
        one.start()
    OPEN.set()
    for one in senders:
        one.join(20)
    assert {answer.json()["run_id"] for answer in answers} == {answers[0].json()["run_id"]}
    assert total(client) == 2


def test_a_fork_outlives_the_process_that_made_it(tmp_path: Path) -> None:
    answers: list[dict[str, Any]] = []
    for _ in range(2):
        manager = platform_in(tmp_path)
        with door(manager) as client:
            run_id = answers[0]["forked_from"]["run_id"] if answers else begun(client, HUMAN)["run_id"]
            answers.append(fork(client, run_id, "k").json())
        manager.shutdown()
    assert answers[0] == answers[1]


def test_who_does_not_wait_is_told_where_to_follow(client: TestClient) -> None:
    run_id = begun(client)["run_id"]
    OPEN.clear()
    later = fork(client, run_id, at_sequence=2, async_mode=True)
    assert (later.status_code, later.json()["status"]) == (202, "running")
    impatient = fork(client, run_id, "k", at_sequence=2, wait=0).json()
    again = refusal(fork(client, run_id, "k", at_sequence=2, wait=0), 409)
    assert (again["error"], again["scope"]) == ("idempotency_key_in_progress", "runs:fork")
    OPEN.set()
    after = impatient["metadata"]["events_after"]
    kinds = [row["type"] for row in client.get(f"/v1/runs/{impatient['run_id']}/trace").json()["events"]]
    sequences = [row["sequence"] for row in client.get(f"/v1/runs/{impatient['run_id']}/trace").json()["events"]]
    assert kinds[sequences.index(after)] == "workflow_forked"


def test_another_model_is_checked_before_anything_is_made(client: TestClient) -> None:
    run_id = begun(client, HUMAN)["run_id"]
    for model in ({"name": "x"}, {"provider": "nobody", "name": "x"}, {"provider": "dummy", "name": "x", "wings": 2}):
        assert refusal(fork(client, run_id, model=model), 400)["error"] == "invalid_request"
    assert total(client) == 1
    told = fork(client, run_id, model={"provider": "dummy", "name": "other"})
    assert told.status_code == 202


def test_where_only_signed_specs_run_a_fork_keeps_its_model(tmp_path: Path) -> None:
    options = PlatformOptions(require_spec_bundles=False, shutdown_timeout_seconds=5.0)
    first = platform_in(tmp_path, options=options)
    with door(first) as client:
        run_id = begun(client, HUMAN)["run_id"]
    first.shutdown()
    strict = platform_in(tmp_path, options=PlatformOptions(require_spec_bundles=True, shutdown_timeout_seconds=5.0))
    with door(strict) as client:
        detail = refusal(fork(client, run_id, model={"provider": "dummy", "name": "other"}), 400)
        assert "signed" in detail["message"]
        assert fork(client, run_id).status_code == 202
    strict.shutdown()


def test_what_cannot_be_forked_says_why(client: TestClient) -> None:
    run_id = begun(client)["run_id"]
    assert refusal(fork(client, "run_nope"), 404)["error"] == "not_found"
    assert refusal(client.get("/v1/runs/run_nope/fork-preview"), 404)["error"] == "not_found"
    assert refusal(fork(client, run_id, at_sequence=99), 400)["error"] == "invalid_request"
    assert refusal(client.get(f"/v1/runs/{run_id}/fork-preview?at_sequence=99"), 400)["error"] == "invalid_request"
    assert refusal(fork(client, run_id, retry=True), 409)["error"] == "run_state_conflict"
    assert refusal(fork(client, run_id, answer={"decision": "approved"}), 400)["error"] == "invalid_request"
    assert "leave at_sequence out" in refusal(fork(client, run_id, retry=True, at_sequence=1), 400)["message"]
    for asked in (
        {"at_sequence": 0},
        {"wings": 2},
        {"input": "x" * 20_001},
        {"answer": {"decision": "approved", "content": "x" * 20_001}},
        {"answer": {"decision": "perhaps"}},
        {"model": {"extra": "x" * 70_000}},
        {"wait": -1},
    ):
        assert fork(client, run_id, **asked).status_code == 422, asked
    assert client.get(f"/v1/runs/{run_id}/fork-preview?wings=2").status_code == 422
    assert total(client) == 1


def test_a_full_queue_takes_no_forks(tmp_path: Path) -> None:
    options = PlatformOptions(max_queue_depth=1, shutdown_timeout_seconds=5.0)
    manager = platform_in(tmp_path, options=options, workers=False)
    with door(manager) as client:
        run_id = begun(client)["run_id"]
        assert begun(client, async_mode=True)["status"] == "running"
        full = fork(client, run_id)
        assert refusal(full, 503)["error"] == "queue_full"
        assert full.headers["retry-after"] == "5"
    manager.shutdown()


def test_forking_needs_the_scope_and_deciding_for_people_another_one(manager: PlatformManager) -> None:
    with door(manager, keys()) as client:
        client.headers.update(as_role("operator"))
        run_id = begun(client, HUMAN)["run_id"]
        assert fork(client, run_id).status_code == 202
        decided = refusal(fork(client, run_id, answer={"decision": "approved"}), 403)
        assert (decided["error"], decided["required_scope"]) == ("forbidden", "human:write")
        client.headers.update(as_role("service"))
        assert fork(client, run_id, answer={"decision": "approved"}).status_code == 200
        client.headers.update(as_role("viewer"))
        assert client.get(f"/v1/runs/{run_id}/fork-preview").status_code == 200
        assert refusal(fork(client, run_id), 403)["required_scope"] == "runs:write"


def test_a_fork_that_a_guardrail_ends_is_refused_as_its_run_was(client: TestClient) -> None:
    guarded = copy.deepcopy(HUMAN)
    rail = {"id": "no-bombs", "type": "regex", "action": "block", "config": {"patterns": ["bomb"]}}
    guarded["agent"]["guardrails"] = {"output": [rail]}
    run_id = begun(client, guarded)["run_id"]
    detail = refusal(fork(client, run_id, "k", at_sequence=1, input="a bomb"), 422)
    assert detail["error"] == "guardrail_violation"
    assert detail["run_id"] != run_id
    assert refusal(fork(client, run_id, "k", at_sequence=1, input="a bomb"), 422) == detail
    assert total(client) == 2


def test_secrets_are_in_no_answer_about_forks(client: TestClient) -> None:
    key = "sk-abcdefghijklmnopqrstuvwx"
    run_id = begun(client)["run_id"]
    told = fork(client, run_id, at_sequence=1, input=f"with {key}", accept_side_effects=True)
    assert told.json()["status"] == "completed"
    assert key not in told.text
    assert key not in client.get(f"/v1/runs/{told.json()['run_id']}/fork-preview").text
