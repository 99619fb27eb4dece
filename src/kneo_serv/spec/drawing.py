"""Drawings of a graph view: as text for the terminal, and as Mermaid and DOT for everything that draws.

All three take what `graph_view` returns, also when it came as JSON from a service. Names in specs are anything that
fits into YAML, so none of them is trusted: each drawing has ids of its own, and escapes every word that it shows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

_MERMAID_SHAPES = {"agent": '("{}")', "human": '{{{{"{}"}}}}', "guardrail": '{{"{}"}}', "workflow": '[["{}"]]'}
_MERMAID_ENTITIES = {ord(mark): f"#{ord(mark)};" for mark in "#&<>\"'`\\|;[](){}"}
_OWN_STEPS = ("parallel", "map")
_DOT_SHAPES = {"agent": "box, style=rounded", "human": "hexagon", "guardrail": "diamond", "workflow": "box3d"}
_DOT_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"'}


@dataclass(frozen=True, slots=True)
class _Box:
    """A node under the id that it has in the drawing."""

    ident: str
    node: Mapping[str, Any]
    inner: "_Chart | None"

    @property
    def head(self) -> str:
        """Id of the first plain node in here, for arrows that can end only at one."""
        return self.inner.first.head if self.inner is not None and self.inner.boxes else self.ident


@dataclass(frozen=True, slots=True)
class _Chart:
    """A view whose nodes have their ids."""

    view: Mapping[str, Any]
    boxes: Mapping[str, _Box]

    @property
    def first(self) -> _Box:
        return self.boxes.get(self.view.get("start") or "") or next(iter(self.boxes.values()))

    @property
    def rules(self) -> list[str]:
        """What nodes and arrows cannot show."""
        rules = [_plain(rule) for rule in self.view.get("rules") or ()]
        if self.view.get("max_steps") is not None:
            rules.append(f"at most {self.view['max_steps']} nodes")
        return rules

    @property
    def title(self) -> str:
        """What stands over the whole: kind and rules."""
        return ", ".join([_plain(self.view.get("workflow_kind")).replace("_", " "), *self.rules])


@dataclass(frozen=True, slots=True)
class _Arrow:
    source: _Box
    target: _Box
    label: str
    dashed: bool


def draw_text(view: Mapping[str, Any]) -> str:
    """The workflow as an indented tree, steps in their order, with the edges where order alone does not tell them."""
    chart = _chart(view)
    lines = [f"{_plain(view.get('workflow_name'))} ({chart.title})", *_text_lines(chart)]
    return "\n".join(lines) + "\n"


def draw_mermaid(view: Mapping[str, Any]) -> str:
    """The workflow as a Mermaid flowchart; nested workflows are subgraphs."""
    chart = _chart(view)
    return "\n".join(["flowchart TD", *_mermaid_lines(chart, "  ")]) + "\n"


def draw_dot(view: Mapping[str, Any]) -> str:
    """The workflow as a DOT digraph for Graphviz; nested workflows are clusters."""
    chart = _chart(view)
    name = _dot(f"{view.get('workflow_name')} ({chart.title})")
    head = [f"digraph {_dot(view.get('workflow_name'))} {{", "  compound=true;", f"  label={name};", "  labelloc=t;"]
    return "\n".join([*head, '  node [fontname="sans-serif"];', *_dot_lines(chart, "  "), "}"]) + "\n"


def _chart(view: Mapping[str, Any], numbers: Iterator[int] | None = None) -> _Chart:
    numbers = count() if numbers is None else numbers
    boxes: dict[str, _Box] = {}
    for node in view.get("nodes") or ():
        ident = f"n{next(numbers)}"
        inner = node.get("workflow")
        boxes[node["id"]] = _Box(ident, node, _chart(inner, numbers) if inner else None)
    return _Chart(view, boxes)


def _arrows(chart: _Chart) -> Iterator[_Arrow]:
    for edge in chart.view.get("edges") or ():
        source, target = chart.boxes.get(edge["source"]), chart.boxes.get(edge["target"])
        if source is not None and target is not None:
            yield _Arrow(source, target, _edge_label(edge), dashed=bool(edge.get("conditional")) and not _said(edge))
    for box in chart.boxes.values():
        fallback = box.node.get("fallback_node")
        stand_in = chart.boxes.get(fallback) if fallback is not None else None
        if stand_in is not None:
            yield _Arrow(box, stand_in, "on error", dashed=True)


def _said(edge: Mapping[str, Any]) -> bool:
    return bool(edge.get("condition") or edge.get("label"))


def _edge_label(edge: Mapping[str, Any]) -> str:
    said = [_plain(item) for item in (edge.get("label"), edge.get("condition")) if item]
    return ": ".join(said)


def _about(box: _Box) -> str:
    """What a node is and how it behaves, in one line without its id."""
    node = box.node
    kind, name = _plain(node.get("kind")), _plain(node.get("name"))
    parts = [kind if kind in _OWN_STEPS else f"{kind} {name}".strip()]
    if node.get("max_retries"):
        parts.append(f"{node['max_retries']} retries" if node["max_retries"] > 1 else "1 retry")
    if node.get("timeout_seconds"):
        parts.append(f"within {node['timeout_seconds']:g} s")
    if node.get("on_error") not in (None, "fail", "fallback"):
        parts.append(f"on error {_plain(node['on_error'])}")
    if box.inner is not None:
        parts += box.inner.rules if kind in _OWN_STEPS else [box.inner.title]
    return ", ".join(parts)


def _text_lines(chart: _Chart) -> Iterator[str]:
    arrows = list(_arrows(chart))
    if chart.view.get("workflow_kind") == "sequential":
        arrows = [arrow for arrow in arrows if arrow.dashed]
    boxes = list(chart.boxes.values())
    for number, box in enumerate(boxes, 1):
        branch, trunk = ("└─ ", "   ") if number == len(boxes) else ("├─ ", "│  ")
        yield f"{branch}{_plain(box.node['id'])}: {_about(box)}"
        if box.inner is not None:
            yield from (trunk + line for line in _text_lines(box.inner))
        for arrow in arrows:
            if arrow.source is box:
                when = f"  [{arrow.label}]" if arrow.label else ""
                yield f"{trunk}{'..>' if arrow.dashed else '-->'} {_plain(arrow.target.node['id'])}{when}"


def _mermaid_lines(chart: _Chart, indent: str) -> Iterator[str]:
    for box in chart.boxes.values():
        label = f"{_mermaid(box.node['id'])}<br/>{_mermaid(_about(box))}"
        if box.inner is None:
            yield indent + box.ident + _MERMAID_SHAPES.get(str(box.node.get("kind")), '["{}"]').format(label)
        else:
            yield f'{indent}subgraph {box.ident}["{label}"]'
            yield from _mermaid_lines(box.inner, indent + "  ")
            yield f"{indent}end"
    if chart.view.get("workflow_kind") == "graph" and chart.boxes:
        yield f'{indent}s{chart.first.ident}(("start")) --> {chart.first.ident}'
    for arrow in _arrows(chart):
        label = f'|"{_mermaid(arrow.label)}"|' if arrow.label else ""
        yield f"{indent}{arrow.source.ident} {'-.->' if arrow.dashed else '-->'}{label} {arrow.target.ident}"


def _dot_lines(chart: _Chart, indent: str) -> Iterator[str]:
    for box in chart.boxes.values():
        if box.inner is None or not box.inner.boxes:
            shape = _DOT_SHAPES.get(str(box.node.get("kind")), "box")
            yield f"{indent}{box.ident} [label={_dot(box.node['id'], _about(box))}, shape={shape}];"
        else:
            yield f"{indent}subgraph cluster_{box.ident} {{"
            yield f"{indent}  label={_dot(box.node['id'], _about(box))};"
            yield from _dot_lines(box.inner, indent + "  ")
            yield f"{indent}}}"
    if chart.view.get("workflow_kind") == "graph" and chart.boxes:
        first = chart.first
        yield f"{indent}s{first.ident} [label=start, shape=circle];"
        yield f"{indent}s{first.ident} -> {first.head}{_dot_ends(None, first)};"
    for arrow in _arrows(chart):
        more = []
        if arrow.label:
            more.append(f"label={_dot(arrow.label)}")
        if arrow.dashed:
            more.append("style=dashed")
        yield f"{indent}{arrow.source.head} -> {arrow.target.head}{_dot_ends(arrow.source, arrow.target, *more)};"


def _dot_ends(source: _Box | None, target: _Box, *more: str) -> str:
    """The attributes of an arrow, which ends at the border of a cluster and not at the node inside."""
    found = list(more)
    if source is not target:
        if source is not None and source.head != source.ident:
            found.append(f"ltail=cluster_{source.ident}")
        if target.head != target.ident:
            found.append(f"lhead=cluster_{target.ident}")
    return f" [{', '.join(found)}]" if found else ""


def _plain(value: object) -> str:
    """The text in one line, without anything that a terminal would obey."""
    text = " ".join(str(value if value is not None else "").split())
    return "".join(sign for sign in text if sign.isprintable())


def _mermaid(value: object) -> str:
    return _plain(value).translate(_MERMAID_ENTITIES)


def _dot(*lines: object) -> str:
    return '"' + "\\n".join(_plain(line).translate(_DOT_ESCAPES) for line in lines) + '"'
