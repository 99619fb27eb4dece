"""People's answers, and what happens when they do not come: each question is consumed exactly once."""

from collections.abc import Sequence

from kneo_serv.engine import arguments_of, find, refusal
from kneo_serv.engine.answers import ALLOWED
from kneo_serv.errors import (
    DecisionNotAllowedError,
    HumanTaskExpiredError,
    LockAcquisitionError,
    NotFoundError,
    RequestIdMismatchError,
)
from kneo_serv.model import event as ev
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import ContinuationId, RunId
from kneo_serv.model.plan import OnTimeout
from kneo_serv.model.run import Phase
from kneo_serv.model.task import Decision, HumanResponse, HumanTask, TaskStatus
from kneo_serv.platform.draft import Draft
from kneo_serv.platform.outside import Outside, OutsideRefused
from kneo_serv.platform.reminders import next_reminder
from kneo_serv.store.contract import Store

_PLACEHOLDER = "[REDACTED"
_ARGUMENTS = "arguments_digest"
"""Among the metadata of a question about a tool call."""


class Humans:
    """Takes answers, and ends the waiting for those that never come."""

    def __init__(self, store: Store, outside: Outside) -> None:
        self._store = store
        self._outside = outside

    async def answer(
        self,
        continuation_id: ContinuationId,
        response: HumanResponse,
        *,
        actor: str | None = None,
        key: IdempotencyKey | None = None,
    ) -> RunId:
        """Journals the answer, and binds the key to it; the run may go on then.

        Raises:
            NotFoundError: no open task has this id (any more, also where it was answered with this very key).
            LockAcquisitionError: the task was answered just now, and its run is still at work on it.
            RequestIdMismatchError: the answer names another question.
            HumanTaskExpiredError: the task's deadline has passed.
            DecisionNotAllowedError: the task does not take this decision, option or content.
        """
        task = await self._open_task(continuation_id)
        decision = check_answer(task, response)
        if await self._is_overdue(task):
            raise HumanTaskExpiredError(continuation_id=continuation_id, expires_at=task.expires_at)
        answered = ev.HumanAnswered(
            task.key,
            task.step_id,
            continuation_id,
            task.request.id,
            decision,
            response.content,
            response.selected_option,
            actor,
            metadata=response.metadata,
        )
        await self._append(task, [answered], key)
        return task.run_id

    async def expire(self, continuation_id: ContinuationId, *, now: float | None = None) -> RunId | None:
        """Does what the task says for a deadline that passed before `now`; None when somebody was faster."""
        task = await self._store.get_task(continuation_id)
        if task is None or task.status is not TaskStatus.OPEN or task.escalated_at is not None:
            return None
        request = task.request
        expired = ev.HumanExpired(
            task.key,
            task.step_id,
            continuation_id,
            request.on_timeout,
            request.timeout_seconds,
            task.expires_at,
            request.assignee,
        )
        match request.on_timeout:
            case OnTimeout.FAIL:
                message = (
                    f"Nobody answered the human task of step {task.step_id!r} within its timeout of "
                    f"{request.timeout_seconds or 0:g} seconds."
                )
                events: list[ev.Event] = [expired, ev.RunExpired(continuation_id, message)]
            case OnTimeout.CONTINUE:
                option = request.default_option
                events = [
                    expired,
                    ev.HumanAnswered(
                        task.key,
                        task.step_id,
                        continuation_id,
                        request.id,
                        Decision.APPROVED if option is None else Decision.SELECTED,
                        selected_option=option,
                        automatic=True,
                        metadata={
                            "auto_continued": True,
                            "reason": "timeout",
                            "original_assignee": request.assignee,
                        },
                    ),
                ]
            case OnTimeout.ESCALATE:
                moment = await self._store.now() if now is None else now
                events = [
                    expired,
                    ev.HumanEscalated(task.key, task.step_id, continuation_id, moment, task.expires_at),
                ]
        try:
            await self._append(task, events)
        except (NotFoundError, LockAcquisitionError):
            return None
        return task.run_id

    async def remind(self, continuation_id: ContinuationId, due_at: float) -> RunId | None:
        """Journals the reminder that was due at this moment; None when somebody was faster, or answered."""
        task = await self._store.get_task(continuation_id)
        if task is None or task.status is not TaskStatus.OPEN:
            return None
        now = await self._store.now()
        request = task.request

        def make(draft: Draft) -> Sequence[ev.Event]:
            state = find(draft.run.frame, task.key)
            waiting = state.task if state is not None else None
            if waiting is None or waiting.continuation_id != continuation_id or waiting.decision is not None:
                return ()
            if waiting.reminded_for is not None and waiting.reminded_for >= due_at:
                return ()
            number = waiting.reminders + 1
            following = next_reminder(
                request, asked_at=task.created_at, expires_at=task.expires_at, after=max(now, due_at), given=number
            )
            return (
                ev.HumanReminded(task.key, task.step_id, continuation_id, number, due_at, following, request.assignee),
            )

        try:
            return task.run_id if await self._outside.append(task.run_id, make) is not None else None
        except OutsideRefused:
            return None

    async def _append(self, task: HumanTask, events: Sequence[ev.Event], key: IdempotencyKey | None = None) -> None:
        def make(draft: Draft) -> Sequence[ev.Event]:
            state = find(draft.run.frame, task.key)
            waits = state is not None and state.task is not None
            if not waits or state is None or state.task is None or state.task.continuation_id != task.continuation_id:
                return ()
            return () if state.task.decision is not None else events

        try:
            appended = await self._outside.append(task.run_id, make, key=key)
        except OutsideRefused:
            appended = None
        if appended is None:
            raise await self._gone(task)

    async def _open_task(self, continuation_id: ContinuationId) -> HumanTask:
        task = await self._store.get_task(continuation_id)
        if task is None:
            raise NotFoundError("human task", continuation_id)
        if task.status is not TaskStatus.OPEN:
            raise await self._gone(task)
        return task

    async def _gone(self, task: HumanTask) -> NotFoundError | LockAcquisitionError | HumanTaskExpiredError:
        """Why the task takes no answer any more: its deadline has passed, its answer is worked on, or that is over."""
        if task.status is TaskStatus.EXPIRED:
            return HumanTaskExpiredError(continuation_id=task.continuation_id, expires_at=task.expires_at)
        record = await self._store.get_run(task.run_id)
        at_work = record is not None and record.phase in (Phase.RUNNABLE, Phase.LEASED, Phase.WAITING_TIMER)
        if at_work:
            return LockAcquisitionError(f"continuation:{task.continuation_id}")
        return NotFoundError("human task", task.continuation_id)

    async def _is_overdue(self, task: HumanTask) -> bool:
        if task.expires_at is None or task.escalated_at is not None:
            return False
        if task.request.on_timeout is OnTimeout.ESCALATE:
            return False
        return await self._store.now() > task.expires_at


