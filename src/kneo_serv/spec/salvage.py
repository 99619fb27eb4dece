"""What can be checked of a spec whose shape is at fault: the sound parts, with stand-ins for the broken ones.

So one mistyped key does not hide the other faults of a document.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from kneo_serv.spec.faults import fault_path
from kneo_serv.spec.finding import Finding
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.path import Path

_ROUNDS = 16
_STAND_INS: dict[Path, dict[str, Any]] = {
    ("components", "functions"): {"implementation": "stand.in"},
    ("components", "humans"): {},
    ("components", "agents"): {"name": "stand-in"},
    ("components", "workflows"): {"type": "sequential", "steps": []},
    ("tools",): {"description": "stand-in", "implementation": "stand.in"},
    ("mcp_servers",): {"transport": "stdio", "command": "stand-in"},
    ("skills",): {"source": "stand-in"},
}
_LOOKS_BESIDE = {"E_TOOL_APPROVAL_UNKNOWN": "tools", "W_OUTPUT_RETRIES_INERT": "output_schema"}
"""Findings about one key of an agent that depend on another one."""
_ABOUT_ABSENCE = ("_REF", "_UNKNOWN", "_UNKNOWN_TOOL", "_UNKNOWN_AGENT", "_UNKNOWN_WORKFLOW", "_UNKNOWN_SERVER")


@dataclass(frozen=True, slots=True)
class Salvage:
    """A spec of the sound parts, and the places where something was taken out."""

    spec: KneoSpec
    removed: tuple[Path, ...]

    def says(self, finding: Finding) -> bool:
        """Whether the finding is about the document, and not about what was taken out of it."""
        if finding.code == "W_HUMAN_APPROVAL_MISSING":
            return False
        beside = _LOOKS_BESIDE.get(finding.code)
        for gone in self.removed:
            if beside in gone and gone[: gone.index(beside)] == finding.path[: gone.index(beside)]:
                return False
            shorter = min(len(gone), len(finding.path))
            if gone[:shorter] == finding.path[:shorter]:
                return False
            # Where a whole block of names is gone, nothing can be said about names.
            block = len(gone) == 1 or (len(gone) == 2 and gone[0] == "components")
            if block and finding.code.endswith(_ABOUT_ABSENCE):
                return False
        return True


def salvage(data: Mapping[str, Any], failure: ValidationError) -> Salvage | None:
    """The sound parts of `data`, or None when too little is left."""
    rest: dict[str, Any] = copy.deepcopy(dict(data))
    removed: set[Path] = set()
    for _ in range(_ROUNDS):
        before = len(removed)
        for item in failure.errors(include_url=False, include_context=False, include_input=False):
            path = fault_path(item, rest)
            target = path[:-1] if item["type"] == "missing" else path
            gone = _take_out(rest, target)
            if gone is None:
                return None
            removed.add(gone)
        try:
            return Salvage(KneoSpec.model_validate(rest), tuple(removed))
        except ValidationError as again:
            failure = again
        if len(removed) == before:
            return None
    return None


def _take_out(data: dict[str, Any], path: Path) -> Path | None:
    """Takes out what stands at `path`; the place that is gone, or None when that would be everything."""
    while path:
        if path == ("agent",):
            name = data["agent"].get("name") if isinstance(data.get("agent"), dict) else None
            data["agent"] = {"name": name if isinstance(name, str) else "stand-in"}
            return path
        if path == ("version",):
            data["version"] = "v1"
            return path
        holder: Any = data
        for part in path[:-1]:
            holder = holder[part] if isinstance(part, int) or part in holder else None
            if holder is None:
                return path
        if isinstance(holder, list):
            # Taking one item out would shift the places of its neighbours.
            path = path[:-1]
            continue
        stand_in = _STAND_INS.get(path[:-1])
        if stand_in is not None:
            holder[path[-1]] = dict(stand_in)
        elif isinstance(holder, dict):
            holder.pop(path[-1], None)
        return path
    return None
