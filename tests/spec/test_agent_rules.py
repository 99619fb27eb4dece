"""Each finding about approvals, budgets, the form of answers and agents as tools, at its place."""

import sys
from pathlib import Path

import pytest

from kneo_serv.model.plan import ROOT, AgentPlan, Budget, OnBudget
from kneo_serv.model.tool import OnDeny, ToolDefinition
from tests.spec.specs import HEAD, Tools, compiler, data, findings

TOOL = HEAD + "tools:\n  t: {description: d, implementation: a.b, "
SEES = HEAD + "  tools: {include: [lookup_user], permissions: {allow_network: false}}\n"
ALWAYS = SEES + "  policies: {tool: {approval: {lookup_user: always}}}\n"
AMOUNT = "parameters: {type: object, properties: {amount: {type: number}}}"
ANSWER = HEAD + "  output_schema: "

CASES = [
    # rules of approval
    (TOOL + "approval: alway}\n", "E_TOOL_APPROVAL", "tools.t.approval", 5),
    (TOOL + "approval: ''}\n", "E_TOOL_APPROVAL", "tools.t.approval", 5),
    (TOOL + "approval: 'arguments.amount >'}\n", "E_TOOL_APPROVAL", "tools.t.approval", 5),
    (TOOL + f"approval: amount > 5.0, {AMOUNT}}}\n", "E_TOOL_APPROVAL", "tools.t.approval", 5),
    (TOOL + "approval: variables.x == 1}\n", "E_TOOL_APPROVAL", "tools.t.approval", 5),
    (TOOL + f"approval: '{'1 + ' * 300}1'}}\n", "E_CEL_TOO_LONG", "tools.t.approval", 5),
    (TOOL + "approval: yes}\n", "E_SCHEMA", "tools.t.approval", 5),
    (TOOL + "timeout_seconds: 0}\n", "E_SCHEMA", "tools.t.timeout_seconds", 5),
    (
        SEES + "  policies: {tool: {approval: {lookup_user: sometimes}}}\n",
        "E_TOOL_APPROVAL",
        "agent.policies.tool.approval.lookup_user",
        5,
    ),
    (
        SEES + "  policies:\n    tool:\n      approval:\n        lookup_user: always\n        lookup_users: always\n",
        "E_TOOL_APPROVAL_UNKNOWN",
        "agent.policies.tool.approval.lookup_users",
        9,
    ),
    (
        SEES.replace("include: [lookup_user]", "include: [lookup_user, shell], exclude: [shell]")
        + "  policies: {tool: {approval: {shell: always}}}\n",
        "E_TOOL_APPROVAL_UNKNOWN",
        "agent.policies.tool.approval.shell",
        5,
    ),
    (
        SEES + "  policies: {tool: {on_deny: tell}}\n",
        "E_SCHEMA",
        "agent.policies.tool.on_deny",
        5,
    ),
    # where nobody can be asked
    (
        ALWAYS + "  runtime_preferences: {preferred_mode: native, native_provider: openai}\n",
        "E_TOOL_APPROVAL_MODE",
        "agent.runtime_preferences.preferred_mode",
        6,
    ),
    (
        ALWAYS + "  runtime_preferences:\n    allowed_modes: [adapter]\n",
        "E_TOOL_APPROVAL_MODE",
        "agent.runtime_preferences.allowed_modes",
        7,
    ),
    (
        HEAD + "components:\n  agents:\n    a:\n      name: a\n      tools: [t]\n"
        "      runtime_preferences: {preferred_mode: adapter, adapter_ref: a.b}\n"
        "tools: {t: {description: d, implementation: a.b, approval: arguments.n > 1}}\n",
        "E_TOOL_APPROVAL_MODE",
        "components.agents.a.runtime_preferences.preferred_mode",
        9,
    ),
    # budgets
    (HEAD + "budget: {}\n", "E_BUDGET_EMPTY", "budget", 4),
    (HEAD + "budget: {on_budget: ask}\n", "E_BUDGET_EMPTY", "budget", 4),
    (HEAD + "  budget: {}\n", "E_BUDGET_EMPTY", "agent.budget", 4),
    (HEAD + "  budget: {tokens: 0}\n", "E_SCHEMA", "agent.budget.tokens", 4),
    (HEAD + "  budget: {cost_usd: -1}\n", "E_SCHEMA", "agent.budget.cost_usd", 4),
    (HEAD + "  budget: {calls: 1.5}\n", "E_SCHEMA", "agent.budget.calls", 4),
    (HEAD + "  budget: {token: 5}\n", "E_SCHEMA", "agent.budget.token", 4),
    (
        HEAD + "  model: {provider: p, name: n, token_budget: 5}\nbudget:\n  calls: 3\n  tokens: 9\n",
        "W_BUDGET_TWICE",
        "budget.tokens",
        7,
    ),
    # the form of answers
    (ANSWER + "{type: objekt}\n", "E_OUTPUT_SCHEMA", "agent.output_schema.type", 4),
    (
        ANSWER + "\n    type: object\n    properties:\n      a: {minimum: '1'}\n",
        "E_OUTPUT_SCHEMA",
        "agent.output_schema.properties.a.minimum",
        7,
    ),
    (ANSWER + "{required: [a, 1]}\n", "E_OUTPUT_SCHEMA", "agent.output_schema.required[1]", 4),
    (ANSWER + "{items: {pattern: '('}}\n", "E_OUTPUT_SCHEMA", "agent.output_schema.items.pattern", 4),
    (ANSWER + "{items: {$ref: '#/$defs/A'}}\n", "E_OUTPUT_SCHEMA", "agent.output_schema.items.$ref", 4),
    (ANSWER + "{$ref: 'https://a.example/s'}\n", "E_OUTPUT_SCHEMA", "agent.output_schema.$ref", 4),
    (ANSWER + "{$schema: 'https://a.example/d'}\n", "E_OUTPUT_SCHEMA", "agent.output_schema.$schema", 4),
    (
        HEAD + "components:\n  agents:\n    a:\n      name: a\n      output_schema: {type: 5}\n",
        "E_OUTPUT_SCHEMA",
        "components.agents.a.output_schema.type",
        8,
    ),
    (HEAD + "  output_retries: 1\n", "W_OUTPUT_RETRIES_INERT", "agent.output_retries", 4),
    (ANSWER + "{}\n  output_retries: -1\n", "E_SCHEMA", "agent.output_retries", 5),
    (TOOL + "parameters: {items: {$ref: '#/x'}}}\n", "E_TOOL_PARAMETERS", "tools.t.parameters.items.$ref", 5),
    # a workflow answers for the agent
    (HEAD + "  as_agent: w\n  output_schema: {}\n", "E_AS_AGENT_FIELDS", "agent", 2),
    (HEAD + "  as_agent: w\n  output_retries: 0\n", "E_AS_AGENT_FIELDS", "agent", 2),
    (HEAD + "  as_agent: w\n  budget: {calls: 1}\n", "E_AS_AGENT_FIELDS", "agent", 2),
]

