"""The tree of a document as it was written: every value knows its line and column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kneo_serv.spec.path import Path


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a text; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping with its value."""

    mark: Mark
    node: Node


@dataclass(frozen=True, slots=True)
class Node:
    """One value: a scalar, a list or a mapping.

    `size` counts it and everything below, `height` the levels below it, both with aliases written out.
    """

    value: Any
    mark: Mark
    size: int = 1
    height: int = 0

    def data(self) -> Any:
        """The plain Python value."""
        if isinstance(self.value, dict):
            return {key: entry.node.data() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [item.data() for item in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Document:
    """A mapping that was read from a text. `source` is what people call the text, mostly its file name."""

    root: Node
    source: str | None = None

    def data(self) -> dict[str, Any]:
        """The plain Python value; a fresh copy with each call."""
        found: dict[str, Any] = self.root.data()
        return found


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands."""

    source: str | None
    line: int | None
    column: int | None


@dataclass(frozen=True, slots=True)
class SourceMap:
    """Finds a path of the merged spec in the documents it was made of; the last layer wins."""

    layers: Sequence[Document] = ()
    moved: tuple[tuple[Path, Path], ...] = ()
    """Where migrations took things from: (place now, place in the document)."""

    def locate(self, *paths: Path, key: bool = False) -> Place:
        """The place of the first path that is written somewhere, or else of the nearest block around the first.

        With `key`, the place of the key and not of its value.
        """
        best: tuple[int, Place] | None = None
        for path in paths:
            for layer in reversed(self.layers):
                for candidate in self._spellings(path):
                    depth, mark = _find(layer.root, candidate, key=key)
                    place = Place(layer.source, mark.line, mark.column)
                    if depth == len(candidate):
                        return place
                    if best is None or depth > best[0]:
                        best = (depth, place)
        return best[1] if best else Place(None, None, None)

    def _spellings(self, path: Path) -> list[Path]:
        found = [path]
        for now, before in self.moved:
            if path[: len(now)] == now:
                found.append(before + path[len(now) :])
        return found


def _find(node: Node, path: Path, *, key: bool) -> tuple[int, Mark]:
    mark = node.mark
    for depth, part in enumerate(path):
        if isinstance(part, str) and isinstance(node.value, dict) and part in node.value:
            entry: Entry = node.value[part]
            node = entry.node
            last = depth == len(path) - 1
            # A block begins on the line after its key; people look for the key.
            mark = entry.mark if isinstance(node.value, (dict, list)) or (key and last) else node.mark
        elif isinstance(part, int) and isinstance(node.value, list) and part < len(node.value):
            node = node.value[part]
            mark = node.mark
        else:
            return depth, mark
    return len(path), mark


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a document; a document beyond one is refused before it costs much."""

    max_bytes: int = 1_048_576
    max_depth: int = 64
    max_nodes: int = 100_000
    """Values in the document, with every alias written out."""
    max_aliases: int = 1_000
    max_scalar: int = 262_144
    """Characters of one value."""
