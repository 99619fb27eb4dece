"""Arguments of a tool against its JSON Schema, with findings in words that a model can act on."""

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from kneo_serv.errors import InvalidRequestError, ToolArgumentValidationError
from kneo_serv.model.tool import ToolDefinition
from kneo_serv.tools.finding import findings_of, json_path

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_FINDINGS = 3
_DEPTH = 64


class ArgumentSchema:
    """The `parameters` of one tool, compiled at first use and then kept."""

    def __init__(self, definition: ToolDefinition) -> None:
        self.definition = definition

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Returns if the arguments fit. The findings name places and expectations, never the values themselves.

        Raises:
            ToolArgumentValidationError: they do not fit; at most three findings.
            InvalidRequestError: the schema itself is no JSON Schema.
        """
        name = self.definition.name
        try:
            misfit = self.misfit(arguments)
        except RecursionError:
            raise ToolArgumentValidationError(
                f"The arguments of tool {name!r} cannot be checked: its schema refers to itself without end.",
                tool_name=name,
            ) from None
        if misfit is not None:
            raise ToolArgumentValidationError(
                f"The arguments of tool {name!r} do not fit its schema: {misfit}.", tool_name=name
            )

    def misfit(self, value: Any) -> str | None:
        """What of a JSON value does not fit, at most three findings; None when all of it does.

        Raises:
            RecursionError: the schema refers to itself without end.
            InvalidRequestError: the schema itself is no JSON Schema.
        """
        if self._validator is None:
            return None
        errors = sorted(self._validator.iter_errors(value), key=lambda error: [str(p) for p in error.path])
        findings = list(dict.fromkeys(finding for error in errors for finding in findings_of(error)))
        if not findings:
            return None
        more = f" (and {len(findings) - _FINDINGS} more)" if len(findings) > _FINDINGS else ""
        return f"{'; '.join(findings[:_FINDINGS])}{more}"

    @property
    def compiled(self) -> bool:
        """Whether the next check is quick."""
        return "_validator" in vars(self)

    def compile(self) -> None:
        """Does the work of the first check beforehand: the import of the library and the check of the schema.

        Raises:
            InvalidRequestError: the schema is no JSON Schema.
        """
        _ = self._validator

    @cached_property
    def _validator(self) -> "Validator | None":
        schema = plain(self.definition.parameters, self.definition.name)
        if not schema:
            return None
        fault = schema_fault(schema)
        if fault is not None:
            place, problem = fault
            raise self._refused(f"{json_path(place)}: {problem}")
        validator: Validator = _dialect(schema)(schema)
        return validator

    def _refused(self, problem: str) -> InvalidRequestError:
        return InvalidRequestError(
            f"The parameters of tool {self.definition.name!r} are no valid JSON Schema: {problem}."
        )


class OutputSchema:
    """What an agent's final answer has to fit, compiled at first use and then kept."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = ArgumentSchema(ToolDefinition("output_schema", "", schema))

    def misfit(self, value: Any) -> str | None:
        """What of a JSON value does not fit, at most three findings; None when all of it does."""
        try:
            return self._schema.misfit(value)
        except RecursionError:
            return "it cannot be checked: the schema refers to itself without end"


type Fault = tuple[tuple[str | int, ...], str]
"""A place in a schema, and what is wrong there."""


def schema_fault(schema: Mapping[str, Any]) -> Fault | None:
    """Where the first fault of a JSON Schema is, and what it is; None when values can be checked by the schema.

    A schema of which this finds no fault never makes a check fetch a foreign address.
    """
    import jsonschema

    dialect = _dialect(schema)
    if dialect is None:
        return ("$schema",), f"unknown dialect {schema['$schema']!r}; known are {', '.join(_dialects())}"
    try:
        dialect.check_schema(dict(schema))
    except jsonschema.SchemaError as error:
        place = tuple(error.absolute_path)
        said = [finding.removeprefix(f"{json_path(place)}: ") for finding in findings_of(error)]
        return place, "; ".join(said) or f"does not fulfil {error.validator!r}"
    return _stray_reference(schema)


def _dialects() -> dict[str, Any]:
    # Imported here: a quarter of a second that most commands never need.
    import jsonschema

    dialects = (
        jsonschema.Draft202012Validator,
        jsonschema.Draft201909Validator,
        jsonschema.Draft7Validator,
        jsonschema.Draft6Validator,
    )
    return {str(dialect.ID_OF(dialect.META_SCHEMA)).rstrip("#"): dialect for dialect in dialects}


def _dialect(schema: Mapping[str, Any]) -> Any:
    """The class of validators for the schema's dialect, by default the newest one; None when it is not known."""
    known = _dialects()
    return known.get(str(schema.get("$schema") or next(iter(known))).rstrip("#"))


def plain(value: Any, tool_name: str, depth: int = 0) -> Any:
    """A copy of a JSON value in dicts and lists of its own, so that a handler cannot change what the journal holds.

    Raises:
        ToolArgumentValidationError: nested deeper than 64 levels.
    """
    if depth > _DEPTH:
        raise ToolArgumentValidationError(
            f"The arguments of tool {tool_name!r} are nested deeper than {_DEPTH} levels.", tool_name=tool_name
        )
    if isinstance(value, Mapping):
        return {key: plain(item, tool_name, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, tool_name, depth + 1) for item in value]
    return value


def _subschemas(
    schema: Any, path: tuple[str | int, ...] = ()
) -> Iterable[tuple[tuple[str | int, ...], dict[str, Any]]]:
    if isinstance(schema, dict):
        yield path, schema
        for key, value in schema.items():
            if key not in ("enum", "const", "default", "examples"):
                yield from _subschemas(value, (*path, key))
    elif isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from _subschemas(item, (*path, index))


def _stray_reference(schema: Mapping[str, Any]) -> Fault | None:
    """What leads out of the schema, or nowhere. With none of it, no check ever fetches a foreign address."""
    places = list(_subschemas(schema))
    anchors = {str(block[key]) for _, block in places for key in ("$anchor", "$dynamicAnchor") if key in block}
    for path, block in places:
        if path and isinstance(block.get("$id"), str):
            return (*path, "$id"), f"the inner $id {block['$id']!r} is not supported"
        for key in ("$ref", "$dynamicRef", "$recursiveRef"):
            reference = block.get(key)
            if isinstance(reference, str) and not _resolves(reference, schema, anchors):
                return (*path, key), (
                    f"{reference!r} refers to nothing in it; only references to a place inside the schema "
                    "(such as #/$defs/Name) are followed"
                )
    return None


def _resolves(reference: str, schema: Any, anchors: Collection[str]) -> bool:
    if not reference.startswith("#"):
        return False
    pointer = unquote(reference[1:])
    if not pointer.startswith("/"):
        return pointer == "" or pointer in anchors
    place = schema
    for part in pointer[1:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(place, list) and key.isdecimal() and int(key) < len(place):
            place = place[int(key)]
        elif isinstance(place, dict) and key in place:
            place = place[key]
        else:
            return False
    return True
