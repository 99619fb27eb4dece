"""JSON text to a tree of nodes, within bounds, with a line and a column for every value and every fault."""

import json
import math
import re
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from kneo_serv.errors import SpecParseError
from kneo_serv.spec.node import Entry, Limits, Mark, Node

_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None}
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(text: str, *, source: str | None, limits: Limits) -> Node:
    """The tree of one JSON document (RFC 8259, duplicate keys refused).

    Raises:
        SpecParseError: the text is no JSON, or passes a limit.
    """
    return _Reader(text, source, limits).read()


class _Open:
    """A collection whose end is not read yet."""

    __slots__ = ("items", "key", "key_mark", "mark", "size")

    def __init__(self, items: Any, mark: Mark) -> None:
        self.items = items
        self.mark = mark
        self.key: str | None = None
        self.key_mark = mark
        self.size = 1


class _Reader:
    def __init__(self, text: str, source: str | None, limits: Limits) -> None:
        self.text = text
        self.source = source
        self.limits = limits
        self.at = 0
        self.line = 1
        self.line_start = 0
        self.seen = 0
        self.nodes = 0

    def mark(self) -> Mark:
        newlines = self.text.count("\n", self.seen, self.at)
        if newlines:
            self.line += newlines
            self.line_start = self.text.rindex("\n", self.seen, self.at) + 1
        self.seen = self.at
        return Mark(self.line, self.at - self.line_start + 1)

    def refuse(self, message: str, mark: Mark | None = None) -> SpecParseError:
        place = mark or self.mark()
        return SpecParseError(message, source=self.source, line=place.line, column=place.column)

    def peek(self) -> str:
        found = _BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.text[self.at : self.at + 1]

    def read(self) -> Node:
        if not self.peek():
            raise self.refuse("The document is empty.", Mark(1, 1))
        stack: list[_Open] = []
        while True:
            done: Node | None = self.value(stack)
            while True:
                if done is None:
                    holder = stack[-1]
                    if self.peek() != ("}" if isinstance(holder.items, dict) else "]"):
                        self.key(holder)
                        break
                    self.at += 1
                elif not stack:
                    if self.peek():
                        raise self.refuse("Not valid JSON: something follows the end of the document.")
                    return done
                else:
                    holder = stack[-1]
                    self.put(holder, done)
                    if self.separator(holder):
                        self.key(holder)
                        break
                stack.pop()
                done = Node(holder.items, holder.mark, holder.size)

    def value(self, stack: list[_Open]) -> Node | None:
        """The scalar that stands here; None when a collection was opened instead."""
        first = self.peek()
        mark = self.mark()
        self.nodes += 1
        if self.nodes > self.limits.max_nodes:
            raise self.refuse(f"More than {self.limits.max_nodes} values.", mark)
        if first in ("{", "["):
            if len(stack) >= self.limits.max_depth:
                raise self.refuse(f"Nested deeper than {self.limits.max_depth} levels.", mark)
            self.at += 1
            stack.append(_Open({} if first == "{" else [], mark))
            return None
        if first == '"':
            return Node(self.string(), mark)
        for word, meaning in _WORDS.items():
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return Node(meaning, mark)
        return Node(self.number(mark), mark)

    def number(self, mark: Mark) -> int | float:
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            raise self.refuse("Not valid JSON: a value was expected here.", mark)
        self.at = found.end()
        try:
            number = float(found[0]) if found[1] or found[2] else int(found[0])
        except ValueError:
            raise self.refuse("A number with too many digits.", mark) from None
        if not math.isfinite(number):
            raise self.refuse("A number that is too large.", mark)
        return number

    def string(self) -> str:
        mark = self.mark()
        try:
            value, end = scanstring(self.text, self.at + 1, True)
        except json.JSONDecodeError as error:
            self.at = error.pos
            raise self.refuse(f"Not valid JSON: {error.msg.lower()}.", mark) from None
        if len(value) > self.limits.max_scalar:
            raise self.refuse(f"A value of more than {self.limits.max_scalar} characters.", mark)
        if _SURROGATE.search(value):
            raise self.refuse("The text holds half of a character (a lone surrogate).", mark)
        self.at = end
        found: str = value
        return found

    def key(self, holder: _Open) -> None:
        """Reads the key that comes next in a mapping; a list has none."""
        if not isinstance(holder.items, dict):
            return
        if self.peek() != '"':
            raise self.refuse("Not valid JSON: a key in double quotes was expected here.")
        mark = self.mark()
        key = self.string()
        earlier = holder.items.get(key)
        if earlier is not None:
            raise self.refuse(
                f"The key `{key}` stands here and in line {earlier.mark.line} already; keep one of them.", mark
            )
        if self.peek() != ":":
            raise self.refuse("Not valid JSON: a colon was expected here.")
        self.at += 1
        holder.key, holder.key_mark = key, mark

    def put(self, holder: _Open, node: Node) -> None:
        holder.size += node.size
        if holder.key is None:
            holder.items.append(node)
        else:
            holder.items[holder.key] = Entry(holder.key_mark, node)

    def separator(self, holder: _Open) -> bool:
        """Whether another item follows; False at the end of the collection."""
        closing = "}" if isinstance(holder.items, dict) else "]"
        found = self.peek()
        if found not in (",", closing) or not found:
            raise self.refuse(f"Not valid JSON: `,` or `{closing}` was expected here.")
        self.at += 1
        return found == ","
