"""The quickstart's sections 6 and 7 and the human-in-the-loop walkthrough's 2 to 9, as written, against a real service.

The person of the walkthrough holds one key with the role `service`.
"""

import json
import re
import shutil
import signal
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.server import Server, serving
from tests.acceptance.shell import PATIENCE, Shell
from tests.acceptance.walkthrough import Terminal, commands, sample, section, terminal, variables

SERVE = section("6", "Run as a service")
PROFILE = section("7", "Use a profile for repeated calls")
PAUSE = section("2", "Run the workflow until pause")
INSPECT = section("3", "List and inspect pending tasks")
RESUME = section("4", "Resume with a decision")
AGAIN = section("5", "Idempotent resume")
AUDIT = section("7", "Audit trail")

EXAMPLES = Path(__file__).parents[2] / "examples"
PERSON = {"KNEO_SERV_API_KEYS": "person:persons-key:service", "KNEO_SERV_TIMEKEEPER": "off"}
MARKING = """
from pathlib import Path


def draft(text: str) -> str:
    with Path("drafts").open("a") as file:
        print(text, file=file)
    return f"draft of {text}"


def publish(text: str) -> str:
    if Path("press-is-broken").exists():
        raise RuntimeError("the press is broken")
    return f"published {text}"
"""
PRUNE = """
from kneo_serv.service.factory import create_local_platform_manager

manager = create_local_platform_manager()
print(manager.{call}())
manager.shutdown()
"""


@dataclass(frozen=True)
class Paused:
    """A run that waits, by the ids that the reader copies from its answer."""

    run_id: str
    continuation_id: str
    request_id: str

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "Paused":
        """The ids of an answer."""
        request = answer["metadata"]["pending_human_request"]
        return cls(answer["run_id"], answer["continuation_id"], request["request_id"])

    @property
    def places(self) -> dict[str, str]:
        """What the commands of the text have places for."""
        return {
            "run_id": self.run_id,
            "continuation_id": self.continuation_id,
            "request_id": self.request_id,
        }


def keys(value: Any) -> Any:
    """The keys of an object, and of those within it."""
    return {name: keys(inner) for name, inner in value.items()} if isinstance(value, dict) else None


def has_shape(value: Any, shape: Any) -> bool:
    """Whether a value has all keys that a sample shows, at every level."""
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(name in value and has_shape(value[name], shape[name]) for name in shape)
    return type(value) is type(shape)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with a copy of the examples, which the tests of this file share."""
    folder = tmp_path_factory.mktemp("walkthrough")
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    shell = Shell(folder)
    shell.write("marking.py", MARKING)
    return shell


@pytest.fixture(scope="module")
def service(desk: Shell) -> Iterator[Server]:
    """The service of the human-in-the-loop walkthrough. It leaves time to the reader's own prune calls."""
    with serving(Shell(desk.folder, PERSON)) as server:
        yield server


@pytest.fixture
def typist(desk: Shell, service: Server) -> Terminal:
    """The reader's terminal."""
    return terminal(desk, service.url, {"KNEO_SERV_API_KEY": "persons-key"})


def pause(typist: Terminal) -> Paused:
    """Section 2, with curl."""
    _, post = commands(PAUSE)
    return Paused.of(typist.type(post).json)


def ask(typist: Terminal, method: str, path: str, **body: Any) -> httpx.Response:
    """A request that the text tells of without a command."""
    headers = {"Authorization": "Bearer persons-key"}
    asked = {"json": body} if body else {}
    return httpx.request(method, f"{typist.url}/v1{path}", headers=headers, timeout=PATIENCE, **asked)  # type: ignore[arg-type]


def with_human(*, broken: bool = False, **human: Any) -> dict[str, Any]:
    """A workflow that drafts, asks, and publishes."""
    functions = {name: {"implementation": f"marking.{name}", "effect": "idempotent"} for name in ("draft", "publish")}
    steps = [{"id": name, "kind": "function", "ref": name} for name in functions]
    asking = [] if broken else [{"id": "approve", "kind": "human", "ref": "reviewer"}]
    return {
        "version": "v1",
        "agent": {"name": "idle", "model": {"provider": "dummy", "name": "dummy"}},
        "workflow": {"type": "sequential", "steps": [steps[0], *asking, steps[1]]},
        "components": {"functions": functions, "humans": {"reviewer": {"description": "Good?", **human}}},
    }


