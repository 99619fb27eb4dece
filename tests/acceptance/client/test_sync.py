"""The sync client, which has one method for everything, and the profile that both clients start from."""

import logging
import warnings
from pathlib import Path
from typing import Any

import httpx
import kneo_client
import pytest
from kneo_client import KneoClient
from kneo_client.core import (
    ENV_API_KEY,
    ENV_AUTH_SCHEME,
    ENV_PROFILE,
    ENV_TIMEOUT,
    ENV_URL,
    ApiKeyAuth,
    AuthScheme,
    KneoAuthError,
    KneoConflictError,
    KneoIdempotencyMismatchError,
    KneoNetworkError,
    KneoNotFoundError,
    KneoPermissionError,
    KneoRateLimitedError,
    KneoServiceUnavailableError,
    KneoValidationError,
    ProfileError,
    RetryPolicy,
    SyncTransport,
    Transport,
    default_config_path,
    generate_request_id,
    load_profile,
    new_idempotency_key,
)
from kneo_client.types import HumanResumeResponse, HumanTaskResponse, RunCreateResponse, RunStatusResponse

from tests.acceptance.client.served import AGENT, ONCE, profile, sync_caller, workflow
from tests.acceptance.client.test_runs import fresh, known
from tests.acceptance.server import Server
from tests.acceptance.shell import PATIENCE, until


def test_a_person_goes_the_whole_way_with_the_sync_client(server: Server) -> None:
    with sync_caller(server, "service") as transport:
        asked = {"input": "x", "spec": workflow("first", "person", "second", person={}), "target": "workflow"}
        answer = transport.request("POST", "/v1/runs", json=asked)
        assert answer.status_code == 202
        run = RunCreateResponse.from_dict(answer.json())
        request = known(run.metadata)["pending_human_request"]
        listed = transport.request("GET", "/v1/human-tasks", params={"run_id": run.run_id}).json()
        assert [task["id"] for task in listed["tasks"]] == [run.continuation_id]
        path = f"/v1/human-tasks/{run.continuation_id}"
        task = HumanTaskResponse.from_dict(transport.request("GET", path).json())
        assert known(task.request)["context"]["input_text"] == "first x"
        body, key = {"request_id": request["request_id"], "decision": "approved"}, new_idempotency_key()
        first = transport.request("POST", f"{path}/resume", json=body, idempotency_key=key)
        assert first.status_code == 200
        done = HumanResumeResponse.from_dict(first.json())
        assert (done.run_id, done.status, done.output_text) == (run.run_id, "completed", "second first x")
        again = transport.request("POST", f"{path}/resume", json=body, idempotency_key=key)
        assert (again.status_code, again.json()) == (200, first.json())
        alias = f"/v1/continuations/{run.continuation_id}/resume"
        assert transport.request("POST", alias, json=body, idempotency_key=key).json() == first.json()
        kept = RunStatusResponse.from_dict(transport.request("GET", f"/v1/runs/{run.run_id}").json())
        assert (kept.status, kept.visited_steps) == ("completed", ["first", "person", "second"])


