"""A platform without a world: it journals as the driver does, and looks after each event whether all is in order."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kneo_serv.engine import (
    CallFunction,
    CallTool,
    CheckGuardrail,
    Effect,
    Failure,
    Posture,
    RunAgentTurn,
    Verdict,
    Wait,
    applied,
    begin,
    decide,
    evolve,
    failed_step,
    find,
    open_tasks,
    posture,
    returned,
)
from kneo_serv.model import event as ev
from kneo_serv.model.codec import decode, encode
from kneo_serv.model.ids import ContinuationId, PlanHash, RequestId, RunId, StepKey
from kneo_serv.model.message import Message, Role, ToolCall, Usage
from kneo_serv.model.plan import Plan
from kneo_serv.model.run import Phase, Run, RunStatus, StepState
from kneo_serv.model.task import Decision
from tests.engine.worlds import Answer, Denied, Fails, Reply, Says, Script

type Choice = Callable[[int], int]
"""Which of so many things comes next."""


def first(_: int) -> int:
    return 0


def last(count: int) -> int:
    return count - 1


@dataclass(slots=True)
class Ids:
    given: int = 0

    def continuation(self) -> ContinuationId:
        self.given += 1
        return ContinuationId(f"cont_{self.given}")

    def request(self) -> RequestId:
        self.given += 1
        return RequestId(f"req_{self.given}")


@dataclass(slots=True)
class Flight:
    """An effect that has begun. What comes of it is known when it ends; of a lost one, nobody ever knows."""

    effect: Effect
    name: str
    heard: str


@dataclass(slots=True)
class World:
    """One run in a scripted world. `checks` may be left out where only the cost counts."""

    plan: Plan
    script: Script | Callable[[Effect], Answer] = field(default_factory=dict)
    text: str = "in"
    target: str = "workflow"
    checks: bool = True
    now: float = 1000.0
    run: Run = field(default_factory=lambda: Run(RunId("run")))
    journal: list[ev.Recorded] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    flights: list[Flight] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    """Names of what was called, in order."""
    sent: list[tuple[Message, ...]] = field(default_factory=list)
    """What models were asked."""
    ids: Ids = field(default_factory=Ids)
    _queues: dict[str, list[Reply]] = field(default_factory=dict)
    _finished: set[StepKey] = field(default_factory=set)
    _attempts: set[tuple[StepKey, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not callable(self.script):
            self._queues = {name: list(reply) for name, reply in self.script.items() if isinstance(reply, list)}
        self.add(ev.RunCreated(PlanHash(self.plan.hash), self.target, self.text))
        self.leg()

    # --- what the driver does ---------------------------------------------------------------------------------------

    def leg(self, reason: ev.LegReason = ev.LegReason.START) -> None:
        """A worker takes the run up; whatever another had in flight is lost to it."""
        self.flights.clear()
        self.add(ev.LegStarted("worker", self.run.fence + 1, reason))

    def advance(self) -> None:
        """Begins everything that may begin, and notes what came of that which nobody waits for any more."""
        for flight in [one for one in self.flights if find(self.run.frame, one.effect.key) is None]:
            self.land(self.flights.index(flight))
        while commands := [one for one in decide(self.plan, self.run, self.now) if not isinstance(one, Wait)]:
            for command in commands:
                for event in begin(self.plan, self.run, command, now=self.now, ids=self.ids):
                    self.add(event)
                if isinstance(command, CallFunction | RunAgentTurn | CallTool | CheckGuardrail):
                    self._launch(command)
        if self.checks:
            self._check_rest()

    def land(self, index: int = 0) -> None:
        """One effect ends, and its outcome is journaled; nothing follows yet."""
        flight = self.flights.pop(index)
        if self.run.status.is_terminal or find(self.run.frame, flight.effect.key) is None:
            self.add(ev.LateOutcome(flight.effect.key, flight.effect.step.id, "outcome"))
        else:
            self.add(self._outcome(flight))

    def land_named(self, name: str) -> None:
        """The effect of this name ends, and what follows begins."""
        self.land(next(place for place, flight in enumerate(self.flights) if flight.name == name))
        self.advance()

    def go(self, choose: Choice = first) -> "World":
        """Takes the run as far as it goes without people, retries included."""
        self.advance()
        while True:
            if self.flights:
                self.land(choose(len(self.flights)))
            elif self.stand.phase is Phase.WAITING_TIMER:
                self.tick()
            else:
                return self
            self.advance()

    def tick(self) -> None:
        """The clock moves to the next retry."""
        due = self.stand.retry_at
        assert due is not None
        self.now = max(self.now, due)

    def answer(
        self,
        step_id: str | None = None,
        decision: Decision = Decision.APPROVED,
        content: str | None = None,
        *,
        option: str | None = None,
    ) -> None:
        """The person of this step (or the only one) answers; nothing follows yet."""
        asked = [state for state in open_tasks(self.run) if step_id is None or state.step_id == step_id]
        assert len(asked) == 1, [state.key for state in asked]
        self.answer_task(asked[0], decision, content, option=option)

    def answer_task(
        self, state: StepState, decision: Decision, content: str | None = None, *, option: str | None = None
    ) -> None:
        """The person of this instance answers; nothing follows yet."""
        task = state.task
        assert task is not None
        self.add(
            ev.HumanAnswered(
                state.key, state.executes, task.continuation_id, task.request_id, decision, content, option
            )
        )

    def resume(
        self, step_id: str | None = None, decision: Decision = Decision.APPROVED, content: str | None = None
    ) -> "World":
        """A person answers, and the run goes on in a new leg."""
        self.answer(step_id, decision, content)
        self.leg(ev.LegReason.RESUME)
        return self.go()

    def interrupt(self) -> "World":
        """The worker dies, another takes over; nothing follows yet."""
        self.leg(ev.LegReason.TAKEOVER)
        return self

    def carry_on(self) -> "World":
        """Somebody continues the failed run."""
        assert self.run.status is RunStatus.FAILED
        self.add(ev.RunContinued("operator"))
        self.leg(ev.LegReason.CONTINUE)
        return self.go()

    # --- what there is to see ---------------------------------------------------------------------------------------

    @property
    def stand(self) -> Posture:
        return posture(self.run)

    @property
    def outcome(self) -> tuple[str, str | None]:
        """Status, and the text or the type of error."""
        if self.run.status is RunStatus.COMPLETED:
            return "completed", self.run.output_text
        return self.stand.status.value, self.run.error_type

    @property
    def asked(self) -> list[str]:
        """Keys of the instances that wait for a person."""
        return [state.key for state in open_tasks(self.run)]

    def events[E](self, kind: type[E]) -> list[E]:
        return [recorded.event for recorded in self.journal if isinstance(recorded.event, kind)]

    def completed(self) -> list[str]:
        """Keys of finished steps without the root's, in order."""
        return [event.key.removeprefix("main/") for event in self.events(ev.StepCompleted)]

    # --- journaling -------------------------------------------------------------------------------------------------

    def add(self, event: ev.Event) -> None:
        before = self.run
        recorded = ev.Recorded(before.seq + 1, max(before.at, self.now), event)
        self.journal.append(recorded)
        self.run = evolve(self.plan, before, recorded)
        if self.checks:
            self._check_event(before, event)
            # It goes on from what a snapshot would give back, so that nothing lives in memory alone.
            restored = decode(Run, json.loads(json.dumps(encode(self.run))))
            assert restored == self.run
            self.run = restored
            self.runs.append(restored)

    def check_fold(self) -> None:
        """Folds the journal from scratch, as another process reads it, and compares each state on the way."""
        run = Run(RunId("run"))
        for recorded, seen in zip(self.journal, self.runs, strict=True):
            payload = json.loads(json.dumps(ev.event_payload(recorded.event)))
            event = ev.read_event(recorded.event.KIND, payload)
            run = evolve(self.plan, run, ev.Recorded(recorded.seq, recorded.at, event))
            assert run == seen, recorded

    def _check_event(self, before: Run, event: ev.Event) -> None:
        if before.status.is_terminal:
            assert isinstance(event, ev.LateOutcome | ev.RunContinued), event
        if isinstance(event, ev.StepStarted | ev.HumanAsked | ev.ModelTurnStarted | ev.ToolCallStarted):
            alive = [key for key in self._finished if event.key == key or event.key.startswith((f"{key}/", f"{key}@"))]
            assert not alive, f"{event.key} begins again after its end"
        if isinstance(event, ev.StepStarted):
            assert (event.key, event.attempt) not in self._attempts, f"{event.key} has attempt {event.attempt} twice"
            self._attempts.add((event.key, event.attempt))
        if isinstance(event, ev.StepCompleted) or (
            isinstance(event, ev.StepFailed) and event.resolution in (ev.Resolution.CONTINUE, ev.Resolution.FALLBACK)
        ):
            assert event.key not in self._finished, f"{event.key} ends twice"
            self._finished.add(event.key)

    def _check_rest(self) -> None:
        waits = decide(self.plan, self.run, self.now)
        assert all(isinstance(command, Wait) for command in waits)
        asked, stand = open_tasks(self.run), self.stand
        if self.run.status.is_terminal:
            assert not waits
            assert not self.flights
            assert stand.phase is Phase.ENDED
            self.check_fold()
        elif self.flights:
            assert stand.phase is Phase.RUNNABLE
            assert len({_identity(flight.effect) for flight in self.flights}) == len(self.flights)
        elif waits:
            assert stand.phase is Phase.WAITING_TIMER
            assert stand.retry_at == min(command.until for command in waits if isinstance(command, Wait))
        else:
            assert asked, "neither at work nor at rest"
            assert (stand.status, stand.phase) == (RunStatus.BLOCKED, Phase.WAITING_HUMAN)

    # --- the scripted world -----------------------------------------------------------------------------------------

    def _launch(self, effect: Effect) -> None:
        match effect:
            case CallFunction():
                name, heard = effect.step.ref, effect.text
            case RunAgentTurn():
                name, heard = effect.agent, effect.messages[-1].content
                self.sent.append(effect.messages)
            case CallTool():
                name, heard = effect.call.name, effect.call.name
            case CheckGuardrail():
                name, heard = effect.guardrail.ref or "", effect.text
            case _:
                raise AssertionError(effect)
        assert _identity(effect) not in [_identity(flight.effect) for flight in self.flights]
        self.begun.append(name)
        self.flights.append(Flight(effect, name, heard))

    def _reply(self, flight: Flight) -> Answer:
        if callable(self.script):
            return self.script(flight.effect)
        reply = self.script.get(flight.name)
        if isinstance(reply, list):
            queue = self._queues[flight.name]
            reply = queue.pop(0) if queue else None
        if reply is None:
            return f"{flight.heard}>{flight.name}"
        return reply(flight.heard) if callable(reply) else reply

    def _outcome(self, flight: Flight) -> ev.Event:
        effect, answer = flight.effect, self._reply(flight)
        state = find(self.run.frame, effect.key)
        assert state is not None
        assert state.attempt == effect.attempt
        if isinstance(effect, CallTool):
            return _tool_event(effect, answer)
        if isinstance(effect, CheckGuardrail):
            return applied(self.run, effect, answer if isinstance(answer, Verdict) else Verdict(passed=True))
        assert not isinstance(answer, Verdict)
        if isinstance(answer, Fails):
            failure = Failure(
                effect.key, answer.error_type, "it failed", answer.violation, answer.final, answer.uncertain
            )
            return failed_step(self.plan, self.run, failure, now=self.now)
        if isinstance(effect, CallFunction):
            assert isinstance(answer, str)
            return returned(self.plan, self.run, effect.key, effect.step.id, answer)
        assert isinstance(effect, RunAgentTurn)
        says = answer if isinstance(answer, Says) else Says(str(answer))
        calls = tuple(ToolCall(f"call_{place}", name, {"input": says.given}) for place, name in enumerate(says.tools))
        ids = tuple(call.id for call in calls)
        backed = (call.id for call in calls if (tool := self.plan.tools.get(call.name)) and tool.agent is not None)
        return ev.ModelTurnCompleted(
            effect.key,
            effect.step.id,
            effect.turn,
            says.text,
            calls,
            Usage(says.tokens, 0, 1, cost_usd=says.dollars),
            approvals=ids if says.asks else (),
            admitted=tuple(backed),
            misfit=says.misfit,
        )


def _identity(effect: Effect) -> tuple[str, ...]:
    match effect:
        case CallTool():
            return effect.key, "call", str(effect.number)
        case CheckGuardrail():
            return effect.key, "check", effect.stage, effect.call_id or ""
        case _:
            return effect.key, "attempt"


def _tool_event(effect: CallTool, answer: Answer) -> ev.Event:
    key, step_id, call = effect.key, effect.step.id, effect.call
    match answer:
        case Fails(error_type):
            missing = error_type == "missing"
            return ev.ToolCallFailed(key, step_id, call.id, call.name, error_type, "it failed", unavailable=missing)
        case Denied(reason):
            return ev.ToolPolicyDenied(key, step_id, call.id, call.name, reason)
        case _:
            return ev.ToolCallCompleted(key, step_id, call.id, call.name, str(answer))


def run(plan: Plan, script: Script | None = None, *, choose: Choice = first, text: str = "in") -> World:
    """A world in which the plan was taken as far as it goes without people."""
    return World(plan, script or {}, text).go(choose)


def tool_answers(messages: Sequence[Message]) -> list[str]:
    """What a model is told of its tools."""
    return [message.content for message in messages if message.role is Role.TOOL]
