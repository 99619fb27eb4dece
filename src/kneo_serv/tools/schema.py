"""Arguments of a tool against its JSON Schema, with findings in words that a model can act on."""

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kneo_serv.errors import InvalidRequestError, ToolArgumentValidationError
from kneo_serv.model.tool import ToolDefinition

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_FINDINGS = 3
_DEPTH = 64
_SHOWN = 60
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


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
        if self._validator is None:
            return
        try:
            errors = sorted(self._validator.iter_errors(arguments), key=lambda error: [str(p) for p in error.path])
        except RecursionError:
            raise ToolArgumentValidationError(
                f"The arguments of tool {name!r} cannot be checked: its schema refers to itself without end.",
                tool_name=name,
            ) from None
        findings = list(dict.fromkeys(finding for error in errors for finding in _findings(error)))
        if findings:
            more = f" (and {len(findings) - _FINDINGS} more)" if len(findings) > _FINDINGS else ""
            raise ToolArgumentValidationError(
                f"The arguments of tool {name!r} do not fit its schema: {'; '.join(findings[:_FINDINGS])}{more}.",
                tool_name=name,
            )

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
        # Imported here: a quarter of a second that most commands never need.
        import jsonschema

        dialects = (
            jsonschema.Draft202012Validator,
            jsonschema.Draft201909Validator,
            jsonschema.Draft7Validator,
            jsonschema.Draft6Validator,
            jsonschema.Draft4Validator,
        )
        known = {str(dialect.ID_OF(dialect.META_SCHEMA)).rstrip("#"): dialect for dialect in dialects}
        dialect = str(schema.get("$schema") or next(iter(known))).rstrip("#")
        if dialect not in known:
            raise self._refused(f"unknown dialect {dialect!r} at $schema; known are {', '.join(known)}")
        try:
            known[dialect].check_schema(schema)
        except jsonschema.SchemaError as error:
            raise self._refused(f"{json_path(error.path)}: {'; '.join(_findings(error)) or error.validator}") from None
        for reference in _references(schema):
            if not _resolves(reference, schema):
                raise self._refused(
                    f"{reference!r} refers to nothing in it; only references to a place inside the schema "
                    "(such as #/$defs/Name) are followed"
                )
        return known[dialect](schema)

    def _refused(self, problem: str) -> InvalidRequestError:
        return InvalidRequestError(
            f"The parameters of tool {self.definition.name!r} are no valid JSON Schema: {problem}."
        )


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


def json_path(parts: Iterable[str | int]) -> str:
    """Place in a JSON value, as `$.filters[0].name`; long keys are cut."""
    path = "$"
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if _PLAIN_KEY.match(part) and len(part) <= _SHOWN else f"[{_short(part)}]"
    return path


def _references(schema: Any) -> Iterable[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
                yield value
            elif key not in ("enum", "const", "default", "examples"):
                yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)


def _resolves(reference: str, schema: Any) -> bool:
    """Whether a reference stays inside the schema, so that no check ever fetches a foreign address."""
    if not reference.startswith("#"):
        return False
    if not reference.startswith("#/"):
        return reference == "#" or f"'{reference[1:]}'" in repr(schema)
    place = schema
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~").replace("%25", "%")
        if isinstance(place, list) and key.isdigit() and int(key) < len(place):
            place = place[int(key)]
        elif isinstance(place, dict) and key in place:
            place = place[key]
        else:
            return False
    return True


def _findings(error: Any) -> Iterable[str]:
    """Own words for one finding of the library, whose texts would show the whole value."""
    where, found, wanted = json_path(error.absolute_path), error.instance, error.validator_value
    match error.validator:
        case "required" if isinstance(found, dict):
            for name in wanted:
                if name not in found:
                    yield f"{where}: {name!r} is missing"
        case "additionalProperties" if isinstance(found, dict) and wanted is False:
            known = list(error.schema.get("properties", {}))
            patterns = list(error.schema.get("patternProperties", {}))
            for name in found:
                if name not in known and not any(re.search(pattern, name) for pattern in patterns):
                    near = difflib.get_close_matches(name, known, n=1)
                    hint = f" (did you mean {near[0]!r}?)" if near else f" (known: {_list(known)})" if known else ""
                    yield f"{where}: {_short(name)} is not an argument{hint}"
        case "dependentRequired" if isinstance(found, dict):
            for key, names in wanted.items():
                for name in names:
                    if key in found and name not in found:
                        yield f"{where}: {name!r} is missing (needed beside {key!r})"
        case "anyOf" | "oneOf":
            yield f"{where}: {_alternatives(error)}"
        case _:
            yield f"{where}: {_expected(str(error.validator), wanted, found)}"


def _expected(keyword: str, wanted: Any, found: Any) -> str:
    match keyword:
        case "type":
            names = [wanted] if isinstance(wanted, str) else list(wanted)
            return f"expected {' or '.join(names)}, got {_kind(found)}"
        case "enum":
            return f"expected one of {_list(wanted)}"
        case "const":
            return f"expected {_short(wanted)}"
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            sign = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}[keyword]
            return f"expected a number {sign} {wanted}"
        case "multipleOf":
            return f"expected a multiple of {wanted}"
        case "minLength" | "maxLength":
            return f"expected {_bound(keyword)} {wanted} characters, got {len(found)}"
        case "minItems" | "maxItems":
            return f"expected {_bound(keyword)} {wanted} items, got {len(found)}"
        case "minProperties" | "maxProperties":
            return f"expected {_bound(keyword)} {wanted} entries, got {len(found)}"
        case "pattern":
            return f"expected text that matches {_short(wanted)}"
        case "format":
            return f"expected text in the format {wanted}"
        case "uniqueItems":
            return "expected items that differ from each other"
        case "contains":
            return "expected an item of another form among these"
        case "unevaluatedProperties":
            return "expected no other entries than the schema knows"
        case "None":
            return "nothing is allowed here"
        case "propertyNames":
            return "expected other names of entries"
        case _:
            return f"does not fulfil {keyword!r} of the schema"


def _alternatives(error: Any) -> str:
    """What would have done, when all alternatives of anyOf or oneOf are simple; else how many there were."""
    if not error.context:
        return "fits several alternatives of which exactly one must fit"
    types = [str(branch.get("type", "")) if isinstance(branch, dict) else "" for branch in error.validator_value]
    if all(types) and _kind(error.instance) not in types:
        return f"expected {' or '.join(dict.fromkeys(types))}, got {_kind(error.instance)}"
    closest = max(error.context, key=lambda each: (len(each.absolute_path), each.validator != "type"))
    reason = next(iter(_findings(closest)), "")
    return f"fits none of {len(error.validator_value)} alternatives; the closest one fails at {reason}"


def _bound(keyword: str) -> str:
    return "at least" if keyword.startswith("min") else "at most"


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return type(value).__name__


def _list(values: Iterable[Any]) -> str:
    shown = list(values)
    return ", ".join(_short(value) for value in shown[:10]) + (
        f" and {len(shown) - 10} more" if len(shown) > 10 else ""
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
