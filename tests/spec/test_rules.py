"""Each finding: the document, the code, the path and the line it is reported at."""

from pathlib import Path

import pytest

from tests.spec.specs import HEAD, findings

LOOKUP = """version: v1
agent:
  name: directory-agent
  system_prompt: |
    You answer questions by looking up users with the lookup_user tool.
    Return concise, factual answers.
  model:
    provider: openai
    name: gpt-4o-mini
  strategy:
    type: react
    max_iterations: 4
  runtime_preferences:
    preferred_mode: bridge
    allowed_modes: [bridge]
  tools:
    include: [lookup_user]
workflow:
  type: sequential
  name: lookup-pipeline
  steps:
    - id: answer
      kind: agent
      ref: directory-agent
"""
POLICY = """  policies:
    tool:
      allow:
        - lookup_user
      deny: []
      network: false
      filesystem: false
      shell: false
"""


def seq(*steps: str) -> str:
    """A sequential workflow; its first step stands in line 7."""
    return HEAD + "workflow:\n  type: sequential\n  steps:\n" + "".join(f"    - {{{step}}}\n" for step in steps)


def graph(body: str) -> str:
    return HEAD + "workflow:\n  type: graph\n" + body


def chat(kind: str, *steps: str, more: str = "") -> str:
    parts = "".join(f"    - {{{step}}}\n" for step in steps)
    return HEAD + f"workflow:\n  type: {kind}\n  participants:\n{parts}{more}"


