"""The code that a plan names: imported once at compile, so that a missing module is a finding and not a surprise."""

from collections.abc import Iterator, Mapping

from kneo_serv.model.plan import Plan
from kneo_serv.spec.finding import Finding, error
from kneo_serv.spec.path import Path


def check_code(plan: Plan) -> Iterator[Finding]:
    """An error for each import path that leads to nothing callable."""
    functions: Mapping[str, str] = {name: item.implementation for name, item in plan.functions.items()}
    for name, implementation in functions.items():
        yield from _load("E_FUNCTION_IMPORT", ("components", "functions", name, "implementation"), implementation)
    for name, tool in plan.tools.items():
        if tool.implementation is not None:
            yield from _load("E_TOOL_IMPORT", ("tools", name, "implementation"), tool.implementation)


def _load(code: str, path: Path, implementation: str) -> Iterator[Finding]:
    from kneo_serv.errors import KneoError
    from kneo_serv.tools import load_callable

    try:
        load_callable(implementation)
    except KneoError as fault:
        yield error(code, path, str(fault))
    except (Exception, SystemExit) as fault:  # noqa: BLE001 - the body of a user's module may raise anything
        what = type(fault).__name__
        hint = f"Try `python -c 'import {implementation.rpartition('.')[0]}'` in the same environment."
        yield error(code, path, f"Importing `{implementation}` raised {what}.", hint)
