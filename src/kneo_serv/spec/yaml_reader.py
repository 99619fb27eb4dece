"""YAML text to a tree of nodes, within bounds.

Events are read one by one, so that nothing grows before it is counted.
"""

import math
import re
from typing import Any

import yaml

from kneo_serv.errors import SpecParseError
from kneo_serv.spec.node import Entry, Limits, Mark, Node

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MERGE = object()
_LIBRARY_TOO_DEEP = "exceeded maximum nesting depth"
"""How the library refuses a depth far beyond ours that it meets while it looks ahead. Not every version does."""
_resolver: Any = yaml.resolver.Resolver()
_constructor: Any = yaml.constructor.SafeConstructor()
_SAFE_TAGS = {
    _TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map", "timestamp", "merge", "value")
}


def read_yaml(text: str, *, source: str | None, limits: Limits) -> Node:
    """The tree of one YAML document.

    Raises:
        SpecParseError: the text is no YAML, holds more than one document, or passes a limit.
    """
    try:
        return _Reader(source, limits).read(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.context, error.problem) if part)
        place = _mark(mark) if mark is not None else Mark(1, 1)
        if _LIBRARY_TOO_DEEP in words:
            raise _too_deep(source, limits, place) from None
        raise SpecParseError(f"Not valid YAML: {words}.", source=source, line=place.line, column=place.column) from None
    except yaml.YAMLError as error:
        raise SpecParseError(f"Not valid YAML: {_first_line(error)}.", source=source) from None


class _Open:
    """A collection whose end is not read yet."""

    __slots__ = ("anchor", "height", "items", "key", "mapping", "mark", "merged", "pending", "size")

    def __init__(self, mapping: bool, mark: Mark, anchor: str | None) -> None:
        self.mapping = mapping
        self.mark = mark
        self.anchor = anchor
        self.items: Any = {} if mapping else []
        self.merged: list[Node] = []
        self.key: Any = None
        self.pending: Mark | None = None
        self.size = 1
        self.height = 1

    def hold(self, node: Node) -> None:
        self.size += node.size
        self.height = max(self.height, node.height + 1)