def events(typist: Terminal, event_type: str, *run_ids: str) -> list[dict[str, Any]]:
    """What the audit holds of this kind about these runs."""
    (listing,) = commands(AUDIT)
    found = typist.type(listing.replace("human.decision", event_type)).json["events"]
    return [event for event in found if event["run_id"] in run_ids]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """Section 6 of the quickstart: the service in one terminal, the reader in the other."""
    folder = tmp_path_factory.mktemp("quickstart")
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    auth, its_keys, serve, own_key, *_ = commands(SERVE)
    words = serve.replace("8000", "0").split()[3:]
    with serving(Shell(folder, variables(auth, its_keys)), *words) as server:
        yield terminal(Shell(folder), server.url, variables(own_key))


def test_quickstart_6_the_api_is_hit_with_curl(quickstart: Terminal) -> None:
    *_, livez, readyz, _, post = commands(SERVE)
    assert json.loads(quickstart.type(livez).out) == {"ok": True, "metadata": {}}
    ready = quickstart.type(readyz).json
    assert (ready["ok"], ready["metadata"]["ready"]) == (True, True)
    answer = quickstart.type(post).json
    assert (answer["status"], answer["output_text"], answer["human_intervention_required"]) == ("paused", None, True)
    refused = quickstart.type(post.replace("$KNEO_SERV_API_KEY", "another"), code=22)
    assert refused.out == ""


def test_2_the_paused_answer_has_the_shape_that_is_shown(typist: Terminal) -> None:
    _, post = commands(PAUSE)
    answer = typist.type(post).json
    shown = sample(PAUSE)
    assert has_shape(answer, shown), (keys(answer), keys(shown))
    for name in ("status", "output_text", "human_intervention_required"):
        assert answer[name] == shown[name]
    for found, like in (
        (answer["run_id"], shown["run_id"]),
        (answer["continuation_id"], shown["continuation_id"]),
        (answer["metadata"]["pending_human_request"]["request_id"], "req_…"),
    ):
        begins = like.rstrip("…")
        pattern = re.sub(r"\d", r"\\d", re.escape(begins))
        assert re.match(pattern, found), (found, like)
    with_status = ask(typist, "POST", "/runs", input="x", spec_path="examples/human_approval_workflow.yaml")
    assert with_status.status_code == 202


def test_3_pending_tasks_are_listed_and_inspected(typist: Terminal) -> None:
    task = pause(typist)
    other = pause(typist)
    listing, reading = commands(INSPECT)
    listed = typist.type(listing, task.places).json
    assert [row["id"] for row in listed["tasks"]] == [task.continuation_id]
    assert listed["tasks"][0]["pending_human_request"]["prompt"] == "Please approve or edit the draft report."
    assert isinstance(listed["tasks"][0]["expires_at"], float)
    everything = {row["id"] for row in ask(typist, "GET", "/human-tasks").json()["tasks"]}
    assert {task.continuation_id, other.continuation_id} <= everything
    read = typist.type(reading, task.places).json
    assert read["request"]["request_id"] == task.request_id
    assert read["request"]["context"]["input_text"] == "Draft report for: draft the launch announcement"
    assert (read["request"]["timeout_seconds"], read["request"]["on_timeout"]) == (86400, "escalate")


