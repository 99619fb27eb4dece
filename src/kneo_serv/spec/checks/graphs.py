"""Graphs: where they start, what their edges join, what can be reached."""

from collections.abc import Iterator

from kneo_serv.spec.finding import Finding, Hint, error, near, warning
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import GraphSpec
from kneo_serv.spec.path import Path
from kneo_serv.spec.walk import named_workflows


def check_graphs(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of the shape of each graph."""
    for path, _, workflow, *_ in named_workflows(spec):
        if isinstance(workflow, GraphSpec):
            yield from _nodes(path, workflow)
            yield from _start(path, workflow)
            yield from _edges(path, workflow)
            yield from _reach(path, workflow)
            if workflow.max_steps < 1:
                yield error("E_GRAPH_MAX_STEPS", (*path, "max_steps"), "`max_steps` must be at least 1.")


def _nodes(path: Path, graph: GraphSpec) -> Iterator[Finding]:
    hint: Hint
    for key, node in graph.nodes.items():
        if node.id != key:
            message = f"The node `{key}` calls itself `{node.id}`; the key `{key}` counts."
            yield warning("W_GRAPH_NODE_ID_MISMATCH", (*path, "nodes", key, "id"), message, f"Use `id: {key}`.")
        ref = node.fallback_ref
        if node.on_error != "fallback" and ref is None:
            continue
        place = (*path, "nodes", key, "fallback_ref")
        if ref is None:
            hint = "Name the node whose target runs instead."
            yield error("E_GRAPH_NODE_FALLBACK_REF", place, "`on_error: fallback` needs a `fallback_ref`.", hint)
        elif ref not in graph.nodes:
            hint = near(ref, graph.nodes)
            yield error("E_GRAPH_NODE_FALLBACK_UNKNOWN", place, f"There is no node `{ref}` in this graph.", hint)
        elif ref == key:
            yield error("E_GRAPH_NODE_FALLBACK_SELF", place, f"The node `{ref}` is its own fallback.")
        elif graph.nodes[ref].kind == "human":
            yield error("E_GRAPH_FALLBACK_HUMAN", place, f"The fallback `{ref}` is a human node.")
        elif not graph.nodes[ref].enabled:
            yield error("E_GRAPH_NODE_FALLBACK_DISABLED", place, f"The fallback `{ref}` is disabled.")


def _start(path: Path, graph: GraphSpec) -> Iterator[Finding]:
    place = (*path, "start")
    if graph.start not in graph.nodes:
        hint = near(graph.start, graph.nodes)
        yield error("E_GRAPH_START_UNKNOWN", place, f"There is no node `{graph.start}` to start with.", hint)
    elif not graph.nodes[graph.start].enabled:
        yield error("E_GRAPH_START_DISABLED", place, f"The start node `{graph.start}` is disabled.")


def _edges(path: Path, graph: GraphSpec) -> Iterator[Finding]:
    for index, edge in enumerate(graph.edges):
        place = (*path, "edges", index)
        for code, key, end in (("E_GRAPH_EDGE_FROM", "from", edge.source), ("E_GRAPH_EDGE_TO", "to", edge.target)):
            if end not in graph.nodes:
                hint = near(end, graph.nodes)
                yield error(code, place, f"The edge's `{key}` is `{end}`, but no node is.", hint, at=(*place, key))


def _reach(path: Path, graph: GraphSpec) -> Iterator[Finding]:
    if graph.start not in graph.nodes:
        return
    ways: dict[str, set[str]] = {key: set() for key in graph.nodes}
    for edge in graph.edges:
        ways.setdefault(edge.source, set()).add(edge.target)
    for key, node in graph.nodes.items():
        if node.fallback_ref is not None:
            ways[key].add(node.fallback_ref)
    seen: set[str] = set()
    ahead = [graph.start]
    while ahead:
        key = ahead.pop()
        if key in seen or key not in graph.nodes or not graph.nodes[key].enabled:
            continue
        seen.add(key)
        ahead.extend(ways[key])
    for key, node in graph.nodes.items():
        if node.enabled and key not in seen:
            hint = f"Add an edge that leads to `{key}`, or remove it."
            yield warning("W_GRAPH_NODE_UNREACHABLE", (*path, "nodes", key), f"No way leads to `{key}`.", hint)
