"""Workflows as nodes and edges, in the form that the wire has."""

from collections.abc import Mapping
from typing import Any

from kneo_serv.model.plan import FlowType

DRAWN = (FlowType.GRAPH.value, FlowType.SEQUENTIAL.value)
"""Types of workflows that clients know how to draw."""

EMPTY: Mapping[str, Any] = {
    "workflow_name": None,
    "workflow_kind": None,
    "start": None,
    "max_steps": None,
    "nodes": [],
    "edges": [],
    "view": None,
}
"""Of a spec without a workflow."""


def drawn(view: Mapping[str, Any]) -> dict[str, Any]:
    """The view of a workflow as answers show it."""
    if view["workflow_kind"] not in DRAWN:
        return {**EMPTY, "workflow_name": view["workflow_name"], "view": dict(view)}
    nodes = [{**node, "label": node.get("name") or node["id"]} for node in view["nodes"]]
    return {**EMPTY, **view, "nodes": nodes}
