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
    if not isinstance(workflow, Mapping) or workflow.get("type") != "sequential":
        return workflow
    steps = workflow.get("steps")
    if not isinstance(steps, list):
        return workflow
    return {**workflow, "steps": [_step(step) for step in steps]}


def _step(step: Any) -> Any:
    return {"id": step, "kind": "agent", "ref": step} if isinstance(step, str) else step
