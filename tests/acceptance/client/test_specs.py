"""Specs by the public client, as a studio uses them: checked, explained, drawn, reported on and tried out."""

from typing import Any

import pytest
from kneo_client import KneoClient
from kneo_client.core import KneoBadRequestError, KneoPermissionError, KneoValidationError
from kneo_client.types import (
    RunCreateRequest,
    RunCreateRequestOverrides,
    RunCreateRequestTarget,
    SkillsOverlay,
    SpecCompileRequest,
    SpecCompileRequestSpecType0,
    SpecExplainRequest,
    SpecGraphRequest,
    SpecPolicyReportRequest,
    SpecValidateRequest,
)

from tests.acceptance.client.served import AGENT, workflow
from tests.acceptance.client.test_runs import fresh, known

pytestmark = pytest.mark.anyio

PLAIN = workflow("first", "person", "second", person={})
BROKEN: dict[str, Any] = {
    "version": "v1",
    "agent": {"name": "a", "model": {"provider": "dummy", "name": "d"}, "tools": ["serch"]},
}
APPROVAL = "examples/human_approval_workflow.yaml"


def errors(diagnostics: Any) -> list[str]:
    """The codes of what makes a spec invalid."""
    return [item["code"] for item in diagnostics if item["severity"] == "error"]


async def test_a_sound_spec_is_valid_by_path_and_inline(client: KneoClient) -> None:
    for body in ({"spec": PLAIN}, SpecValidateRequest(spec_path=APPROVAL)):
        answer = await client.agent.specs.validate(body)
        assert answer.valid is True
        assert errors(known(answer.diagnostics)) == []


async def test_a_fault_is_told_with_code_path_and_mend(client: KneoClient) -> None:
    answer = await client.agent.specs.validate({"spec": BROKEN})
    assert answer.valid is False
    fault = known(answer.diagnostics)[0].to_dict()
    assert {"code", "severity", "message", "path", "suggestion"} <= set(fault)
    assert (fault["code"], fault["severity"], fault["path"]) == ("E_UNKNOWN_TOOL", "error", "agent.tools[0]")


async def test_compiling_tells_what_the_spec_has_or_what_is_wrong(client: KneoClient) -> None:
    sound = await client.agent.specs.compile(SpecCompileRequest(spec=SpecCompileRequestSpecType0.from_dict(PLAIN)))
    assert sound.ok is True
    summary = known(sound.summary).to_dict()
    assert (summary["has_root_agent"], summary["has_root_workflow"], summary["component_agents"]) == (True, True, [])
    with pytest.raises(KneoBadRequestError) as refused:
        await client.agent.specs.compile({"spec": BROKEN})
    assert (refused.value.status, refused.value.code) == (400, "spec_invalid")
    assert errors(refused.value.body["detail"]["diagnostics"]) == ["E_UNKNOWN_TOOL"]
    lenient = await client.agent.specs.compile({"spec": BROKEN, "strict": False})
    assert lenient.ok is False
    assert errors(known(lenient.diagnostics)) == ["E_UNKNOWN_TOOL"]


async def test_explaining_and_drawing_tell_what_is_in_it(client: KneoClient) -> None:
    explained = await client.agent.specs.explain(SpecExplainRequest(spec_path=APPROVAL))
    summary = explained.summary.to_dict()
    assert (summary["root_agent"], summary["root_workflow"]) == ("report-editor", "human-approval")
    assert summary["component_agents"] == []

    drawn = await client.agent.specs.graph(SpecGraphRequest(spec_path=APPROVAL))
    assert (drawn.workflow_name, drawn.workflow_kind, drawn.start) == ("human-approval", "sequential", "draft")
    nodes = [node.to_dict() for node in known(drawn.nodes)]
    assert [(node["id"], node["kind"]) for node in nodes] == [
        ("draft", "function"),
        ("approve", "human"),
        ("publish", "function"),
    ]
    assert {"id", "kind", "name", "on_error", "fallback_node", "max_retries", "timeout_seconds"} <= set(nodes[0])
    edges = [edge.to_dict() for edge in known(drawn.edges)]
    assert [(edge["source"], edge["target"]) for edge in edges] == [("draft", "approve"), ("approve", "publish")]
    assert all({"label", "conditional", "priority"} <= set(edge) for edge in edges)
    assert all(edge["conditional"] is False for edge in edges)


