"""Sessions: what agents and their users said in earlier runs of the same tenant with the same `session_id`.

Only completed runs count, and only what their agents answered in the end. A run sees the session as it was when its
first leg began: that goes into its journal, so that a resumed run sees the same.
"""

import logging
from collections import deque
from collections.abc import Mapping, Sequence

from kneo_serv.engine import evolve, find
from kneo_serv.engine.frames import AGENT_FLOW, flow_of, frame_holding, step_of
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId
from kneo_serv.model.message import Message, Role
from kneo_serv.model.page import NO_TENANT, Page, RunFilter
from kneo_serv.model.plan import ROOT, AgentPlan, Plan
from kneo_serv.model.run import Run, RunRecord, RunStatus, StepState
from kneo_serv.platform.journal import Journal, JournalUnreadableError, RunJournal, private, readable
from kneo_serv.store.contract import Store

log = logging.getLogger("kneo_serv.platform")

MAX_RUNS = 25
"""Earlier runs that are looked at, the newest first."""
MAX_EVENTS = 5000
"""Events of them that are read at most."""
MAX_MESSAGES = 50
"""Messages that one agent remembers."""
MAX_BYTES = 65_536
"""Size of all that the agents of one run remember."""

type History = Mapping[str, Sequence[Message]]
"""By agent's name, the oldest message first."""


class Sessions:
    """What runs of a session know of each other."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal

    async def history(self, opened: RunJournal) -> History:
        """What the run's agents remember: gathered for its first leg, read from its journal for later ones."""
        run = opened.run
        if run.session_id is None:
            return {}
        if run.legs:
            return await self._frozen(run.id)
        remembered = _Remembered({agent.name for agent in opened.plan.agents.values()})
        events = 0
        for record in await self._earlier(run.id, run.session_id):
            events += record.seq
            if events > MAX_EVENTS:
                break
            for agent, pair in reversed(await self._said(record)):
                if not remembered.add(agent, pair):
                    return remembered.history()
        return remembered.history()

    async def _frozen(self, run_id: RunId) -> History:
        after = 1
        while rows := await self._store.events(run_id, after=after, limit=16):
            with readable(run_id):
                for row in rows:
                    if row.kind == ev.LegStarted.KIND and isinstance(event := private(row).event, ev.LegStarted):
                        return event.history
            after = rows[-1].seq
        return {}

    async def _earlier(self, run_id: RunId, session_id: str) -> Sequence[RunRecord]:
        """Completed runs of the session that were created before this one, the newest first."""
        record = await self._store.get_run(run_id)
        if record is None:
            return ()
        wanted = RunFilter(
            session_id=session_id,
            status=(RunStatus.COMPLETED.value,),
            created_before=record.created_at,
            tenant=record.tenant or NO_TENANT,
        )
        found = await self._store.list_runs(wanted, Page(limit=MAX_RUNS, sort="created_at"))
        # A fork repeats what its parent said.
        return [earlier for earlier in found if earlier.parent_run_id is None]

    async def _said(self, record: RunRecord) -> list[tuple[str, tuple[Message, ...]]]:
        """What was said to the agents of a run, and what they answered, in order; nothing of a damaged run."""
        said: list[tuple[str, tuple[Message, ...]]] = []
        try:
            plan = await self._journal.plan(record.plan_hash)
            rows = await self._store.events(record.id)
            with readable(record.id):
                run = Run(record.id)
                for recorded in map(private, rows):
                    event = recorded.event
                    if isinstance(event, ev.StepCompleted) and (asked := _asked(plan, run, event)) is not None:
                        agent, state = asked
                        said.append((agent.name, _pair(agent, state, event.output_text)))
                    run = evolve(plan, run, recorded)
        except JournalUnreadableError as fault:
            log.warning("session %s goes on without run %s: %s", record.session_id, record.id, fault)
            return []
        return said


class _Remembered:
    """What is kept of the past, from its newest end on, within the bounds."""

    def __init__(self, agents: set[str]) -> None:
        self._messages: dict[str, deque[Message]] = {agent: deque() for agent in agents}
        self._bytes = 0

    def add(self, agent: str, pair: tuple[Message, ...]) -> bool:
        """Puts messages before those that an agent remembers already; False when there is no more room."""
        messages = self._messages.get(agent)
        if messages is None or len(messages) + len(pair) > MAX_MESSAGES:
            return True
        self._bytes += sum(len(message.content.encode()) for message in pair)
        if self._bytes > MAX_BYTES:
            return False
        messages.extendleft(reversed(pair))
        return True

    def history(self) -> dict[str, tuple[Message, ...]]:
        """What each agent remembers."""
        return {agent: tuple(messages) for agent, messages in self._messages.items() if messages}


def _asked(plan: Plan, run: Run, event: ev.StepCompleted) -> tuple[AgentPlan, StepState] | None:
    """The agent that this step asked, if it asked one."""
    state = find(run.frame, event.key)
    frame = run.frame and frame_holding(run.frame, event.key)
    if state is None or frame is None or not state.messages:
        return None
    name = ROOT if frame.flow == AGENT_FLOW else step_of(flow_of(plan, frame), state).ref
    return plan.agents[name], state


def _pair(agent: AgentPlan, state: StepState, answer: str) -> tuple[Message, ...]:
    """What the agent keeps of a question and its answer, by its `append_mode`."""
    question = Message(Role.USER, state.input_text if state.prompt is None else state.prompt)
    match agent.append_mode:
        case "never":
            return ()
        case "user_only":
            return (question,)
        case "assistant_only":
            return (Message(Role.ASSISTANT, answer),)
        case _:
            return (question, Message(Role.ASSISTANT, answer))
