"""Explanations, graphs, reports, policies and the published schema."""

from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from kneo_serv.errors import InvalidRequestError, SpecPathConfinementError
from kneo_serv.spec import EnvironmentPolicy, SpecCompilationError, confine_spec_path, enforce
from kneo_serv.spec.diagnostic import ValidationReport
from kneo_serv.spec.schema import spec_schema
from kneo_serv.spec.skills import discover_default_catalog
from tests.spec.specs import HEAD, Tools, compiler, data
from tests.spec.test_compiler import FULL

EXAMPLES = Path(__file__).parents[2] / "examples"
SHORT = (
    HEAD + "workflow: {type: handoff, selector: agent, variables: {a: 1, b: }, participants: []}\n"
    "components:\n  workflows:\n    c: {type: concurrent, join: any, aggregation: json, participants: []}\n"
    "    g: {type: group_chat, speaker: root, participants: []}\n"
)
APPROVED = """
    version: v1
    agent:
      name: root
      tools: {include: [pay, shell], permissions: {}}
      policies: {tool: {on_deny: tell_model, approval: {pay: tool == 'pay'}}}
      output_schema: {type: object, properties: {paid: {type: boolean}}, required: [paid]}
      output_retries: 3
    budget: {tokens: 9000, cost_usd: 0.5, seconds: 60}
    components:
      agents:
        helper: {name: helper, budget: {calls: 3, on_budget: ask}}
    tools:
      pay:
        description: Pays.
        implementation: json.dumps
        effect: once
        timeout_seconds: 30
        approval: arguments.amount > 9.0
    """
CHAIN = (
    HEAD + "workflow: {type: sequential, name: chain, steps: [root, {id: b, kind: agent, ref: root, max_retries: 2}]}\n"
)


class Asking(Tools):
    """A registry in which the shell needs approval."""

    def __init__(self) -> None:
        super().__init__()
        self.definitions["shell"] = replace(self.definitions["shell"], approval="always")


def test_a_spec_is_explained_by_name() -> None:
    assert compiler().explain(data(CHAIN)) == {
        "has_root_agent": True,
        "has_root_workflow": True,
        "root_agent": "root",
        "root_workflow": "chain",
        "component_agents": [],
        "component_workflows": [],
    }
    with pytest.raises(SpecCompilationError):
        compiler().explain({"version": "v1"})


def test_a_sequence_is_a_chain_with_its_kinds() -> None:
    view = compiler().graph(data(CHAIN))
    assert [(node["id"], node["kind"], node["name"], node["max_retries"]) for node in view["nodes"]] == [
        ("root", "agent", "root", 0),
        ("b", "agent", "root", 2),
    ]
    assert [(edge["source"], edge["target"]) for edge in view["edges"]] == [("root", "b")]
    assert (view["workflow_name"], view["workflow_kind"], view["start"]) == ("chain", "sequential", "root")


@pytest.mark.parametrize(
    ("kind", "more", "edges"),
    [
        ("concurrent", "", []),
        ("handoff", ", selector: {type: sequence, sequence: [b, a, b]}", [("b", "a"), ("a", "b")]),
        ("handoff", ", selector: {type: round_robin, sequence: [b, a]}", [("a", "b")]),
        ("group-chat", ", rounds: 2", [("a", "b"), ("b", "a")]),
    ],
)
def test_groups_have_nodes_too(kind: str, more: str, edges: list[tuple[str, str]]) -> None:
    parts = "[{id: a, kind: agent, ref: root}, {id: b, kind: agent, ref: root}]"
    view = compiler().graph(data(HEAD + f"workflow: {{type: {kind}, participants: {parts}{more}}}\n"))
    assert [node["id"] for node in view["nodes"]] == ["a", "b"]
    assert [(edge["source"], edge["target"]) for edge in view["edges"]] == edges


def test_a_spec_without_a_workflow_has_no_graph() -> None:
    with pytest.raises(InvalidRequestError, match="no `workflow`"):
        compiler().graph(data(HEAD))


def test_the_report_counts_and_names_what_is_privileged() -> None:
    report = compiler().policy_report(data(FULL))
    assert report["summary"] == {
        "agent_count": 2,
        "workflow_count": 3,
        "tool_count": 2,
        "mcp_tool_count": 1,
        "human_reviewer_count": 1,
        "human_review_step_count": 1,
        "budget_count": 0,
        "diagnostic_count": len(report["diagnostics"]),
    }
    assert report["human_review"]["workflow_steps"] == [{"workflow": "workflow", "step_id": "check", "ref": "boss"}]
    assert report["tools"]["mcp_imports"] == [{"name": "remote", "config": {"server": "s"}}]
    assert report["guardrails"]["agents"][0]["stages"] == {"output": 1, "input": 1}
    assert report["memory"]["agents"][0]["policy"] == "summary"


