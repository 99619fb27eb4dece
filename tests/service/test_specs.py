"""Specs over HTTP: what is found in them, and where they may lie."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from kneo_serv.platform import PlatformManager
from kneo_serv.settings import Settings
from tests.service.doors import AGENT, HUMAN, STEPS, door, refusal

BROKEN: dict[str, Any] = {
    **AGENT,
    "workflow": {"type": "sequential", "steps": [{"id": "a", "kind": "agent", "ref": "nobody"}]},
}
ANALYSES = ("validate", "compile", "explain", "graph", "policy-report")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for specs, with some that may be read and some that may not."""
    folder = tmp_path / "specs"
    (folder / "deep").mkdir(parents=True)
    (folder / "good.yaml").write_text(yaml.safe_dump(STEPS))
    (folder / "deep" / "agent.yaml").write_text(yaml.safe_dump(AGENT))
    (folder / "dev.yaml").write_text("agent: {name: dev}\n")
    (folder / "broken.yaml").write_text(yaml.safe_dump(BROKEN))
    (folder / "torn.yaml").write_text("version: v1\nagent: {name: [\n")
    (folder / "tagged.yaml").write_text("agent: !!python/object/apply:os.system ['true']\n")
    (folder / "binary.yaml").write_bytes(b"\x00\xff\xfe\x01")
    (tmp_path / "outside.yaml").write_text(yaml.safe_dump(AGENT))
    (folder / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    return folder


@pytest.fixture
def rooted(manager: PlatformManager, root: Path) -> Iterator[TestClient]:
    """Somebody at a door whose specs lie in that folder."""
    with door(manager, settings=Settings(spec_root=root)) as client:
        yield client


def ask(client: TestClient, what: str, **asked: Any) -> Any:
    return client.post(f"/v1/specs/{what}", json=asked)


def test_a_sound_spec_is_valid(client: TestClient) -> None:
    answer = ask(client, "validate", spec=HUMAN)
    assert answer.status_code == 200
    assert answer.json()["valid"] is True
    assert {"code", "severity", "message", "path", "suggestion"} <= set(answer.json()["diagnostics"][0])


def test_each_analysis_tells_faults_in_its_own_way(client: TestClient) -> None:
    told = ask(client, "validate", spec=BROKEN).json()
    assert told["valid"] is False
    assert told["diagnostics"][0]["code"] == "E_STEP_AGENT_REF"
    for what in ("compile", "explain", "graph", "run"):
        more = {"input": "x"} if what == "run" else {}
        detail = refusal(ask(client, what, spec=BROKEN, **more), 400)
        assert (detail["error"], detail["diagnostics"][0]["code"]) == ("spec_invalid", "E_STEP_AGENT_REF")
    lenient = ask(client, "compile", spec=BROKEN, strict=False)
    assert (lenient.status_code, lenient.json()["ok"]) == (200, False)
    misshapen = ask(client, "compile", spec={"agent": 3}, strict=False)
    assert (misshapen.status_code, misshapen.json()["ok"]) == (200, False)
    report = ask(client, "policy-report", spec=BROKEN).json()
    assert report["valid"] is report["report"]["valid"] is False
    assert report["report"]["diagnostics"]


def test_a_compiled_spec_is_summed_up(client: TestClient) -> None:
    told = ask(client, "compile", spec=STEPS).json()
    assert told["ok"] is True
    assert told["summary"]["has_root_workflow"] is True
    assert told["summary"]["component_agents"] == []
    assert (told["summary"]["model"], told["summary"]["step_count"]) == ("dummy/dummy", 2)
    assert ask(client, "compile", spec=STEPS).json()["summary"]["plan_hash"] == told["summary"]["plan_hash"]
    summary = ask(client, "explain", spec=STEPS).json()["summary"]
    assert (summary["root_agent"], summary["root_workflow"]) == ("echo", "two-steps")


def test_a_sequence_is_drawn_as_a_chain(client: TestClient) -> None:
    told = ask(client, "graph", spec=STEPS).json()
    assert (told["workflow_name"], told["workflow_kind"], told["start"]) == ("two-steps", "sequential", "answer")
    assert [(edge["source"], edge["target"]) for edge in told["edges"]] == [("answer", "loud")]
    assert ask(client, "graph", spec=AGENT).json()["nodes"] == []


def test_only_compiling_may_be_lenient(client: TestClient) -> None:
    assert ask(client, "validate", spec=AGENT, strict=True).status_code == 422
    assert refusal(ask(client, "validate"), 400)["error"] == "invalid_request"


def test_overrides_are_merged_last_and_dotted_keys_are_not_split(client: TestClient) -> None:
    told = ask(client, "explain", spec=AGENT, overrides={"agent": {"name": "other"}}).json()
    assert told["summary"]["root_agent"] == "other"
    assert ask(client, "validate", spec=AGENT, overrides={"agent.name": "x"}).json()["valid"] is False


def test_the_policy_of_an_environment_refuses_specs_in_it(client: TestClient, manager: PlatformManager) -> None:
    manager.set_environment_policy("prod", {"require_human_review": True})
    for what in ("compile", "explain", "graph", "run"):
        more = {"input": "x"} if what == "run" else {}
        detail = refusal(ask(client, what, spec=STEPS, environment="prod", **more), 403)
        assert detail["error"] == "environment_policy_blocked"
        assert detail["diagnostics"][0]["code"] == "E_ENV_POLICY_HUMAN_REVIEW"
        assert ask(client, what, spec=HUMAN, environment="prod", **more).status_code in (200, 202)
    for what in ("validate", "policy-report"):
        assert ask(client, what, spec=STEPS, environment="prod").json()["valid"] is True
    assert client.post("/v1/runs", json={"input": "x", "spec": STEPS, "environment": "prod"}).status_code == 403


@pytest.mark.parametrize("what", ANALYSES)
def test_a_spec_is_found_in_its_folder(rooted: TestClient, root: Path, what: str) -> None:
    for path in ("good.yaml", str(root / "good.yaml")):
        assert ask(rooted, what, spec_path=path).status_code == 200


def test_the_path_of_a_run_is_kept_relative_to_the_folder(rooted: TestClient, root: Path) -> None:
    asked = {"input": "x", "spec_path": str(root / "deep" / "agent.yaml"), "overlays": ["dev.yaml"]}
    run = rooted.get(f"/v1/runs/{rooted.post('/v1/runs', json=asked).json()['run_id']}").json()
    assert (run["metadata"]["spec_path"], run["metadata"]["overlays"]) == ("deep/agent.yaml", ["dev.yaml"])
    assert run["agent_name"] == "dev"
    assert str(root) not in str(run)


@pytest.mark.parametrize("path", ["link.yaml", "/etc/passwd", "/etc/no-such-file"])
def test_what_lies_outside_is_refused_whether_it_is_there_or_not(rooted: TestClient, path: str) -> None:
    for asked in ({"spec_path": path}, {"spec": AGENT, "overlays": [path]}):
        detail = refusal(ask(rooted, "validate", **asked), 422)
        assert detail["error"] == "spec_path_confined"
        assert path not in detail["message"]


@pytest.mark.parametrize("path", ["deep/../good.yaml", "~/good.yaml", "..", "a\\..\\b.yaml"])
def test_a_path_goes_neither_up_nor_home(rooted: TestClient, path: str) -> None:
    answer = ask(rooted, "validate", spec_path=path)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "spec_path"]


