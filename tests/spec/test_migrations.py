"""Older documents, and one document laid over another."""

import pytest

from kneo_serv.spec.merge import fill, merge
from kneo_serv.spec.migrations import SpecMigrationError, migrate_spec
from tests.spec.specs import compiler, data, findings

OLD = """
    root_agent: {name: a}
    root_workflow:
      - {id: one, kind: agent, ref: a}
      - {id: two, kind: function, ref: g}
    functions: {f: {implementation: json.dumps}}
    component_workflows: {w: {steps: [{id: x, kind: agent, ref: a}]}}
    """


def test_an_old_document_becomes_a_new_one() -> None:
    result = migrate_spec(data(OLD))
    assert (result.source_version, result.target_version, result.changed) == ("v0", "v1", True)
    assert result.spec == {
        "version": "v1",
        "agent": {"name": "a"},
        "workflow": {
            "type": "sequential",
            "steps": [{"id": "one", "kind": "agent", "ref": "a"}, {"id": "two", "kind": "function", "ref": "g"}],
        },
        "components": {
            "functions": {"f": {"implementation": "json.dumps"}},
            "workflows": {"w": {"type": "sequential", "steps": [{"id": "x", "kind": "agent", "ref": "a"}]}},
        },
    }
    assert len(result.applied) == 7
    assert migrate_spec(result.spec).changed is False


def test_findings_about_an_old_document_name_its_own_lines(tmp_path) -> None:  # type: ignore[no-untyped-def]
    found = findings(OLD, tmp_path)
    assert [(item.code, item.path, item.line) for item in found] == [
        ("E_STEP_FUNCTION_REF", "workflow.steps[1].ref", 4)
    ]


def test_a_new_key_is_never_overwritten_by_an_old_one() -> None:
    result = migrate_spec({"agent": {"name": "new"}, "root_agent": {"name": "old"}})
    assert result.spec["agent"] == {"name": "new"}
    assert result.spec["root_agent"] == {"name": "old"}


def test_only_known_versions_are_migrated() -> None:
    with pytest.raises(SpecMigrationError, match="Unsupported spec version: v7"):
        migrate_spec({"version": "v7"})
    with pytest.raises(SpecMigrationError, match="Unsupported spec version: v2"):
        migrate_spec({"version": "v1"}, target_version="v2")


def test_maps_merge_and_all_else_replaces() -> None:
    below = {"a": {"x": 1, "y": [1, 2]}, "b": 1, "c": {"k": 1}, "d": 5}
    above = {"a": {"y": [3], "z": 2}, "b": None, "c": {"__delete__": True}, "d": {"n": None, "m": 1}}
    assert merge(below, above) == {"a": {"x": 1, "y": [3], "z": 2}, "d": {"m": 1}}
    assert below["a"] == {"x": 1, "y": [1, 2]}


def test_defaults_fill_gaps_only() -> None:
    assert fill({"a": {"x": 1}, "b": 2}, {"a": {"x": 9, "y": 9}, "b": {"q": 1}, "c": 3}) == {
        "a": {"x": 1, "y": 9},
        "b": 2,
        "c": 3,
    }


def test_the_environment_is_stamped() -> None:
    document = data("version: v1\nagent: {name: a}\nmetadata: {team: x}\n")
    resolved = compiler().resolve(document, environment="prod")
    assert resolved["metadata"] == {"team": "x", "environment": "prod"}
