"""Each finding about joins, aggregations, variables, templates, expressions and transfers, at its place."""

import sys
from pathlib import Path

import pytest

from tests.spec.specs import HEAD, compiler, data, findings

HUMANS = "components: {humans: {h: {}}, functions: {f: {implementation: a.b, effect: idempotent}}}\n"


def flow(kind: str, body: str, *, more: str = "") -> str:
    """A workflow whose `body` begins in line 6."""
    return HEAD + f"workflow:\n  type: {kind}\n{body}{more}"


def seq(step: str, variables: str = "") -> str:
    """A sequence of one step, in line 7; the variables follow it."""
    return flow("sequential", f"  steps:\n    - {{{step}}}\n{variables}")


def conc(
    more: str, parts: str = "{id: a, kind: agent, ref: root}, {id: b, kind: agent, ref: root, enabled: false}"
) -> str:
    return flow("concurrent", f"  participants: [{parts}]\n{more}")


def graph(condition: str, variables: str = "") -> str:
    nodes = "  start: a\n  nodes: {a: {id: a, kind: agent, ref: root}, b: {id: b, kind: agent, ref: root}}\n"
    return flow("graph", nodes + f"  edges:\n    - {{from: a, to: b, condition: {condition}}}\n" + variables)


OK = "id: a, kind: agent, ref: root"
VARS = "  variables: {count: 3, plan: {type: json}}\n"
CASES = [
    # joins and aggregations
    (conc("  join: {}\n"), "E_JOIN_FIELDS", "workflow.join", 7),
    (conc("  join: {type: any, n_of: 1}\n"), "E_JOIN_FIELDS", "workflow.join", 7),
    (conc("  join: {n_of: 0}\n"), "E_JOIN_COUNT", "workflow.join.n_of", 7),
    (conc("  join: {n_of: 2}\n"), "E_JOIN_COUNT", "workflow.join.n_of", 7),
    (conc("  join: most\n"), "E_SCHEMA", "workflow.join.type", 7),
    (conc("  aggregation: {}\n"), "E_AGGREGATION_FIELDS", "workflow.aggregation", 7),
    (conc("  aggregation: {agent: root, function: f}\n"), "E_AGGREGATION_FIELDS", "workflow.aggregation", 7),
    (conc("  aggregation: {agent: rot}\n"), "E_AGGREGATION_REF", "workflow.aggregation.agent", 7),
    (conc("  aggregation: {function: f}\n"), "E_AGGREGATION_REF", "workflow.aggregation.function", 7),
    (conc("  max_concurrency: 0\n"), "E_MAX_CONCURRENCY", "workflow.max_concurrency", 7),
    (
        conc("", "{id: '@aggregator', kind: agent, ref: root}"),
        "E_PARTICIPANT_RESERVED_ID",
        "workflow.participants[0].id",
        6,
    ),
    # parallel and map
    (seq("id: p, kind: parallel"), "E_SCHEMA", "workflow.steps[0].branches", 7),
    (seq("id: p, kind: parallel, branches: []"), "E_WORKFLOW_EMPTY", "workflow.steps[0].branches", 7),
    (
        seq(f"id: p, kind: parallel, branches: [{{{OK}}}, {{{OK}}}]"),
        "E_PARTICIPANT_DUPLICATE_ID",
        "workflow.steps[0].branches[1].id",
        7,
    ),
    (
        seq("id: p, kind: parallel, branches: [{id: a, kind: agent, ref: rot}]"),
        "E_STEP_AGENT_REF",
        "workflow.steps[0].branches[0].ref",
        7,
    ),
    (seq("id: p, kind: map, step: {kind: function, ref: g}"), "E_STEP_FUNCTION_REF", "workflow.steps[0].step.ref", 7),
    (
        seq("id: p, kind: map, step: {kind: agent, ref: root, enabled: false}"),
        "E_WORKFLOW_EMPTY",
        "workflow.steps[0].step",
        7,
    ),
    (seq("id: p, kind: map, over: '[1', step: {kind: agent, ref: root}"), "E_CEL_SYNTAX", "workflow.steps[0].over", 7),
    (seq("id: p, kind: paralel, branches: []"), "E_SCHEMA", "workflow.steps[0].kind", 7),
    (seq("id: p, kind: agent"), "E_SCHEMA", "workflow.steps[0].ref", 7),
    (seq("id: p, kind: parallel, ref: root, branches: []"), "E_SCHEMA", "workflow.steps[0].ref", 7),
    (
        seq("id: p, kind: parallel, branches: [{id: a, kind: map, step: {kind: workflow, ref: 'w/p'}}]")
        + "components:\n  workflows:\n    w: {type: sequential, steps: [{id: p, kind: map, "
        "step: {kind: agent, ref: root}}]}\n" + "    w/p: {type: sequential, steps: [root]}\n",
        "E_WORKFLOW_KEY_TAKEN",
        "components.workflows.w/p",
        11,
    ),
    (
        seq("id: p, kind: parallel, branches: [{id: q, kind: workflow, ref: w}]")
        + "components:\n  workflows:\n    w: {type: sequential, steps: [{id: m, kind: map, "
        "step: {kind: workflow, ref: w}}]}\n",
        "E_BUILD_CYCLE",
        "components",
        8,
    ),
    (
        seq("id: p, kind: parallel, branches: [{id: q, kind: human, ref: h}]")
        + "components:\n  humans:\n    h: {on_reject: goto, reject_goto: p}\n",
        "E_HUMAN_REJECT_GOTO",
        "components.humans.h.reject_goto",
        10,
    ),
    # variables and templates
    (seq(OK, "  variables: {a-b: 1}\n"), "E_VARIABLE_NAME", "workflow.variables.a-b", 8),
    (
        seq(OK, "  variables: {n: {type: integer, default: x}}\n"),
        "E_VARIABLE_DEFAULT",
        "workflow.variables.n.default",
        8,
    ),
    (
        seq(OK, "  variables: {n: {type: integer, default: true}}\n"),
        "E_VARIABLE_DEFAULT",
        "workflow.variables.n.default",
        8,
    ),
    (seq(OK, "  variables: {n: {kind: integer}}\n"), "E_SCHEMA", "workflow.variables.n.kind", 8),
    (seq(OK + ", output: n"), "E_STEP_OUTPUT_VARIABLE", "workflow.steps[0].output", 7),
    (seq(OK + ", input: 'see {{ text'"), "E_TEMPLATE_SYNTAX", "workflow.steps[0].input", 7),
    (seq(OK + ", input: 'see {{ txt }}'"), "E_TEMPLATE_NAME", "workflow.steps[0].input", 7),
    (seq(OK + ", input: '{{ variables.cuont }}'", VARS), "E_TEMPLATE_NAME", "workflow.steps[0].input", 7),
    (seq(OK + ", input: '{{ variables.count.x }}'", VARS), "E_TEMPLATE_NAME", "workflow.steps[0].input", 7),
    (
        seq(f"id: p, kind: parallel, branches: [{{{OK}, input: '{{{{ variables.cuont }}}}'}}]", VARS),
        "E_TEMPLATE_NAME",
        "workflow.steps[0].branches[0].input",
        7,
    ),
    # conditions
    (graph("{type: cel}"), "E_CONDITION_VALUE", "workflow.edges[0].condition.value", 9),
    (graph("{type: cel, value: '1 +'}"), "E_CEL_SYNTAX", "workflow.edges[0].condition.value", 9),
    (graph(f"{{type: cel, value: '{'1 + ' * 300}1'}}"), "E_CEL_TOO_LONG", "workflow.edges[0].condition.value", 9),
    (graph("{type: cel, value: 'output == text'}"), "E_CEL_NAME", "workflow.edges[0].condition.value", 9),
    (graph("{type: cel, value: 'variables.n > 1'}", VARS), "E_CEL_NAME", "workflow.edges[0].condition.value", 9),
    (graph("{type: decision_is, value: yes}"), "E_CONDITION_VALUE", "workflow.edges[0].condition.value", 9),
    (graph("{type: variable_equals, key: n, value: 1}"), "W_CONDITION_VARIABLE", "workflow.edges[0].condition.key", 9),
    (
        flow("group_chat", f"  participants: [{{{OK}}}]\n  until: {{type: not}}\n"),
        "E_CONDITION_CHILD",
        "workflow.until.condition",
        7,
    ),
    # who speaks next
    (
        flow("group_chat", f"  participants: [{{{OK}}}]\n  speaker: {{agent: rot}}\n"),
        "E_GROUP_CHAT_SPEAKER_REF",
        "workflow.speaker.agent",
        7,
    ),
    (
        flow("handoff", "  participants: [{id: a b, kind: agent, ref: root}]\n  selector: {type: agent}\n"),
        "E_HANDOFF_PARTICIPANT_ID",
        "workflow.participants[0].id",
        6,
    ),
    (
        flow("handoff", "  participants: [{id: a, kind: function, ref: f}]\n  selector: {type: agent}\n", more=HUMANS),
        "W_HANDOFF_FIRST_NO_AGENT",
        "workflow.participants[0].kind",
        6,
    ),
    (
        flow("handoff", f"  participants: [{{{OK}}}]\n  selector: {{type: agent, sequence: [a]}}\n"),
        "W_HANDOFF_SEQUENCE_UNUSED",
        "workflow.selector.sequence",
        7,
    ),
]