OK = "id: a, kind: agent, ref: root"
NODES = "  start: a\n  nodes:\n    a: {id: a, kind: agent, ref: root}\n    b: {id: b, kind: agent, ref: root}\n"
EDGE = "  edges:\n    - {from: a, to: b"
HUMAN = HEAD + "components:\n  humans:\n    h: "
GUARD = HEAD + "  guardrails:\n    "
TOOL = HEAD + "tools:\n  t: {description: d, "
CASES = [
    # steps
    (seq("id: a, kind: agent, ref: rot"), "E_STEP_AGENT_REF", "workflow.steps[0].ref", 7),
    (seq(OK, "id: b, kind: function, ref: f"), "E_STEP_FUNCTION_REF", "workflow.steps[1].ref", 8),
    (seq("id: a, kind: human, ref: h"), "E_STEP_HUMAN_REF", "workflow.steps[0].ref", 7),
    (seq("id: a, kind: workflow, ref: w"), "E_STEP_WORKFLOW_REF", "workflow.steps[0].ref", 7),
    (seq("id: a, kind: guardrail, ref: g"), "E_STEP_GUARDRAIL_REF", "workflow.steps[0].ref", 7),
    (seq(OK, OK), "E_STEP_DUPLICATE_ID", "workflow.steps[1].id", 8),
    (seq(OK + ", on_error: fallback"), "E_STEP_FALLBACK_REF", "workflow.steps[0].fallback_ref", 7),
    (seq(OK + ", on_error: fallback, fallback_ref: z"), "E_STEP_FALLBACK_UNKNOWN", "workflow.steps[0].fallback_ref", 7),
    (seq(OK + ", on_error: fallback, fallback_ref: a"), "E_STEP_FALLBACK_SELF", "workflow.steps[0].fallback_ref", 7),
    (
        seq(OK + ", on_error: fallback, fallback_ref: b", "id: b, kind: agent, ref: root, enabled: false"),
        "W_STEP_FALLBACK_DISABLED",
        "workflow.steps[0].fallback_ref",
        7,
    ),
    (
        seq(OK + ", on_error: fallback, fallback_ref: b", "id: b, kind: human, ref: h"),
        "E_STEP_FALLBACK_HUMAN",
        "workflow.steps[0].fallback_ref",
        7,
    ),
    (seq(OK + ", max_retries: -1"), "E_STEP_RETRIES", "workflow.steps[0].max_retries", 7),
    (seq(OK + ", timeout_seconds: -1"), "E_STEP_TIMEOUT", "workflow.steps[0].timeout_seconds", 7),
    (seq(OK + ", backoff_seconds: -1"), "E_STEP_BACKOFF", "workflow.steps[0].backoff_seconds", 7),
    (HEAD + "workflow: {type: sequential, steps: []}", "E_WORKFLOW_EMPTY", "workflow.steps", 4),
    (seq(OK + ", enabled: false"), "E_WORKFLOW_EMPTY", "workflow.steps", 6),
    (chat("concurrent"), "E_SCHEMA", "workflow.participants", 6),
    # graphs
    (graph("  start: z\n" + NODES.partition("\n")[2] + EDGE + "}\n"), "E_GRAPH_START_UNKNOWN", "workflow.start", 6),
    (
        graph(NODES.replace("id: a,", "id: a, enabled: false,") + EDGE + "}\n"),
        "E_GRAPH_START_DISABLED",
        "workflow.start",
        6,
    ),
    (graph(NODES + "  edges: []\n"), "W_GRAPH_NODE_UNREACHABLE", "workflow.nodes.b", 9),
    (graph(NODES.replace("id: b", "id: c") + EDGE + "}\n"), "W_GRAPH_NODE_ID_MISMATCH", "workflow.nodes.b.id", 9),
    (graph(NODES + "  edges:\n    - {from: z, to: b}\n"), "E_GRAPH_EDGE_FROM", "workflow.edges[0]", 11),
    (graph(NODES + "  edges:\n    - {from: a, to: z}\n"), "E_GRAPH_EDGE_TO", "workflow.edges[0]", 11),
    (graph(NODES + EDGE + "}\n  max_steps: 0\n"), "E_GRAPH_MAX_STEPS", "workflow.max_steps", 12),
    (
        graph(NODES.replace("id: b,", "id: b, on_error: fallback,") + EDGE + "}\n"),
        "E_GRAPH_NODE_FALLBACK_REF",
        "workflow.nodes.b.fallback_ref",
        9,
    ),
    (
        graph(NODES.replace("id: b,", "id: b, on_error: fallback, fallback_ref: z,") + EDGE + "}\n"),
        "E_GRAPH_NODE_FALLBACK_UNKNOWN",
        "workflow.nodes.b.fallback_ref",
        9,
    ),
    (
        graph(NODES.replace("id: b,", "id: b, on_error: fallback, fallback_ref: b,") + EDGE + "}\n"),
        "E_GRAPH_NODE_FALLBACK_SELF",
        "workflow.nodes.b.fallback_ref",
        9,
    ),
    (
        graph(
            NODES.replace("id: b,", "id: b, fallback_ref: c,")
            + "    c: {id: c, kind: agent, ref: root, enabled: false}\n"
            + EDGE
            + "}\n"
        ),
        "E_GRAPH_NODE_FALLBACK_DISABLED",
        "workflow.nodes.b.fallback_ref",
        9,
    ),
    (
        graph(
            NODES.replace("id: b,", "id: b, fallback_ref: c,") + "    c: {id: c, kind: human, ref: h}\n" + EDGE + "}\n"
        ),
        "E_GRAPH_FALLBACK_HUMAN",
        "workflow.nodes.b.fallback_ref",
        9,
    ),
    # conditions
    (
        graph(NODES + EDGE + ", condition: {type: output_contains}}\n"),
        "E_CONDITION_VALUE",
        "workflow.edges[0].condition.value",
        11,
    ),
    (
        graph(NODES + EDGE + ", condition: {type: status_is, value: odd}}\n"),
        "E_CONDITION_VALUE",
        "workflow.edges[0].condition.value",
        11,
    ),
    (
        graph(NODES + EDGE + ", condition: {type: metadata_equals, value: x}}\n"),
        "E_CONDITION_KEY",
        "workflow.edges[0].condition.key",
        11,
    ),
    (
        graph(NODES + EDGE + ", condition: {type: any_of, conditions: []}}\n"),
        "E_CONDITION_CHILDREN",
        "workflow.edges[0].condition.conditions",
        11,
    ),
    (
        graph(NODES + EDGE + ", condition: {type: all_of, conditions: [{type: not}]}}\n"),
        "E_CONDITION_CHILD",
        "workflow.edges[0].condition.conditions[0].condition",
        11,
    ),
    # groups
    (chat("concurrent", OK, OK), "E_PARTICIPANT_DUPLICATE_ID", "workflow.participants[1].id", 8),
    (
        chat("group-chat", OK + ", on_error: fallback"),
        "E_PARTICIPANT_FALLBACK_UNSUPPORTED",
        "workflow.participants[0].fallback_ref",
        7,
    ),
    (chat("group_chat", OK, more="  rounds: 0\n"), "E_GROUP_CHAT_ROUNDS", "workflow.rounds", 8),
    (chat("handoff", OK, more="  max_iterations: 0\n"), "E_HANDOFF_MAX_ITERATIONS", "workflow.max_iterations", 8),
    (
        chat("handoff", OK, more="  selector: {type: sequence, sequence: [a, z]}\n"),
        "E_HANDOFF_SELECTOR_REF",
        "workflow.selector.sequence[1]",
        8,
    ),
    # agents
    (HEAD + "  skills: [s]\n", "E_SKILL_REF", "agent.skills[0]", 4),
    (
        HEAD + "  runtime_preferences: {preferred_mode: native, allowed_modes: [bridge]}\n",
        "E_RUNTIME_PREFERRED_NOT_ALLOWED",
        "agent.runtime_preferences.preferred_mode",
        4,
    ),
    (
        HEAD + "  runtime_preferences: {fallback_mode: native, allowed_modes: [bridge]}\n",
        "E_RUNTIME_FALLBACK_NOT_ALLOWED",
        "agent.runtime_preferences.fallback_mode",
        4,
    ),
    (
        HEAD + "  runtime_preferences: {preferred_mode: native}\n",
        "W_RUNTIME_NATIVE_PROVIDER",
        "agent.runtime_preferences.native_provider",
        4,
    ),
    (
        HEAD + "  runtime_preferences: {preferred_mode: adapter}\n",
        "W_RUNTIME_ADAPTER_REF",
        "agent.runtime_preferences.adapter_ref",
        4,
    ),
    (HEAD + "  strategy: react\n", "W_AGENT_MODEL", "agent.model", 2),
    (
        HEAD + "  strategy: {type: simple, max_iterations: 0}\n",
        "E_AGENT_MAX_ITERATIONS",
        "agent.strategy.max_iterations",
        4,
    ),
    (
        HEAD + "  model: {provider: p, name: n, timeout_seconds: -1}\n",
        "E_AGENT_TIMEOUT",
        "agent.model.timeout_seconds",
        4,
    ),
    (
        HEAD + "  model: {provider: p, name: n, extra: {api_key: k}}\n",
        "W_SECRET_INLINE",
        "agent.model.extra.api_key",
        4,
    ),
    (HEAD + "  as_agent: w\n", "E_AS_AGENT_UNKNOWN_WORKFLOW", "agent.as_agent", 4),
    (HEAD + "  as_agent: w\n  strategy: simple\n", "E_AS_AGENT_FIELDS", "agent", 2),
    (HEAD + "policies: {tool: {deny: [x]}}\n", "W_POLICY_INERT", "policies.tool", 4),
    # tools
    (HEAD + "  tools: [lokup_user]\n", "E_UNKNOWN_TOOL", "agent.tools[0]", 4),
    (HEAD + "  tools:\n    include:\n      - lookup_user\n      - x\n", "E_UNKNOWN_TOOL", "agent.tools[1]", 7),
    (HEAD + "  tools: {include: [lookup_user], exclude: [lookup_user]}\n", "E_TOOL_CONFLICT", "agent.tools[0]", 4),
    (
        HEAD + "  tools: [shell]\n  policies: {tool: {shell: false}}\n",
        "E_TOOL_POLICY_CAPABILITY",
        "agent.tools[0]",
        4,
    ),
    (
        HEAD + "  tools: {include: [web_search], permissions: {allow_network: false}}\n",
        "E_TOOL_POLICY_CAPABILITY",
        "agent.tools[0]",
        4,
    ),
    (TOOL + "parameters: {}}\n", "E_TOOL_NO_BACKING", "tools.t", 5),
    (TOOL + "implementation: a.b, agent: root}\n", "E_TOOL_MULTIPLE_BACKINGS", "tools.t", 5),
    (TOOL + "agent: nobody}\n", "E_AGENT_TOOL_UNKNOWN_AGENT", "tools.t.agent", 5),
    (TOOL + "agent: root, parameters: {type: object}}\n", "W_AGENT_TOOL_PARAMETERS_IGNORED", "tools.t.parameters", 5),
    (TOOL + "implementation: a.b, parameters: {type: objekt}}\n", "E_TOOL_PARAMETERS", "tools.t.parameters.type", 5),
    (TOOL + "implementation: os.system}\n", "E_UNSAFE_TOOL_IMPORT", "tools.t.implementation", 5),
    (TOOL + "implementation: eval}\n", "E_UNSAFE_TOOL_IMPORT", "tools.t.implementation", 5),
    (TOOL + "implementation: 'a.b:c'}\n", "E_TOOL_IMPLEMENTATION", "tools.t.implementation", 5),
    (TOOL + "mcp: {}}\n", "E_MCP_TOOL_NO_SERVER", "tools.t.mcp", 5),
    (TOOL + "mcp: {server: s}}\n", "E_MCP_UNKNOWN_SERVER", "tools.t.mcp.server", 5),
    (
        HEAD + "components:\n  functions:\n    f: {implementation: subprocess.run}\n",
        "E_UNSAFE_FUNCTION_IMPORT",
        "components.functions.f.implementation",
        6,
    ),
    (
        HEAD + "components:\n  functions:\n    f: {implementation: undotted}\n",
        "E_FUNCTION_IMPLEMENTATION",
        "components.functions.f.implementation",
        6,
    ),
    (HEAD + "  tools: [lookup_user]\n", "W_TOOL_POLICY_UNRESTRICTED", "agent.tools.permissions", 4),
    (HEAD + "  tools: [lookup_user]\n", "W_HUMAN_APPROVAL_MISSING", "workflow", 1),
    (
        HEAD + "  tools: {include: [web_search], permissions: {allow_network: true}}\n",
        "W_TOOL_NETWORK_UNRESTRICTED",
        "agent.tools.permissions.allowed_domains",
        4,
    ),
    (
        HEAD + "  tools: {include: [shell], permissions: {allow_shell: true}}\n",
        "W_TOOL_SHELL_ALLOWED",
        "agent.tools.permissions.allow_shell",
        4,
    ),
    (
        HEAD + "  tools: {include: [shell], permissions: {allow_filesystem_write: true}}\n",
        "W_TOOL_FILESYSTEM_WRITE_ALLOWED",
        "agent.tools.permissions.allow_filesystem_write",
        4,
    ),
    (
        HEAD + "  tools: {include: [shell], permissions: {allow_filesystem_read: true}}\n",
        "W_TOOL_FILESYSTEM_READ_ALLOWED",
        "agent.tools.permissions.allow_filesystem_read",
        4,
    ),
    # people
    (
        HUMAN + "{options: [a], default_option: b}\n",
        "E_HUMAN_DEFAULT_OPTION_NOT_IN_OPTIONS",
        "components.humans.h.default_option",
        6,
    ),
    (HUMAN + "{request_type: selection}\n", "E_HUMAN_SELECTION_REQUIRES_OPTIONS", "components.humans.h.options", 6),
    (HUMAN + "{response_role: system}\n", "W_HUMAN_RESPONSE_ROLE_SYSTEM", "components.humans.h.response_role", 6),
    (HUMAN + "{timeout_seconds: -5}\n", "E_HUMAN_TIMEOUT", "components.humans.h.timeout_seconds", 6),
    (HUMAN + "{on_reject: goto}\n", "E_HUMAN_REJECT_GOTO", "components.humans.h.reject_goto", 6),
    (HUMAN + "{reject_goto: a}\n", "W_HUMAN_REJECT_GOTO_UNUSED", "components.humans.h.reject_goto", 6),
    (
        HUMAN
        + "{on_reject: goto, reject_goto: z}\nworkflow: {type: sequential, steps: [{id: q, kind: human, ref: h}]}\n",
        "E_HUMAN_REJECT_GOTO",
        "components.humans.h.reject_goto",
        6,
    ),
    (
        HEAD + "  tools: [lookup_user]\n  policies: {tool: {network: false}}\n"
        "components: {humans: {h: {}}}\n"
        "workflow: {type: sequential, steps: [{id: a, kind: agent, ref: root}, {id: q, kind: human, ref: h}]}\n",
        "W_EFFECT_UNDECLARED",
        "agent.tools[0]",
        4,
    ),
    (
        HEAD + "components:\n  functions:\n    f: {implementation: a.b}\n"
        "workflow: {type: sequential, steps: [{id: a, kind: function, ref: f, max_retries: 1}]}\n",
        "W_EFFECT_UNDECLARED",
        "components.functions.f",
        6,
    ),
    # memory
    (HEAD + "  memory: {top_k: 1}\n", "E_MEMORY_POLICY_REQUIRED", "agent.memory.policy", 4),
    (HEAD + "  memory: {policy: ful}\n", "E_MEMORY_POLICY_UNKNOWN", "agent.memory.policy", 4),
    (HEAD + "  memory: {policy: summary}\n", "E_MEMORY_REF", "agent.memory.summarizer", 4),
    (
        HEAD + "  memory: {policy: retrieval, retriever: {ref: no}}\n",
        "E_MEMORY_REF",
        "agent.memory.retriever.ref",
        4,
    ),
    (
        HEAD + "  memory: {policy: sliding_window, max_messages: 0}\n",
        "E_MEMORY_CONFIG",
        "agent.memory.max_messages",
        4,
    ),
    # guardrails
    (GUARD + "inptu: []\n", "E_GUARDRAIL_STAGE", "agent.guardrails.inptu", 5),
    (GUARD + "input: {}\n", "E_GUARDRAIL_FIELDS", "agent.guardrails.input", 5),
    (GUARD + "input: [x]\n", "E_GUARDRAIL_FIELDS", "agent.guardrails.input[0]", 5),
    (GUARD + "input: [{type: keyword}]\n", "E_GUARDRAIL_FIELDS", "agent.guardrails.input[0].id", 5),
    (GUARD + "input: [{id: a, type: keyword, typ: x}]\n", "E_GUARDRAIL_FIELDS", "agent.guardrails.input[0].typ", 5),
    (GUARD + "input: [{id: a, type: magic}]\n", "E_GUARDRAIL_TYPE", "agent.guardrails.input[0].type", 5),
    (
        GUARD + "input: [{id: a, type: keyword}]\n",
        "E_GUARDRAIL_CONFIG",
        "agent.guardrails.input[0].config.keywords",
        5,
    ),
    (
        GUARD + "input: [{id: a, type: regex, config: {patterns: ['(']}}]\n",
        "E_GUARDRAIL_PATTERN",
        "agent.guardrails.input[0].config.patterns[0]",
        5,
    ),
    (GUARD + "input: [{id: a, type: function}]\n", "E_GUARDRAIL_REF", "agent.guardrails.input[0].ref", 5),
    (GUARD + "input: [{id: a, type: agent, ref: z}]\n", "E_GUARDRAIL_REF", "agent.guardrails.input[0].ref", 5),
    (
        GUARD + "input: [{id: a, type: keyword, action: retry, config: {keywords: [x]}}]\n",
        "E_GUARDRAIL_ACTION_UNSUPPORTED",
        "agent.guardrails.input[0].action",
        5,
    ),
    (
        GUARD + "tool: [{id: a, type: keyword, action: retry, config: {keywords: [x]}}]\n",
        "E_GUARDRAIL_ACTION_UNSUPPORTED",
        "agent.guardrails.tool[0].action",
        5,
    ),
    (
        GUARD + "output: [{id: a, type: keyword, action: revise, config: {keywords: [x]}}]\n",
        "E_GUARDRAIL_ACTION_UNSUPPORTED",
        "agent.guardrails.output[0].action",
        5,
    ),
    (
        GUARD + "output: [{id: a, type: keyword, action: explode, config: {keywords: [x]}}]\n",
        "E_GUARDRAIL_ACTION_UNSUPPORTED",
        "agent.guardrails.output[0].action",
        5,
    ),
    (
        GUARD + "output: [{id: a, type: keyword, action: retry, config: {keywords: [x], max_retries: 0}}]\n",
        "E_GUARDRAIL_CONFIG",
        "agent.guardrails.output[0].config.max_retries",
        5,
    ),
    (
        GUARD + "input: [{id: a, type: keyword, action: redact, config: {keywords: [x], replacement: 3}}]\n",
        "E_GUARDRAIL_CONFIG",
        "agent.guardrails.input[0].config.replacement",
        5,
    ),
    (
        GUARD + "input: [{id: a, type: keyword, mode: odd, config: {keywords: [x]}}]\n",
        "E_GUARDRAIL_MODE_UNSUPPORTED",
        "agent.guardrails.input[0].mode",
        5,
    ),
    # mcp
    (HEAD + "mcp_servers:\n  s: {transport: stdio}\n", "E_MCP_MISSING_FIELD", "mcp_servers.s.command", 5),
    (HEAD + "mcp_servers:\n  s: {transport: sse, url: x}\n", "E_MCP_MISSING_FIELD", "mcp_servers.s.sse_url", 5),
    (
        HEAD + "mcp_servers:\n  s: {transport: http, url: x, verify: false}\n",
        "W_MCP_TLS_VERIFY_DISABLED",
        "mcp_servers.s.verify",
        5,
    ),
    # cycles
    (
        HEAD + "components:\n  workflows:\n    w: {type: sequential, steps: [{id: a, kind: workflow, ref: w}]}\n",
        "E_STEP_WORKFLOW_SELF_REF",
        "components.workflows.w.steps[0].ref",
        6,
    ),
    (
        HEAD + "components:\n  workflows:\n    w: {type: sequential, steps: [{id: a, kind: workflow, ref: w}]}\n",
        "E_BUILD_CYCLE",
        "components",
        4,
    ),
]


