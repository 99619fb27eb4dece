"""Upkeep by the public client: health, audit, policies of environments, and the credentials that are there."""

from datetime import datetime
from typing import Any

import pytest
from kneo_client import KneoClient
from kneo_client.core import KneoPermissionError, KneoServiceUnavailableError, KneoValidationError, iterate_all
from kneo_client.types import CredentialInventory, EnvironmentPolicyRequest

import kneo_serv
from tests.acceptance.client.served import AGENT, caller, workflow
from tests.acceptance.client.test_runs import fresh, known
from tests.acceptance.server import Server

pytestmark = pytest.mark.anyio

DEFAULTS = {
    "enabled": True,
    "fail_on_warnings": False,
    "blocked_diagnostic_codes": [],
    "require_human_review": False,
    "require_tool_permissions": False,
    "deny_unrestricted_tools": False,
    "require_guardrails": False,
}


async def test_the_service_lives_is_healthy_and_ready(client: KneoClient) -> None:
    alive = await client.platform.health.livez()
    assert alive.ok is True
    healthy = await client.platform.health.healthz()
    assert (healthy.ok, healthy.service, healthy.version) == (True, "kneo-serv-platform", kneo_serv.__version__)
    ready = await client.platform.health.readyz()
    assert ready.ok is True
    metadata = known(ready.metadata).to_dict()
    assert (metadata["ready"], metadata["manager"]) == (True, "PlatformManager")
    checks = metadata["checks"]
    names = ["run_state_store", "continuation_store", "queue", "runtime_registry", "tool_registry", "providers", "mcp"]
    assert list(checks) == names
    assert all((check["name"], check["ok"]) == (name, True) for name, check in checks.items())
    assert checks["runtime_registry"]["names"] == ["adapter", "bridge", "native"]
    assert checks["tool_registry"]["names"] == ["compress_history", "publish_report", "summarize", "web_search"]


async def test_a_service_without_a_key_that_it_needs_is_not_ready_and_says_which(patient: Server) -> None:
    async with caller(patient) as client:
        with pytest.raises(KneoServiceUnavailableError) as refused:
            await client.platform.health.readyz()
        assert (refused.value.status, refused.value.code) == (503, "not_ready")
        checks = refused.value.body["detail"]["metadata"]["checks"]
        assert checks["providers"]["ok"] is False
        assert checks["providers"]["items"]["openai"]["present"] is False
        assert (await client.platform.health.livez()).ok is True


async def test_what_was_done_is_told_in_order_with_who_did_it(server: Server) -> None:
    async with caller(server, "service") as client:
        run = await client.platform.runs.create({"input": "x", "spec": workflow("person", person={})})
        run_id = str(run.run_id)
        await client.platform.runs.cancel(run_id)
        page = await client.platform.audit.list(run_id=run_id, sort_by="created_at", sort_order="asc")
        assert [event["event_type"] for event in page if event["actor"]] == ["run.created", "run.cancelled"]
        assert (page.window, page.sort_by, page.sort_order) == (10_000, "created_at", "asc")
        newest = await client.platform.audit.list(run_id=run_id, limit=1, offset=0)
        assert (newest[0]["event_type"], newest.total, newest.has_more) == (page[-1]["event_type"], page.total, True)
    event = page[0].to_dict()
    assert {"id", "event_type", "run_id", "continuation_id", "actor", "metadata", "created_at"} <= set(event)
    assert (event["actor"], event["run_id"]) == ("service-person", run_id)
    assert datetime.fromisoformat(event["created_at"]).utcoffset() is not None
    told = event["metadata"]
    keys = "async_mode target spec_path inline_spec environment session_id metadata"
    assert set(keys.split()) <= set(told)
    assert (told["async_mode"], told["target"], told["inline_spec"]) == (False, "workflow", True)


async def test_events_of_a_kind_are_walked_page_by_page(client: KneoClient) -> None:
    runs = [str((await client.platform.runs.create({"input": "x", "spec": AGENT})).run_id) for _ in range(7)]
    seen = [
        event["run_id"]
        async for event in iterate_all(
            lambda limit, offset: client.platform.audit.list(event_type="run.created", limit=limit, offset=offset),
            page_size=500,
        )
    ]
    assert seen[:7] == runs[::-1]
    assert len(seen) == len(set(seen))
    assert (await client.platform.audit.list(event_type="never.heard.of")).total == 0