class _Reader:
    def __init__(self, source: str | None, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self.anchors: dict[str, Node] = {}
        self.open_anchors: set[str] = set()
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.nodes = 0
        self.aliases = 0
        self.documents = 0

    def refuse(self, message: str, mark: Mark) -> SpecParseError:
        return SpecParseError(message, source=self.source, line=mark.line, column=mark.column)

    def read(self, text: str) -> Node:
        for event in yaml.parse(text, Loader=_Loader):
            mark = _mark(event.start_mark)
            if isinstance(event, yaml.ScalarEvent):
                self.scalar(event, mark)
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                self.begin(event, mark)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                self.end()
            elif isinstance(event, yaml.AliasEvent):
                self.alias(event, mark)
            elif isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    raise self.refuse("A spec is one document; a second one begins here.", mark)
        if self.root is None:
            raise self.refuse("The document is empty.", Mark(1, 1))
        return self.root

    def begin(self, event: Any, mark: Mark) -> None:
        self.check_tag(event.tag, mark)
        if len(self.stack) >= self.limits.max_depth:
            raise _too_deep(self.source, self.limits, mark)
        self.refuse_as_key(mark)
        if event.anchor:
            self.open_anchors.add(event.anchor)
        self.stack.append(_Open(isinstance(event, yaml.MappingStartEvent), mark, event.anchor))

    def end(self) -> None:
        done = self.stack.pop()
        if done.mapping:
            for merged in done.merged:
                for key, entry in merged.value.items():
                    if key not in done.items:
                        done.items[key] = entry
                        done.hold(entry.node)
            self.count(sum(merged.size for merged in done.merged), done.mark)
        node = Node(done.items, done.mark, done.size, done.height)
        if done.anchor:
            self.open_anchors.discard(done.anchor)
        self.count(1, done.mark)
        self.place(node, done.anchor)

    def scalar(self, event: Any, mark: Mark) -> None:
        self.check_tag(event.tag, mark)
        if len(event.value) > self.limits.max_scalar:
            raise self.refuse(f"A value of more than {self.limits.max_scalar} characters.", mark)
        as_key = bool(self.stack) and self.stack[-1].mapping and self.stack[-1].pending is None
        value = self.resolve(event, mark)
        if as_key:
            self.key(value, event.value, mark)
            if event.anchor:
                self.anchors[event.anchor] = Node(value, mark)
            return
        self.count(1, mark)
        self.place(Node("<<" if value is _MERGE else value, mark), event.anchor)

    def alias(self, event: Any, mark: Mark) -> None:
        self.aliases += 1
        if self.aliases > self.limits.max_aliases:
            raise self.refuse(f"More than {self.limits.max_aliases} aliases.", mark)
        if event.anchor in self.open_anchors:
            raise self.refuse(f"`*{event.anchor}` holds itself; a spec cannot be endless.", mark)
        target = self.anchors.get(event.anchor)
        if target is None:
            raise self.refuse(f"`*{event.anchor}` is used, but nothing above is marked `&{event.anchor}`.", mark)
        if self.stack and self.stack[-1].mapping and self.stack[-1].pending is None:
            self.refuse_as_key(mark, target)
            self.key(target.value, str(target.value), mark)
            return
        self.count(target.size, mark)
        if len(self.stack) + target.height > self.limits.max_depth:
            raise _too_deep(self.source, self.limits, mark)
        self.place(Node(target.value, mark, target.size, target.height), None)

    def refuse_as_key(self, mark: Mark, node: Node | None = None) -> None:
        inside_mapping = bool(self.stack) and self.stack[-1].mapping and self.stack[-1].pending is None
        if inside_mapping and (node is None or isinstance(node.value, (dict, list))):
            raise self.refuse("A list or a mapping cannot be a key; keys are text.", mark)

    def key(self, value: Any, written: str, mark: Mark) -> None:
        holder = self.stack[-1]
        if value is _MERGE:
            holder.key = _MERGE
        elif not isinstance(value, str):
            raise self.refuse(f'The key `{written}` is read as {_kind(value)}; write it in quotes: "{written}".', mark)
        else:
            earlier = holder.items.get(value)
            if earlier is not None:
                raise self.refuse(
                    f"The key `{value}` stands here and in line {earlier.mark.line} already; keep one of them.", mark
                )
            holder.key = value
        holder.pending = mark

    def place(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        holder = self.stack[-1]
        if not holder.mapping:
            holder.items.append(node)
            holder.hold(node)
            return
        mark = holder.pending or node.mark
        if holder.key is _MERGE:
            holder.merged.extend(self.mergeable(node))
        else:
            holder.items[holder.key] = Entry(mark, node)
            holder.hold(node)
        holder.pending = None

    def mergeable(self, node: Node) -> list[Node]:
        found = node.value if isinstance(node.value, list) else [node]
        for item in found:
            if not isinstance(item.value, dict):
                raise self.refuse("`<<` takes a mapping, or a list of mappings.", node.mark)
        return found

    def count(self, more: int, mark: Mark) -> None:
        self.nodes += more
        if self.nodes > self.limits.max_nodes:
            raise self.refuse(f"More than {self.limits.max_nodes} values, with aliases written out.", mark)

    def check_tag(self, tag: str | None, mark: Mark) -> None:
        if tag is not None and tag != "!" and tag not in _SAFE_TAGS:
            shown = tag.replace(_TAG, "!!")
            raise self.refuse(f"The tag `{shown}` is not allowed; a spec holds plain values only.", mark)

    def resolve(self, event: Any, mark: Mark) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            tag = _resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
        name = tag.removeprefix(_TAG)
        node = yaml.ScalarNode(tag, event.value)
        if name == "merge":
            return _MERGE
        if name not in ("null", "bool", "int", "float"):
            # A date stays the text it was written as: JSON has no dates.
            return self.text(event.value, mark)
        if name == "null":
            return None
        try:
            if name == "bool":
                return _constructor.construct_yaml_bool(node)
            if name == "int":
                return _constructor.construct_yaml_int(node)
            number = _constructor.construct_yaml_float(node)
        except (ValueError, KeyError, IndexError, OverflowError):
            return self.text(event.value, mark)
        if not math.isfinite(number):
            raise self.refuse(f'`{event.value}` is no finite number; for a text write "{event.value}".', mark)
        return number

    def text(self, value: str, mark: Mark) -> str:
        if _SURROGATE.search(value):
            raise self.refuse("The text holds half of a character (a lone surrogate).", mark)
        return value


_SURROGATE = re.compile("[\ud800-\udfff]")


def _too_deep(source: str | None, limits: Limits, mark: Mark) -> SpecParseError:
    message = f"Nested deeper than {limits.max_depth} levels."
    return SpecParseError(message, source=source, line=mark.line, column=mark.column)


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


def _kind(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    return "a number"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else "unreadable"