@pytest.mark.parametrize(
    ("text", "code", "path", "line"), CASES, ids=[f"{case[1]}-{n}" for n, case in enumerate(CASES)]
)
def test_a_fault_is_found_at_its_place(text: str, code: str, path: str, line: int, tmp_path: Path) -> None:
    found = findings(text, tmp_path)
    assert (code, path, line) in [(item.code, item.path, item.line) for item in found], "\n".join(map(str, found))
    severities = {"E": "error", "W": "warning"}
    assert all(item.severity.value == severities[item.code[0]] for item in found)


@pytest.mark.parametrize("text", [LOOKUP, LOOKUP.replace("workflow:\n", POLICY + "workflow:\n")])
def test_the_specs_of_the_tutorial_have_no_errors(text: str, tmp_path: Path) -> None:
    assert [item.code for item in findings(text, tmp_path) if item.severity.value == "error"] == []


def test_the_locked_down_spec_of_the_tutorial_has_no_findings_at_all(tmp_path: Path) -> None:
    assert findings(LOOKUP.replace("workflow:\n", POLICY + "workflow:\n"), tmp_path) == []


def test_a_cycle_through_a_tool_names_every_part(tmp_path: Path) -> None:
    text = """
        version: v1
        agent: {name: root, tools: [ask]}
        components:
          agents:
            helper: {name: helper, as_agent: flow}
          workflows:
            flow: {type: sequential, steps: [{id: back, kind: agent, ref: root}]}
        tools:
          ask: {description: d, agent: helper}
        """
    found = [item for item in findings(text, tmp_path) if item.code == "E_BUILD_CYCLE"]
    assert len(found) == 1
    assert "workflow:flow -> agent:root -> agent:helper -> workflow:flow" in found[0].message