def check_answer(task: HumanTask, response: HumanResponse) -> Decision:
    """The decision of an answer that fits its question. Raises RequestIdMismatchError, DecisionNotAllowedError."""
    if response.request_id != task.request.id:
        raise RequestIdMismatchError(continuation_id=task.continuation_id, request_id=response.request_id)
    allowed = ALLOWED[task.request.type]
    try:
        decision = Decision(response.decision)
    except ValueError:
        names = ", ".join(allowed)
        raise DecisionNotAllowedError(
            f"{response.decision!r} is no decision; this task takes {names}.",
            continuation_id=task.continuation_id,
            allowed=allowed,
        ) from None
    why = refusal(
        task.request.type,
        task.request.options,
        decision,
        content=response.content,
        selected_option=response.selected_option,
    )
    content = response.content or ""
    is_call = _ARGUMENTS in task.request.metadata
    if why is None and is_call and decision is Decision.EDITED and arguments_of(content) is None:
        why = "The content must be the new arguments of the tool call, as a JSON object."
    if why is None and _PLACEHOLDER in content and _PLACEHOLDER not in task.input_text:
        why = (
            "The content holds a placeholder of a redacted text, which would replace the real one. "
            "Read the task itself (kneo human get) and edit the text that it shows."
        )
    if why is not None:
        raise DecisionNotAllowedError(why, continuation_id=task.continuation_id, allowed=allowed)
    return decision
