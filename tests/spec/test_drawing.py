"""Drawings show every node and edge, nested ones too, and no name in a spec breaks out of them."""

import json
import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kneo_serv.spec.drawing import draw_dot, draw_mermaid, draw_text
from kneo_serv.spec.graph_view import MAX_NODES
from tests.spec.specs import HEAD, compiler, data

DRAWINGS = (draw_text, draw_mermaid, draw_dot)
REVIEW = """
    version: v1
    agent: {name: root}
    workflow:
      type: graph
      name: review
      start: write
      max_steps: 9
      nodes:
        write: {id: write, kind: agent, ref: root, on_error: fallback, fallback_ref: check, max_retries: 2}
        check:
          id: check
          kind: parallel
          timeout_seconds: 30
          join: {n_of: 2}
          max_concurrency: 2
          aggregation: {agent: root}
          branches:
            - {id: law, kind: human, ref: boss}
            - {id: each, kind: map, over: '[1, 2]', step: {kind: function, ref: f}}
            - {id: team, kind: agent, ref: team}
      edges:
        - {from: write, to: check}
        - {from: check, to: write, label: again, condition: {type: decision_is, value: rejected}}
    components:
      agents: {team: {name: team, as_agent: chat}}
      functions: {f: {implementation: a.b}}
      humans: {boss: {}}
      workflows:
        chat:
          type: group_chat
          rounds: 3
          speaker: {agent: root}
          until: {type: any_of, conditions: [{type: output_contains, value: done}, {type: cel, value: 'text == "x"'}]}
          participants: [{id: a, kind: agent, ref: root}, {id: b, kind: agent, ref: root, on_error: continue}]
    """


def view(text: str) -> dict[str, Any]:
    """As a service would hand it over."""
    loaded: dict[str, Any] = json.loads(json.dumps(compiler().graph(data(text))))
    return loaded


def test_the_text_is_a_tree_with_the_edges_that_order_does_not_tell() -> None:
    assert (
        draw_text(view(REVIEW))
        == """\
review (graph, at most 9 nodes)
├─ check: parallel, within 30 s, the first 2 to finish end it, at most 2 at once
│  ├─ law: human boss
│  │  --> @aggregator
│  ├─ each: map, texts: json, over [1, 2]
│  │  └─ item: function f
│  │  --> @aggregator
│  ├─ team: agent team, group chat, 3 rounds, next speaker named by root, until output contains "done" or (text == "x")
│  │  ├─ a: agent root
│  │  └─ b: agent root, on error continue
│  │  --> @aggregator
│  └─ @aggregator: agent root
│  --> write  [again: decision is rejected]
└─ write: agent root, 2 retries
   --> check
   ..> check  [on error]
"""
    )


def test_mermaid_has_a_subgraph_for_everything_that_is_nested() -> None:
    lines = [line.strip() for line in draw_mermaid(view(REVIEW)).splitlines()]
    assert lines[0] == "flowchart TD"
    assert len([line for line in lines if line.startswith("subgraph")]) == lines.count("end") == 3
    assert 'n1{{"law<br/>human boss"}}' in lines
    assert 'n0 -->|"again: decision is rejected"| n8' in lines
    assert 'n8 -.->|"on error"| n0' in lines
    assert 'sn8(("start")) --> n8' in lines


def test_dot_has_a_cluster_for_everything_that_is_nested_and_arrows_end_at_its_border() -> None:
    lines = [line.strip() for line in draw_dot(view(REVIEW)).splitlines()]
    assert len([line for line in lines if line.startswith("subgraph cluster_")]) == 3
    assert lines.count("}") == 4
    assert 'n1 [label="law\\nhuman boss", shape=hexagon];' in lines
    assert 'n1 -> n8 [label="again: decision is rejected", ltail=cluster_n0];' in lines
    assert "n8 -> n1 [lhead=cluster_n0];" in lines


@pytest.mark.parametrize("kind", ["sequential", "concurrent", "handoff", "group_chat"])
def test_every_type_is_drawn(kind: str) -> None:
    parts = "steps" if kind == "sequential" else "participants"
    flow = f"{{type: {kind}, {parts}: [{{id: a, kind: agent, ref: root}}, {{id: b, kind: agent, ref: root}}]}}"
    found = view(HEAD + f"workflow: {flow}\n")
    arrow = kind != "concurrent"
    assert ("n0 --> n1" in draw_mermaid(found)) is arrow
    assert ("n0 -> n1" in draw_dot(found)) is arrow
    assert draw_text(found).count(": agent root") == 2


def test_who_may_hand_over_to_whom_is_drawn_dashed() -> None:
    parts = "[{id: a, kind: agent, ref: root}, {id: b, kind: human, ref: h}, {id: c, kind: agent, ref: root}]"
    found = view(
        HEAD + f"workflow: {{type: handoff, selector: {{type: agent}}, participants: {parts}}}\n"
        "components: {humans: {h: {}}}\n"
    )
    assert re.findall(r"(n\d) -\.-> (n\d)", draw_mermaid(found)) == [
        ("n0", "n1"),
        ("n0", "n2"),
        ("n2", "n0"),
        ("n2", "n1"),
    ]
    assert "handed over by tool call, at most 10 turns" in draw_text(found)


def test_workflows_that_double_with_each_level_are_drawn_up_to_a_bound() -> None:
    levels = "".join(
        f"    w{n}: {{type: sequential, steps: [{{id: a, kind: workflow, ref: w{n + 1}}},"
        f" {{id: b, kind: workflow, ref: w{n + 1}}}]}}\n"
        for n in range(30)
    )
    text = HEAD + (
        "workflow: {type: sequential, steps: [{id: a, kind: workflow, ref: w0}]}\n"
        f"components:\n  workflows:\n{levels}    w30: {{type: sequential, steps: [root]}}\n"
    )
    found = view(text)
    for draw in DRAWINGS:
        assert len(draw(found).splitlines()) < 5 * MAX_NODES


NAMES = st.text(
    st.one_of(
        st.sampled_from('"\\|;#<>&[](){}`\n\r\t\x1b\u202e'),
        st.characters(exclude_categories=["Cs"], max_codepoint=0x2FF),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(NAMES, NAMES, NAMES)
def test_no_name_breaks_out_of_a_drawing(first: str, second: str, label: str) -> None:
    assume(first != second)
    nodes = [{"id": name, "kind": "agent", "name": name, "on_error": "fail"} for name in (first, second)]
    edge = {"source": first, "target": second, "label": label, "conditional": True, "condition": label}
    found = {"workflow_name": label, "workflow_kind": "handoff", "start": first, "nodes": nodes, "edges": [edge]}
    for draw in DRAWINGS:
        text = draw(found)
        assert all(sign.isprintable() for sign in text.replace("\n", ""))
    mermaid = draw_mermaid(found).splitlines()
    assert len(mermaid) == 4
    assert all(re.fullmatch(r'  n\d\("[^"|<>]*<br/>[^"|<>]*"\)', line) for line in mermaid[1:3])
    assert re.fullmatch(r'  n\d -->(\|"[^"|<>]*"\|)? n\d|  n\d -\.-> n\d', mermaid[-1])
    dot = re.sub(r'"(?:[^"\\]|\\.)*"', '""', draw_dot(found))
    assert dot.count("\n") == 9
    assert re.sub(r'digraph "" \{|compound=true|labelloc=t|label=""|node \[fontname=""\]', "", dot).count('"') == 0