def test_people_may_be_nested_and_several_at_once(tmp_path: Path) -> None:
    text = """
        version: v1
        agent: {name: root}
        workflow:
          type: concurrent
          participants:
            - {id: a, kind: human, ref: h}
            - {id: b, kind: human, ref: h}
            - {id: c, kind: workflow, ref: inner}
        components:
          humans: {h: {}}
          workflows:
            inner: {type: sequential, steps: [{id: q, kind: human, ref: h}]}
        """
    assert findings(text, tmp_path) == []


def test_a_tool_that_nobody_can_judge_is_left_alone() -> None:
    from kneo_serv.spec import SpecCompiler

    blind = SpecCompiler(runtime_registry=None, tool_registry=None)
    report = blind.validate({"version": "v1", "agent": {"name": "a", "tools": ["whatever"]}})
    assert not report.has_errors


def test_names_that_are_nearly_right_are_suggested(tmp_path: Path) -> None:
    found = findings(seq("id: a, kind: agent, ref: rot"), tmp_path)
    assert found[0].suggestion == "Did you mean `root`?"
    found = findings(HEAD + "  tools: [lokup_user]\n", tmp_path)
    assert found[0].suggestion == "Did you mean `lookup_user`?"


def test_disabled_steps_are_no_people(tmp_path: Path) -> None:
    text = HEAD + (
        "  tools: [lookup_user]\ncomponents: {humans: {h: {}}}\nworkflow: {type: sequential, steps: "
        "[{id: a, kind: agent, ref: root}, {id: q, kind: human, ref: h, enabled: false}]}\n"
    )
    assert "W_HUMAN_APPROVAL_MISSING" in [item.code for item in findings(text, tmp_path)]
    assert "W_HUMAN_APPROVAL_MISSING" not in [
        item.code for item in findings(text.replace(", enabled: false", ""), tmp_path)
    ]
