"""What events imply for the tables of human tasks and timers."""

from collections.abc import Sequence

from kneo_serv.engine import Posture, find
from kneo_serv.engine.frames import flow_of, frame_holding
from kneo_serv.model import event as ev
from kneo_serv.model.plan import Plan
from kneo_serv.model.run import Phase, Run
from kneo_serv.model.task import HumanTask, TaskStatus
from kneo_serv.observe import redact_text
from kneo_serv.store.contract import TaskClosing, TaskEscalation, Timer, TimerKind


def tasks_opened(plan: Plan, events: Sequence[ev.Recorded], runs: Sequence[Run]) -> tuple[HumanTask, ...]:
    """Task rows for the questions among these events; `runs` are the run after each event."""
    opened = []
    for recorded, run in zip(events, runs, strict=True):
        event = recorded.event
        if not isinstance(event, ev.HumanAsked):
            continue
        state = find(run.frame, event.key)
        frame = run.frame and frame_holding(run.frame, event.key)
        flow = flow_of(plan, frame) if frame is not None else None
        text = state.input_text if state is not None else ""
        clean = redact_text(text)
        opened.append(
            HumanTask(
                continuation_id=event.continuation_id,
                run_id=run.id,
                key=event.key,
                step_id=event.step_id,
                step_index=event.index,
                workflow_name=flow.name if flow is not None else None,
                workflow_kind=flow.type if flow is not None else None,
                request=event.request,
                input_text=text,
                public_input_text=None if clean == text else clean,
                created_at=recorded.at,
                expires_at=event.expires_at,
            )
        )
    return tuple(opened)


def tasks_closed(events: Sequence[ev.Recorded]) -> tuple[TaskClosing, ...]:
    """Closings for the answers among these events. A deadline that fails the run closes its task with the run."""
    return tuple(
        TaskClosing(
            event.continuation_id,
            TaskStatus.EXPIRED if event.automatic else TaskStatus.ANSWERED,
            recorded.at,
            event.decision,
            event.actor,
        )
        if isinstance(event, ev.HumanAnswered)
        else TaskClosing(event.continuation_id, TaskStatus.EXPIRED, recorded.at)
        for recorded in events
        if isinstance(event := recorded.event, ev.HumanAnswered | ev.RunExpired)
    )


def tasks_escalated(events: Sequence[ev.Recorded]) -> tuple[TaskEscalation, ...]:
    """Marks for the escalations among these events."""
    return tuple(
        TaskEscalation(event.continuation_id, event.escalated_at)
        for recorded in events
        if isinstance(event := recorded.event, ev.HumanEscalated)
    )


def timers_of(
    events: Sequence[ev.Recorded], run: Run, stand: Posture
) -> tuple[tuple[Timer, ...], tuple[tuple[TimerKind, str], ...]]:
    """Timers to set and timers to clear after these events."""
    timers: list[Timer] = []
    cleared: list[tuple[TimerKind, str]] = []
    for recorded in events:
        match recorded.event:
            case ev.HumanAsked(continuation_id=continuation, expires_at=due) if due is not None:
                timers.append(Timer(run.id, TimerKind.HUMAN_DEADLINE, continuation, due))
            case ev.HumanAnswered(continuation_id=continuation) | ev.HumanEscalated(continuation_id=continuation):
                cleared.append((TimerKind.HUMAN_DEADLINE, continuation))
            case _:
                continue
    if stand.phase is Phase.WAITING_TIMER and stand.retry_at is not None:
        timers.append(Timer(run.id, TimerKind.RETRY, "", stand.retry_at))
    return tuple(timers), tuple(cleared)