SOUND = [
    TOOL + "approval: never}\n",
    TOOL + "approval: always, timeout_seconds: 2.5}\n",
    TOOL + f"approval: 'arguments.amount > 1000.0 || tool == \"t\"', {AMOUNT}}}\n",
    TOOL + "approval: 'type(arguments.a) == int && arguments.all(key, key != \"b\") && size(arguments) > 1'}\n",
    TOOL + "parameters: {$schema: 'http://json-schema.org/draft-07/schema#', items: [{type: string}]}}\n",
    ALWAYS,
    ALWAYS + "  runtime_preferences: {preferred_mode: bridge, fallback_mode: bridge}\n",
    SEES + "  policies: {tool: {approval: {lookup_user: never}}}\n"
    "  runtime_preferences: {preferred_mode: native, native_provider: openai}\n",
    SEES + "  policies: {tool: {on_deny: tell_model}}\n",
    HEAD + "  budget: {seconds: 0.5}\nbudget: {tokens: 9, on_budget: ask}\n",
    HEAD + "  model: {provider: p, name: n, token_budget: 5}\nbudget: {cost_usd: 1}\n",
    ANSWER + "{$defs: {A: {type: string}}, properties: {a: {$ref: '#/$defs/A'}}}\n  output_retries: 0\n",
    ANSWER + "{}\n",
]


@pytest.mark.parametrize(
    ("text", "code", "path", "line"), CASES, ids=[f"{case[1]}-{n}" for n, case in enumerate(CASES)]
)
def test_a_fault_is_found_at_its_place(text: str, code: str, path: str, line: int, tmp_path: Path) -> None:
    found = findings(text, tmp_path)
    assert (code, path, line) in [(item.code, item.path, item.line) for item in found], "\n".join(map(str, found))


