"""The journal of one run: the only place where history is written.

Events are numbered, folded, redacted and appended here, together with everything that they imply: the projection, the
tasks of people, timers and audit. There is no other way to change a run.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kneo_serv.engine import JournalFault, Posture, evolve, open_tasks, posture
from kneo_serv.errors import KneoError, NotFoundError, StoreError
from kneo_serv.model import event as ev
from kneo_serv.model.clock import Clock
from kneo_serv.model.codec import CodecError, decode, json_text
from kneo_serv.model.idempotency import IdempotencyKey
from kneo_serv.model.ids import ContinuationId, Owner, PlanHash, RunId
from kneo_serv.model.plan import Plan
from kneo_serv.model.quick import replace
from kneo_serv.model.run import Phase, Run, RunRecord
from kneo_serv.model.task import HumanTask
from kneo_serv.observe import may_hold_secret, redact_data, redact_text
from kneo_serv.platform.auditing import AuditIds, audit_of
from kneo_serv.platform.draft import Draft
from kneo_serv.platform.tasks import tasks_closed, tasks_escalated, tasks_opened, timers_of
from kneo_serv.store.contract import Append, Appended, EventRow, Projection, Refused, Store

log = logging.getLogger("kneo_serv.platform")

type Follower = Callable[[ev.Recorded, Run], None]
"""Is told each event that one run's journal takes in, in its private form, and the run after it. It never raises."""

_SNAPSHOT_BYTES = 65_536
_PAST_CHARS = 262_144
"""Of the events of one run that are kept at hand while it is at work."""
_PLANS = 256
"""Plans that are kept at hand."""

type Listener = Callable[[Sequence[ev.Recorded]], None]
"""Is told the public form of events once they are durable, on the platform's loop."""


def event_row(recorded: ev.Recorded) -> EventRow:
    """An event as it is kept, with its redacted form beside it where that differs."""
    payload = ev.event_payload(recorded.event)
    text = json_text(payload)
    public = None
    if may_hold_secret(text):
        clean = redact_data(payload)
        public = None if clean == payload else json_text(clean)
    return EventRow(recorded.seq, recorded.event.KIND, recorded.at, text, public)


def private(row: EventRow) -> ev.Recorded:
    """The event exactly as it happened."""
    return ev.Recorded(row.seq, row.at, ev.read_event(row.kind, json.loads(row.payload)))


def public(row: EventRow) -> ev.Recorded:
    """The event without secrets."""
    return ev.Recorded(row.seq, row.at, ev.read_event(row.kind, json.loads(row.public or row.payload)))


def public_text(text: str | None) -> str | None:
    """The text without secrets; None where it holds none."""
    if text is None:
        return None
    clean = redact_text(text)
    return None if clean == text else clean


class JournalUnreadableError(KneoError):
    """The history of a run cannot be read or folded: a newer version wrote it, or it is damaged."""

    code = "journal_unreadable"

    def __init__(self, run_id: str, fault: Exception) -> None:
        super().__init__(
            f"The journal of run {run_id} cannot be read: {fault}. It was written by a newer version of the platform, "
            "or it is damaged; nothing of it was changed."
        )
        self.run_id = run_id


@contextlib.contextmanager
def readable(run_id: RunId) -> Iterator[None]:
    """Tells a journal that cannot be read or folded by one error, whatever is wrong with it."""
    try:
        yield
    except (CodecError, JournalFault, KeyError, json.JSONDecodeError) as fault:
        raise JournalUnreadableError(run_id, fault) from fault


