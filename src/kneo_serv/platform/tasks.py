"""What events imply for the tables of human tasks and timers."""

from collections.abc import Sequence

from kneo_serv.engine import Posture, find, under_review, withdrawn
from kneo_serv.engine.frames import flow_of, frame_holding
from kneo_serv.model import event as ev
from kneo_serv.model.plan import Plan
from kneo_serv.model.run import Phase, Run
from kneo_serv.model.task import HumanTask, TaskStatus
from kneo_serv.observe import redact_text
from kneo_serv.platform.reminders import next_reminder
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
        text = under_review(state) if state is not None else ""
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


def tasks_closed(events: Sequence[ev.Recorded], runs: Sequence[Run]) -> tuple[TaskClosing, ...]:
    """Closings for the answers among these events, and for questions that nobody needs answered any more.

    `runs` are the run before each event. A deadline that fails the run closes its task with the run.
    """
    closed: list[TaskClosing] = []
    for recorded, run in zip(events, runs, strict=True):
        match recorded.event:
            case ev.HumanAnswered() as answer:
                status = TaskStatus.EXPIRED if answer.automatic else TaskStatus.ANSWERED
                closed.append(TaskClosing(answer.continuation_id, status, recorded.at, answer.decision, answer.actor))
            case ev.RunExpired(continuation_id=expired):
                closed.append(TaskClosing(expired, TaskStatus.EXPIRED, recorded.at))
            case ev.StepCompleted() | ev.StepFailed() as end:
                closed.extend(
                    TaskClosing(state.task.continuation_id, TaskStatus.CANCELLED, recorded.at)
                    for state in withdrawn(run, end)
                    if state.task is not None
                )
            case _:
                continue
    return tuple(closed)


def tasks_escalated(events: Sequence[ev.Recorded]) -> tuple[TaskEscalation, ...]:
    """Marks for the escalations among these events."""
    return tuple(
        TaskEscalation(event.continuation_id, event.escalated_at)
        for recorded in events
        if isinstance(event := recorded.event, ev.HumanEscalated)
    )


def timers_of(
    events: Sequence[ev.Recorded], closed: Sequence[TaskClosing], run: Run, *, before: Posture, after: Posture
) -> tuple[tuple[Timer, ...], tuple[tuple[TimerKind, str], ...]]:
    """Timers to set and timers to clear when these events take the run from one posture to another."""
    timers: list[Timer] = []
    waiting = (TimerKind.HUMAN_DEADLINE, TimerKind.REMINDER)
    cleared: list[tuple[TimerKind, str]] = [(kind, task.continuation_id) for task in closed for kind in waiting]
    for recorded in events:
        match recorded.event:
            case ev.HumanAsked(continuation_id=continuation, request=request, expires_at=due):
                if due is not None:
                    timers.append(Timer(run.id, TimerKind.HUMAN_DEADLINE, continuation, due))
                reminder = next_reminder(request, asked_at=recorded.at, expires_at=due, after=recorded.at)
                if reminder is not None:
                    timers.append(Timer(run.id, TimerKind.REMINDER, continuation, reminder))
            case ev.HumanReminded(continuation_id=continuation, next_due_at=due):
                if due is not None:
                    timers.append(Timer(run.id, TimerKind.REMINDER, continuation, due))
                else:
                    cleared.append((TimerKind.REMINDER, continuation))
            case ev.HumanEscalated(continuation_id=continuation):
                cleared.append((TimerKind.HUMAN_DEADLINE, continuation))
            case ev.RunContinued() if run.deadline_at is not None:
                timers.append(Timer(run.id, TimerKind.RUN_DEADLINE, "", run.deadline_at))
            case _:
                continue
    if after.phase is Phase.WAITING_TIMER and after.retry_at is not None:
        timers.append(Timer(run.id, TimerKind.RETRY, "", after.retry_at))
    elif before.phase is Phase.WAITING_TIMER:
        cleared.append((TimerKind.RETRY, ""))
    return tuple(timers), tuple(cleared)
