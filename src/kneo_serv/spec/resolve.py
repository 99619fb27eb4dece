"""From layers to one document: overlays, overrides, migration, defaults, short forms, stamps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from kneo_serv.errors import InvalidRequestError
from kneo_serv.spec.merge import fill, merge
from kneo_serv.spec.migrations import SpecMigrationError, migrate_spec, version_problem
from kneo_serv.spec.node import Document, SourceMap
from kneo_serv.spec.normalise import normalise
from kneo_serv.spec.reader import read_data, read_file

type Source = str | FilePath | Mapping[str, Any]
"""A spec as it is handed in: the path of a file, or a plain mapping."""


_WHOLE = ("model", "runtime_preferences")


@dataclass(frozen=True, slots=True)
class Layer:
    """One document of several. `document` is None when it came as a plain mapping."""

    data: dict[str, Any]
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """The merged document in its long form, and where its parts were written."""

    data: dict[str, Any]
    source: SourceMap


def read_layer(source: Source) -> Layer:
    """The layer in a file or a mapping.

    Raises:
        FileNotFoundError: there is no such file.
        SpecParseError: it cannot be read.
    """
    if isinstance(source, Mapping):
        return Layer(read_data(source))
    document = read_file(source)
    return Layer(document.data(), document)


def resolve(
    layers: Sequence[Layer],
    *,
    overrides: Mapping[str, Any] | None = None,
    environment: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    skills_overlay: Mapping[str, Any] | None = None,
) -> Resolved:
    """The layers and overrides as one document of the present version, short forms written out.

    `defaults` fill what is not written; model and runtime of the root agent as a whole or not at all.

    Raises:
        SpecMigrationError: the version is not known.
        InvalidRequestError: the skills overlay names a skill that the spec does not declare.
    """
    data: dict[str, Any] = layers[0].data
    for layer in layers[1:]:
        data = merge(data, layer.data)
    if overrides:
        data = merge(data, read_data(overrides, source="overrides"))
    written = [layer.document for layer in layers if layer.document is not None]
    problem = version_problem(data)
    if problem is not None:
        place = SourceMap(written).locate(("version",))
        raise SpecMigrationError(problem, source=place.source, line=place.line, column=place.column)
    migrated = migrate_spec(data)
    data = normalise(migrated.spec, environment=environment)
    if defaults:
        data = normalise(_fill(data, defaults))
    if skills_overlay:
        data = _skills(data, skills_overlay)
    return Resolved(data, SourceMap(written, migrated.moved))


def _fill(spec: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    filled = fill(spec, {key: value for key, value in defaults.items() if key != "agent"})
    agent = spec.get("agent")
    agent_defaults = defaults.get("agent")
    if isinstance(agent, Mapping) and isinstance(agent_defaults, Mapping) and agent.get("as_agent") is None:
        written = {key: value for key, value in agent.items() if value is not None}
        # Half a model from the spec and half from the project would be neither.
        gaps = {key: value for key, value in agent_defaults.items() if key not in _WHOLE or key not in written}
        filled["agent"] = fill(written, gaps)
    return filled


def _skills(data: dict[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    agent = data.get("agent")
    if not isinstance(agent, Mapping):
        return data
    add = _names(overlay, "add")
    disable = _names(overlay, "disable")
    declared = data.get("skills") or {}
    for name in add:
        if name not in declared:
            raise InvalidRequestError(f"The skills overlay adds `{name}`, which the spec does not declare.")
    present = agent.get("skills")
    names = list(present) if isinstance(present, list) else []
    names += [name for name in add if name not in names]
    return {**data, "agent": {**agent, "skills": [name for name in names if name not in disable]}}


def _names(overlay: Mapping[str, Any], key: str) -> list[str]:
    value = overlay.get(key) or []
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise InvalidRequestError(f"`{key}` of the skills overlay must be a list of names.")
    return list(value)
