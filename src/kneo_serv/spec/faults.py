"""Faults of shape, in our own words: each with its place, what stands there, and what would do."""

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAliasType, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from kneo_serv.spec.finding import Finding, error
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import STEP_KINDS, UNION_MODELS, WORKFLOW_TYPES
from kneo_serv.spec.path import Path, did_you_mean, look_up, nearest

MAX_FAULTS = 100
"""Faults of shape that are told one by one."""
_MAX_TYPOS = 50

_WANTED = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "mapping": "a mapping",
}


def faults(errors: list[ErrorDetails], data: Mapping[str, Any]) -> Iterator[Finding]:
    """One finding for each fault that the models found in `data`; of very many, the first ones and their number."""
    for item in errors[:MAX_FAULTS]:
        yield _fault(item, data)
    if len(errors) > MAX_FAULTS:
        more = len(errors) - MAX_FAULTS
        yield error("E_SCHEMA", (), f"There are {more} more faults of shape.", "Mend these first.")


def fault_path(item: ErrorDetails, data: Mapping[str, Any]) -> Path:
    """The place of a fault in the data: the models' place without the marks of unions."""
    path: list[str | int] = []
    current: Any = data
    for part in item["loc"]:
        known = look_up(current, (part,))
        if part in UNION_MODELS and known is None:
            continue
        current = known
        path.append(part)
    return tuple(path)


def describe(value: Any) -> str:
    """What a value is, without showing it."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "a mapping"


def _fault(item: ErrorDetails, data: Mapping[str, Any]) -> Finding:
    path = fault_path(item, data)
    kind = item["type"]
    last = str(path[-1]) if path else "spec"
    value = look_up(data, path)
    hint: str | None
    match kind:
        case "missing":
            holder = look_up(data, path[:-1])
            known = set(_keys(item["loc"][:-1]))
            unknown = [key for key in holder if key not in known] if isinstance(holder, Mapping) else []
            typo = nearest(last, unknown[:_MAX_TYPOS])
            hint = f"Is `{typo}` meant to be `{last}`?" if typo else f"Add the key `{last}`."
            return error("E_SCHEMA", path, f"`{last}` is required and missing.", hint)
        case "extra_forbidden":
            keys = _keys(item["loc"][:-1])
            return error("E_SCHEMA", path, f"The key `{last}` is not known here.", did_you_mean(last, keys), key=True)
        case "literal_error":
            choices = [str(choice) for choice in _choices(_annotation(item["loc"]))]
            if item["loc"][-2:] == ("<step>", "kind"):
                choices = list(STEP_KINDS)
            return error("E_SCHEMA", path, *_choice(last, value, choices))
        case "union_tag_invalid":
            found = value.get("type") if isinstance(value, Mapping) else None
            return error("E_SCHEMA", (*path, "type"), *_choice("type", found, list(WORKFLOW_TYPES)))
        case "union_tag_not_found":
            if not isinstance(value, Mapping):
                return error("E_SCHEMA", path, f"A workflow is a mapping; this is {describe(value)}.")
            if "type" in value:
                return error("E_SCHEMA", (*path, "type"), *_choice("type", value["type"], list(WORKFLOW_TYPES)))
            hint = f"Add `type`, one of {_listed(WORKFLOW_TYPES)}."
            return error("E_SCHEMA", (*path, "type"), "`type` is required and missing.", hint)
        case "greater_than":
            return error("E_SCHEMA", path, f"`{last}` must be more than 0.")
        case "greater_than_equal":
            return error("E_SCHEMA", path, f"`{last}` must be at least {item.get('ctx', {}).get('ge', 0)}.")
        case "int_from_float":
            return error("E_SCHEMA", path, f"`{last}` must be a whole number, found a number with a fraction.")
        case _:
            return _wrong_type(path, item, value)


def _wrong_type(path: Path, item: ErrorDetails, value: Any) -> Finding:
    kind = item["type"]
    last = str(path[-1]) if path else "spec"
    if kind.startswith("kneo_"):
        return error("E_SCHEMA", path, f"`{last}`: {item['msg']}.")
    wanted = _WANTED.get(kind.split("_")[0], "something else")
    hint = None
    if wanted == "a text" and isinstance(value, (bool, int, float)):
        hint = f'Put it in quotes: "{str(value).lower()}".'
    return error("E_SCHEMA", path, f"`{last}` must be {wanted}, found {describe(value)}.", hint)


def _choice(name: str, value: Any, choices: list[str]) -> tuple[str, str]:
    listed = f"Use one of {_listed(choices)}." if len(choices) > 1 else f"Use `{choices[0]}`."
    if not isinstance(value, str):
        return f"`{name}` must be one of {_listed(choices)}, found {describe(value)}.", listed
    shown = value if len(value) <= 60 else value[:57] + "..."
    hint = did_you_mean(value, choices, otherwise=listed) or listed
    return f"`{shown}` is not known as `{name}`; one of {_listed(choices)} was expected.", hint


def _listed(words: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _keys(loc: tuple[int | str, ...]) -> list[str]:
    model = _annotation(loc)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [field.alias or name for name, field in model.model_fields.items()]
    return []


def _choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ("?",)


def _annotation(loc: tuple[int | str, ...]) -> Any:
    """The type that the models expect at this place."""
    current: Any = KneoSpec
    for part in loc:
        if part in UNION_MODELS:
            current = UNION_MODELS[str(part)]
            continue
        current = _plain(current)
        if isinstance(current, type) and issubclass(current, BaseModel):
            by_key = {field.alias or name: field for name, field in current.model_fields.items()}
            field = by_key.get(str(part))
            if field is None:
                return None
            current = field.annotation
        else:
            arguments = get_args(current)
            current = arguments[-1] if arguments else None
    return _plain(current)


def _plain(annotation: Any) -> Any:
    while True:
        if isinstance(annotation, TypeAliasType):
            annotation = annotation.__value__
        elif get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            members = [member for member in get_args(annotation) if member is not type(None)]
            if len(members) != 1:
                return annotation
            annotation = members[0]
        else:
            return annotation