async def test_the_policy_report_tells_what_agents_may_do_and_who_is_asked(client: KneoClient) -> None:
    answer = await client.agent.specs.policy_report(SpecPolicyReportRequest(spec_path=APPROVAL))
    assert answer.valid is True
    report = answer.report.to_dict()
    assert set(report) >= {
        "valid", "version", "summary", "memory", "tools", "guardrails", "human_review", "diagnostics",
    }  # fmt: skip
    counts = ["agent", "workflow", "tool", "mcp_tool", "human_reviewer", "human_review_step", "diagnostic"]
    assert {f"{name}_count" for name in counts} <= set(report["summary"])
    assert [step["step_id"] for step in report["human_review"]["workflow_steps"]] == ["approve"]
    bad = await client.agent.specs.policy_report({"spec": BROKEN})
    assert bad.valid is False
    assert errors(bad.report["diagnostics"]) == ["E_UNKNOWN_TOOL"]


async def test_checked_and_compiled_in_one_go(client: KneoClient) -> None:
    sound = await client.agent.specs.validate_then_compile(
        {"spec": PLAIN, "strict": True}, idempotency_key=fresh("key")
    )
    assert sound.ok is True
    assert sound.compile is not None
    bad = await client.agent.specs.validate_then_compile({"spec": BROKEN, "strict": False})
    assert (bad.ok, bad.validate.valid, bad.compile) == (False, False, None)


async def test_a_dry_run_joins_three_answers_and_runs_nothing(client: KneoClient) -> None:
    name = fresh("dry")
    spec = {**AGENT, "agent": {**AGENT["agent"], "name": name}}
    dry = await client.agent.specs.dry_run({"spec": spec, "overrides": {"agent": {"description": "d"}}})
    assert dry.ok is True
    assert dry.explain is not None
    assert dry.explain.summary["root_agent"] == name
    assert dry.policy_report is not None
    assert dry.policy_report.report["summary"]["agent_count"] == 1
    bad = await client.agent.specs.dry_run({"spec": BROKEN})
    assert (bad.ok, bad.explain, bad.policy_report) == (False, None, None)
    assert (await client.platform.runs.list(q=name)).total == 0


async def test_a_spec_is_tried_out_with_what_is_laid_over_it(client: KneoClient) -> None:
    session = fresh("session")
    request = RunCreateRequest(
        input_="hello",
        spec_path="examples/smoke_human_workflow.yaml",
        target=RunCreateRequestTarget.AGENT,
        overrides=RunCreateRequestOverrides.from_dict({"agent": {"description": "tried out"}}),
        session_id=session,
    )
    run = await client.agent.specs.run(request)
    assert (run.status, run.output_text) == ("completed", "Final answer: hello")
    row = (await client.platform.runs.list(session_id=session))[0]
    assert (row["id"], row["agent_name"], row["workflow_kind"]) == (run.run_id, "smoke-agent", "agent")
    kept = known((await client.platform.runs.get(str(run.run_id))).metadata)
    assert kept["overrides"] == {"agent": {"description": "tried out"}}
    event = (await client.platform.audit.list(event_type="spec.run", run_id=str(run.run_id)))[0].to_dict()
    assert (event["metadata"]["target"], event["metadata"]["status"]) == ("agent", "completed")
    assert event["metadata"]["spec_path"] == "examples/smoke_human_workflow.yaml"

    key = fresh("key")
    body = {"input": "x", "spec": AGENT, "async_mode": True}
    started = await client.agent.specs.run(body, idempotency_key=key)
    assert started.status == "running"
    assert await client.agent.specs.run(body, idempotency_key=key) == started
    # The same key means another thing to the other operation.
    assert (await client.platform.runs.create(body, idempotency_key=key)).run_id != started.run_id
    done = await client.platform.runs.wait_for_completion(str(started.run_id), timeout=30, poll_interval=0.02)
    assert done.status == "completed"


