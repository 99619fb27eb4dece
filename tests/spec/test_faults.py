"""Faults of shape: one finding each, in our words, beside the findings of the rules."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kneo_serv.errors import SpecParseError
from kneo_serv.spec import SpecCompilationError
from tests.spec.specs import HEAD, compiler, data, findings

BROKEN = """
    version: v1
    agent:
      name: root
      systemprompt: x
      model: {provider: openai, name: 5, token_budget: 0}
      strategy: {type: reakt}
      tools: {inclood: [x]}
    workflow:
      type: sequential
      steps:
        - {id: a, kind: agnt, ref: root}
        - {id: b, kind: agent, ref: root, max_retries: lots, enabled: maybe}
        - {id: c, ref: root, kind: agent, timeout_seconds: [1]}
        - 7
    components:
      functions:
        f: {implementation: subprocess.run}
        g: {}
      workflows:
        w: {type: grahp}
        x: {steps: 1}
        y: 5
        z: {type: 5}
    skills:
      s: {source: ../elsewhere}
      t: {source: ~/mine}
    extra: 1
    """


def test_every_fault_has_its_own_place(tmp_path: Path) -> None:
    found = {(item.path, item.line) for item in findings(BROKEN, tmp_path) if item.code == "E_SCHEMA"}
    assert found == {
        ("agent.systemprompt", 4),
        ("agent.model.name", 5),
        ("agent.model.token_budget", 5),
        ("agent.strategy.type", 6),
        ("agent.tools.inclood", 7),
        ("workflow.steps[0].kind", 11),
        ("workflow.steps[1].max_retries", 12),
        ("workflow.steps[1].enabled", 12),
        ("workflow.steps[2].timeout_seconds", 13),
        ("workflow.steps[3]", 14),
        ("components.functions.g.implementation", 18),
        ("components.workflows.w.type", 20),
        ("components.workflows.x.type", 21),
        ("components.workflows.y", 22),
        ("components.workflows.z.type", 23),
        ("skills.s.source", 25),
        ("skills.t.source", 26),
        ("extra", 27),
    }


def test_the_words_are_ours(tmp_path: Path) -> None:
    for item in findings(BROKEN, tmp_path):
        text = f"{item.message} {item.suggestion}".lower()
        assert not any(word in text for word in ("pydantic", "http", "input should", "extra inputs", "<sequential>"))


def test_the_rules_still_speak_about_the_sound_parts(tmp_path: Path) -> None:
    codes = {(item.code, item.path) for item in findings(BROKEN, tmp_path)}
    assert ("E_UNSAFE_FUNCTION_IMPORT", "components.functions.f.implementation") in codes


def test_what_was_broken_is_not_called_missing(tmp_path: Path) -> None:
    text = """
        version: v1
        agent: {name: root, tools: [t], skills: [s]}
        workflow:
          type: sequential
          steps:
            - {id: a, kind: function, ref: f}
            - {id: b, kind: human, ref: h}
            - {id: c, kind: workflow, ref: w}
            - {id: d, kind: agent, ref: g}
            - {id: e, kind: agent, ref: nobody}
        components:
          functions: {f: {implementatoin: a.b}}
          humans: {h: {on_timeout: explode}}
          workflows: {w: {type: sequential, steps: oops}}
          agents: {g: {nmae: g}}
        tools: {t: {descriptoin: x}}
        skills: {s: {}}
        """
    found = [(item.code, item.path) for item in findings(text, tmp_path) if item.code != "E_SCHEMA"]
    assert ("E_STEP_AGENT_REF", "workflow.steps[4].ref") in found
    assert not [code for code, path in found if path != "workflow.steps[4].ref" and code.startswith("E_")]


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        (HEAD + "  sytem_prompt: x\n", "Did you mean `system_prompt`?"),
        (HEAD + "  strategy: reakt\n", "Did you mean `react`?"),
        (HEAD + "wrokflow: {}\n", "Did you mean `workflow`?"),
        (HEAD + "workflow: {type: sequental, steps: []}\n", "Did you mean `sequential`?"),
        (HEAD + "components: {humans: {h: {on_timeout: fial}}}\n", "Did you mean `fail`?"),
        ("version: v1\nagent: {nmae: x}\n", "Is `nmae` meant to be `name`?"),
        ("version: v1\nagent: {name: 5}\n", 'Put it in quotes: "5".'),
        ("version: v1\n", "Add the key `agent`."),
    ],
)
def test_the_nearest_word_is_suggested(text: str, suggestion: str, tmp_path: Path) -> None:
    assert suggestion in [item.suggestion for item in findings(text, tmp_path)]


def test_values_are_never_repeated_unless_they_are_choices(tmp_path: Path) -> None:
    text = HEAD + "  model: {provider: openai, name: [sk-secret-value], api_key: sk-secret-value}\n"
    assert "sk-secret-value" not in str(findings(text, tmp_path))


@pytest.mark.parametrize("version", ["v9", "1", "[1]", "true", "{a: b}", "2026-01-01"])
def test_an_unknown_version_is_refused_with_its_place(version: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(f"agent: {{name: a}}\nversion: {version}\n")
    with pytest.raises(SpecParseError, match="Unsupported spec version") as caught:
        compiler().validate(path)
    assert caught.value.line == 2


def test_text_that_looks_like_a_number_is_taken_as_one() -> None:
    compiled = compiler().compile_dict(
        data(HEAD + "  model: {provider: dummy, name: d, max_tokens: '5', temperature: '0.5'}\n")
    )
    assert compiled.root_agent.model is not None
    assert (compiled.root_agent.model.max_tokens, compiled.root_agent.model.temperature) == (5, 0.5)


_WORDS = [
    "version",
    "v1",
    "agent",
    "name",
    "workflow",
    "type",
    "graph",
    "sequential",
    "steps",
    "nodes",
    "edges",
    "from",
]
_WORDS += [
    "to",
    "start",
    "components",
    "agents",
    "tools",
    "include",
    "memory",
    "policy",
    "guardrails",
    "input",
    "id",
    "kind",
]
_WORDS += [
    "ref",
    "human",
    "humans",
    "functions",
    "implementation",
    "condition",
    "all_of",
    "conditions",
    "strategy",
    "model",
]
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(_WORDS) | st.text(max_size=4),
    lambda child: st.lists(child, max_size=4) | st.dictionaries(st.sampled_from(_WORDS), child, max_size=5),
    max_leaves=30,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(_WORDS), _VALUES, max_size=6), st.booleans())
def test_no_document_raises_anything_unforeseen(document: dict[str, object], whole: bool) -> None:
    if whole:
        document = {"agent": {"name": "a", **({} if "agent" not in document else {"memory": document["agent"]})}} | {
            key: value for key, value in document.items() if key != "agent"
        }
        document["version"] = "v1"
    try:
        compiler().validate(document)
        compiler().policy_report(document)
        compiler().compile_dict(document)
    except (SpecParseError, SpecCompilationError) as error:
        text = str(error)
    else:
        text = "sound"
    assert text


def test_a_document_of_faults_is_answered_fast() -> None:
    steps = [{"id": f"s{n}", "kind": "agent", "ref": f"agent-{n}"} for n in range(500)]
    agents = {f"agent_{n}": {"name": f"a{n}"} for n in range(500)}
    document = {
        "version": "v1",
        "agent": {"name": "a"},
        "workflow": {"type": "sequential", "steps": steps},
        "components": {"agents": agents},
    }
    begun = time.perf_counter()
    report = compiler().validate(document)
    assert len(report.diagnostics) == 500
    assert report.diagnostics[0].suggestion == "Did you mean `agent_0`?"
    odd = {**document, "agent": {f"key{n}": n for n in range(5_000)}}
    report = compiler().validate(odd)
    assert any("more faults of shape" in item.message for item in report.diagnostics)
    assert time.perf_counter() - begun < 20
