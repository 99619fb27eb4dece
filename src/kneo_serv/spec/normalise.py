"""Short forms to their long ones, so that the checks know one form only."""

from collections.abc import Mapping
from typing import Any


def normalise(spec: Mapping[str, Any], *, environment: str | None = None) -> dict[str, Any]:
    """A copy with every short form written out, and `metadata.environment` stamped when one is given."""
    long = dict(spec)
    if "agent" in long:
        long["agent"] = _agent(long["agent"])
    if "workflow" in long:
        long["workflow"] = _workflow(long["workflow"])
    if long.get("components") is None:
        long["components"] = {}
    parts = long["components"]
    if isinstance(parts, Mapping):
        parts = {key: value for key, value in parts.items() if value is not None}
        for bucket, expand in (("agents", _agent), ("workflows", _workflow)):
            if isinstance(parts.get(bucket), Mapping):
                parts[bucket] = {name: expand(item) for name, item in parts[bucket].items()}
        long["components"] = parts
    for bucket in ("tools", "mcp_servers", "skills", "policies"):
        if bucket in long and long[bucket] is None:
            del long[bucket]
    if environment is not None:
        metadata = long.get("metadata")
        if metadata is None or isinstance(metadata, Mapping):
            long["metadata"] = {**(metadata or {}), "environment": environment}
    return long


def _agent(agent: Any) -> Any:
    if not isinstance(agent, Mapping):
        return agent
    long = dict(agent)
    if isinstance(long.get("strategy"), str):
        long["strategy"] = {"type": long["strategy"]}
    if isinstance(long.get("tools"), list):
        long["tools"] = {"include": long["tools"]}
    if isinstance(long.get("model"), str):
        long["model"] = {"name": long["model"], "provider": "default"}
    for empty in ("defaults", "skills", "middleware"):
        if empty in long and long[empty] is None:
            del long[empty]
    return long


def _workflow(workflow: Any) -> Any:
    if not isinstance(workflow, Mapping):
        return workflow
    long = _branching(workflow)
    for key, word in (("selector", "type"), ("speaker", "agent")):
        if isinstance(long.get(key), str):
            long[key] = {word: long[key]}
    if isinstance(long.get("variables"), Mapping):
        long["variables"] = {name: _variable(value) for name, value in long["variables"].items()}
    elif "variables" in long and long["variables"] is None:
        del long["variables"]
    if long.get("type") == "sequential" and isinstance(long.get("steps"), list):
        long["steps"] = [_step(_agent_step(step)) for step in long["steps"]]
    elif isinstance(long.get("participants"), list):
        long["participants"] = [_step(step) for step in long["participants"]]
    elif isinstance(long.get("nodes"), Mapping):
        long["nodes"] = {key: _step(node) for key, node in long["nodes"].items()}
    return long


def _agent_step(step: Any) -> Any:
    return {"id": step, "kind": "agent", "ref": step} if isinstance(step, str) else step


def _step(step: Any) -> Any:
    if not isinstance(step, Mapping) or step.get("kind") not in ("parallel", "map"):
        return step
    long = _branching(step)
    if isinstance(long.get("branches"), list):
        long["branches"] = [_step(branch) for branch in long["branches"]]
    if isinstance(long.get("step"), Mapping):
        long["step"] = _step({"id": "item", **long["step"]})
    return long


def _branching(block: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of what joins branches, with its `join` and its `aggregation` written out."""
    long = dict(block)
    for key in ("join", "aggregation"):
        if isinstance(long.get(key), str):
            long[key] = {"type": long[key]}
    return long


def _variable(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return {"type": _type_of(value), "default": value}
    if "default" in value and "type" not in value:
        return {"type": _type_of(value["default"]), **value}
    return value


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    return "json" if isinstance(value, (list, Mapping)) else "string"
