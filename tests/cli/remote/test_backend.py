"""Commands against a service: how runs are waited for, what only one side knows, and what goes wrong between them."""

import contextlib
import copy
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from kneo_serv.service.auth import AuthConfig
from tests.cli.scripted import NOTHING, Says, scripted
from tests.cli.served import service_in
from tests.cli.shell import Shell
from tests.service.doors import FAILING, HUMAN, STEPS

GATE = threading.Event()
ENTERED = threading.Event()
RUN_ID = "run_2026-05-10T12:34:56_4k0Yw3m1TzqJ0b2c5d6e7f"
RUNNING: dict[str, object] = {
    "run_id": RUN_ID, "status": "running", "output_text": None, "human_intervention_required": False,
    "continuation_id": None, "error": None, "metadata": {},
}  # fmt: skip
PROJECT = """\
project: {{name: shop, default_environment: staging}}
service: {{default_url: {url}}}
model_defaults:
  staging: {{provider: dummy, name: house-model}}
specs:
  default_spec: main.json
  overlays: {{staging: [layer.json]}}
environments:
  staging: {{policy_enforcement: {{require_human_review: {review}}}}}
"""


def wait_at_the_gate(text: str) -> str:
    """The text, once the gate is open."""
    ENTERED.set()
    GATE.wait(30)
    return text


@pytest.fixture(autouse=True)
def gate() -> Iterator[None]:
    """Open behind every test, so that no thread is left waiting."""
    GATE.clear()
    ENTERED.clear()
    yield
    GATE.set()


