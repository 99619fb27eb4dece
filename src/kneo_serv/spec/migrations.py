"""Older documents to the present version."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kneo_serv.errors import SpecParseError
from kneo_serv.spec.path import Path

CURRENT = "v1"
_RENAMED = {"root_agent": "agent", "root_workflow": "workflow"}
_COLLECTED = {
    "component_agents": "agents",
    "component_workflows": "workflows",
    "functions": "functions",
    "humans": "humans",
}


class SpecMigrationError(SpecParseError):
    """A document has a version that is not known."""

    code = "invalid_request"


@dataclass(frozen=True, slots=True)
class SpecMigrationResult:
    """A document of the present version, and what was done to get there."""

    spec: dict[str, Any]
    source_version: str
    target_version: str
    changed: bool
    applied: tuple[str, ...]
    """One phrase for each change."""
    moved: tuple[tuple[Path, Path], ...] = ()
    """Where things stand now, and where they stood."""


def migrate_spec(raw: Mapping[str, Any], *, target_version: str = CURRENT) -> SpecMigrationResult:
    """The document in version `target_version`. A document without a version is of v0.

    Raises:
        SpecMigrationError: one of the versions is not known.
    """
    if target_version != CURRENT:
        raise SpecMigrationError(f"Unsupported spec version: {target_version}. This release writes {CURRENT}.")
    problem = version_problem(raw)
    if problem is not None:
        raise SpecMigrationError(problem)
    if raw.get("version") == CURRENT:
        return SpecMigrationResult(dict(raw), CURRENT, CURRENT, changed=False, applied=())
    return _from_v0(raw)


def version_problem(raw: Mapping[str, Any]) -> str | None:
    """Why the version of the document cannot be read, or None."""
    version = raw.get("version")
    if version in (CURRENT, "v0", None):
        return None
    shown = version if isinstance(version, (str, int, float)) else "a list or a mapping"
    return f"Unsupported spec version: {str(shown)[:60]}. This release reads {CURRENT} (and migrates v0)."


def _from_v0(raw: Mapping[str, Any]) -> SpecMigrationResult:
    spec: dict[str, Any] = {"version": CURRENT, **{key: value for key, value in raw.items() if key != "version"}}
    applied = ["set version to v1"]
    moved: list[tuple[Path, Path]] = []
    for old, new in _RENAMED.items():
        if old in spec and new not in spec:
            spec[new] = spec.pop(old)
            moved.append(((new,), (old,)))
            applied.append(f"renamed {old} to {new}")
    components = spec.get("components")
    parts = dict(components) if isinstance(components, Mapping) else {}
    for old, new in _COLLECTED.items():
        if old in spec and new not in parts and (components is None or isinstance(components, Mapping)):
            parts[new] = spec.pop(old)
            moved.append((("components", new), (old,)))
            applied.append(f"moved {old} to components.{new}")
            spec["components"] = parts
    workflow = spec.get("workflow")
    if isinstance(workflow, list):
        spec["workflow"] = {"type": "sequential", "steps": workflow}
        moved.append((("workflow", "steps"), next((old for new, old in moved if new == ("workflow",)), ("workflow",))))
        applied.append("made the workflow list a sequential workflow")
    elif isinstance(workflow, Mapping) and _untyped(workflow):
        spec["workflow"] = {"type": "sequential", **workflow}
        applied.append("set the workflow type to sequential")
    flows = parts.get("workflows")
    if isinstance(flows, Mapping) and any(_untyped(flow) for flow in flows.values()):
        named = {name: {"type": "sequential", **flow} if _untyped(flow) else flow for name, flow in flows.items()}
        spec["components"] = {**parts, "workflows": named}
        applied.append("set the type of component workflows to sequential")
    return SpecMigrationResult(spec, "v0", CURRENT, changed=True, applied=tuple(applied), moved=tuple(moved))


def _untyped(flow: Any) -> bool:
    return isinstance(flow, Mapping) and "type" not in flow and "steps" in flow