@pytest.mark.parametrize("text", SOUND)
def test_what_is_sound_has_no_findings(text: str, tmp_path: Path) -> None:
    assert findings(text, tmp_path) == []


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        (TOOL + "approval: Alwayss}\n", "Did you mean `always`?"),
        (TOOL + f"approval: amount > 5.0, {AMOUNT}}}\n", "Did you mean `arguments.amount`?"),
        (TOOL + "approval: args.amount > 5.0}\n", "Did you mean `arguments`?"),
        (TOOL + "approval: at night}\n", "Write `never`, `always`, or an expression such as"),
        (SEES + "  policies: {tool: {approval: {lookupuser: always}}}\n", "Did you mean `lookup_user`?"),
        (HEAD + "  policies: {tool: {approval: {t: always}}}\n", "Add `t` to the agent's `tools`."),
        (ANSWER + "{}\n  output_retires: 1\n", "Did you mean `output_retries`?"),
    ],
)
def test_a_finding_says_what_would_do(text: str, suggestion: str, tmp_path: Path) -> None:
    (found,) = findings(text, tmp_path)
    assert found.suggestion is not None
    assert found.suggestion.startswith(suggestion)


def test_a_truth_value_as_a_rule_is_told_which_word_it_means(tmp_path: Path) -> None:
    (found,) = findings(TOOL + "approval: yes}\n", tmp_path)
    assert found.message == "`approval`: true and false are no rules of approval; write `always`."


def test_without_its_package_a_rule_says_how_to_get_it_and_the_words_need_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel", None)
    (found,) = compiler().validate(data(TOOL + "approval: arguments.a > 1}\n")).diagnostics
    assert (found.code, found.path) == ("E_CEL_MISSING", "tools.t.approval")
    assert found.suggestion == "Install it: pip install kneo-serv[cel]"
    assert compiler().validate(data(TOOL + "approval: always}\n")).diagnostics == []


def test_the_rule_of_a_registered_tool_is_told_where_an_agent_names_it() -> None:
    tools = Tools()
    tools.definitions["lookup_user"] = ToolDefinition("lookup_user", "d", approval="argumens.id == 1")
    (found,) = compiler(tools=tools).validate(data(SEES)).diagnostics
    assert (found.code, found.path) == ("E_TOOL_APPROVAL", "agent.tools[0]")
    assert found.message.startswith("The rule of the registered tool `lookup_user` looks at `argumens`")
    own = SEES + "tools: {lookup_user: {description: d, implementation: a.b}}\n"
    assert compiler(tools=tools).validate(data(own)).diagnostics == []


def test_the_mode_that_cannot_ask_is_told_once_with_every_tool(tmp_path: Path) -> None:
    text = (
        HEAD + "  tools: {include: [a, b, c], permissions: {}}\n"
        "  runtime_preferences: {preferred_mode: adapter, adapter_ref: a.b}\n"
        "  policies: {tool: {approval: {b: arguments.n > 1}}}\n"
        "tools:\n  a: {description: d, implementation: a.b, approval: always}\n"
        "  b: {description: d, implementation: a.b}\n  c: {description: d, implementation: a.b}\n"
    )
    (found,) = findings(text, tmp_path)
    assert found.code == "E_TOOL_APPROVAL_MODE"
    assert "`a`, `b` may need approval" in found.message


def test_a_fault_of_shape_hides_only_what_depends_on_it(tmp_path: Path) -> None:
    text = HEAD + "  tools: {inclde: [lookup_user]}\n  policies: {tool: {approval: {lookup_user: odd}}}\n"
    assert [item.code for item in findings(text, tmp_path)] == ["E_SCHEMA", "E_TOOL_APPROVAL"]
    text = HEAD + "  output_schema: text\n  output_retries: 1\n  budget: {on_budget: ask}\n"
    assert [item.code for item in findings(text, tmp_path)] == ["E_SCHEMA", "E_BUDGET_EMPTY"]


def approval_missing(text: str, tmp_path: Path) -> bool:
    return "W_HUMAN_APPROVAL_MISSING" in [item.code for item in findings(text, tmp_path)]


def test_nobody_misses_a_person_where_one_agrees_to_every_privileged_call(tmp_path: Path) -> None:
    text = HEAD + "  tools: {include: [shell, lookup_user], permissions: {allow_shell: true}}\n"
    assert approval_missing(text, tmp_path)
    assert approval_missing(text + "  policies: {tool: {approval: {shell: 'size(arguments) > 1'}}}\n", tmp_path)
    assert approval_missing(text + "  policies: {tool: {approval: {lookup_user: always}}}\n", tmp_path)
    assert not approval_missing(text + "  policies: {tool: {approval: {shell: always}}}\n", tmp_path)
    network = text.replace("allow_shell: true", "allow_shell: true, allow_network: true")
    assert approval_missing(network + "  policies: {tool: {approval: {shell: always}}}\n", tmp_path)


