"""The spans of one leg that have not ended, by what they are about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from kneo_serv.engine import CallFunction, CallTool, CheckGuardrail, Effect, RunAgentTurn
from kneo_serv.model.message import Usage
from kneo_serv.observe import Attributes, Place, Span, Telemetry
from kneo_serv.observe import conventions as names

INTERRUPTED: Attributes = {names.INTERRUPTED: True}
"""It was given up, or nobody knows what became of it."""
WAITING: Attributes = {names.WAITING: True}
"""It goes on when a person has answered, or a time has come."""


@dataclass(slots=True, eq=False)
class Branch:
    """A span that has not ended, and those below it by their names."""

    name: str
    span: Span
    above: "Branch | None" = None
    below: "dict[str, Branch]" = field(default_factory=dict)
    usage: Usage = Usage()
    """Of what an agent has asked so far."""
    failed: bool = False

    def fail(self, error_type: str, message: str | None) -> None:
        """Marks it as gone wrong."""
        self.failed = True
        self.span.fail(error_type, message)


class SpanTree:
    """Spans by name: the key of a step, and for what is done in it the key with a word behind it."""

    def __init__(self, telemetry: Telemetry, common: Attributes) -> None:
        """Keeps nothing yet; `common` stands on every span."""
        self._telemetry = telemetry
        self._common = common
        self._open: dict[str, Branch] = {}

    def get(self, name: str) -> Branch | None:
        """The open span of this name."""
        return self._open.get(name)

    def root(self, title: str, at: float, place: Place, attributes: Attributes, linked: Mapping[str, str]) -> Branch:
        """Opens the span that all others are below; `linked` is the trace context of a span in another trace."""
        told = {**self._common, **attributes}
        span = self._telemetry.start(title, at=at, inside=place, attributes=told, linked=linked)
        return self._keep(Branch("", span))

    def open(
        self, name: str, title: str, at: float, above: Branch, attributes: Attributes, *, kind: str = "INTERNAL"
    ) -> Branch:
        """Opens a span below another one. One of the same name that is still open was given up."""
        if (stale := self._open.get(name)) is not None:
            self.close(stale, at, mark=INTERRUPTED)
        told = {**self._common, **attributes}
        span = self._telemetry.start(title, at=at, inside=above.span.inside, attributes=told, kind=kind)
        branch = above.below[name] = self._keep(Branch(name, span, above))
        return branch

    def close(
        self, branch: Branch, at: float, *, mark: Attributes | None = None, left: Attributes = INTERRUPTED
    ) -> None:
        """Ends a span with `mark` on it, and what is open below with `left`, unless it has failed."""
        for below in list(branch.below.values()):
            self.close(below, at, mark=left, left=left)
        if mark is not None and not branch.failed:
            branch.span.set(mark)
        branch.span.end(at)
        self._open.pop(branch.name, None)
        if branch.above is not None:
            branch.above.below.pop(branch.name, None)

    def _keep(self, branch: Branch) -> Branch:
        self._open[branch.name] = branch
        return branch


def of_effect(effect: Effect) -> str:
    """Name of the span of what is being done."""
    match effect:
        case CallFunction():
            return effect.key
        case RunAgentTurn():
            return of_turn(effect.key)
        case CallTool():
            return of_call(effect.key, effect.call.id)
        case CheckGuardrail():
            return of_guardrail(effect.key, effect.call_id)
        case _:
            assert_never(effect)


def of_invocation(key: str) -> str:
    """Name of the span of the agent or workflow that a step invokes."""
    return f"{key}|invocation"


def of_turn(key: str) -> str:
    """Name of the span of the question to a model that a step is at."""
    return f"{key}|turn"


def of_call(key: str, call_id: str) -> str:
    """Name of the span of a tool call of a step."""
    return f"{key}|call|{call_id}"


def of_guardrail(key: str, call_id: str | None) -> str:
    """Name of the span of the check that a text of a step is at."""
    return f"{key}|guardrail|{call_id or ''}"
