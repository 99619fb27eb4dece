"""Expressions in CEL: that they can be read, and that the names in them mean something."""

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from kneo_serv.spec.finding import Finding, error, near
from kneo_serv.spec.path import Path

MAX_LENGTH = 1_000
"""Characters of one expression."""

NAMES = ("text", "input", "variables", "metadata", "status", "decision")
"""What an expression may look at."""

_TYPES = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"})
"""Names that the language itself gives a meaning, as in `type(x) == int`."""

_BOUND = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(\s*([A-Za-z_]\w*)\s*,")
_VARIABLE = re.compile(r"(?<![\w.\"'])variables\s*\.\s*([A-Za-z_]\w*)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_POINTER = re.compile(r"<input>:\d+:(\d+): (?:Syntax error: )?(.*)")


class Expression(NamedTuple):
    """An expression that was tried: the names that it looks at, or what is wrong with it."""

    names: tuple[str, ...] = ()
    fault: str | None = None
    """Why it cannot be read, as part of a sentence."""


def read_expression(path: Path, expression: str) -> Expression | Finding:
    """The expression, or the finding that says why nobody tried it: it is too long, or the package is missing."""
    if len(expression) > MAX_LENGTH:
        message = f"The expression has {len(expression)} characters; at most {MAX_LENGTH} are read."
        return error("E_CEL_TOO_LONG", path, message, "Let a function decide, and look at what it returns.")
    try:
        import cel
    except ImportError:
        message = "Expressions in CEL need a package that is not installed here."
        return error("E_CEL_MISSING", path, message, "Install it: pip install kneo-serv[cel]")
    try:
        program = cel.compile(expression)
    except ValueError as fault:
        return Expression(fault=_reason(str(fault)))
    known = {*_TYPES, *_BOUND.findall(_plain(expression))}
    return Expression(tuple(name for name in program.variables() if name not in known))


def check_expression(path: Path, expression: str, variables: Collection[str]) -> Iterator[Finding]:
    """Faults of one expression. Compiled where the package for it is installed, else an error says how to get it."""
    read = read_expression(path, expression)
    if isinstance(read, Finding):
        yield read
        return
    if read.fault is not None:
        yield error("E_CEL_SYNTAX", path, f"The expression cannot be read: {read.fault}.")
        return
    for name in read.names:
        if name not in NAMES:
            hint = f"Did you mean `variables.{name}`?" if name in variables else near(name, NAMES)
            yield error("E_CEL_NAME", path, f"There is nothing called `{name}` to look at.", hint)
    for name in dict.fromkeys(_VARIABLE.findall(_plain(expression))):
        if name not in variables:
            hint = near(name, variables, otherwise=f"Add `variables: {{{name}: ...}}` to the workflow.")
            yield error("E_CEL_NAME", path, f"The workflow has no variable `{name}`.", hint)


def _plain(expression: str) -> str:
    """The expression without what stands in quotes."""
    return _QUOTED.sub('""', expression)


def _reason(fault: str) -> str:
    """The first complaint in one line; it names tokens by the hundred, and nobody reads them."""
    found = _POINTER.search(fault)
    if found is None:
        return "its grammar is at fault"
    column, said = found.groups()
    said = said.split(" expecting ")[0].strip().rstrip(".!")
    if "'<EOF>'" in said:
        said = "it ends too early"
    return f"{said} (column {column})"
