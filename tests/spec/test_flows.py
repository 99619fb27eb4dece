"""What the new words of a spec become in the plan."""

import pytest

from kneo_serv.model.plan import (
    ROOT,
    Aggregation,
    Condition,
    Flow,
    FlowType,
    Join,
    JoinType,
    Plan,
    Step,
    StepKind,
    Variable,
    VariableType,
)
from kneo_serv.spec import SpecCompilationError
from tests.spec.specs import HEAD, compiler, data

A = "{id: a, kind: agent, ref: root}"
B = "{id: b, kind: agent, ref: root}"


def plan(text: str) -> Plan:
    return compiler().compile_dict(data(HEAD + text)).plan


def root(text: str) -> Flow:
    return plan("workflow: " + text + "\n").flows[ROOT]


def test_a_parallel_step_becomes_a_workflow_of_its_own() -> None:
    found = plan(f"""workflow:
  type: sequential
  variables: {{n: 1}}
  steps:
    - id: p
      kind: parallel
      on_error: continue
      input: "{{{{ text }}}}"
      output: n
      join: {{n_of: 1}}
      aggregation: concat
      max_concurrency: 3
      branches: [{A}, {{id: m, kind: map, over: "[1]", step: {{kind: agent, ref: root}}}}, {B[:-1]}, enabled: false}}]
""").flows
    assert list(found) == [ROOT, "@root/p", "@root/p/m"]
    step = found[ROOT].steps[0]
    assert (step.kind, step.ref, step.on_error.value) == (StepKind.WORKFLOW, "@root/p", "continue")
    assert (step.input, step.output) == ("{{ text }}", "n")
    branches = found["@root/p"]
    assert (branches.name, branches.type, [item.id for item in branches.steps]) == (
        "p",
        FlowType.CONCURRENT,
        ["a", "m"],
    )
    assert (branches.join, branches.aggregation) == (Join(JoinType.N_OF, 1), Aggregation.CONCAT)
    assert branches.max_concurrency == 3
    assert branches.steps[1] == Step("m", StepKind.WORKFLOW, "@root/p/m")
    items = found["@root/p/m"]
    assert (items.type, items.over, items.aggregation) == (FlowType.MAP, "[1]", Aggregation.JSON)
    assert items.steps == (Step("item", StepKind.AGENT, ROOT),)
    assert items.variables == {"n": Variable(VariableType.INTEGER, 1)}


def test_what_is_disabled_is_not_in_the_plan_nor_what_is_inside_it() -> None:
    steps = f"[{A}, {{id: p, kind: parallel, enabled: false, branches: [{B}]}}]"
    assert list(plan(f"workflow: {{type: sequential, steps: {steps}}}\n").flows) == [ROOT]


@pytest.mark.parametrize(
    ("join", "built"),
    [
        ("all", Join()),
        ("any", Join(JoinType.ANY)),
        ("{n_of: 2}", Join(JoinType.N_OF, 2)),
        ("{type: any}", Join(JoinType.ANY)),
    ],
)
def test_joins_have_short_forms(join: str, built: Join) -> None:
    assert root(f"{{type: concurrent, participants: [{A}, {B}], join: {join}}}").join == built


def test_without_the_new_words_a_workflow_is_what_it_was() -> None:
    flow = root(f"{{type: concurrent, participants: [{A}, {B}]}}")
    assert flow == Flow(
        "concurrent-workflow",
        FlowType.CONCURRENT,
        (Step("a", StepKind.AGENT, ROOT), Step("b", StepKind.AGENT, ROOT)),
    )


@pytest.mark.parametrize(("written", "kind", "ref"), [("agent: root", "agent", ROOT), ("function: f", "function", "f")])
def test_an_aggregator_is_a_step(written: str, kind: str, ref: str) -> None:
    flow = (
        compiler()
        .compile_dict(
            data(
                HEAD + f"workflow: {{type: concurrent, participants: [{A}], aggregation: {{{written}}}}}\n"
                "components: {functions: {f: {implementation: examples.human_functions.draft_report}}}\n"
            )
        )
        .plan.flows[ROOT]
    )
    assert flow.aggregation is Aggregation.STEP
    assert flow.aggregator == Step("@aggregator", StepKind(kind), ref)


def test_a_handoff_with_transfers_is_bounded() -> None:
    flow = root(f"{{type: handoff, selector: {{type: agent}}, participants: [{A}, {B}]}}")
    assert (flow.transfer, flow.max_iterations, flow.order) == (True, 10, ())
    flow = root(f"{{type: handoff, selector: {{type: agent}}, max_iterations: 3, participants: [{A}, {B}]}}")
    assert flow.max_iterations == 3
    assert root(f"{{type: handoff, selector: agent, participants: [{A}, {B}]}}").transfer
    flow = root(f"{{type: handoff, participants: [{A}, {B}]}}")
    assert (flow.transfer, flow.max_iterations) == (False, None)


def test_a_group_chat_may_have_a_leader_and_an_end() -> None:
    flow = root(
        f"{{type: group_chat, participants: [{A}], speaker: {{agent: root}}, until: {{type: cel, value: 'true'}}}}"
    )
    assert flow.speaker == Step("@speaker", StepKind.AGENT, ROOT)
    assert flow.until == Condition("cel", "true")
    assert root(f"{{type: group_chat, participants: [{A}], speaker: root}}").speaker == flow.speaker


@pytest.mark.parametrize(
    ("written", "built"),
    [
        ("3", Variable(VariableType.INTEGER, 3)),
        ("0.5", Variable(VariableType.NUMBER, 0.5)),
        ("true", Variable(VariableType.BOOLEAN, True)),
        ("x", Variable(VariableType.STRING, "x")),
        ("[1]", Variable(VariableType.JSON, [1])),
        ("null", Variable(VariableType.STRING, None)),
        ("{type: number}", Variable(VariableType.NUMBER, None)),
        ("{type: number, default: 2}", Variable(VariableType.NUMBER, 2)),
        ("{default: {a: 1}}", Variable(VariableType.JSON, {"a": 1})),
    ],
)
def test_variables_have_short_forms(written: str, built: Variable) -> None:
    assert root(f"{{type: sequential, steps: [root], variables: {{v: {written}}}}}").variables == {"v": built}


def test_a_workflow_may_have_no_variables_at_all() -> None:
    assert root("{type: sequential, steps: [root], variables: }").variables == {}


def test_a_fault_inside_a_branch_hides_no_other(tmp_path: object) -> None:
    broken = (
        f"{{id: p, kind: parallel, branches: [{A}, {{id: b, kind: map, step: 3}}]}}, {{id: c, kind: agent, ref: z}}"
    )
    with pytest.raises(SpecCompilationError) as caught:
        plan(f"workflow: {{type: sequential, steps: [{broken}]}}\ntools: {{t: {{description: d}}}}\n")
    found = [(item.code, item.path) for item in caught.value.report.diagnostics]
    assert ("E_SCHEMA", "workflow.steps[0].branches[1].step") in found
    assert ("E_TOOL_NO_BACKING", "tools.t") in found