def test_4_the_task_is_resumed_with_structured_content(typist: Terminal) -> None:
    task = pause(typist)
    (post,) = commands(RESUME)
    answer = typist.type(post, task.places).json
    assert (answer["run_id"], answer["status"]) == (task.run_id, "completed")
    assert answer["output_text"] == "Published: Draft report for: draft the launch announcement"
    typist.type(post, task.places, code=22)
    gone = ask(
        typist, "POST", f"/human-tasks/{task.continuation_id}/resume", request_id=task.request_id, decision="approved"
    )
    assert (gone.status_code, gone.json()["detail"]["error"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("request_type", "answer", "output"),
    [
        ("approval", {"decision": "approved"}, "published draft of it"),
        ("approval", {"decision": "rejected"}, "published Rejected by human reviewer"),
        ("approval", {"decision": "edited", "content": "better"}, "published better"),
        ("selection", {"decision": "selected", "selected_option": "blue"}, "published blue"),
        ("freeform", {"decision": "provided", "content": "mine"}, "published mine"),
    ],
)
def test_4_each_of_the_five_decisions_does_what_it_says(
    typist: Terminal, request_type: str, answer: dict[str, str], output: str
) -> None:
    spec = with_human(request_type=request_type, options=["red", "blue"])
    task = Paused.of(ask(typist, "POST", "/runs", input="it", spec=spec).json())
    done = ask(typist, "POST", f"/human-tasks/{task.continuation_id}/resume", request_id=task.request_id, **answer)
    assert (done.status_code, done.json()["status"]) == (200, "completed")
    assert done.json()["output_text"].startswith(output)


def test_5_the_same_key_with_the_same_body_replays_and_with_another_is_a_conflict(typist: Terminal) -> None:
    task = pause(typist)
    (post,), (keyed,) = commands(RESUME), commands(AGAIN)
    body = post.split("-d ")[1]
    # The reader keeps the key, as whoever sends a request again does.
    filled = keyed.replace("'...'", body).replace("$(uuidgen)", "$KEY")
    once = Terminal(terminal(typist.shell, typist.url, {"KEY": typist.type("uuidgen").out.strip()}).shell, typist.url)
    first = once.type(filled, task.places).json
    assert first["status"] == "completed"
    assert once.type(filled, task.places).json == first
    other = filled.replace("Looks good. Ship it.", "Looks bad.")
    once.type(other, task.places, code=22)
    told = once.type(other.replace("curl -sf", "curl -s"), task.places).json["detail"]
    assert told["error"] == "idempotency_key_conflict"
    fresh = pause(typist)
    assert typist.type(keyed.replace("'...'", body), fresh.places).json["status"] == "completed"
    assert len(events(typist, "human.decision", task.run_id, fresh.run_id)) == 2


def test_6_of_two_who_resume_at_once_one_succeeds(typist: Terminal) -> None:
    task = pause(typist)
    (post,) = commands(RESUME)
    told = post.replace("curl -sf", "curl -s")
    with ThreadPoolExecutor(4) as callers:
        answers = [one.json for one in callers.map(lambda _: typist.type(told, task.places), range(4))]
    won = [answer for answer in answers if answer.get("status") == "completed"]
    assert len(won) == 1
    lost = {answer["detail"]["error"] for answer in answers if "detail" in answer}
    assert lost <= {"resource_locked", "not_found"}
    assert len(events(typist, "human.decision", task.run_id)) == 1


def test_7_the_decision_is_in_the_audit_without_its_content(typist: Terminal) -> None:
    task = pause(typist)
    (post,) = commands(RESUME)
    typist.type(post, task.places)
    (event,) = events(typist, "human.decision", task.run_id)
    assert event["continuation_id"] == task.continuation_id
    assert event["actor"] == "person"
    told = event["metadata"]
    assert (told["request_id"], told["decision"], told["selected_option"]) == (task.request_id, "approved", None)
    assert told["has_content"] is True
    assert told["status"]
    assert "Ship it" not in json.dumps(event)


@pytest.mark.crash
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_8_the_task_survives_a_restart_and_finished_steps_are_not_done_again(shell: Shell, how: signal.Signals) -> None:
    shell.write("marking.py", MARKING)
    its = Shell(shell.folder, PERSON)
    own = {"KNEO_SERV_API_KEY": "persons-key"}
    with serving(its) as server:
        before = terminal(shell, server.url, own)
        task = Paused.of(ask(before, "POST", "/runs", input="it", spec=with_human()).json())
        listed = ask(before, "GET", "/human-tasks").json()["tasks"]
        server.stop(how)
    with serving(its) as server:
        after = terminal(shell, server.url, own)
        assert ask(after, "GET", "/human-tasks").json()["tasks"] == listed
        assert [row["id"] for row in listed] == [task.continuation_id]
        (post,) = commands(RESUME)
        answer = after.type(post, task.places).json
        assert (answer["status"], answer["output_text"]) == ("completed", "published draft of it")
    assert (shell.folder / "drafts").read_text().split() == ["it"]


def test_8_a_run_without_people_is_continued_where_recovery_says_so(typist: Terminal) -> None:
    folder = typist.shell.folder
    (folder / "press-is-broken").touch()
    run = ask(typist, "POST", "/runs", input="recovered", spec=with_human(broken=True)).json()
    assert run["status"] == "failed"
    recovery = ask(typist, "GET", f"/runs/{run['run_id']}/recovery").json()
    assert recovery["replay_context"]["can_continue"] is True
    assert recovery["replay_context"]["completed_steps"] == ["draft"]
    (folder / "press-is-broken").unlink()
    done = ask(typist, "POST", f"/runs/{run['run_id']}/continue")
    assert (done.status_code, done.json()["status"]) == (200, "completed")
    assert done.json()["output_text"] == "published draft of recovered"
    assert (folder / "drafts").read_text().split().count("recovered") == 1


def test_9_a_prune_does_with_late_tasks_what_each_of_them_says(typist: Terminal) -> None:
    late = {
        policy: Paused.of(
            ask(
                typist, "POST", "/runs", input=policy,
                spec=with_human(timeout_seconds=0.01, on_timeout=policy, assignee="the boss"),
            ).json()
        )
        for policy in ("fail", "continue", "escalate")
    }  # fmt: skip
    unhurried = pause(typist)

    def prune(call: str = "prune_expired_human_tasks") -> int:
        return int(typist.shell.python("-c", PRUNE.format(call=call)).out)

    assert prune() == 3
    assert prune() == 0

    def run(policy: str) -> dict[str, Any]:
        found = ask(typist, "GET", f"/runs/{late[policy].run_id}").json()
        assert isinstance(found, dict)
        return found

    assert run("fail")["status"] == "expired"
    assert run("fail")["error"]["type"] == "human_task_expired"
    assert "0.01" in run("fail")["error"]["message"]
    (event,) = events(typist, "human.expired", late["fail"].run_id)
    assert (event["run_id"], event["continuation_id"]) == (late["fail"].run_id, late["fail"].continuation_id)
    assert {"timeout_seconds", "expires_at", "expired_at", "on_timeout"} <= set(event["metadata"])
    assert (event["metadata"]["timeout_seconds"], event["metadata"]["on_timeout"]) == (0.01, "fail")

    assert (run("continue")["status"], run("continue")["output_text"]) == ("completed", "published draft of continue")
    (event,) = events(typist, "human.continued", late["continue"].run_id)
    assert (event["run_id"], event["metadata"]["on_timeout"]) == (late["continue"].run_id, "continue")
    assert events(typist, "human.continue_failed", late["continue"].run_id) == []

    assert run("escalate")["status"] == "blocked"
    (event,) = events(typist, "human.escalated", late["escalate"].run_id)
    assert event["metadata"]["assignee"] == "the boss"
    (row,) = ask(typist, "GET", "/human-tasks?status=escalated").json()["tasks"]
    assert row["id"] == late["escalate"].continuation_id
    request = row["pending_human_request"]
    assert request["escalated_at"] >= request["original_expires_at"]
    path = f"/continuations/{late['escalate'].continuation_id}/resume"
    done = ask(typist, "POST", path, request_id=late["escalate"].request_id, decision="approved")
    assert (done.status_code, done.json()["status"]) == (200, "completed")
    still_open = {task["id"] for task in ask(typist, "GET", "/human-tasks").json()["tasks"]}
    assert unhurried.continuation_id in still_open
    assert not still_open & {task.continuation_id for task in late.values()}


def test_the_profile_of_section_7_is_kept_to_its_owner(quickstart: Terminal) -> None:
    keep, use, run, listing = commands(PROFILE)
    told = quickstart.type(keep)
    told_too = quickstart.type(use)
    assert "operator-token" not in told.out + told.err + told_too.out + told_too.err
    file = quickstart.shell.folder / ".kneo_serv" / "profiles.json"
    assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600
    ran = quickstart.type(run)
    continuation = re.search(r"cont_[\w-]+", ran.out + ran.err)
    assert continuation is not None
    assert continuation[0] in quickstart.type(listing).out


def test_quickstart_6_the_command_line_submits_a_run_to_the_service(quickstart: Terminal) -> None:
    *_, run, _ = commands(SERVE)
    answer = quickstart.type(run).json
    assert (answer["status"], answer["human_intervention_required"]) == ("paused", True)
    headers = {"Authorization": "Bearer operator-token"}
    kept = httpx.get(f"{quickstart.url}/v1/runs/{answer['run_id']}", headers=headers, timeout=PATIENCE).json()
    assert (kept["status"], kept["input_text"]) == ("blocked", "hello")


def test_2_the_command_line_pauses_as_shown(typist: Terminal) -> None:
    command, _ = commands(PAUSE)
    assert has_shape(typist.type(command).json, sample(PAUSE))