def test_every_route_answers_the_sync_client(transport: SyncTransport) -> None:
    run = transport.request("POST", "/v1/runs", json={"input": "x", "spec": workflow("first", "second")}).json()
    spec: dict[str, Any] = {"spec": AGENT}
    environment = fresh("sync")
    routes: list[tuple[str, str, dict[str, Any] | None, str]] = [
        ("GET", "/v1/livez", None, "ok"),
        ("GET", "/v1/healthz", None, "version"),
        ("GET", "/v1/readyz", None, "metadata"),
        ("GET", "/v1/runs", None, "runs"),
        *(("GET", f"/v1/runs/{run['run_id']}{view}", None, key) for view, key in (
            ("", "status"), ("/trace", "events"), ("/checkpoints", "checkpoints"), ("/checkpoints/diff", "changed"),
            ("/graph", "nodes"), ("/replay", "timeline"), ("/recovery", "replay_context"), ("/policy-report", "report"),
        )),
        ("POST", f"/v1/runs/{run['run_id']}/cancel", None, "status"),
        ("GET", "/v1/human-tasks", None, "tasks"),
        ("GET", "/v1/audit-events", None, "events"),
        ("GET", "/v1/skills", None, "skills"),
        ("GET", "/v1/security/credentials", None, "inventory"),
        ("PUT", f"/v1/policies/environment/{environment}", {}, "policy"),
        ("GET", f"/v1/policies/environment/{environment}", None, "policy"),
        ("GET", "/v1/policies/environment", None, "policies"),
        ("POST", f"/v1/policies/environment/{environment}/preview", {"enabled": False}, "diff"),
        ("POST", "/v1/specs/validate", spec, "valid"),
        ("POST", "/v1/specs/compile", spec, "ok"),
        ("POST", "/v1/specs/explain", spec, "summary"),
        ("POST", "/v1/specs/graph", spec, "nodes"),
        ("POST", "/v1/specs/policy-report", spec, "report"),
        ("POST", "/v1/specs/run", {"input": "x", **spec}, "run_id"),
    ]  # fmt: skip
    for method, path, body, key in routes:
        request_id = generate_request_id()
        answer = transport.request(method, path, json=body, request_id=request_id)
        assert answer.status_code == 200, (method, path)
        assert key in answer.json(), (method, path)
        assert answer.headers["x-request-id"] == request_id
        assert answer.headers["content-type"] == "application/json"
    assert transport.request("GET", "/metrics").text.startswith("# HELP")


def test_refusals_are_the_same_exceptions(server: Server, transport: SyncTransport) -> None:
    run_id = transport.request("POST", "/v1/runs", json={"input": "x", "spec": AGENT}).json()["run_id"]
    with pytest.raises(KneoNotFoundError):
        transport.request("GET", "/v1/runs/nothing")
    with pytest.raises(KneoConflictError) as conflict:
        transport.request("POST", f"/v1/runs/{run_id}/continue")
    assert (conflict.value.code, conflict.value.body["detail"]["run_id"]) == ("run_state_conflict", run_id)
    with pytest.raises(KneoValidationError, match=r"^body\.input"):
        transport.request("POST", "/v1/runs", json={})
    key = new_idempotency_key()
    transport.request("POST", "/v1/runs", json={"input": "x", "spec": AGENT}, idempotency_key=key)
    with pytest.raises(KneoIdempotencyMismatchError):
        transport.request("POST", "/v1/runs", json={"input": "y", "spec": AGENT}, idempotency_key=key)
    with sync_caller(server, "mute") as mute, pytest.raises(KneoPermissionError):
        mute.request("GET", "/v1/runs")
    with sync_caller(server, "wrong") as wrong, pytest.raises(KneoAuthError):
        wrong.request("GET", "/v1/runs")
    with sync_caller(server, "reviewer", retry_policy=ONCE) as busy:

        def hurry() -> None:
            for _ in range(3):
                busy.request("GET", "/v1/runs")

        with pytest.raises(KneoRateLimitedError):
            hurry()


def probes(server: Server) -> int:
    """How often the server was asked whether it is ready, as far as its log tells already."""
    return sum('"/v1/readyz"' in line for line in list(server.log))


def test_one_call_may_be_tried_once_where_others_are_tried_again(patient: Server) -> None:
    with sync_caller(patient, retry_policy=RetryPolicy(max_attempts=3, base_delay=0.01)) as transport:
        known_before = probes(patient)
        with pytest.raises(KneoServiceUnavailableError):
            transport.request("GET", "/v1/readyz", retry_policy=ONCE)
        with pytest.raises(KneoServiceUnavailableError):
            transport.request("GET", "/v1/readyz")
        assert transport.request("GET", "/v1/livez").json()["ok"] is True
        # The line about the last request is there: so are those about the ones before it.
        until(lambda: "/v1/livez" in patient.log[-1], patient.process)
    assert probes(patient) - known_before == 1 + 3


def test_both_ways_of_sending_the_key_are_taken(server: Server) -> None:
    for scheme in AuthScheme:
        with SyncTransport(profile(server, "viewer", auth_scheme=scheme)) as transport:
            assert transport.profile.auth_scheme is scheme
            assert transport.request("GET", "/v1/runs", params={"limit": 1}).status_code == 200