async def test_a_policy_is_previewed_set_read_and_replaced(client: KneoClient) -> None:
    environment = fresh("prod")
    policies = client.platform.policies
    unset = await policies.environment_get(environment)
    assert (unset.environment, unset.policy, known(unset.previous_policy)) == (environment, None, None)

    run = await client.platform.runs.create({"input": "x", "spec": AGENT, "environment": environment})
    wanted = EnvironmentPolicyRequest(require_human_review=True, blocked_diagnostic_codes=["W_X"])
    preview = await policies.environment_preview(environment, wanted)
    assert (preview.environment, preview.runs_evaluated) == (environment, 1)
    assert preview.affected_run_ids == [run.run_id]
    diff = {name: change.to_dict() for name, change in preview.diff.additional_properties.items()}
    assert set(diff) == set(DEFAULTS)
    assert diff["require_human_review"] == {"from": None, "to": True}
    assert known((await policies.environment_get(environment)).policy) is None

    first = await policies.environment_put(environment, wanted)
    stored = {**DEFAULTS, "require_human_review": True, "blocked_diagnostic_codes": ["W_X"]}
    assert known(first.policy).to_dict() == stored
    assert known(first.previous_policy) is None
    second = await policies.environment_put(environment, {})
    assert known(second.policy).to_dict() == DEFAULTS
    assert known(second.previous_policy).to_dict() == stored
    listed = await policies.environment_list()
    assert environment in listed
    assert listed[environment].to_dict() == DEFAULTS
    assert listed.count == len(list(listed.keys())) == len(list(listed.values()))

    event = (await client.platform.audit.list(event_type="policy.changed"))[0].to_dict()
    assert event["actor"] == "admin-person"
    assert event["metadata"]["environment"] == environment
    assert event["metadata"]["previous"] == stored
    assert event["metadata"]["current"] == DEFAULTS
    assert set(event["metadata"]["changed_fields"]) == {"require_human_review", "blocked_diagnostic_codes"}


async def test_names_of_environments_are_one_segment_of_the_path(client: KneoClient) -> None:
    spaced = await client.platform.policies.environment_put("north & süd", {})
    assert spaced.environment == "north & süd"
    with pytest.raises(KneoValidationError):
        await client.platform.policies.environment_put("e" * 129, {})


async def test_policies_are_set_by_those_who_may_and_read_by_more(server: Server) -> None:
    async with caller(server, "operator") as operator:
        assert (await operator.platform.policies.environment_put(fresh("mine"), {})).previous_policy is None
    async with caller(server, "service") as client:
        assert (await client.platform.policies.environment_list()).count > 0
        with pytest.raises(KneoPermissionError) as refused:
            await client.platform.policies.environment_put("prod", {})
    assert refused.value.body["detail"]["required_scope"] == "policies:write"


async def test_credentials_are_told_by_name_and_never_by_value(client: KneoClient) -> None:
    inventory = await client.platform.credentials.list()
    assert set(inventory.keys()) == {"providers", "extra", "service_tokens"}
    assert set(inventory["providers"]) >= {"openai", "anthropic", "google"}
    assert inventory["extra"] == {}
    keys = inventory["service_tokens"]["KNEO_SERV_API_KEYS"]
    assert (keys["name"], keys["env_var"]) == ("service:KNEO_SERV_API_KEYS", "KNEO_SERV_API_KEYS")
    assert (keys["present"], keys["status"], keys["value"]) == (True, "present", "[REDACTED]")
    present, missing = inventory["providers"]["openai"], inventory["providers"]["anthropic"]
    assert (present["env_var"], present["status"], present["value"]) == ("OPENAI_API_KEY", "present", "[REDACTED]")
    assert (missing["env_var"], missing["status"], missing["value"]) == ("ANTHROPIC_API_KEY", "missing", None)
    typed = CredentialInventory.from_dict(dict(inventory.items))
    assert typed.to_dict() == inventory.items

    chosen: Any = await client.platform.credentials.list(
        providers=["my-own", "anthropic"], extras=["SEARCH_API_KEY"], include_service_tokens=False
    )
    assert set(chosen["providers"]) == {"my-own", "anthropic"}
    assert chosen["providers"]["my-own"]["env_var"] == "MY_OWN_API_KEY"
    assert chosen["extra"]["SEARCH_API_KEY"]["name"] == "extra:SEARCH_API_KEY"
    assert chosen["service_tokens"] == {}

    event = (await client.platform.audit.list(event_type="credential.inventory_accessed"))[0].to_dict()
    assert event["metadata"]["provider_count"] == 2
    assert event["metadata"]["include_service_references"] is False
