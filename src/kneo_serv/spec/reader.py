"""Documents from text, files and plain values: always a mapping, always within bounds."""

import math
import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import yaml

from kneo_serv.errors import SpecParseError
from kneo_serv.spec.json_reader import read_json
from kneo_serv.spec.node import Document, Limits
from kneo_serv.spec.yaml_reader import read_yaml

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_FOREIGN_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}


def read_text(
    text: str | bytes, *, source: str | None = None, json: bool = False, limits: Limits | None = None
) -> Document:
    """The document in a YAML text, or in a JSON text with `json`.

    Raises:
        SpecParseError: the text cannot be read, is no mapping, or passes a limit; names the line and column.
    """
    bounds = limits or Limits()
    characters = _decode(text, source, bounds)
    root = (read_json if json else read_yaml)(characters, source=source, limits=bounds)
    if not isinstance(root.value, dict):
        found = "a list" if isinstance(root.value, list) else "a single value"
        raise SpecParseError(
            f"A spec is a mapping of keys such as `version` and `agent`; this is {found}.",
            source=source,
            line=root.mark.line,
            column=root.mark.column,
        )
    return Document(root, source)


def read_file(path: str | FilePath, *, source: str | None = None, limits: Limits | None = None) -> Document:
    """The document in a file; `.json` files are JSON, all others YAML. Errors call it `source`, or else its path.

    Raises:
        FileNotFoundError: there is no such file.
        SpecParseError: the content cannot be read; names the file, the line and column.
    """
    bounds = limits or Limits()
    file = FilePath(path)
    name = source or str(path)
    try:
        with file.open("rb") as stream:
            content = stream.read(bounds.max_bytes + 1)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no spec file {name}.") from None
    except OSError as error:
        raise SpecParseError(f"The file cannot be read: {error.strerror or 'unknown error'}.", source=name) from None
    return read_text(content, source=name, json=file.suffix.lower() == ".json", limits=bounds)


def read_data(value: Mapping[str, Any], *, source: str | None = None, limits: Limits | None = None) -> dict[str, Any]:
    """A copy of a plain mapping (a spec handed in as a dict), with the same bounds as a text.

    Raises:
        SpecParseError: it holds something that JSON does not know, is too deep or too large, or holds itself.
    """
    bounds = limits or Limits()
    if not isinstance(value, Mapping):
        raise SpecParseError(f"A spec is a mapping; this is a {type(value).__name__}.", source=source)
    count = 0

    def copy(item: Any, depth: int) -> Any:
        nonlocal count
        count += 1
        if count > bounds.max_nodes:
            raise SpecParseError(f"More than {bounds.max_nodes} values.", source=source)
        if item is None or isinstance(item, (bool, int)):
            return item
        if isinstance(item, float):
            if not math.isfinite(item):
                raise SpecParseError("A number that is not finite.", source=source)
            return item
        if isinstance(item, str):
            return _plain_text(item, source, bounds)
        if depth >= bounds.max_depth:
            raise SpecParseError(f"Nested deeper than {bounds.max_depth} levels.", source=source)
        if isinstance(item, Mapping):
            for key in item:
                if not isinstance(key, str):
                    raise SpecParseError(f"The key {key!r} is no text.", source=source)
            return {_plain_text(str(key), source, bounds): copy(child, depth + 1) for key, child in item.items()}
        if isinstance(item, (list, tuple)):
            return [copy(child, depth + 1) for child in item]
        raise SpecParseError(f"A value of type {type(item).__name__}; a spec holds plain values only.", source=source)

    copied: dict[str, Any] = copy(value, 0)
    return copied


def dump_yaml(data: Mapping[str, Any]) -> str:
    """The mapping as YAML text that `read_text` reads back; keys keep their order."""
    text: str = yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=120)
    return text


def _decode(text: str | bytes, source: str | None, limits: Limits) -> str:
    size = len(text)
    if isinstance(text, str):
        size = len(text.encode("utf-8", "surrogatepass"))
    if size > limits.max_bytes:
        raise SpecParseError(f"The document has more than {limits.max_bytes} bytes.", source=source)
    if isinstance(text, bytes):
        for mark, name in _FOREIGN_MARKS.items():
            if text.startswith(mark):
                raise SpecParseError(f"The document is {name}; save it as UTF-8.", source=source, line=1, column=1)
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            line, column = _place(error.object[: error.start])
            raise SpecParseError(
                f"Byte 0x{error.object[error.start]:02x} is no UTF-8; is this a text file saved as UTF-8?",
                source=source,
                line=line,
                column=column,
            ) from None
    text = text.removeprefix("\ufeff")
    control = _CONTROL.search(text)
    if control is not None:
        line, column = _place(text[: control.start()].encode("utf-8", "surrogatepass"))
        raise SpecParseError(
            f"The control character U+{ord(control[0]):04X} does not belong into a text file.",
            source=source,
            line=line,
            column=column,
        )
    return _plain_text(text, source, None)


def _plain_text(text: str, source: str | None, limits: Limits | None) -> str:
    if limits is not None and len(text) > limits.max_scalar:
        raise SpecParseError(f"A value of more than {limits.max_scalar} characters.", source=source)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        line, column = _place(text[: error.start].encode("utf-8", "surrogatepass"))
        raise SpecParseError(
            "The text holds half of a character (a lone surrogate).", source=source, line=line, column=column
        ) from None
    return text


def _place(before: bytes) -> tuple[int, int]:
    last = before[before.rfind(b"\n") + 1 :]
    return before.count(b"\n") + 1, len(last.decode("utf-8", "replace")) + 1
