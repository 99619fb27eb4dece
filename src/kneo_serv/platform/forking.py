"""Forking: a new run that begins with a copy of another one's history, up to one of its checkpoints.

The copied events are the parent's rows, byte for byte; `run_forked` follows them, and from there on the new run goes
its own way: what was in flight begins again, and open questions are asked anew. The parent is only read.

Idempotency keys begin with the run's id, so a fork's calls never have the keys of its parent's: a service that knows
the parent's keys does not recognise a repetition. That is why repetitions need consent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from kneo_serv.engine import begin, decide, open_tasks, posture
from kneo_serv.engine.commands import AskHuman
from kneo_serv.engine.forks import input_place
from kneo_serv.errors import (
    InvalidRequestError,
    KneoError,
    NotFoundError,
    RequestIdMismatchError,
    RunStateConflictError,
)
from kneo_serv.model import event as ev
from kneo_serv.model.codec import CodecError, decode
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import Owner, PlanHash, RunId
from kneo_serv.model.plan import AgentPlan, ModelPlan, Plan
from kneo_serv.model.quick import replace
from kneo_serv.model.run import Phase, Run, RunRecord, RunStatus, StepState
from kneo_serv.model.task import Decision, HumanResponse
from kneo_serv.platform.auditing import audit_event, audit_of
from kneo_serv.platform.chance import RandomIds
from kneo_serv.platform.draft import Draft
from kneo_serv.platform.humans import check_answer
from kneo_serv.platform.journal import Journal, event_row, private, public_text
from kneo_serv.platform.needs import needs_of
from kneo_serv.platform.past import ForkPreview, Past
from kneo_serv.platform.tasks import tasks_opened
from kneo_serv.platform.workers import Workers
from kneo_serv.spec.build.plans import plan_hash
from kneo_serv.store.contract import Claim, EventRow, NewRun, Store, Timer, TimerKind

type AgentProblem = Callable[[AgentPlan], str | None]
"""Why an agent cannot run here; None when it can."""

_RETRIED = (RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT, RunStatus.EXPIRED)
_OF_PROVIDER: Mapping[str, Any] = {"base_url": None, "api_key_ref": None, "extra": {}}
"""What a model keeps only while its provider stays."""


class ForkConsentRequiredError(KneoError, RuntimeError):
    """The fork may do things once more that its parent did already, and nobody agreed to that; nothing was stored."""

    code = "fork_consent_required"

    def __init__(self, preview: ForkPreview) -> None:
        effects = preview.repeated_side_effects
        names = ", ".join(dict.fromkeys(f"{item.kind} {item.ref} ({item.effect})" for item in effects))
        super().__init__(
            f"A fork of run {preview.run_id} at checkpoint {preview.at_sequence} may repeat side effects: {names}. "
            "Accept them (accept_side_effects), or fork at a later checkpoint."
        )
        self.run_id = preview.run_id
        self.at_sequence = preview.at_sequence
        self.repeated_side_effects = [item.to_dict() for item in effects]


@dataclass(frozen=True, slots=True)
class Forked:
    """A fork that was made."""

    run_id: RunId
    """Of the new run."""
    at_sequence: int | None
    """The checkpoint of its parent with which it begins; None where retention has removed what says so."""
    seq: int
    """Number of the last event that the fork itself wrote; what is done in the new run comes behind it."""


@dataclass(frozen=True, slots=True)
class ForkRequest:
    """What is to be other than in the parent; None leaves it. `model` holds fields of a ModelPlan, for all agents."""

    input_text: str | None = None
    answer: HumanResponse | None = None
    model: Mapping[str, Any] | None = None
    accept_side_effects: bool = False
    actor: str | None = None

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of what is changed."""
        given = {"input": self.input_text, "answer": self.answer, "model": self.model}
        return tuple(name for name, value in given.items() if value is not None)


