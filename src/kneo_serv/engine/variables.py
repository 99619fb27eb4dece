"""Values that a workflow carries beside its text: where they begin, how they are written, and how inputs show them.

Branches that work side by side see the values from before they began. What they write is kept apart under their place
in declared order until their workflow ends, so that it never matters who was faster.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from kneo_serv.engine.frames import flow_of, is_inline, side_by_side, step_named, step_of
from kneo_serv.model.plan import Flow, Plan, Step, VariableType
from kneo_serv.model.quick import replace
from kneo_serv.model.run import Frame, StepState
from kneo_serv.model.task import Decision

VARIABLE_TYPE = "variable_type"
"""Error type of a step whose output does not fit the variable that takes it."""

_APART = "@"
"""Begins the names under which branches keep what they wrote; no variable's name can."""

_PLACE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_WHOLE = re.compile(r"[+-]?[0-9]+")
_HINTS: Mapping[VariableType, str] = {
    VariableType.STRING: "any text fits",
    VariableType.INTEGER: "only a whole number fits, such as 42",
    VariableType.NUMBER: "only a number fits, such as 0.5",
    VariableType.BOOLEAN: "only true or false fits",
    VariableType.JSON: "only a JSON value fits, without a word around it",
}


def defaults(flow: Flow) -> dict[str, Any]:
    """What the variables of a workflow hold when it begins."""
    return {name: variable.default for name, variable in flow.variables.items()}


def shown(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """The variables as templates and expressions see them."""
    if not any(name.startswith(_APART) for name in variables):
        return variables
    return {name: value for name, value in variables.items() if not name.startswith(_APART)}


def text_of(value: Any) -> str:
    """A string as it is, any other value as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def render(template: str, *, text: str, given: str, variables: Mapping[str, Any]) -> str:
    """The template with its places filled in. What is not there, inside a variable, is shown as null."""

    def fill(place: re.Match[str]) -> str:
        match place[1].strip():
            case "text":
                return text
            case "input":
                return given
            case path:
                return text_of(_inside(variables, path.removeprefix("variables.").split(".")))

    return _PLACE.sub(fill, template)


def parse(wanted: VariableType, text: str) -> Any:
    """The value that a text means for a variable of this type. Raises ValueError when it means none."""
    plain = text.strip()
    match wanted:
        case VariableType.STRING:
            return text
        case VariableType.INTEGER:
            return _whole(plain)
        case VariableType.NUMBER:
            return _whole(plain) if _WHOLE.fullmatch(plain) else _finite(plain)
        case VariableType.BOOLEAN:
            if plain.lower() not in ("true", "false"):
                raise ValueError("neither true nor false")
            return plain.lower() == "true"
        case VariableType.JSON:
            try:
                return json.loads(plain, parse_constant=_refuse)
            except RecursionError:
                raise ValueError("it nests too deep") from None


def misfit(flow: Flow, state: StepState, text: str) -> str | None:
    """Why a step's output cannot be kept in its variable; None when it can, or is not to be. Never tells the text."""
    name = _target(flow, state)
    if name is None:
        return None
    wanted = flow.variables[name].type
    try:
        parse(wanted, text)
    except ValueError:
        return (
            f"The output of step {state.step_id!r} does not fit the variable {name!r} of type {wanted}: "
            f"{_HINTS[wanted]}."
        )
    return None


def kept(plan: Plan, frame: Frame, state: StepState, text: str) -> Frame:
    """The frame with the step's output in its variable, and with what a step of kind parallel or map wrote."""
    flow = flow_of(plan, frame)
    frame = taken_over(plan, frame, state)
    name = _target(flow, state)
    if name is None:
        return frame
    return _write(flow, frame, state, {name: parse(flow.variables[name].type, text)})


def taken_over(plan: Plan, frame: Frame, state: StepState) -> Frame:
    """The frame with what was written by the branches inside one of its steps, where these share its variables."""
    flow = flow_of(plan, frame)
    if state.frame is None or not is_inline(frame, step_of(flow, state)):
        return frame
    written: dict[str, Any] = {}
    for place in sorted(
        (name for name in state.frame.variables if name.startswith(_APART)), key=lambda name: int(name[1:])
    ):
        written.update(state.frame.variables[place])
    return _write(flow, frame, state, written) if written else frame


def _write(flow: Flow, frame: Frame, state: StepState, values: Mapping[str, Any]) -> Frame:
    if not side_by_side(flow):
        return replace(frame, variables={**frame.variables, **values})
    place = f"{_APART}{state.index}"
    return replace(frame, variables={**frame.variables, place: {**frame.variables.get(place, {}), **values}})


def _target(flow: Flow, state: StepState) -> str | None:
    """The variable that takes the step's output. A rejection is no output; a stand-in writes for whom it stands in."""
    if state.task is not None and state.task.decision is Decision.REJECTED:
        return None
    return _visited(flow, state).output


def _visited(flow: Flow, state: StepState) -> Step:
    return step_named(flow, state.step_id)


def _inside(values: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(values, Mapping):
            values = values.get(part)
        elif isinstance(values, list | tuple) and part.isdecimal():
            values = values[int(part)] if int(part) < len(values) else None
        else:
            return None
    return values


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError("no whole number")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("no finite number")
    return number


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