def test_the_report_says_which_calls_need_approval_and_what_may_be_used() -> None:
    report = compiler(tools=Asking()).policy_report(data(APPROVED))
    rows = {row["agent"]: (row["on_deny"], row["approval"]) for row in report["tools"]["agent_policies"]}
    assert rows == {
        "agent": ("tell_model", {"pay": "(arguments.amount > 9.0) || (tool == 'pay')", "shell": "always"}),
        "components.agents.helper": ("fail", {}),
    }
    assert report["summary"]["budget_count"] == 2
    assert report["budgets"] == [
        {"path": "components.agents.helper.budget", "calls": 3, "on_budget": "ask"},
        {"path": "budget", "tokens": 9000, "cost_usd": 0.5, "seconds": 60.0, "on_budget": "fail"},
    ]
    blind = compiler(tools=Tools()).policy_report(data(APPROVED))["tools"]["agent_policies"][0]
    assert blind["approval"] == {"pay": "(arguments.amount > 9.0) || (tool == 'pay')"}


def test_the_report_finds_people_in_every_type_and_inside_steps() -> None:
    ask = "{id: ask, kind: human, ref: h}"
    kinds = "".join(
        f"    {kind}: {{type: {kind}, participants: [{ask}]}}\n" for kind in ("concurrent", "handoff", "group_chat")
    )
    inner = f"{{id: p, kind: parallel, branches: [{ask}, {{id: m, kind: map, step: {{kind: human, ref: h}}}}]}}"
    off = f"{{id: q, kind: parallel, enabled: false, branches: [{ask}]}}"
    text = HEAD + (
        f"workflow: {{type: sequential, steps: [{inner}, {off}]}}\ncomponents:\n  humans: {{h: {{}}}}\n  workflows:\n"
    )
    report = compiler().policy_report(data(text + kinds))
    assert [(step["workflow"], step["step_id"]) for step in report["human_review"]["workflow_steps"]] == [
        ("workflow.steps[0]", "ask"),
        ("workflow.steps[0].branches[1]", "item"),
        ("components.workflows.concurrent", "ask"),
        ("components.workflows.handoff", "ask"),
        ("components.workflows.group_chat", "ask"),
    ]
    assert report["summary"]["human_review_step_count"] == 5
    assert report["summary"]["workflow_count"] == 4


def test_the_report_says_when_people_are_missing() -> None:
    review = compiler().policy_report(data(HEAD + "  tools: [lookup_user]\n"))["human_review"]
    assert (review["required"], review["missing"]) == (True, True)
    assert review["requirements"][0]["code"] == "W_TOOL_POLICY_UNRESTRICTED"
    review = compiler().policy_report(data(HEAD + "components: {humans: {h: {}}}\n"))["human_review"]
    assert (review["required"], review["requirements"][0]["code"]) == (False, "I_HUMAN_REVIEW_CONFIGURED")
    assert compiler().policy_report({"version": "v1"})["valid"] is False
    assert compiler(tools=Tools()).policy_report(data(HEAD + "  tools: [nowhere]\n"))["valid"] is False


@pytest.mark.parametrize(
    ("rule", "code", "path"),
    [
        ({"fail_on_warnings": True}, "E_ENV_POLICY_WARNING", "agent.tools.permissions"),
        ({"blocked_diagnostic_codes": ["W_HUMAN_APPROVAL_MISSING"]}, "E_ENV_POLICY_DIAGNOSTIC", "workflow"),
        ({"require_human_review": True}, "E_ENV_POLICY_HUMAN_REVIEW", "workflow"),
        ({"require_tool_permissions": True}, "E_ENV_POLICY_TOOL_PERMISSIONS", "agent.tools.permissions"),
        ({"deny_unrestricted_tools": True}, "E_ENV_POLICY_UNRESTRICTED_TOOLS", "agent.tools"),
        ({"require_guardrails": True}, "E_ENV_POLICY_GUARDRAILS", "agent.guardrails"),
    ],
)
def test_an_environment_refuses_what_its_policy_names(rule: dict[str, object], code: str, path: str) -> None:
    package = compiler().compile_dict(data(HEAD + "  tools: [lookup_user]\n"))
    found = enforce(EnvironmentPolicy.model_validate(rule), package.spec, package.diagnostics)
    assert (code, path) in [(item.code, item.path) for item in found]
    off = EnvironmentPolicy.model_validate({**rule, "enabled": False})
    assert enforce(off, package.spec, package.diagnostics) == []
    assert enforce(EnvironmentPolicy(), package.spec, package.diagnostics) == []