class Forks:
    """Makes forks, for this process to execute or for any worker."""

    def __init__(
        self,
        *,
        store: Store,
        journal: Journal,
        workers: Workers,
        owner: Owner,
        ids: RandomIds,
        lease_seconds: float,
    ) -> None:
        self._store = store
        self._journal = journal
        self._workers = workers
        self._owner = owner
        self._ids = ids
        self._lease_seconds = lease_seconds

    async def preview(self, run_id: RunId, at_sequence: int | None = None) -> ForkPreview:
        """What a fork would keep, and what it may repeat.

        Raises:
            NotFoundError: there is no such run.
            InvalidRequestError: there is no such checkpoint, or it is an end.
        """
        past = await Past.of(self._store, run_id)
        return past.preview(past.sequence(at_sequence))

    async def retry_point(self, run_id: RunId) -> int:
        """The last checkpoint before that which ended the run badly.

        Raises:
            NotFoundError: there is no such run.
            RunStateConflictError: it has not ended, or it is completed.
        """
        past = await Past.of(self._store, run_id)
        if past.end.status not in _RETRIED:
            raise RunStateConflictError(run_id=run_id, status=posture(past.end).status.value, operation="retry")
        return past.before_failure()

    async def fork(
        self,
        run_id: RunId,
        request: ForkRequest,
        *,
        at_sequence: int | None = None,
        hold: bool = False,
        problem: AgentProblem | None = None,
        key: IdempotencyKey | None = None,
    ) -> Forked:
        """Makes the new run: durable when it returns. With `hold` it is leased to this process and executed at once.

        `problem` is asked about every agent whose model changes; `key` is bound to the new run with the same write.

        Raises:
            NotFoundError: there is no such run.
            InvalidRequestError: no such checkpoint, or what is to be changed does not fit it.
            RequestIdMismatchError, DecisionNotAllowedError: the answer does not fit the question.
            ForkConsentRequiredError: side effects may be repeated.
            KeyTaken: the key stands for something already.
        """
        past = await Past.of(self._store, run_id)
        sequence = past.sequence(at_sequence)
        parent = past.points[sequence - 1]
        plan = past.plan if request.model is None else _with_model(past.plan, request.model, problem)
        now = await self._store.now()
        draft = Draft(plan, replace(parent, id=self._ids.run(now)), now)
        draft.add(_forked(past, sequence, request, plan, now))
        if request.answer is not None:
            self._answer(draft, parent, request.answer, request.actor)
        preview = past.preview(sequence)
        if preview.repeated_side_effects and not request.accept_side_effects:
            raise ForkConsentRequiredError(preview)
        rows = (*past.rows[: parent.seq], *(event_row(recorded) for recorded in draft.events))
        await self._store.create(self._new_run(past.record, draft, rows, request.actor, held=hold, key=key))
        child = draft.run.id
        if hold:
            self._workers.execute(Claim(child, 1))
        return Forked(child, sequence, draft.run.seq)

    async def made_with(self, key: IdempotencyKey, run_id: RunId) -> Forked:
        """The fork that the key stands for, as it was made. Raises NotFoundError where retention has removed it."""
        bound = await self._store.get_key(key.scope, key.principal, key.key)
        record = await self._store.get_run(run_id)
        if bound is None or record is None:
            raise NotFoundError("run", run_id)
        found = [row for row in await self._store.events(run_id) if row.kind == ev.RunForked.KIND]
        forked = private(found[-1]).event if found else None
        return Forked(run_id, forked.at_sequence if isinstance(forked, ev.RunForked) else None, bound.from_seq)

    def _new_run(
        self,
        record: RunRecord,
        draft: Draft,
        rows: tuple[EventRow, ...],
        actor: str | None,
        *,
        held: bool,
        key: IdempotencyKey | None,
    ) -> NewRun:
        run, at, event = draft.run, draft.run.at, draft.events[0].event
        assert isinstance(event, ev.RunForked)  # noqa: S101 - a draft of a fork begins with this event
        stand = posture(run)
        child = RunRecord(
            id=run.id,
            status=stand.status,
            phase=Phase.RUNNABLE,
            seq=run.seq,
            plan_hash=event.plan_hash,
            target=record.target,
            input_text=run.input_text,
            public_input_text=public_text(run.input_text),
            created_at=draft.at,
            updated_at=at,
            agent_name=record.agent_name,
            workflow_name=record.workflow_name,
            workflow_kind=record.workflow_kind,
            current_step_id=stand.step_id,
            current_step_index=stand.step_index,
            session_id=record.session_id,
            parent_run_id=record.id,
            tags=record.tags,
            environment=record.environment,
            deadline_at=run.deadline_at,
            metadata=record.metadata,
            lease_owner=self._owner if held else None,
            tenant=record.tenant,
            queue=record.queue,
            priority=record.priority,
            needs=needs_of(draft.plan, record.target),
        )
        deadline = run.deadline_at
        timers = () if deadline is None else (Timer(run.id, TimerKind.RUN_DEADLINE, "", deadline),)
        facts = {"parent_run_id": record.id, "at_sequence": event.at_sequence, "changed": list(event.changed)}
        created = {
            "async_mode": not held,
            "target": record.target,
            "environment": record.environment,
            "session_id": record.session_id,
            "timeout_seconds": run.timeout_seconds,
            "parent_run_id": record.id,
        }
        audit = (
            audit_event(self._ids, "run.created", draft.at, run.id, None, actor, created),
            audit_event(self._ids, "run.forked", draft.at, run.id, None, actor, facts),
            *audit_of(draft, stand, self._ids),
        )
        plan = self._journal.plan_text(draft.plan)
        return NewRun(child, plan, rows, timers, audit, self._lease_seconds, key=key)

    def _answer(self, draft: Draft, parent: Run, answer: HumanResponse, actor: str | None) -> None:
        """Asks the question of the new run that the answer is for, and answers it, before anybody else can."""
        asked = _asked(parent, answer)
        for command in decide(draft.plan, draft.run, draft.at):
            if isinstance(command, AskHuman) and command.key == asked.key:
                for event in begin(draft.plan, draft.run, command, now=draft.at, ids=self._ids):
                    draft.add(event)
                (task,) = tasks_opened(draft.plan, draft.events, draft.runs)
                check_answer(task, replace(answer, request_id=task.request.id))
                draft.add(
                    ev.HumanAnswered(
                        asked.key,
                        asked.step_id,
                        task.continuation_id,
                        task.request.id,
                        Decision(answer.decision),
                        answer.content,
                        answer.selected_option,
                        actor,
                        metadata=answer.metadata,
                    )
                )
                return
        raise InvalidRequestError(f"From here a fork asks nobody at step {asked.step_id!r}: leave the answer out.")