SOUND = [
    conc("  join: any\n  aggregation: concat\n  max_concurrency: 1\n"),
    conc("  join: {n_of: 1}\n  aggregation: {agent: root}\n"),
    seq(OK + ", input: '{{text}} {{ input }} {{ variables.plan.steps.first }} { {', output: count", VARS),
    seq("id: p, kind: map, step: {kind: agent, ref: root, output: count}, over: variables.plan", VARS),
    graph(
        '{type: cel, value: \'text.contains("variables.x") && variables.plan.all(step, step.ok) '
        '&& status != "failed"\'}',
        VARS,
    ),
    graph("{type: variable_equals, key: count, value: 1}", VARS),
    flow(
        "handoff",
        f"  participants: [{{{OK}}}, {{id: h, kind: human, ref: h}}]\n  selector: {{type: agent}}\n",
        more=HUMANS,
    ),
    seq("id: p, kind: parallel, branches: [{id: q, kind: map, step: {kind: human, ref: h}}]") + HUMANS,
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


def test_a_wrong_kind_is_told_with_every_kind_there_is(tmp_path: Path) -> None:
    (found,) = findings(seq("id: p, kind: paralel, ref: x"), tmp_path)
    assert found.suggestion == "Did you mean `parallel`?"


def test_names_in_templates_and_expressions_are_suggested(tmp_path: Path) -> None:
    (found,) = findings(seq(OK + ", input: '{{ variables.cuont }}'", VARS), tmp_path)
    assert found.suggestion == "Did you mean `count`?"
    (found,) = findings(graph("{type: cel, value: 'count > 1'}", VARS), tmp_path)
    assert found.suggestion == "Did you mean `variables.count`?"


def test_without_its_package_an_expression_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel", None)
    (found,) = compiler().validate(data(graph("{type: cel, value: 'true'}"))).diagnostics
    assert (found.code, found.suggestion) == ("E_CEL_MISSING", "Install it: pip install kneo-serv[cel]")
    assert compiler().validate(data(graph("{type: always}"))).diagnostics == []


def test_a_person_in_a_branch_looks_at_what_tools_did(tmp_path: Path) -> None:
    text = seq("id: p, kind: parallel, branches: [{id: q, kind: human, ref: h}]").replace(
        "  name: root\n", "  name: root\n  tools: [lookup_user]\n"
    )
    codes = [item.code for item in findings(text + HUMANS, tmp_path)]
    assert "W_HUMAN_APPROVAL_MISSING" not in codes
    disabled = text.replace("id: p,", "id: p, enabled: false,")
    assert "W_HUMAN_APPROVAL_MISSING" in [item.code for item in findings(disabled + HUMANS, tmp_path)]


def test_a_retry_deep_inside_asks_for_the_effects_of_all_around(tmp_path: Path) -> None:
    text = flow(
        "sequential",
        "  steps:\n    - {id: a, kind: function, ref: f}\n"
        "    - {id: p, kind: parallel, branches: [{id: q, kind: agent, ref: root, max_retries: 1}]}\n",
    )
    assert [item.code for item in findings(text + HUMANS.replace(", effect: idempotent", ""), tmp_path)] == [
        "W_EFFECT_UNDECLARED"
    ]