def test_where_nothing_is_bounded_every_tool_needs_a_person(tmp_path: Path) -> None:
    text = HEAD + "  tools: [a, b]\ntools:\n  a: {description: d, implementation: a.b, approval: always}\n"
    assert approval_missing(text + "  b: {description: d, implementation: a.b}\n", tmp_path)
    assert not approval_missing(text + "  b: {description: d, implementation: a.b, approval: always}\n", tmp_path)


def test_each_agent_needs_its_own_approval(tmp_path: Path) -> None:
    text = (
        HEAD + "  tools: [shell]\n  policies: {tool: {shell: true, approval: {shell: always}}}\n"
        "components: {agents: {other: {name: other, tools: [shell], policies: {tool: {shell: true}}}}}\n"
    )
    assert approval_missing(text, tmp_path)
    assert not approval_missing(
        text.replace("policies: {tool: {shell: true}}", "policies: {tool: {approval: {shell: always}}}"), tmp_path
    )


def agents(text: str) -> dict[str, AgentPlan]:
    return dict(compiler().compile_dict(data(text)).plan.agents)


def test_the_plan_holds_what_the_document_says() -> None:
    text = (
        HEAD + "  tools: {include: [ask], permissions: {}}\n"
        "  policies: {tool: {on_deny: tell_model, approval: {ask: arguments.input != ''}}}\n"
        "  output_schema: {type: object}\n  output_retries: 0\n  budget: {calls: 3, on_budget: ask}\n"
        "budget: {cost_usd: 0.5}\n"
        "tools: {ask: {description: d, agent: helper, approval: always, timeout_seconds: 2}}\n"
        "components: {agents: {helper: {name: helper, output_schema: {}}}}\n"
    )
    plan = compiler().compile_dict(data(text)).plan
    root, helper = plan.agents[ROOT], plan.agents["helper"]
    assert (root.tool_policy.on_deny, root.tool_policy.approval) == (
        OnDeny.TELL_MODEL,
        {"ask": "arguments.input != ''"},
    )
    assert (root.output_schema, root.output_retries) == ({"type": "object"}, 0)
    assert (helper.output_schema, helper.output_retries, helper.budget) == ({}, 2, None)
    assert root.budget == Budget(calls=3, on_budget=OnBudget.ASK)
    assert plan.limits.budget == Budget(cost_usd=0.5)
    definition = plan.tools["ask"].definition
    assert (definition.approval, definition.timeout_seconds) == ("always", 2)


def test_an_agent_that_is_its_own_tool_is_a_cycle(tmp_path: Path) -> None:
    text = HEAD + "  tools: {include: [me], permissions: {}}\ntools: {me: {description: d, agent: root}}\n"
    (found,) = findings(text, tmp_path)
    assert (found.code, found.path) == ("E_BUILD_CYCLE", "components")
    assert found.message.endswith("agent:root -> agent:root.")
    assert findings(text.replace("include: [me]", "include: [lookup_user]"), tmp_path) == []


def test_agents_that_are_tools_of_each_other_are_a_cycle(tmp_path: Path) -> None:
    text = """
        version: v1
        agent: {name: root, tools: {include: [ask_a], permissions: {}}}
        components:
          agents:
            a: {name: a, tools: {include: [ask_b], permissions: {}}}
            b: {name: b, tools: {include: [ask_a], permissions: {}}}
        tools:
          ask_a: {description: d, agent: a}
          ask_b: {description: d, agent: b}
        """
    (found,) = findings(text, tmp_path)
    assert found.code == "E_BUILD_CYCLE"
    assert found.message.endswith("agent:a -> agent:b -> agent:a.")


def test_an_agent_behind_a_tool_may_be_a_workflow_and_may_have_tools_that_need_approval(tmp_path: Path) -> None:
    text = """
        version: v1
        agent: {name: root, tools: {include: [office, clerk], permissions: {}}}
        workflow: {type: sequential, steps: [root]}
        components:
          agents:
            office: {name: office, as_agent: flow}
            clerk: {name: clerk, tools: {include: [pay], permissions: {}}}
          humans: {boss: {}}
          workflows:
            flow: {type: sequential, steps: [clerk, {id: ask, kind: human, ref: boss}]}
        tools:
          office: {description: d, agent: office, approval: arguments.input.size() > 100}
          clerk: {description: d, agent: clerk}
          pay: {description: d, implementation: json.dumps, effect: once, approval: always}
        """
    assert findings(text, tmp_path) == []
    plan = compiler().compile_dict(data(text)).plan
    assert [plan.tools[name].agent for name in ("office", "clerk", "pay")] == ["office", "clerk", None]
    assert plan.tools["clerk"].definition.parameters["required"] == ["input"]