def _forked(past: Past, sequence: int, request: ForkRequest, plan: Plan, now: float) -> ev.RunForked:
    parent = past.points[sequence - 1]
    place = None
    if request.input_text is not None and parent.frame is not None:
        place = input_place(past.plan, parent.frame)
        if place is None:
            raise InvalidRequestError(
                f"At checkpoint {sequence} of run {past.record.id} the text of several branches flows, so that it is "
                "not clear which one the new input replaces; fork before the branches began, or after they joined."
            )
    timeout = parent.timeout_seconds
    return ev.RunForked(
        parent_run_id=past.record.id,
        parent_seq=parent.seq,
        at_sequence=sequence,
        plan_hash=PlanHash(plan.hash),
        changed=request.changed,
        input_text=request.input_text,
        input_key=place,
        deadline_at=None if timeout is None else now + timeout,
        actor=request.actor,
    )


def _asked(parent: Run, answer: HumanResponse) -> StepState:
    """The step whose open question in the parent the answer names; the only one, where it names none."""
    waiting = open_tasks(parent)
    if not waiting:
        raise InvalidRequestError(
            "Nobody is asked at this checkpoint, so that there is nothing to answer; fork at one of type human_pause."
        )
    for state in waiting:
        if state.task is not None and answer.request_id in (state.task.request_id, "" if len(waiting) == 1 else None):
            return state
    task = waiting[0].task
    raise RequestIdMismatchError(
        continuation_id=task.continuation_id if task is not None else "", request_id=answer.request_id
    )


def _with_model(plan: Plan, change: Mapping[str, Any], problem: AgentProblem | None) -> Plan:
    """The plan with another model for all its agents; what the change leaves out stays as each agent has it."""
    known = {field.name for field in fields(ModelPlan)}
    unknown = sorted(set(change) - known)
    if unknown:
        raise InvalidRequestError(f"A model has no {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    missing = [name for name in ("provider", "name") if not change.get(name)]
    if missing:
        raise InvalidRequestError(f"The new model needs a {' and a '.join(missing)}.")
    try:
        stated = decode(ModelPlan, dict(change))
    except CodecError as fault:
        raise InvalidRequestError(f"The new model cannot be read: {fault}.") from None
    given = {name: getattr(stated, name) for name in change}
    agents = {key: _agent_with(agent, given) for key, agent in plan.agents.items()}
    for agent in agents.values():
        reason = problem(agent) if problem is not None else None
        if reason is not None:
            raise InvalidRequestError(f"The new model cannot be used: {reason}")
    limits = replace(plan.limits, token_budget=stated.token_budget) if "token_budget" in given else plan.limits
    fresh = replace(plan, agents=agents, limits=limits)
    return replace(fresh, hash=plan_hash(fresh))


def _agent_with(agent: AgentPlan, given: Mapping[str, Any]) -> AgentPlan:
    old = agent.model
    if old is not None and old.provider == given["provider"]:
        return replace(agent, model=replace(old, **given))
    kept = {} if old is None else {field.name: getattr(old, field.name) for field in fields(ModelPlan)}
    runtime = replace(agent.runtime, bridge_provider=None, native_provider=None)
    return replace(agent, model=ModelPlan(**{**kept, **_OF_PROVIDER, **given}), runtime=runtime)
