"""The published JSON Schema of the v1 document, for editors."""

import copy
from typing import Any

from kneo_serv.spec.models.spec import KneoSpec

_TEXT = {"type": "string"}


def spec_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of a spec as people write it, short forms included. A fresh copy with each call."""
    schema = copy.deepcopy(KneoSpec.model_json_schema(by_alias=True))
    blocks: dict[str, Any] = schema.get("$defs", {})
    _short_forms(blocks)
    for block in (schema, *blocks.values()):
        _without_titles(block)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Kneo spec v1",
        **schema,
    }


def _short_forms(blocks: dict[str, Any]) -> None:
    agent = blocks["AgentSpec"]["properties"]
    for key, short in (
        ("strategy", {"type": "string", "enum": ["simple", "react", "plan-act"]}),
        ("model", _TEXT),
        ("tools", {"type": "array", "items": _TEXT}),
    ):
        agent[key]["anyOf"].append(short)
    steps = blocks["SequentialSpec"]["properties"]["steps"]
    steps["items"] = {"anyOf": [steps["items"], _TEXT]}
    for name in ("ConcurrentSpec", "ParallelSpec", "MapSpec"):
        fields = blocks[name]["properties"]
        for key, words in (("join", ["all", "any"]), ("aggregation", ["last", "concat", "json"])):
            if key in fields:
                fields[key]["anyOf"].append({"type": "string", "enum": words})
    words = blocks["SelectorSpec"]["properties"]["type"]["enum"]
    blocks["HandoffSpec"]["properties"]["selector"]["anyOf"].append({"type": "string", "enum": words})
    blocks["GroupChatSpec"]["properties"]["speaker"]["anyOf"].append(_TEXT)
    for block in blocks.values():
        variables = block.get("properties", {}).get("variables")
        if variables is not None:
            variables["additionalProperties"] = {
                "anyOf": [variables["additionalProperties"], {"not": {"type": "object"}}]
            }
    mapped = []
    for name in ("StepSpec", "ParallelSpec", "MapSpec"):
        block = copy.deepcopy(blocks[name])
        block["required"].remove("id")
        mapped.append(block)
    blocks["MapSpec"]["properties"]["step"] = {"oneOf": mapped}


def _without_titles(block: Any) -> None:
    """Titles are the field names in another spelling, so they only make hints longer."""
    if not isinstance(block, dict):
        return
    if isinstance(block.get("title"), str):
        del block["title"]
    properties = block.get("properties")
    for child in properties.values() if isinstance(properties, dict) else ():
        _without_titles(child)
    for key in ("items", "additionalProperties"):
        _without_titles(block.get(key))
    for key in ("anyOf", "oneOf"):
        for child in block.get(key, ()):
            _without_titles(child)