class Journal:
    """Access to the journals of all runs in one store."""

    def __init__(self, store: Store, *, clock: Clock, ids: AuditIds) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._plans: dict[str, Plan] = {}
        self._plan_texts: dict[str, str] = {}
        self._listeners: dict[RunId, list[Listener]] = {}
        self._appended: list[Callable[[Append], None]] = []
        self.ended: Callable[[RunJournal], None] = lambda _: None
        """Is told of a run that was ended from outside a leg."""

    async def open(self, run_id: RunId) -> "RunJournal":
        """The journal of one run, folded to its present end.

        Raises:
            NotFoundError: there is no such run.
            JournalUnreadableError: its history cannot be read or folded.
        """
        record = await self._store.get_run(run_id)
        if record is None:
            raise NotFoundError("run", run_id)
        plan = await self.plan(record.plan_hash)
        snapshot = await self._store.snapshot(run_id)
        run = decode(Run, json.loads(snapshot.state)) if snapshot is not None else Run(run_id)
        size = len(snapshot.state) if snapshot is not None else 0
        opened = RunJournal(self._store, plan, run, self, snapshot_size=size)
        opened.record = record
        if snapshot is not None:
            opened.past = None
        if snapshot is not None:
            with readable(run_id):
                for row in await self._store.events(run_id, limit=1):
                    opened.born(private(row).event)
        await opened.catch_up()
        opened.opened_at = opened.run.seq
        # What a fork has copied was asked for in the trace of its parent.
        opened.forked = record.parent_run_id is not None
        return opened

    def begin(self, plan: Plan, run_id: RunId, created: ev.RunCreated, now: float) -> "RunJournal":
        """The journal of a run that is about to be created; its first event is not stored yet."""
        self._keep(plan)
        run = evolve(plan, Run(run_id), ev.Recorded(1, now, created))
        opened = RunJournal(self._store, plan, run, self)
        opened.born(created)
        opened.opened_at = 1
        opened.asked = {}
        return opened

    def listen(self, run_id: RunId, listener: Listener) -> Callable[[], None]:
        """Calls `listener` for every later append to this run by this process; returns what ends that."""
        self._listeners.setdefault(run_id, []).append(listener)

        def stop() -> None:
            listeners = self._listeners.get(run_id, [])
            if listener in listeners:
                listeners.remove(listener)
            if not listeners:
                self._listeners.pop(run_id, None)

        return stop

    def on_append(self, hook: Callable[[Append], None]) -> None:
        """Calls `hook` after every durable append of this process."""
        self._appended.append(hook)

    def announce(self, append: Append) -> None:
        """Tells hooks and listeners of a durable append."""
        for hook in self._appended:
            hook(append)
        listeners = self._listeners.get(append.run_id)
        if listeners:
            events = [public(row) for row in append.events]
            for listener in list(listeners):
                try:
                    listener(events)
                except Exception:
                    # Whoever looks on must not hurt the run, and is told nothing more.
                    log.exception("a listener to run %s failed", append.run_id)
                    if listener in listeners:
                        listeners.remove(listener)

    @property
    def ids(self) -> AuditIds:
        """Where ids of audit events come from."""
        return self._ids

    async def plan(self, plan_hash: PlanHash) -> Plan:
        """A stored plan. Raises StoreError when it is missing."""
        plan = self._plans.get(plan_hash)
        if plan is None:
            text = await self._store.get_plan(plan_hash)
            if text is None:
                raise StoreError(f"The plan {plan_hash} of the run is missing from the store.")
            plan = decode(Plan, json.loads(text))
            self._keep(plan)
        return plan

    def plan_text(self, plan: Plan) -> str:
        """The plan as it is kept; of one that was asked for lately, without making it again."""
        text = self._plan_texts.get(plan.hash)
        if text is None:
            text = json_text(plan)
            _remember(self._plan_texts, plan.hash, text)
        return text

    def _keep(self, plan: Plan) -> None:
        _remember(self._plans, plan.hash, plan)


def _remember[T](known: dict[str, T], plan_hash: str, what: T) -> None:
    while len(known) >= _PLANS:
        known.pop(next(iter(known)))
    known[plan_hash] = what


