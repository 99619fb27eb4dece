"""What an environment demands of specs holds at every start."""

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
