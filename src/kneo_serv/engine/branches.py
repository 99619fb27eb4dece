"""Branches that work side by side: the items of a list, and what becomes of the texts of all."""

import json
from collections.abc import Mapping
from typing import Any

from kneo_serv.engine.expressions import ExpressionError, listed
from kneo_serv.engine.variables import shown, text_of
from kneo_serv.model.plan import Aggregation, Flow, FlowType
from kneo_serv.model.run import Frame, StepPhase, StepState

MAX_ITEMS = 10_000
"""Items of one list."""


class TooManyItemsError(ValueError):
    """A list is longer than a workflow takes."""


def items_of(flow: Flow, text: str, *, given: str, variables: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of the list that a map goes through.

    Raises:
        ExpressionError: the expression of the list makes none.
        TooManyItemsError: there are more than MAX_ITEMS.
    """
    if flow.over is None:
        items = _read(text)
    else:
        names = {
            "text": text,
            "input": given,
            "variables": shown(variables),
            "metadata": {},
            "status": "completed",
            "decision": None,
        }
        items = listed(flow.over, names)
    if len(items) > MAX_ITEMS:
        raise TooManyItemsError(f"The list has {len(items)} items; a step of kind map takes at most {MAX_ITEMS}.")
    try:
        return tuple(text_of(item) for item in items)
    except (TypeError, ValueError):
        raise ExpressionError(flow.over or "", "an item of its list is no JSON value") from None


def at_work(state: StepState) -> bool:
    """Whether a branch holds a place among those that are at work at once; one that waits for people does not."""
    if state.phase in (StepPhase.ASKED, StepPhase.FAILED):
        return False
    if state.phase is StepPhase.NESTED and state.frame is not None and state.frame.live:
        return any(at_work(inner) for inner in state.frame.live.values())
    return True


def aggregated(flow: Flow, frame: Frame) -> str:
    """One text of the texts of all branches that had something to say, in declared order."""
    if flow.type is FlowType.MAP:
        places = [str(index) for index in range(len(frame.items or ()))]
        nothing = ""
    else:
        places = [step.id for step in flow.steps]
        nothing = frame.text
    spoken = {place: frame.outputs[place] for place in places if place in frame.outputs}
    texts = list(spoken.values())
    match flow.aggregation:
        case Aggregation.LAST:
            return texts[-1] if texts else nothing
        case Aggregation.CONCAT:
            return "\n\n".join(texts) if texts else nothing
        case Aggregation.JSON | Aggregation.STEP:
            return _json(texts if flow.type is FlowType.MAP else spoken)


def _read(text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, list) else [line.strip() for line in text.splitlines() if line.strip()]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
