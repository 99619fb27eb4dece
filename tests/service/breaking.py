"""What a client of an older OpenAPI document would trip over in a newer one."""

from collections.abc import Iterator
from typing import Any

from kneo_serv.service.openapi import operations

type Schema = dict[str, Any]

_DEEPEST = 12


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """One sentence for each; what is only added does not break anybody."""
    return list(_operations(old, new))


def _operations(old: Schema, new: Schema) -> Iterator[str]:
    there = {(path, verb): operation for path, verb, operation in operations(new)}
    for path, verb, before in operations(old):
        place = f"{verb.upper()} {path}"
        after = there.get((path, verb))
        if after is None:
            yield f"{place} is gone"
            continue
        if before.get("operationId") != after.get("operationId"):
            yield f"{place} has another operationId"
        if after.get("x-required-scope") != before.get("x-required-scope"):
            yield f"{place} needs another scope"
        yield from _parameters(place, before, after, old, new)
        yield from _request(place, before, after, old, new)
        yield from _responses(place, before, after, old, new)


def _parameters(place: str, before: Schema, after: Schema, old: Schema, new: Schema) -> Iterator[str]:
    was = {(one["in"], one["name"]): one for one in before.get("parameters", ())}
    now = {(one["in"], one["name"]): one for one in after.get("parameters", ())}
    for key, one in was.items():
        if key not in now:
            yield f"{place}: parameter {key[1]} is gone"
        else:
            yield from _sent(f"{place}: parameter {key[1]}", one["schema"], now[key]["schema"], old, new)
    for key, one in now.items():
        if one.get("required") and not was.get(key, {}).get("required"):
            yield f"{place}: parameter {key[1]} is required now"


def _request(place: str, before: Schema, after: Schema, old: Schema, new: Schema) -> Iterator[str]:
    was, now = _json(before.get("requestBody", {})), _json(after.get("requestBody", {}))
    if was is None:
        if now is not None and after["requestBody"].get("required"):
            yield f"{place}: a body is required now"
    elif now is None:
        yield f"{place}: the body is gone"
    else:
        yield from _sent(f"{place}: body", was, now, old, new)


def _responses(place: str, before: Schema, after: Schema, old: Schema, new: Schema) -> Iterator[str]:
    for status, answer in before["responses"].items():
        if status not in after["responses"]:
            yield f"{place}: answer {status} is gone"
            continue
        was, now = _json(answer), _json(after["responses"][status])
        if was is not None and now is None:
            yield f"{place}: answer {status} has no body any more"
        elif was is not None and now is not None:
            yield from _given(f"{place}: answer {status}", was, now, old, new)


def _sent(place: str, was: Schema, now: Schema, old: Schema, new: Schema, depth: int = 0) -> Iterator[str]:
    """What a client sends has to be taken still."""
    was, now = _resolved(was, old), _resolved(now, new)
    if depth > _DEEPEST:
        return
    if types := _types(was, old) - _types(now, new):
        yield f"{place} takes no {', '.join(sorted(types))} any more"
    if "enum" in now and (lost := set(was.get("enum", ())) - set(now["enum"])):
        yield f"{place} takes {', '.join(map(str, sorted(lost)))} no more"
    fields = now.get("properties", {})
    for name, field in was.get("properties", {}).items():
        if name not in fields:
            yield f"{place}: field {name} is gone"
        else:
            yield from _sent(f"{place}.{name}", field, fields[name], old, new, depth + 1)
    for name in set(now.get("required", ())) - set(was.get("required", ())):
        yield f"{place}: field {name} is required now"


def _given(place: str, was: Schema, now: Schema, old: Schema, new: Schema, depth: int = 0) -> Iterator[str]:
    """What a client reads has to be there still."""
    was, now = _resolved(was, old), _resolved(now, new)
    if depth > _DEEPEST:
        return
    if (types := _types(now, new) - _types(was, old)) and _types(was, old):
        yield f"{place} may be {', '.join(sorted(types))} now"
    fields = now.get("properties", {})
    for name, field in was.get("properties", {}).items():
        if name not in fields:
            yield f"{place}: field {name} is gone"
        else:
            yield from _given(f"{place}.{name}", field, fields[name], old, new, depth + 1)
    for name in set(was.get("required", ())) - set(now.get("required", ())):
        if name in fields:
            yield f"{place}: field {name} may be missing now"
    if "items" in was and "items" in now:
        yield from _given(f"{place}[]", was["items"], now["items"], old, new, depth + 1)


def _json(part: Schema) -> Schema | None:
    schema: Schema | None = part.get("content", {}).get("application/json", {}).get("schema")
    return schema


def _resolved(schema: Schema, document: Schema) -> Schema:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _types(schema: Schema, document: Schema) -> set[str]:
    schema = _resolved(schema, document)
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return set().union(*(_types(option, document) for option in options))
    kind = schema.get("type")
    return set() if kind is None else {kind} if isinstance(kind, str) else set(kind)