async def test_an_invalid_spec_is_refused_before_anything_is_stored(client: KneoClient) -> None:
    session = fresh("session")
    for send in (client.platform.runs.create, client.agent.specs.run):
        for background in (False, True):
            with pytest.raises(KneoBadRequestError) as refused:
                await send({"input": "x", "spec": BROKEN, "session_id": session, "async_mode": background})
            assert refused.value.code == "spec_invalid"
            assert refused.value.body["detail"]["diagnostics"][0]["path"] == "agent.tools[0]"
    assert (await client.platform.runs.list(session_id=session)).total == 0


async def test_skills_are_listed_and_laid_over_a_run_by_their_names(client: KneoClient) -> None:
    page = await client.agent.skills.list()
    assert [row["name"] for row in page] == ["proofread", "translate"]
    assert (page.total, page.sort_by, page.sort_order, page.has_more) == (2, "name", "asc", False)
    row = page[0].to_dict()
    assert (row["description"], row["path"]) == ("How to proofread.", "proofread")
    last = await client.agent.skills.list(sort_by="name", sort_order="desc", limit=1)
    assert (last[0]["name"], last.has_more) == ("translate", True)
    assert (await client.agent.skills.list(offset=1))[0]["name"] == "translate"

    spec = {**AGENT, "skills": {"sources": [".agents/skills"]}}
    request = RunCreateRequest.from_dict({"input": "x", "spec": spec, "target": "agent"})
    request.skills = SkillsOverlay(add=["nothing-like-it"])
    with pytest.raises(KneoBadRequestError, match="nothing-like-it"):
        await client.platform.runs.create(request)


async def test_a_path_outside_the_folder_and_one_to_nothing_are_refused_without_naming_it(client: KneoClient) -> None:
    for path in ("/etc/passwd", "../secrets.yaml", "~/secrets.yaml"):
        with pytest.raises(KneoValidationError) as refused:
            await client.agent.specs.validate({"spec_path": path})
        assert refused.value.code in ("spec_path_confined", None)
        assert "passwd" not in str(refused.value)
    with pytest.raises(KneoBadRequestError) as missing:
        await client.agent.specs.validate({"spec_path": "examples/no_such_thing.yaml"})
    assert missing.value.code == "invalid_request"
    assert "no_such_thing" not in str(missing.value)
    with pytest.raises(KneoBadRequestError) as neither:
        await client.agent.specs.explain({})
    assert neither.value.code == "invalid_request"


async def test_a_spec_that_the_environments_policy_refuses_is_blocked_everywhere(client: KneoClient) -> None:
    environment = fresh("strict")
    await client.platform.policies.environment_put(environment, {"require_human_review": True})
    body = {"spec": AGENT, "environment": environment}
    specs = client.agent.specs
    run = {**body, "input": "x"}
    for attempt in (
        specs.compile(body), specs.explain(body), specs.graph(body), specs.run(run), client.platform.runs.create(run),
        client.platform.runs.create({**run, "async_mode": True}),
    ):  # fmt: skip
        with pytest.raises(KneoPermissionError) as refused:
            await attempt
        assert (refused.value.status, refused.value.code) == (403, "environment_policy_blocked")
        diagnostics = refused.value.body["detail"]["diagnostics"]
        assert [item["code"] for item in diagnostics] == ["E_ENV_POLICY_HUMAN_REVIEW"]
    assert (await specs.validate(body)).valid is True