@pytest.mark.parametrize("path", ["missing.yaml", "deep", "torn.yaml", "tagged.yaml", "binary.yaml", "", "x" * 300])
def test_what_is_no_spec_is_refused_and_no_path_of_the_machine_is_told(
    rooted: TestClient, root: Path, path: str
) -> None:
    for verb, more in (("specs/validate", {}), ("runs", {"input": "x"})):
        answer = rooted.post(f"/v1/{verb}", json={"spec_path": path, **more})
        refusal(answer, 400)
        assert str(root) not in answer.text
    assert rooted.get("/v1/runs").json()["total"] == 0


def test_a_missing_file_is_not_named(rooted: TestClient) -> None:
    answer = ask(rooted, "validate", spec_path="missing.yaml")
    assert refusal(answer, 400)["error"] == "invalid_request"
    assert "missing.yaml" not in answer.text


def test_findings_name_the_file_as_the_caller_does(rooted: TestClient, root: Path) -> None:
    told = ask(rooted, "validate", spec_path=str(root / "broken.yaml"))
    assert told.json()["diagnostics"][0]["source"] == "broken.yaml"
    for what in ("compile", "policy-report"):
        assert str(root) not in ask(rooted, what, spec_path="broken.yaml").text


def test_the_inline_spec_wins(rooted: TestClient) -> None:
    told = ask(rooted, "explain", spec=AGENT, spec_path="good.yaml").json()
    assert told["summary"]["root_workflow"] is None
