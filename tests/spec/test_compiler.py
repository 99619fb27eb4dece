"""Plans: what the compiler makes of sound specs."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import InvalidRequestError, SpecPathConfinementError
from kneo_serv.model.codec import decode, encode
from kneo_serv.model.plan import (
    ROOT,
    Condition,
    Edge,
    Flow,
    FlowType,
    Guardrail,
    Memory,
    OnError,
    OnReject,
    Plan,
    RequestType,
    Step,
    StepKind,
    StrategyType,
)
from kneo_serv.model.tool import Capability, Effect, ToolDefinition, ToolPolicy
from kneo_serv.spec import SpecCompilationError, SpecCompiler
from kneo_serv.spec.build.plans import plan_hash
from kneo_serv.spec.skills import SkillLoader
from tests.spec.specs import HEAD, Runtimes, Tools, compiler, data, spec

FULL = """
    version: v1
    metadata: {owner: team}
    agent:
      name: root
      description: The boss.
      system_prompt: Be brief.
      model: {provider: dummy, name: d, token_budget: 500, extra: {base_url: http://x, api_key_ref: KEY, seed: 1}}
      strategy: {type: react, max_iterations: 4, parallel_tool_calls: false}
      tools:
        include: [lookup_user, ask, remote]
        exclude: [shell]
        permissions: {allow_network: true, allow_filesystem_read: false, allowed_domains: [a.example]}
      policies: {tool: {allow: [lookup_user, ask, remote], deny: [other], network: false}}
      memory: {policy: summary, summarizer: {ref: root}, keep: 3}
      guardrails:
        output: [{id: o, type: agent, ref: root}]
        input: [{id: i, type: keyword, action: warn, config: {keywords: [x]}}]
      defaults: {append_mode: never}
    workflow:
      type: graph
      start: draft
      nodes:
        publish: {id: publish, kind: function, ref: publish, max_retries: 2, backoff_seconds: 0, timeout_seconds: 9}
        draft: {id: draft, kind: agent, ref: root, on_error: fallback, fallback_ref: publish}
        unused: {id: unused, kind: agent, ref: root, enabled: false}
        check: {id: check, kind: human, ref: boss, timeout_seconds: 0}
      edges:
        - {from: draft, to: check}
        - {from: draft, to: unused}
        - {from: check, to: publish, label: ok, condition: {type: not, condition: {type: output_contains, value: bad}}}
    components:
      agents:
        helper: {name: Helper, as_agent: talk}
      workflows:
        talk:
          type: group-chat
          rounds: 2
          participants: [{id: a, kind: function, ref: publish}]
        hand:
          type: handoff
          selector: {type: sequence, sequence: [b, a, b]}
          max_iterations: 2
          participants: [{id: a, kind: function, ref: publish}, {id: b, kind: function, ref: publish}]
      functions:
        publish: {implementation: json.dumps, effect: keyed}
      humans:
        boss:
          request_type: selection
          options: [a, b]
          timeout_seconds: 60
          on_timeout: escalate
          on_reject: goto
          reject_goto: draft
    tools:
      ask: {description: Ask the helper., agent: helper}
      remote: {description: Far away., mcp: {server: s}, capabilities: [shell], effect: once}
    mcp_servers:
      s: {transport: stdio, command: run-it, args: [x]}
    """


def full() -> Plan:
    text = FULL.replace("network: false}}", "network: true}}").replace(
        "summarizer: {ref: root}", "summarizer: {ref: publish}"
    )
    # An agent that guards itself would call itself without end, so a function guards here.
    text = text.replace("type: agent, ref: root}]", "type: function, ref: publish}]")
    return compiler().compile_dict(data(text)).plan


def test_the_root_agent_is_resolved() -> None:
    agent = full().root_agent
    assert (agent.name, agent.description, agent.append_mode) == ("root", "The boss.", "never")
    assert agent.model is not None
    assert (agent.model.base_url, agent.model.api_key_ref, agent.model.extra) == ("http://x", "KEY", {"seed": 1})
    assert (agent.strategy.type, agent.strategy.max_iterations) == (StrategyType.REACT, 4)
    assert agent.strategy.parallel_tool_calls is False
    assert agent.tools == ("lookup_user", "ask", "remote")
    assert agent.tool_policy == ToolPolicy(
        allow=("lookup_user", "ask", "remote"),
        deny=("other", "shell"),
        network=True,
        filesystem=False,
        allowed_domains=("a.example",),
    )
    assert agent.memory == Memory("summary", "publish", {"keep": 3})
    assert agent.guardrails == (
        Guardrail("i", "input", "keyword", "warn", None, {"keywords": ["x"]}),
        Guardrail("o", "output", "function", "block", "publish", {}),
    )


def test_graphs_lose_what_is_disabled() -> None:
    flow = full().root_flow
    assert flow == Flow(
        name="graph-workflow",
        type=FlowType.GRAPH,
        steps=(
            Step("check", StepKind.HUMAN, "boss"),
            Step("draft", StepKind.AGENT, ROOT, OnError.FALLBACK, "publish"),
            Step("publish", StepKind.FUNCTION, "publish", max_retries=2, backoff_seconds=0, timeout_seconds=9),
        ),
        start="draft",
        edges=(
            Edge("draft", "check"),
            Edge(
                "check",
                "publish",
                Condition("not", conditions=(Condition("output_contains", "bad"),)),
                "ok",
            ),
        ),
    )


def test_groups_know_their_turns() -> None:
    flows = full().flows
    assert (flows["talk"].type, flows["talk"].rounds) == (FlowType.GROUP_CHAT, 2)
    hand = flows["hand"]
    assert (hand.selector, hand.order, hand.max_iterations) == ("sequence", ("b", "a", "b"), 2)


def test_tools_are_pinned_with_what_answers_them() -> None:
    tools = full().tools
    assert tools["lookup_user"].definition == Tools().definitions["lookup_user"]
    assert (tools["lookup_user"].implementation, tools["lookup_user"].agent) == (None, None)
    assert tools["ask"].agent == "helper"
    assert tools["ask"].definition.parameters["required"] == ["input"]
    assert (tools["remote"].mcp_server, tools["remote"].mcp_name) == ("s", "remote")
    assert tools["remote"].definition.capabilities == (Capability.SHELL,)
    assert tools["remote"].definition.effect is Effect.ONCE


def test_people_functions_servers_and_limits_are_kept() -> None:
    plan = full()
    boss = plan.humans["boss"]
    assert (boss.request_type, boss.options, boss.timeout_seconds) == (RequestType.SELECTION, ("a", "b"), 60)
    assert (boss.on_reject, boss.reject_goto) == (OnReject.GOTO, "draft")
    assert plan.functions["publish"].effect is Effect.KEYED
    assert plan.mcp_servers["s"].config == {"command": "run-it", "args": ["x"]}
    assert plan.limits.token_budget == 500
    assert plan.agents["helper"].as_agent == "talk"


def test_a_refusal_beats_a_permission(tmp_path: Path) -> None:
    text = HEAD + (
        "  tools: {include: [lookup_user], permissions: {allow_shell: true, allow_filesystem_write: false,"
        " allow_filesystem_read: true}}\n  policies: {tool: {shell: false}}\n"
    )
    policy = compiler().compile_dict(data(text)).root_agent.tool_policy
    assert (policy.shell, policy.filesystem, policy.network) == (False, False, None)


def test_a_plan_goes_through_json_and_back() -> None:
    plan = full()
    assert decode(Plan, json.loads(json.dumps(encode(plan)))) == plan
    assert plan_hash(plan) == plan.hash


def _backwards(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _backwards(value[key]) for key in reversed(value)}
    return [_backwards(item) for item in value] if isinstance(value, list) else value


def test_the_order_of_keys_does_not_change_the_hash() -> None:
    document = data(FULL.replace("network: false}}", "network: true}}").replace("ref: root}]", "ref: helper}]"))
    document["agent"]["memory"]["summarizer"]["ref"] = "publish"
    document["agent"]["guardrails"]["output"][0] |= {"type": "function", "ref": "publish"}
    first = compiler().compile_dict(document).plan.hash
    assert compiler().compile_dict(_backwards(document)).plan.hash == first
    document["agent"]["system_prompt"] = "Be long."
    assert compiler().compile_dict(document).plan.hash != first


def test_short_forms_mean_the_same_as_long_ones() -> None:
    short = """
        version: v1
        agent: {name: r, strategy: react, model: m, tools: [lookup_user]}
        workflow: {type: sequential, steps: [r]}
        """
    long = """
        version: v1
        agent:
          name: r
          strategy: {type: react}
          model: {name: m, provider: default}
          tools: {include: [lookup_user]}
        workflow: {type: sequential, steps: [{id: r, kind: agent, ref: r}]}
        """
    assert compiler().compile_dict(data(short)).plan == compiler().compile_dict(data(long)).plan


def test_a_spec_with_errors_has_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(HEAD + "  tools: [nothing]\n")
    with pytest.raises(
        SpecCompilationError, match=r"ERROR E_UNKNOWN_TOOL: .*spec\.yaml:4:11 agent\.tools\[0\]"
    ) as caught:
        compiler().compile(path)
    assert caught.value.code == "spec_invalid"
    assert caught.value.facts()["diagnostics"][0]["line"] == 4


def test_without_strictness_the_findings_come_with_the_plan() -> None:
    text = HEAD + "  tools: [nothing]\nworkflow: {type: sequential, steps: [nobody]}\n"
    package = compiler().compile_dict(data(text), strict=False)
    assert {item.code for item in package.diagnostics} >= {"E_UNKNOWN_TOOL", "E_STEP_AGENT_REF"}
    assert package.plan.root_agent.tools == ("nothing",)
    with pytest.raises(SpecCompilationError):
        compiler().compile_dict({"version": "v1", "agent": {}}, strict=False)


FUNCTION = HEAD + "components:\n  functions:\n    f: {implementation: %s}\n"
TOOL = HEAD + "  tools: [t]\ntools:\n  t: {description: d, implementation: %s}\n"


@pytest.mark.parametrize("implementation", ["no_such_module.f", "json.dmups", "json.decoder"])
def test_code_that_is_not_there_is_found_at_compile(implementation: str, tmp_path: Path) -> None:
    for template, code, line in ((FUNCTION, "E_FUNCTION_IMPORT", 6), (TOOL, "E_TOOL_IMPORT", 6)):
        path = tmp_path / "spec.yaml"
        path.write_text(template % implementation)
        assert not compiler().validate(path).has_errors
        with pytest.raises(SpecCompilationError) as caught:
            compiler().compile(path)
        found = [item for item in caught.value.report.diagnostics if item.code == code]
        assert [(item.line, implementation in item.message) for item in found] == [(line, True)]


@pytest.mark.parametrize(
    "body", ["raise RuntimeError('boom')", "raise SystemExit(3)", "import nowhere_at_all", "x = ("]
)
def test_a_module_that_fails_in_its_own_body_is_a_finding(
    body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"failing_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(body)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SpecCompilationError, match="E_FUNCTION_IMPORT"):
        compiler().compile_dict(data(FUNCTION % f"{name}.f"))


def test_an_agent_that_cannot_run_here_is_a_warning() -> None:
    with_runtimes = SpecCompiler(runtime_registry=Runtimes(), tool_registry=Tools())
    text = HEAD + "  model: {provider: acme, name: x}\n"
    found = with_runtimes.validate(data(text)).diagnostics
    assert [(item.code, item.path) for item in found] == [("W_RUNTIME_UNAVAILABLE", "agent.model")]
    assert with_runtimes.compile_dict(data(text)).diagnostics == found


def test_skills_are_frozen_into_the_plan(tmp_path: Path) -> None:
    (tmp_path / "terse").mkdir()
    (tmp_path / "terse" / "SKILL.md").write_text("Be terse.")
    (tmp_path / "loud.md").write_text("BE LOUD.")
    text = """
        version: v1
        agent: {name: a, skills: [terse]}
        skills: {terse: {source: terse}, loud: {source: loud.md}}
        """
    reading = SpecCompiler(runtime_registry=None, tool_registry=None, skill_loader=SkillLoader(tmp_path))
    assert reading.compile_dict(data(text)).plan.skills == {"terse": "Be terse."}
    overlay = {"add": ["loud"], "disable": ["terse"]}
    package = reading.compile_dict(data(text), skills_overlay=overlay)
    assert (package.plan.skills, package.root_agent.skills) == ({"loud": "BE LOUD."}, ("loud",))
    with pytest.raises(InvalidRequestError, match="adds `quiet`"):
        reading.compile_dict(data(text), skills_overlay={"add": ["quiet"]})
    frozen = reading.freeze_inputs(spec=data(text))
    (tmp_path / "loud.md").write_text("changed")
    again = reading.compile_from_frozen(
        frozen["base"], frozen["overlays"], frozen_skills=frozen["skills"], skills_overlay=overlay
    )
    assert again.plan == package.plan


def test_a_skill_that_is_not_there_or_not_allowed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.md").write_text("secret")
    (root / "link.md").symlink_to(tmp_path / "secret.md")
    reading = SpecCompiler(runtime_registry=None, tool_registry=None, skill_loader=SkillLoader(root))

    def with_source(source: str) -> dict[str, Any]:
        return {"version": "v1", "agent": {"name": "a", "skills": ["s"]}, "skills": {"s": {"source": source}}}

    with pytest.raises(SpecCompilationError, match="E_SKILL_SOURCE"):
        reading.compile_dict(with_source("nowhere.md"))
    for outside in ("link.md", str(tmp_path / "secret.md")):
        with pytest.raises(SpecPathConfinementError) as caught:
            reading.compile_dict(with_source(outside))
        assert str(tmp_path) not in str(caught.value)


def test_overlays_and_overrides_change_the_plan_and_keep_their_places(tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text(HEAD + "  system_prompt: base\n  tools: [lookup_user]\n  model: {provider: dummy, name: d}\n")
    prod = tmp_path / "prod.yaml"
    prod.write_text("agent:\n  system_prompt: prod\n  tools: null\n  model: {name: big}\n  skills: [quiet]\n")
    report = compiler().validate(base, overlays=[prod])
    assert [(item.code, item.source, item.line) for item in report.diagnostics] == [("E_SKILL_REF", str(prod), 5)]
    plan = compiler().compile(base, overlays=[prod], overrides={"agent": {"skills": {"__delete__": True}}}).plan
    assert (plan.root_agent.system_prompt, plan.root_agent.tools) == ("prod", ())
    assert plan.root_agent.model is not None
    assert (plan.root_agent.model.provider, plan.root_agent.model.name) == ("dummy", "big")


def test_frozen_inputs_compile_without_their_files(tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text(HEAD)
    over = tmp_path / "over.yaml"
    over.write_text("agent: {description: d}\n")
    before = compiler().compile(base, overlays=[over]).plan
    frozen = compiler().freeze_inputs(spec_path=base, overlays=[over])
    base.unlink()
    over.unlink()
    assert compiler().compile_from_frozen(frozen["base"], frozen["overlays"]).plan == before
    with pytest.raises(InvalidRequestError, match="Either spec_path or spec"):
        compiler().freeze_inputs()


def test_a_small_spec_compiles_in_no_time() -> None:
    document = data(HEAD + "  tools: [lookup_user]\nworkflow: {type: sequential, steps: [root]}\n")
    subject = compiler()
    taken = []
    for _ in range(10):
        begun = time.perf_counter()
        subject.compile_dict(document)
        taken.append(time.perf_counter() - begun)
    assert min(taken) < 0.025


def test_validation_imports_neither_providers_nor_the_code_of_the_spec(tmp_path: Path) -> None:
    (tmp_path / "user_code.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "spec.yaml").write_text(
        FUNCTION % "user_code.f" + "tools: {t: {description: d, implementation: user_code.g}}\n"
    )
    program = spec(
        """
        import sys
        from kneo_serv.spec import SpecCompiler
        report = SpecCompiler(runtime_registry=None, tool_registry=None).validate("spec.yaml")
        assert not report.diagnostics, report
        heavy = {"pydantic_ai", "openai", "httpx2", "fastapi", "mcp", "user_code", "jsonschema"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        """
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)


def test_a_registered_tool_is_copied_into_the_plan() -> None:
    tools = Tools()
    plan = compiler(tools=tools).compile_dict(data(HEAD + "  tools: [lookup_user]\n")).plan
    tools.definitions["lookup_user"] = ToolDefinition("lookup_user", "Another one.")
    assert plan.tools["lookup_user"].definition.description == "Return the email for a user id."
    assert compiler(tools=tools).compile_dict(data(HEAD + "  tools: [lookup_user]\n")).plan.hash != plan.hash
