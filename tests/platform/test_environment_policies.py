"""What an environment demands of specs holds at every start."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kneo_serv.errors import EnvironmentPolicyError
from kneo_serv.service.factory import create_local_platform_manager

SPEC = {
    "version": "v1",
    "agent": {"name": "bot", "model": {"provider": "dummy", "name": "dummy"}},
    "workflow": {"type": "sequential", "steps": [{"id": "answer", "kind": "agent", "ref": "bot"}]},
}


def test_a_spec_that_an_environment_refuses_is_not_run_there_and_nothing_is_stored(tmp_path: Path) -> None:
    manager = create_local_platform_manager(state_path=tmp_path / "runs.sqlite")
    manager.set_environment_policy("prod", {"require_human_review": True})
    with pytest.raises(EnvironmentPolicyError) as refusal:
        manager.run_from_spec(input_text="hello", spec=SPEC, environment="prod")
    assert [item["code"] for item in refusal.value.diagnostics] == ["E_ENV_POLICY_HUMAN_REVIEW"]
    assert manager.count_runs() == 0
    assert manager.run_from_spec(input_text="hello", spec=SPEC, environment="dev").ok
    manager.shutdown()


def test_of_many_who_set_a_policy_at_once_each_replaces_another_ones(tmp_path: Path) -> None:
    manager = create_local_platform_manager(state_path=tmp_path / "runs.sqlite")
    policies = [{"blocked_diagnostic_codes": [f"E_{number}"]} for number in range(8)]
    with ThreadPoolExecutor(8) as callers:
        changes = list(callers.map(lambda policy: manager.set_environment_policy("prod", policy), policies))
    last = manager.get_environment_policy("prod")
    replaced = [before.blocked_diagnostic_codes[0] for before, _ in changes if before is not None]
    assert last is not None
    assert sorted([*replaced, last.blocked_diagnostic_codes[0]]) == [f"E_{number}" for number in range(8)]
    events = manager.list_audit_events(event_type="policy.changed")
    assert sum(event.metadata["previous"] is None for event in events) == 1
    manager.shutdown()