def test_a_client_of_ones_own_is_used_and_closed(server: Server) -> None:
    own: list[httpx.AsyncClient] = []
    wanted = profile(server, "viewer")

    def make() -> httpx.AsyncClient:
        auth = ApiKeyAuth(wanted.api_key, wanted.auth_scheme)
        own.append(httpx.AsyncClient(base_url=wanted.url, auth=auth, headers={"User-Agent": "mine/1"}))
        return own[0]

    transport = SyncTransport(wanted, http_client_factory=make)
    assert transport.request("GET", "/v1/runs").status_code == 200
    transport.close()
    transport.close()
    assert own[0].is_closed
    until(lambda: any("mine/1" in line for line in list(server.log)), server.process)


@pytest.mark.anyio
async def test_a_transport_and_an_http_client_of_ones_own_serve_the_async_side(server: Server) -> None:
    wanted = profile(server, "viewer")
    auth = ApiKeyAuth(wanted.api_key)
    async with httpx.AsyncClient(base_url=wanted.url, auth=auth, timeout=PATIENCE) as http:
        async with KneoClient(wanted, http_client=http) as client:
            assert client.profile == wanted
            assert (await client.platform.runs.list(limit=1)).limit == 1
            assert (await client.request("GET", "/v1/runs", params={"limit": 2})).json()["limit"] == 2
        assert not http.is_closed
    async with Transport(wanted, retry_policy=ONCE) as transport:
        assert (await transport.request("GET", "/v1/livez")).json()["ok"] is True
    client = KneoClient(wanted)
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await client.platform.health.livez()


CONFIG = """\
[default]
url = "{url}"
api_key = "viewer-key"

[boss]
url = "{url}"
api_key = "admin-key"
auth_scheme = "kneo_api_key"
timeout = 12.5
"""


@pytest.mark.anyio
async def test_the_client_finds_the_service_by_file_environment_and_argument(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (ENV_PROFILE, ENV_URL, ENV_API_KEY, ENV_AUTH_SCHEME, ENV_TIMEOUT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(ProfileError, match="url"):
        load_profile()
    default_config_path().parent.mkdir(parents=True)
    default_config_path().write_text(CONFIG.format(url=server.url))

    async def may_write(client: KneoClient) -> bool:
        async with client:
            try:
                return (await client.platform.policies.environment_put(fresh("p"), {})).policy is not None
            except KneoPermissionError:
                return False

    assert await may_write(KneoClient.from_profile()) is False
    assert await may_write(KneoClient.from_profile("boss")) is True
    boss = load_profile("boss")
    assert (boss.auth_scheme, boss.timeout) == (AuthScheme.KNEO_API_KEY, 12.5)
    monkeypatch.setenv(ENV_PROFILE, "boss")
    assert await may_write(KneoClient.from_profile()) is True
    monkeypatch.setenv(ENV_API_KEY, "viewer-key")
    monkeypatch.setenv(ENV_AUTH_SCHEME, "bearer")
    assert await may_write(KneoClient.from_profile()) is False
    assert await may_write(KneoClient.from_profile(api_key="admin-key")) is True
    monkeypatch.setenv(ENV_URL, "http://127.0.0.1:9")
    with pytest.raises(KneoNetworkError):
        await may_write(KneoClient.from_profile(retry_policy=ONCE))
    elsewhere = tmp_path / "other.toml"
    elsewhere.write_text(CONFIG.format(url=server.url))
    assert await may_write(KneoClient.from_profile("boss", config_file=elsewhere, url=server.url, timeout=5.0)) is False


def test_the_service_knows_the_client_by_its_name(server: Server, transport: SyncTransport) -> None:
    request_id = generate_request_id()
    transport.request("GET", "/v1/runs", request_id=request_id)
    wanted = f"kneo-client/{kneo_client.__version__} httpx/"
    until(lambda: any(request_id in line and wanted in line for line in list(server.log)), server.process)


def test_what_the_client_logs_holds_no_key(
    server: Server, transport: SyncTransport, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="kneo_client"):
        transport.request("GET", "/v1/runs", headers={"X-Kneo-Api-Key": "admin-key"})
    assert "/v1/runs" in caplog.text
    assert "admin-key" not in caplog.text
    assert "admin-key" not in "".join(server.log)


def test_the_old_names_of_exceptions_are_the_new_ones() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert kneo_client.core.KneoRateLimited is KneoRateLimitedError
