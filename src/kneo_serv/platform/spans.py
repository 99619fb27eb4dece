"""The spans of one leg: a view of its events, opened and closed as these become durable.

leg > step > agent or nested workflow > model turns, tool calls, and steps again. Nothing of a run depends on them:
when this view fails, it says so once and goes blind, and the leg goes on.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, assert_never

from kneo_serv.engine import Effect, find, posture
from kneo_serv.engine.frames import CALLS_FLOW, call_key, frame_holding, holds_calls
from kneo_serv.engine.keys import ROOT_KEY, frame_of
from kneo_serv.model import event as ev
from kneo_serv.model.clock import Clock
from kneo_serv.model.ids import Owner, StepKey
from kneo_serv.model.plan import Plan
from kneo_serv.model.run import CallState, Run, RunStatus
from kneo_serv.observe import Attributes, Place, Telemetry
from kneo_serv.observe import conventions as names
from kneo_serv.platform.span_content import Content
from kneo_serv.platform.span_facts import (
    StepFacts,
    chat_attributes,
    chat_name,
    guardrail_attributes,
    leg_name,
    run_attributes,
    step_begun,
    step_found,
    tool_attributes,
    usage_attributes,
)
from kneo_serv.platform.span_tree import (
    INTERRUPTED,
    WAITING,
    Branch,
    SpanTree,
    of_call,
    of_effect,
    of_guardrail,
    of_invocation,
    of_turn,
)

log = logging.getLogger("kneo_serv.platform")

_REST, _ENDED = "rest", "ended"
"""Words of DriveEnd: what was open then ended with the last event, and not with the leg."""


class SpanBook:
    """The spans of one leg. `run` is as it was before the leg, `place` is in the trace of the run."""

    def __init__(
        self,
        telemetry: Telemetry,
        plan: Plan,
        run: Run,
        place: Place,
        *,
        linked: Mapping[str, str],
        worker: Owner,
        fence: int,
        lease_seconds: float,
        clock: Clock,
    ) -> None:
        self._telemetry = telemetry
        self._tree = SpanTree(telemetry, {names.RUN_ID: run.id})
        self._content = Content(telemetry.options)
        self._plan = plan
        self._run = run
        self._place = place
        self._linked = linked
        self._worker = worker
        self._fence = fence
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._leg: Branch | None = None
        self._how: str | None = None
        self._blind = False

    def hear(self, recorded: ev.Recorded, run: Run) -> None:
        """Opens and closes what the event begins and ends; `run` is the run after it."""
        self._safely(lambda: self._take(recorded.event, recorded.at, run))
        self._run = run

    def active(self, effect: Effect) -> AbstractContextManager[None]:
        """The span of the effect as the current one, for tasks that are made inside."""
        branch = self._tree.get(of_effect(effect)) or self._leg
        return contextlib.nullcontext() if branch is None else self._telemetry.active(branch.span)

    def ends(self, how: str) -> None:
        """Says how the leg came to its end."""
        self._how = how

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._safely(lambda: self._close(kind))

    def _safely(self, look: Callable[[], None]) -> None:
        if self._blind:
            return
        try:
            look()
        except Exception:
            # Whoever looks on must not hurt the run.
            log.exception("the spans of run %s cannot be followed any further", self._run.id)
            self._blind = True

    def _take(self, event: ev.Event, at: float, run: Run) -> None:
        leg = self._leg
        if leg is None or isinstance(event, ev.LegStarted):
            if isinstance(event, ev.LegStarted) and event.fence == self._fence:
                self._begin(event, at, run)
            return
        match event:
            case ev.StepStarted():
                self._open_step(step_begun(event, run), at, run, resumed=False)
            case ev.ModelTurnStarted():
                self._ask(event, at, run)
            case ev.ModelTurnCompleted():
                self._answered(event, at)
            case ev.ToolCallStarted():
                self._call(event, at, run)
            case ev.ToolCallCompleted() | ev.ToolCallFailed() | ev.ToolPolicyDenied():
                self._called(event, at)
            case ev.GuardrailStarted():
                above, name = self._work(event.key, at, run), of_guardrail(event.key, event.call_id)
                title = f"{names.GUARDRAIL_SPAN} {event.guardrail_id}"
                self._tree.open(name, title, at, above, guardrail_attributes(event))
            case ev.GuardrailApplied():
                self._checked(event, at, run)
            case ev.HumanAsked():
                self._wait(event, at, run)
            case ev.HumanAnswered():
                answer: Attributes = {
                    names.CONTINUATION_ID: event.continuation_id,
                    names.HUMAN_DECISION: event.decision.value,
                    names.HUMAN_AUTOMATIC: event.automatic,
                }
                self._step(event.key, at, run).span.tell(names.HUMAN_ANSWERED_EVENT, at, answer)
            case ev.HumanReminded() | ev.HumanEscalated() | ev.HumanExpired():
                told = {names.STEP_ID: event.step_id, names.CONTINUATION_ID: event.continuation_id}
                leg.span.tell(_PEOPLE[type(event)], at, told)
            case ev.EdgeTaken():
                edge: Attributes = {names.EDGE_SOURCE: event.source, names.EDGE_TARGET: event.target}
                self._frame(event.key, at, run).span.tell(names.EDGE_EVENT, at, edge)
            case ev.StepCompleted():
                self._completed(event, at, run)
            case ev.StepFailed():
                self._failed(event, at, run)
            case ev.LateOutcome():
                late = {names.STEP_ID: event.step_id, names.OUTCOME: event.outcome, names.ERROR_TYPE: event.error_type}
                leg.span.tell(names.LATE_OUTCOME_EVENT, at, late)
            case ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled() | ev.RunTimedOut() | ev.RunExpired():
                for branch in list(leg.below.values()):
                    self._tree.close(branch, at, mark=INTERRUPTED)
                if isinstance(event, ev.RunCompleted):
                    leg.span.set(self._content.run_output(event.output_text))
            case ev.StepReturned() | ev.RunCreated() | ev.RunContinued() | ev.RunForked():
                pass  # nothing begins or ends with it in a leg
            case _:
                assert_never(event)

    def _begin(self, event: ev.LegStarted, at: float, run: Run) -> None:
        title, named = leg_name(self._plan, run.target)
        first = run.legs == 1
        self._leg = self._tree.root(
            title,
            at,
            self._place,
            {
                **named,
                **run_attributes(self._plan, run.id, run.target, run.session_id),
                names.LEG_NUMBER: run.legs,
                names.LEG_REASON: event.reason.value,
                names.FENCE: event.fence,
                names.WORKER_ID: self._worker,
                names.LEASE_SECONDS: self._lease_seconds,
                **(self._content.run_input(run) if first else {}),
            },
            self._linked,
        )

    def _close(self, fault: type[BaseException] | None) -> None:
        leg = self._leg
        if leg is None:
            return
        run, how = self._run, self._how
        at = run.at if how in (_REST, _ENDED) else max(run.at, self._clock.now())
        leg.span.set({names.RUN_STATUS: posture(run).status.value, names.LEG_END: how or "torn"})
        if fault is not None and issubclass(fault, Exception):
            leg.fail(fault.__name__, None)
        elif run.status in _BAD_ENDS:
            leg.fail(run.error_type or run.status.value, self._content.error(run.error_message or ""))
        self._tree.close(leg, at, left=WAITING if how == _REST else INTERRUPTED)
        self._leg = None

    def _open_step(self, facts: StepFacts, at: float, run: Run, *, resumed: bool) -> Branch:
        above = self._above(facts.key, at, run)
        state = find(run.frame, facts.key)
        given = self._content.given(state.input_text) if state is not None and not resumed else {}
        told: Attributes = {**facts.attributes(), **given, names.STEP_RESUMED: resumed or None}
        step = self._tree.open(facts.key, f"{names.STEP_SPAN} {facts.step_id}", at, above, told)
        if (invoked := facts.invocation(self._plan)) is not None:
            title, named = invoked
            self._tree.open(of_invocation(facts.key), title, at, step, named)
        return step

    def _step(self, key: StepKey, at: float, run: Run) -> Branch:
        """The open span of a step; one that waited goes on in a new one. Without a trace of the step, the leg's."""
        if (step := self._tree.get(key)) is not None:
            return step
        before = step_found(self._plan, self._run, key)
        facts = step_found(self._plan, run, key) or before
        if facts is not None:
            return self._open_step(facts, at, run, resumed=before is not None)
        assert self._leg is not None  # noqa: S101 - nothing is followed outside a leg
        return self._leg

    def _work(self, key: StepKey, at: float, run: Run) -> Branch:
        """What the calls of a step are below: the invocation of its agent, or the step itself."""
        step = self._step(key, at, run)
        return self._tree.get(of_invocation(key)) or step

    def _above(self, key: StepKey, at: float, run: Run) -> Branch:
        """What a step is below: its frame, or the tool call that an agent answers in it."""
        frame = frame_of(key)
        owner = find(run.frame, _owner_of(frame)) if frame != ROOT_KEY else None
        if owner is None or not holds_calls(owner):
            return self._frame(frame, at, run)
        call = next((call for call in owner.calls if call_key(owner, call) == key), None)
        if call is None:
            return self._work(owner.key, at, run)
        return self._tree.get(of_call(owner.key, call.call.id)) or self._open_call(owner.key, call, at, run)

    def _frame(self, key: StepKey, at: float, run: Run) -> Branch:
        """What the steps of a frame are below: the leg, or what the step has invoked that opened the frame."""
        if key == ROOT_KEY:
            assert self._leg is not None  # noqa: S101 - nothing is followed outside a leg
            return self._leg
        return self._work(_owner_of(key), at, run)

    def _ask(self, event: ev.ModelTurnStarted, at: float, run: Run) -> None:
        above = self._work(event.key, at, run)
        facts = step_found(self._plan, run, event.key)
        if facts is None or facts.agent is None:
            return
        agent = self._plan.agents[facts.agent]
        asked = self._content.asked(self._plan, agent, find(run.frame, event.key))
        told = {**chat_attributes(agent, event.turn), **asked, names.STEP_ID: event.step_id}
        self._tree.open(of_turn(event.key), chat_name(agent), at, above, told, kind="CLIENT")

    def _answered(self, event: ev.ModelTurnCompleted, at: float) -> None:
        if (turn := self._tree.get(of_turn(event.key))) is not None:
            told: dict[str, str | int | None] = {
                names.RESPONSE_MODEL: event.model_name,
                names.TOOL_CALL_COUNT: len(event.tool_calls) or None,
            }
            told[names.MISFIT] = event.misfit is not None or None
            turn.span.set({**told, **usage_attributes(event.usage), **self._content.answered(event)})
            self._tree.close(turn, at)
        if (work := self._tree.get(of_invocation(event.key))) is not None:
            work.usage += event.usage
            work.span.set(usage_attributes(work.usage))

    def _call(self, event: ev.ToolCallStarted, at: float, run: Run) -> None:
        self._step(event.key, at, run)
        state = find(run.frame, event.key)
        call = next((call for call in state.calls if call.call.id == event.call_id), None) if state else None
        if call is not None:
            self._open_call(event.key, call, at, run)

    def _open_call(self, key: StepKey, call: CallState, at: float, run: Run) -> Branch:
        # A runtime with a loop of its own calls within its turn.
        turn = self._tree.get(of_turn(key)) if call.inner else None
        above = turn or self._work(key, at, run)
        facts = step_found(self._plan, run, key)
        # A tool that the agent does not have is named by nobody but the model.
        tools = self._plan.agents[facts.agent].tools if facts is not None and facts.agent is not None else ()
        known = call.call.name in tools
        title = f"{names.EXECUTE_TOOL} {call.call.name}" if known else names.EXECUTE_TOOL
        told = {**tool_attributes(call.call, call.number, known=known), **self._content.called(call.call)}
        return self._tree.open(of_call(key, call.call.id), title, at, above, told)

    def _called(self, event: ev.ToolCallCompleted | ev.ToolCallFailed | ev.ToolPolicyDenied, at: float) -> None:
        call = self._tree.get(of_call(event.key, event.call_id))
        if call is None:
            return
        match event:
            case ev.ToolCallCompleted():
                call.span.set(self._content.tool_result(event.output))
            case ev.ToolCallFailed():
                call.fail(event.error_type, self._content.error(event.message))
                call.span.set({names.UNCERTAIN: event.uncertain or None})
            case ev.ToolPolicyDenied():
                call.fail(event.KIND, self._content.error(event.reason))
        self._tree.close(call, at)

    def _checked(self, event: ev.GuardrailApplied, at: float, run: Run) -> None:
        facts = guardrail_attributes(event)
        self._step(event.key, at, run).span.tell(names.GUARDRAIL_EVENT, at, facts)
        if (check := self._tree.get(of_guardrail(event.key, event.call_id))) is not None:
            check.span.set({**facts, **usage_attributes(event.usage)})
            self._tree.close(check, at)

    def _wait(self, event: ev.HumanAsked, at: float, run: Run) -> None:
        step = self._step(event.key, at, run)
        asked: dict[str, str | None] = {
            names.CONTINUATION_ID: event.continuation_id,
            names.HUMAN_TYPE: event.request.type.value,
        }
        asked[names.HUMAN_ABOUT] = None if event.about is None else event.about.value
        step.span.tell(names.HUMAN_ASKED_EVENT, at, asked)
        work = self._tree.get(of_invocation(event.key)) or step
        # A person may take days: spans tell of what is at work, not of what waits.
        if step is not self._leg and not any(
            below is not work for below in (*step.below.values(), *work.below.values())
        ):
            self._tree.close(step, at, mark=WAITING, left=WAITING)

    def _completed(self, event: ev.StepCompleted, at: float, run: Run) -> None:
        before = find(self._run.frame, event.key)
        step = self._step(event.key, at, run)
        if step is not self._leg:
            decided = before.task.decision if before is not None and before.task is not None else None
            step.span.set(
                {
                    names.STEP_STATUS: "completed",
                    names.HUMAN_DECISION: None if decided is None else decided.value,
                    **self._content.returned(event.output_text),
                }
            )
            self._end_step(step, at)
        self._prune(event.key, at, run)

    def _failed(self, event: ev.StepFailed, at: float, run: Run) -> None:
        step = self._step(event.key, at, run)
        if step is not self._leg:
            message = self._content.error(event.message)
            parts = [of_turn(event.key), of_invocation(event.key)]
            for branch in (step, *(self._tree.get(name) for name in parts)):
                if branch is not None:
                    branch.fail(event.error_type, message)
            step.span.set({names.STEP_STATUS: "failed", names.STEP_RESOLUTION: event.resolution.value})
            self._end_step(step, at)
        self._prune(event.key, at, run)

    def _end_step(self, step: Branch, at: float) -> None:
        if (work := self._tree.get(of_invocation(step.name))) is not None:
            self._tree.close(work, at)
        self._tree.close(step, at)

    def _prune(self, key: StepKey, at: float, run: Run) -> None:
        """Closes the spans of branches that nobody waits for any more."""
        frame = run.frame and frame_holding(run.frame, key)
        if frame is None or frame.live or frame.flow == CALLS_FLOW:
            return
        for branch in list(self._frame(frame_of(key), at, run).below.values()):
            self._tree.close(branch, at, mark=INTERRUPTED)


_BAD_ENDS = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.EXPIRED)
"""A cancelled run is no error: somebody wanted it."""
_PEOPLE = {
    ev.HumanReminded: names.HUMAN_REMINDED_EVENT,
    ev.HumanEscalated: names.HUMAN_ESCALATED_EVENT,
    ev.HumanExpired: names.HUMAN_EXPIRED_EVENT,
}


def _owner_of(frame_key: StepKey) -> StepKey:
    """Key of the step that has opened a frame, whichever attempt it was."""
    front, slash, segment = frame_key.rpartition("/")
    return StepKey(front + slash + segment.partition("@")[0])