def test_the_published_schema_takes_what_the_compiler_takes() -> None:
    validator = Draft202012Validator(spec_schema())
    Draft202012Validator.check_schema(spec_schema())
    for text in (FULL, CHAIN, SHORT, APPROVED, HEAD + "  model: gpt\n  strategy: react\n  tools: [a]\n"):
        assert list(validator.iter_errors(data(text))) == []
    for wrong in (HEAD + "  nmae: x\n", HEAD + "workflow: {type: odd}\n", "version: v2\nagent: {name: a}\n"):
        assert list(validator.iter_errors(data(wrong)))


NEWER = {
    "KneoSpec": ("budget",),
    "AgentSpec": ("output_schema", "output_retries", "budget"),
    "AgentToolPolicySpec": ("on_deny", "approval"),
    "ToolSpec": ("approval", "timeout_seconds"),
    "BudgetSpec": ("tokens", "cost_usd", "calls", "seconds", "on_budget"),
}


@pytest.mark.parametrize(("block", "keys"), NEWER.items())
def test_editors_say_what_budgets_approvals_and_output_schemas_mean(block: str, keys: tuple[str, ...]) -> None:
    schema = spec_schema()
    properties = (schema if block == "KneoSpec" else schema["$defs"][block])["properties"]
    assert [key for key in keys if not properties[key].get("description")] == []


@pytest.mark.parametrize(
    "wrong",
    [
        "  budget: {tokens: 0}\n",
        "  budget: {token: 5}\n",
        "  output_retries: -1\n",
        "  output_schema: text\n",
        "  policies: {tool: {on_deny: tell}}\n",
        "  policies: {tool: {approval: {t: true}}}\n",
        "tools: {t: {description: d, implementation: a.b, approval: true}}\n",
        "tools: {t: {description: d, implementation: a.b, timeout_seconds: 0}}\n",
    ],
)
def test_editors_and_the_compiler_refuse_the_same_rules(wrong: str) -> None:
    spec = data(HEAD + wrong)
    assert list(Draft202012Validator(spec_schema()).iter_errors(spec))
    assert compiler().validate(spec).has_errors


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_editors_find_nothing_wrong_with_the_documents_that_are_shipped(path: Path) -> None:
    spec = data(path.read_text(encoding="utf-8"))
    if "version" in spec:  # overlays have none
        assert [error.message for error in Draft202012Validator(spec_schema()).iter_errors(spec)] == []


@pytest.mark.parametrize(
    "step",
    [
        "{id: p, kind: parallel}",
        "{id: p, kind: parallel, ref: root, branches: []}",
        "{id: p, kind: map, step: {ref: root}}",
        "{id: p, kind: agent}",
        "{id: p, kind: parallel, join: most, branches: []}",
        "{id: p, kind: parallel, join: {n_off: 1}, branches: []}",
    ],
)
def test_editors_and_the_compiler_refuse_the_same_steps(step: str) -> None:
    spec = data(HEAD + f"workflow: {{type: sequential, steps: [{step}]}}\n")
    assert list(Draft202012Validator(spec_schema()).iter_errors(spec))
    assert compiler().validate(spec).has_errors


def test_reports_collect_by_severity() -> None:
    report = ValidationReport()
    report.info("I_X", "a")
    report.warn("W_X", "b", "p")
    assert not report.has_errors
    report.error("E_X", "c", "p", "s")
    assert report.has_errors
    assert report.to_dict_list()[2] == {
        "code": "E_X",
        "severity": "error",
        "message": "c",
        "path": "p",
        "suggestion": "s",
        "line": None,
        "column": None,
        "source": None,
    }


def test_paths_stay_in_their_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    assert confine_spec_path("a/b.yaml", root) == root / "a" / "b.yaml"
    assert confine_spec_path(root / "a.yaml", root) == root / "a.yaml"
    for outside in ("../x.yaml", "/etc/passwd", "out/x.yaml", "~/x.yaml", "a/../../x", "a\x00b"):
        with pytest.raises(SpecPathConfinementError):
            confine_spec_path(outside, root)


def test_the_catalogue_of_skills_is_found(tmp_path: Path) -> None:
    for base, name, text in (
        ("project/.agents/skills", "b", "---\nname: b\ndescription: From the project.\n---\nText"),
        ("home/.claude/skills", "b", "---\ndescription: From home.\n---\n"),
        ("home/.claude/skills", "a", "No front matter."),
    ):
        folder = tmp_path / base / name
        folder.mkdir(parents=True)
        (folder / "SKILL.md").write_text(text)
    assert discover_default_catalog(project_root=tmp_path / "project", user_home=tmp_path / "home") == [
        {"name": "a", "description": "", "path": "a"},
        {"name": "b", "description": "From the project.", "path": "b"},
    ]