class RunJournal:
    """One run: its plan, its present state, and the way to add to it."""

    def __init__(self, store: Store, plan: Plan, run: Run, journal: Journal, *, snapshot_size: int = 0) -> None:
        self._store = store
        self._journal = journal
        self._unsaved = 0
        self._snapshot_size = snapshot_size
        self.plan = plan
        self.run = run
        self.automatic: ContinuationId | None = None
        """The task whose passed deadline began the present leg, if it was one."""
        self.trace: Mapping[str, str] = {}
        """The trace context that the run was asked for under; of a fork, that of the run that it was forked from."""
        self.forked = False
        self.follower: Follower | None = None
        """Of the leg that this journal is driven in."""
        self.record: RunRecord | None = None
        """The run's row as it was when this journal was opened."""
        self.opened_at = 0
        """Number of the event up to which it was written before."""
        self.past: list[ev.Recorded] | None = []
        """All events so far, without secrets; None where they are not at hand, or too many."""
        self.asked: dict[ContinuationId, HumanTask] | None = None
        """The open tasks of people; None where only the store knows them."""
        self._past_size = 0
        self._stood: tuple[Run, Posture] | None = None

    def born(self, event: ev.Event) -> None:
        """Takes in what only the first event says."""
        if isinstance(event, ev.RunCreated):
            self.trace = event.trace

    @property
    def stand(self) -> Posture:
        """How the run stands after its last event."""
        if self._stood is None or self._stood[0] is not self.run:
            self._stood = (self.run, posture(self.run))
        return self._stood[1]

    def remember(self, recorded: ev.Recorded, row: EventRow) -> None:
        """Keeps an event at hand for who waits for the run, as long as there are not too many."""
        if self.past is None:
            return
        self._past_size += len(row.payload)
        if self._past_size > _PAST_CHARS:
            self.past = None
        else:
            self.past.append(recorded if row.public is None else public(row))

    async def catch_up(self) -> None:
        """Folds what others have appended since."""
        rows = await self._store.events(self.run.id, after=self.run.seq)
        with readable(self.run.id):
            for row in rows:
                self._unsaved += len(row.payload)
                recorded = private(row)
                self.run = evolve(self.plan, self.run, recorded)
                if row.seq == 1:
                    self.born(recorded.event)
                if isinstance(recorded.event, _ABOUT_TASKS):
                    self.asked = None
                self.remember(recorded, row)
                if self.follower is not None:
                    self.follower(recorded, self.run)

    def draft(self, now: float) -> Draft:
        """An empty draft on the present state; `now` becomes the time of its events unless that would go back."""
        return Draft(self.plan, self.run, now)

    async def append(
        self,
        draft: Draft,
        *,
        owner: Owner | None = None,
        fence: int | None = None,
        release: bool = False,
        revive: bool = False,
        late: bool = False,
        facts: Mapping[str, Any] | None = None,
        key: IdempotencyKey | None = None,
    ) -> Appended | Refused:
        """Makes the draft durable, all or nothing; on success it is the present state.

        With `owner` and `fence` under the lease, else by compare-and-set alone. `revive` may follow a failure, `late`
        any end. `facts` go into the audit of a dead letter. `key` is bound to what the draft does.
        """
        rows = tuple(event_row(recorded) for recorded in draft.events)
        stand = draft.stand
        weight = self._unsaved + sum(len(row.payload) for row in rows)
        snapshot = None
        if weight > max(_SNAPSHOT_BYTES, self._snapshot_size):
            snapshot = json_text(draft.run)
        closed = tasks_closed(draft.events, [self.run, *draft.runs[:-1]])
        timers, cleared = timers_of(draft.events, closed, draft.run, before=self.stand, after=stand)
        append = Append(
            run_id=draft.run.id,
            expected_seq=draft.run.seq - len(rows),
            events=rows,
            projection=projection_of(draft.run, stand),
            fence=fence,
            owner=owner,
            opened=tasks_opened(draft.plan, draft.events, draft.runs),
            closed=closed,
            escalated=tasks_escalated(draft.events),
            abandoned=_open_in(self.run) if stand.phase is Phase.ENDED else (),
            timers=timers,
            cleared=cleared,
            audit=audit_of(draft, stand, self._journal.ids, automatic=self.automatic, facts=facts),
            snapshot=snapshot,
            release=release,
            revive=revive,
            late=late,
            progress=any(not isinstance(recorded.event, _NO_PROGRESS) for recorded in draft.events),
            key=key,
        )
        result = await self._store.append(append)
        if isinstance(result, Appended):
            self.run = draft.run
            self._stood = (draft.run, stand)
            for recorded, row in zip(draft.events, rows, strict=True):
                self.remember(recorded, row)
            self._note_tasks(append)
            self._unsaved = 0 if snapshot is not None else weight
            self._snapshot_size = len(snapshot) if snapshot is not None else self._snapshot_size
            self._journal.announce(append)
            if self.follower is not None:
                for recorded, run in zip(draft.events, draft.runs, strict=True):
                    self.follower(recorded, run)
            elif draft.run.status.is_terminal:
                self._journal.ended(self)
        return result

    def _note_tasks(self, append: Append) -> None:
        if self.asked is None or not (append.opened or append.closed or append.escalated):
            return
        for task in append.opened:
            self.asked[task.continuation_id] = task
        for closing in append.closed:
            self.asked.pop(closing.continuation_id, None)
        for marked in append.escalated:
            if (task_ := self.asked.get(marked.continuation_id)) is not None:
                self.asked[marked.continuation_id] = replace(task_, escalated_at=marked.escalated_at)


def _open_in(run: Run) -> tuple[ContinuationId, ...]:
    return tuple(state.task.continuation_id for state in open_tasks(run) if state.task is not None)


_ABOUT_TASKS = (ev.HumanAsked, ev.HumanAnswered, ev.HumanEscalated, ev.HumanExpired)

_NO_PROGRESS = (ev.LegStarted, ev.StepStarted, ev.ModelTurnStarted, ev.ToolCallStarted)
"""Events that say that something was begun, not that anything came of it."""


def projection_of(run: Run, stand: Posture) -> Projection:
    """What the run's row says of it, with public texts beside the private ones."""
    return Projection(
        status=stand.status,
        phase=stand.phase,
        updated_at=run.at,
        output_text=run.output_text,
        public_output_text=public_text(run.output_text),
        current_step_id=stand.step_id,
        current_step_index=stand.step_index,
        continuation_id=stand.continuation_id,
        error_type=run.error_type,
        error_message=run.error_message and redact_text(run.error_message),
        started_at=run.started_at,
        completed_at=run.ended_at,
        input_tokens=run.usage.input_tokens,
        output_tokens=run.usage.output_tokens,
        cached_tokens=run.usage.cached_tokens,
        requests=run.usage.requests,
        cost_usd=run.usage.cost_usd,
    )
