"""JSON Schemas that stand in a spec: that values can be checked by them."""

from collections.abc import Iterator, Mapping
from typing import Any

from kneo_serv.spec.finding import Finding, error
from kneo_serv.spec.path import Path


def check_schema(code: str, path: Path, what: str, schema: Mapping[str, Any]) -> Iterator[Finding]:
    """An error with this code at the first fault of a schema; `what` begins the sentence about it."""
    if not schema:
        return
    # Imported here: the library behind it takes a while, and most documents hold no schema.
    from kneo_serv.tools.schema import schema_fault

    fault = schema_fault(schema)
    if fault is not None:
        place, problem = fault
        yield error(code, (*path, *place), f"{what} is no valid JSON Schema: {problem}.")