@pytest.fixture
def service(kneo: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A service that commands of this test talk to, whose state is in another folder."""
    for name, spec in {"steps": STEPS, "human": HUMAN, "failing": FAILING}.items():
        kneo.write(f"{name}.json", json.dumps(spec))
    monkeypatch.setenv("KNEO_SERV_CLIENT_RETRY_BACKOFF_SECONDS", "0.001")
    with service_in(kneo.folder / "elsewhere") as url:
        monkeypatch.setenv("KNEO_SERV_URL", url)
        yield url


@contextlib.contextmanager
def forgetful(url: str, *, lost: int) -> Iterator[str]:
    """The address of a proxy that passes everything on, and loses the first answers to POST."""
    left = [lost]

    class Handler(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            answer = httpx2.request(self.command, url + self.path, headers=kept, content=content, timeout=30)
            if self.command == "POST" and left[0] > 0:
                left[0] -= 1
                return
            self.send_response(answer.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = _pass  # noqa: N815 - so the library calls them

        def log_message(self, *words: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_nothing_is_left_in_this_folder(kneo: Shell, service: str) -> None:
    assert kneo("run", "steps.json", "--input", "hello").stdout == "FINAL ANSWER: HELLO\n"
    assert not (kneo.folder / ".kneo").exists()
    assert kneo("runs", "list", "--json").json["total"] == 1
    assert kneo("runs", "list", "--local", "--json").json["total"] == 0


def test_a_run_that_takes_its_time_is_waited_for_and_told_of(kneo: Shell, service: str) -> None:
    spec = copy.deepcopy(STEPS)
    spec["components"]["functions"]["shout"]["implementation"] = f"{__name__}.wait_at_the_gate"
    kneo.write("slow.json", json.dumps(spec))

    def let_pass() -> None:
        # Longer than the second after which the run is told of, from when it is at work.
        if ENTERED.wait(30):
            threading.Timer(3, GATE.set).start()

    opening = threading.Thread(target=let_pass)
    opening.start()
    told = kneo("run", "slow.json", "--input", "hello")
    opening.join()
    assert (told.exit_code, told.stdout) == (0, "Final answer: hello\n")
    run_id = kneo("runs", "list", "--json").json["runs"][0]["run_id"]
    assert told.stderr.splitlines() == [
        "✓ answer",
        f"Run {run_id} is at work at {service}.",
        "✓ loud",
        f"✓ Run {run_id} completed.",
    ]
    assert kneo("runs", "list", "--json").json["total"] == 1


def test_a_run_that_takes_its_time_is_waited_for_in_silence_where_that_is_wanted(kneo: Shell, service: str) -> None:
    human = copy.deepcopy(HUMAN)
    human["components"]["functions"]["shout"]["implementation"] = f"{__name__}.wait_at_the_gate"
    kneo.write("slow.json", json.dumps(human))
    task = kneo("run", "slow.json", "--input", "hello", "--json").json
    opening = threading.Timer(1.5, GATE.set)
    opening.start()
    request = task["metadata"]["pending_human_request"]["request_id"]
    done = kneo("human", "resume", task["continuation_id"], "--request-id", request, "--approve", "--json")
    opening.join()
    assert (done.exit_code, done.stderr) == (0, "")
    assert (done.json["status"], done.json["output_text"]) == ("completed", "Final answer: hello")
    assert "error" not in done.json


@pytest.mark.parametrize("lost", [1, 2])
def test_an_answer_that_is_lost_on_the_way_starts_nothing_twice(kneo: Shell, service: str, lost: int) -> None:
    with forgetful(service, lost=lost) as proxy:
        told = kneo("run", "steps.json", "--input", "hello", "--service-url", proxy, "--json")
    assert (told.exit_code, told.json["status"]) == (0, "completed")
    assert kneo("runs", "list", "--json").json["total"] == 1


def test_a_decision_whose_answer_is_lost_counts_once(kneo: Shell, service: str) -> None:
    task = kneo("run", "human.json", "--input", "hello", "--json").json
    request = task["metadata"]["pending_human_request"]["request_id"]
    with forgetful(service, lost=1) as proxy:
        words = ["human", "resume", task["continuation_id"], "--request-id", request, "--approve"]
        done = kneo(*words, "--service-url", proxy)
    assert (done.exit_code, done.stdout) == (0, "FINAL ANSWER: HELLO\n")
    assert kneo("audit", "list", "--type", "human.decision", "--json").json["total"] == 1


def test_the_key_of_the_environment_makes_a_command_repeatable(
    kneo: Shell, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KNEO_SERV_IDEMPOTENCY_KEY", "order-4711")
    first, again = (kneo("run", "steps.json", "--input", "hello", "--json").json for _ in range(2))
    assert first["run_id"] == again["run_id"]
    other = kneo("run", "steps.json", "--input", "other", "--json")
    assert (other.exit_code, other.json["error"]["code"]) == (1, "idempotency_key_conflict")
    assert kneo("runs", "list", "--json").json["total"] == 1


def test_a_run_that_a_guardrail_ends_is_an_outcome_like_here(kneo: Shell, service: str) -> None:
    spec = copy.deepcopy(STEPS)
    rail = {"id": "no-answers", "type": "regex", "action": "block", "config": {"patterns": ["bomb"]}}
    spec["agent"]["guardrails"] = {"output": [rail]}
    kneo.write("guarded.json", json.dumps(spec))
    there = kneo("run", "guarded.json", "--input", "a bomb", "--json")
    here = kneo("run", "guarded.json", "--input", "a bomb", "--json", "--local")
    assert there.exit_code == here.exit_code == 3
    assert there.json["status"] == here.json["status"] == "failed"
    assert there.json["error"] == here.json["error"]
    assert there.json["error"]["type"] == "guardrail_violation"
    assert there.json["metadata"]["workflow"] == here.json["metadata"]["workflow"]


def test_what_a_project_says_goes_along(kneo: Shell, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KNEO_SERV_URL")
    bare = copy.deepcopy(STEPS)
    del bare["agent"]["model"]
    kneo.write("main.json", json.dumps(bare))
    kneo.write(
        "layer.json", json.dumps({"agent": {"name": "layered"}, "workflow": {"steps": STEPS["workflow"]["steps"][1:]}})
    )
    kneo.write("kneo_serv.yaml", PROJECT.format(url=service, review="false"))
    done = kneo("run", "--input", "hello", "--json").json
    view = kneo("runs", "get", done["run_id"], "--json").json
    assert (view["agent_name"], view["visited_steps"], view["metadata"]["environment"]) == (
        "layered",
        ["loud"],
        "staging",
    )
    told = kneo("spec", "compile", "--json").json["summary"]
    assert (told["root_agent"], told["model"]) == ("layered", "dummy/house-model")
    assert kneo("runs", "list", "--local", "--json").json["total"] == 0


def test_the_projects_own_policy_holds_before_anything_is_sent(
    kneo: Shell, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kneo.write("main.json", json.dumps(STEPS))
    kneo.write("layer.json", "{}")
    kneo.write("kneo_serv.yaml", PROJECT.format(url=service, review="true"))
    refused = kneo("run", "--input", "hello", "--json")
    assert refused.exit_code == 1
    assert refused.json["error"]["code"] == "spec_invalid"
    codes = [item["code"] for item in refused.json["error"]["diagnostics"]]
    assert "E_ENV_POLICY_HUMAN_REVIEW" in codes
    assert kneo("spec", "validate", "--json").json["valid"] is False
    assert kneo("spec", "compile").exit_code == 1
    assert kneo("runs", "list", "--json").json["total"] == 0


def test_the_services_own_policy_is_told_with_its_reasons(kneo: Shell, service: str) -> None:
    policy = {"require_human_review": True}
    assert httpx2.put(f"{service}/v1/policies/environment/dev", json=policy).status_code == 200
    refused = kneo("run", "steps.json", "--input", "hello", "--json")
    assert (refused.exit_code, refused.json["error"]["code"]) == (1, "environment_policy_blocked")
    assert refused.json["error"]["diagnostics"]
    assert kneo("run", "steps.json", "--input", "hello", "--env", "test").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [["run", "steps.json", "--input", "x"], ["spec", "validate", "steps.json"], ["runs", "continue", RUN_ID]],
)
def test_code_of_ones_own_cannot_be_given_to_a_service(kneo: Shell, service: str, words: list[str]) -> None:
    assert "--local" in kneo.usage_error([*words, "--tools", "my.module:register"])


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../runs", "ä ?#", "%2e%2e", "x" * 500])
def test_an_id_that_nothing_has_is_not_found_and_leads_nowhere_else(kneo: Shell, service: str, name: str) -> None:
    for words in (["runs", "get"], ["runs", "trace"], ["runs", "cancel"], ["runs", "retry"], ["human", "get"]):
        told = kneo(*words, "--json", "--", name)
        assert told.exit_code == 1
        assert (told.json["error"]["code"], told.json["error"]["name"]) == ("not_found", name)


def test_both_directions_at_once_are_refused(kneo: Shell, service: str) -> None:
    assert "--local" in kneo.usage_error(["runs", "list", "--local", "--service-url", service])


def test_long_time_lines_are_read_to_their_end(kneo: Shell) -> None:
    full = [{"type": f"t{number}"} for number in range(1000)]
    rest = full[:3]
    with scripted(Says.json({"events": full, "total": 1003}), Says.json({"events": rest, "total": 1003})) as server:
        told = kneo("runs", "trace", RUN_ID, "--json", "--service-url", server.url)
    assert len(told.json["events"]) == 1003
    assert [one.path.partition("?")[2] for one in server.asked] == ["limit=1000&offset=0", "limit=1000&offset=1000"]


def test_a_run_is_not_lost_when_its_service_goes_away(kneo: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNEO_SERV_CLIENT_RETRIES", "0")
    kneo.write("steps.json", json.dumps(STEPS))
    with scripted(Says.json(RUNNING, 202), NOTHING) as server:
        told = kneo("run", "steps.json", "--input", "x", "--service-url", server.url, "--json")
    assert told.exit_code == 1
    assert (told.json["error"]["code"], told.json["error"]["run_id"]) == ("service_unreachable", RUN_ID)
    with scripted(Says.json(RUNNING, 202), NOTHING) as server:
        assert (
            f"kneo runs get {RUN_ID}" in kneo("run", "steps.json", "--input", "x", "--service-url", server.url).stderr
        )


def test_a_run_that_was_put_aside_is_told_and_not_waited_for(kneo: Shell) -> None:
    kneo.write("steps.json", json.dumps(STEPS))
    parked = {**RUNNING, "error": {"type": "run_parked", "message": "its history cannot be read"}}
    with scripted(Says.json(parked, 202)) as server:
        told = kneo("run", "steps.json", "--input", "x", "--service-url", server.url)
        assert len(server.asked) == 1
    assert told.exit_code == 3
    assert f"Run {RUN_ID} was put aside: its history cannot be read" in told.stderr


def test_keys_and_scopes_are_told_by_their_source(kneo: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with service_in(tmp_path / "guarded", guarded=True) as url:
        set_up = ["config", "profile", "set", "team", "--service-url", url, "--api-key"]
        assert kneo(*set_up, "viewer-token").exit_code == 0
        assert kneo("runs", "list").exit_code == 0
        weak = kneo("runs", "cancel", RUN_ID, "--profile", "team")
        assert "✗ Missing required scope: runs:write" in weak.stderr
        assert "profile 'team'" in weak.stderr
        assert kneo(*set_up, "wrong-token").exit_code == 0
        told = kneo("runs", "list", "--json")
        assert told.json["error"]["code"] == "unauthorized"
        assert "profile 'team'" in told.json["error"]["key_source"]
        # The key of a profile goes to nobody else unasked.
        monkeypatch.setenv("KNEO_SERV_API_KEY", "viewer-token")
        assert kneo("runs", "list", "--service-url", url).exit_code == 0
        assert kneo("runs", "list", "--service-url", url, "--profile", "team").exit_code == 1


def test_the_doctor_looks_at_the_service_too(kneo: Shell, tmp_path: Path) -> None:
    listed = "viewer:viewer-token:viewer;reader:reader-token:specs:read"
    with service_in(tmp_path / "guarded", auth=AuthConfig.from_env({"KNEO_SERV_API_KEYS": listed})) as url:
        kneo("config", "profile", "set", "team", "--service-url", url, "--api-key", "viewer-token")
        checks = {check["check"]: check for check in kneo("doctor", "--json").json["checks"]}
        assert checks["service"]["state"] == "ok"
        assert url in checks["service"]["message"]
        kneo("config", "profile", "set", "team", "--service-url", url, "--api-key", "wrong-token")
        assert kneo("doctor").exit_code == 1
        kneo("config", "profile", "set", "team", "--service-url", url, "--api-key", "reader-token")
        weak = kneo("doctor", "--json")
        assert (weak.exit_code, weak.json["checks"][-1]["state"]) == (0, "warn")
    gone = kneo("doctor", "--json")
    assert gone.exit_code == 1
    assert "Connection refused" in gone.json["checks"][-1]["message"]
    assert "service" not in {check["check"] for check in kneo("doctor", "--local", "--json").json["checks"]}
