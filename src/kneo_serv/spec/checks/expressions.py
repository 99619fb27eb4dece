"""Expressions in CEL: that they can be read, and that the names in them mean something."""

import re
from collections.abc import Collection, Iterator

from kneo_serv.spec.finding import Finding, error, near
from kneo_serv.spec.path import Path

MAX_LENGTH = 1_000
"""Characters of one expression."""

NAMES = ("text", "input", "variables", "metadata", "status", "decision")
"""What an expression may look at."""

_BOUND = re.compile(r"\.\s*(?:all|exists|exists_one|filter|map)\s*\(\s*([A-Za-z_]\w*)\s*,")
_VARIABLE = re.compile(r"(?<![\w.\"'])variables\s*\.\s*([A-Za-z_]\w*)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_POINTER = re.compile(r"<input>:\d+:(\d+): (?:Syntax error: )?(.*)")


def check_expression(path: Path, expression: str, variables: Collection[str]) -> Iterator[Finding]:
    """Faults of one expression. Compiled where the package for it is installed, else an error says how to get it."""
    if len(expression) > MAX_LENGTH:
        message = f"The expression has {len(expression)} characters; at most {MAX_LENGTH} are read."
        yield error("E_CEL_TOO_LONG", path, message, "Let a function decide, and look at what it returns.")
        return
    try:
        import cel
    except ImportError:
        message = "Expressions in CEL need a package that is not installed here."
        yield error("E_CEL_MISSING", path, message, "Install it: pip install kneo-serv[cel]")
        return
    try:
        program = cel.compile(expression)
    except ValueError as fault:
        yield error("E_CEL_SYNTAX", path, f"The expression cannot be read: {_reason(str(fault))}.")
        return
    plain = _QUOTED.sub('""', expression)
    bound = set(_BOUND.findall(plain))
    for name in program.variables():
        if name not in NAMES and name not in bound:
            hint = f"Did you mean `variables.{name}`?" if name in variables else near(name, NAMES)
            yield error("E_CEL_NAME", path, f"There is nothing called `{name}` to look at.", hint)
    for name in dict.fromkeys(_VARIABLE.findall(plain)):
        if name not in variables:
            hint = near(name, variables, otherwise=f"Add `variables: {{{name}: ...}}` to the workflow.")
            yield error("E_CEL_NAME", path, f"The workflow has no variable `{name}`.", hint)


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
