"""A run as it was after each of its checkpoints, and what a fork from there would do once more."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kneo_serv.engine import JournalFault, evolve
from kneo_serv.engine.forks import broken_steps, live_steps
from kneo_serv.errors import InvalidRequestError, NotFoundError
from kneo_serv.model import event as ev
from kneo_serv.model.codec import decode
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.model.plan import Plan, StepKind
from kneo_serv.model.run import CallPhase, Run, RunRecord, RunStatus, StepPhase
from kneo_serv.model.tool import Effect
from kneo_serv.platform.journal import private, readable
from kneo_serv.platform.views.wire import checkpoint_type
from kneo_serv.store.contract import EventRow, Store

UNDECLARED = "undeclared"
"""The effect of a function or tool that declares none."""


@dataclass(frozen=True, slots=True)
class RepeatedEffect:
    """Something that a run began, and that a fork of it may do once more. `kind` is `function` or `tool`."""

    step_id: str
    kind: str
    ref: str
    """Name of the function or of the tool."""
    effect: str
    """`keyed`, `once`, or `undeclared`."""

    def to_dict(self) -> dict[str, str]:
        """JSON object with all fields."""
        return {"step_id": self.step_id, "kind": self.kind, "ref": self.ref, "effect": self.effect}


@dataclass(frozen=True, slots=True)
class ForkPreview:
    """What a fork at a checkpoint would keep, and what it may do once more."""

    run_id: RunId
    at_sequence: int
    kept_steps: tuple[str, ...]
    """Ids of the finished steps, those of nested workflows included, in the order in which they finished."""
    repeated_side_effects: tuple[RepeatedEffect, ...]
    """What the run began and the fork does not keep, but for that which is declared idempotent."""

    def to_dict(self) -> dict[str, Any]:
        """JSON object with all fields."""
        return {
            "run_id": self.run_id,
            "at_sequence": self.at_sequence,
            "kept_steps": list(self.kept_steps),
            "repeated_side_effects": [effect.to_dict() for effect in self.repeated_side_effects],
        }


@dataclass(frozen=True, slots=True)
class Past:
    """The whole history of a run, and the run after each of its checkpoints."""

    record: RunRecord
    plan: Plan
    rows: Sequence[EventRow]
    events: Sequence[ev.Recorded]
    points: Sequence[Run]
    """That of the checkpoint with sequence n stands at place n - 1."""
    end: Run

    @classmethod
    async def of(cls, store: Store, run_id: RunId) -> "Past":
        """The past of this run, as far as it goes now.

        Raises:
            NotFoundError: there is no such run.
            InvalidRequestError: its history was removed by retention.
            JournalUnreadableError: its history cannot be read or folded.
        """
        record = await store.get_run(run_id)
        if record is None:
            raise NotFoundError("run", run_id)
        rows = await store.events(run_id)
        text = await store.get_plan(record.plan_hash)
        if text is None or not rows or rows[0].seq != 1:
            raise InvalidRequestError(f"The history of run {run_id} was removed; start a new run instead of a fork.")
        with readable(run_id):
            plan = decode(Plan, json.loads(text))
            events = [private(row) for row in rows]
            run, points = Run(run_id), []
            for recorded in events:
                run = evolve(plan, run, recorded)
                if checkpoint_type(recorded.event, in_graph=False) is not None:
                    points.append(run)
            if not points:
                raise JournalFault("it has no checkpoint")
        return cls(record, plan, rows, events, points, run)

    def sequence(self, wanted: int | None) -> int:
        """The checkpoint to go on from: the wanted one, or the last that can be gone on from.

        Raises:
            InvalidRequestError: there is no such checkpoint, or it is an end.
        """
        if wanted is None:
            return self.last_before(len(self.rows) + 1)
        if not 1 <= wanted <= len(self.points):
            raise InvalidRequestError(
                f"Run {self.record.id} has no checkpoint {wanted}; it has 1 to {len(self.points)}."
            )
        run = self.points[wanted - 1]
        if run.status.is_terminal:
            raise InvalidRequestError(
                f"Nothing goes on from checkpoint {wanted} of run {self.record.id}, where it is {run.status.value}; "
                f"the last one before it that can be gone on from is {self.last_before(run.seq)}."
            )
        return wanted

    def last_before(self, seq: int) -> int:
        """The last checkpoint before an event that can be gone on from; the first one always can."""
        return max(n for n, run in enumerate(self.points, 1) if run.seq < seq and not run.status.is_terminal)

    def before_failure(self) -> int:
        """The last checkpoint before that which ended the run badly."""
        broken = {state.key for state in broken_steps(self.end.frame)} if self.end.status is RunStatus.FAILED else ()
        steps: dict[StepKey, int] = {}
        end = len(self.rows)
        for recorded in self.events:
            match recorded.event:
                case ev.StepFailed(key=key) | ev.HumanAnswered(key=key) if key in broken:
                    steps[key] = recorded.seq
                case ev.RunFailed() | ev.RunCancelled() | ev.RunTimedOut() | ev.RunExpired():
                    end = recorded.seq
                case _:
                    continue
        return self.last_before(min(steps.values(), default=end))

    def preview(self, sequence: int) -> ForkPreview:
        """What a fork at this checkpoint would keep, and what it may repeat."""
        point = self.points[sequence - 1]
        kept = (recorded.event for recorded in self.events[: point.seq])
        return ForkPreview(
            self.record.id,
            sequence,
            tuple(event.step_id for event in kept if isinstance(event, ev.StepCompleted)),
            tuple(effect for effect in self._repeated(point) if effect.effect != Effect.IDEMPOTENT),
        )

    def _repeated(self, point: Run) -> Iterator[RepeatedEffect]:
        """What was begun and is not finished at this point: before it and open still, or after it."""
        functions = {
            state.key
            for state in live_steps(point.frame)
            if state.kind is StepKind.FUNCTION and state.phase is not StepPhase.SETTLED
        }
        calls = {
            (state.key, call.number)
            for state in live_steps(point.frame)
            for call in state.calls
            if call.phase in (CallPhase.READY, CallPhase.RUNNING)
        }
        told: set[tuple[StepKey, int]] = set()
        for recorded in self.events:
            later = recorded.seq > point.seq
            match recorded.event:
                case ev.StepStarted(key=key, step_kind=StepKind.FUNCTION) as started:
                    if (later or key in functions) and (key, 0) not in told:
                        told.add((key, 0))
                        function = self.plan.functions.get(started.ref)
                        effect = _name(function.effect if function is not None else None)
                        yield RepeatedEffect(started.step_id, "function", started.ref, effect)
                case ev.ToolCallStarted(key=key, number=number) as call:
                    if (later or (key, number) in calls) and (key, number) not in told:
                        told.add((key, number))
                        tool = self.plan.tools.get(call.tool_name)
                        effect = _name(tool.definition.effect if tool is not None else None)
                        yield RepeatedEffect(call.step_id, "tool", call.tool_name, effect)
                case _:
                    continue


def _name(effect: Effect | None) -> str:
    return UNDECLARED if effect is None else effect.value
