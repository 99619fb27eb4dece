"""What is wrong with a value by a JSON Schema, in words that a model and a person can act on.

The library's own texts show the whole value, which may be long or secret; these name the place and the expectation.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Any

_SHOWN = 60
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def json_path(parts: Iterable[str | int]) -> str:
    """Place in a JSON value, as `$.filters[0].name`; long keys are cut."""
    path = "$"
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if _PLAIN_KEY.match(part) and len(part) <= _SHOWN else f"[{_short(part)}]"
    return path


def findings_of(error: Any) -> Iterable[str]:
    """The findings in one error of the library; it counts all missing properties apart, this lists them once."""
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
        case None:  # the schema False; the library does not tell for which entry
            yield f"{where}: holds an entry that the schema forbids"
        case _ if "propertyNames" in error.absolute_schema_path:
            yield f"{where}: the name of an entry: {_expected(error.validator, wanted, found)}"
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
    reason = next(iter(findings_of(closest)), "")
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
