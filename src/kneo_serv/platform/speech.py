"""What models say while they say it: heard by those who listen just then, and kept nowhere.

Pieces are gathered for a moment, lose their secrets, and are told in the order in which they came. What a turn made in
the end stands in its `model_turn_completed`, which supersedes them.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kneo_serv.engine import RunAgentTurn
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.model.message import TextListener
from kneo_serv.model.plan import AgentPlan, Plan, StepKind
from kneo_serv.observe.window import RedactionWindow
from kneo_serv.platform.journal import Journal

log = logging.getLogger("kneo_serv.platform")


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of what a model is saying, without secrets. Nobody keeps it, and it does not come again."""

    run_id: RunId
    key: StepKey
    step_id: str
    turn: int
    text: str
    void: bool = False
    """What came of this turn before counts no more; the answer begins again, with this text."""
    after: int = 0
    """Number of the last event before it."""


type SpeechListener = Callable[[TextDelta], None]
"""Is told each piece on the platform's loop. It must not block."""


class Speech:
    """The models that speak in the runs of this process, and who listens to them."""

    def __init__(self, journal: Journal, *, batch_seconds: float) -> None:
        self._journal = journal
        self._batch_seconds = batch_seconds
        self._audiences: dict[RunId, _Audience] = {}

    def voice(self, plan: Plan, run_id: RunId, turn: RunAgentTurn) -> TextListener | None:
        """What a model is to speak to in this turn; None when nobody listens to the run, or nobody may."""
        audience = self._audiences.get(run_id)
        if audience is None or holds_back(plan, turn.agent):
            return None
        return audience.voice(turn, self._batch_seconds)

    def was_read(self, run_id: RunId, recorded: ev.Recorded) -> None:
        """Somebody has read an event in the journal, perhaps before this process has told of it."""
        audience = self._audiences.get(run_id)
        if audience is not None:
            audience.was_read(recorded)

    def listen(self, run_id: RunId, listener: SpeechListener) -> Callable[[], None]:
        """Tells `listener` what is said in the run from now on, and first the present turns so far; gives what ends it.

        A turn that began when nobody listened is not heard.
        """
        audience = self._audiences.get(run_id)
        if audience is None:
            audience = self._audiences[run_id] = _Audience(run_id)
            audience.leave = self._journal.listen(run_id, audience.happened)
        audience.join(listener)

        def stop() -> None:
            if audience.part(listener) and self._audiences.get(run_id) is audience:
                del self._audiences[run_id]
                audience.leave()

        return stop


def holds_back(plan: Plan, agent: str) -> bool:
    """Whether a guardrail may still change or refuse what this agent says, so that nobody may see it before."""
    return (
        _guards(plan.agents[agent], "output")
        or _guards(plan.root_agent, "workflow")
        or any(_guards(caller, "tool") and agent in _answering(plan, caller) for caller in plan.agents.values())
    )


def _guards(agent: AgentPlan, stage: str) -> bool:
    return any(guardrail.stage == stage and guardrail.action != "warn" for guardrail in agent.guardrails)


def _answering(plan: Plan, caller: AgentPlan) -> set[str]:
    """Agents whose words may become the result of a tool of this agent, directly or within a workflow."""
    found: set[str] = set()
    agents, flows = _behind_tools(plan, caller), set[str]()
    while agents:
        name = agents.pop()
        if name in found:
            continue
        found.add(name)
        agent = plan.agents[name]
        agents += _behind_tools(plan, agent)
        if agent.as_agent is not None:
            agents += _within(plan, agent.as_agent, flows)
    return found


def _within(plan: Plan, flow_key: str, seen: set[str]) -> list[str]:
    """The agents of a workflow and of those in it that were not `seen`."""
    if flow_key in seen:
        return []
    seen.add(flow_key)
    flow = plan.flows[flow_key]
    agents: list[str] = []
    for step in (*flow.steps, flow.aggregator, flow.speaker):
        if step is not None and step.kind in (StepKind.AGENT, StepKind.GUARDRAIL):
            agents.append(step.ref)
        elif step is not None and step.kind is StepKind.WORKFLOW:
            agents += _within(plan, step.ref, seen)
    return agents


def _behind_tools(plan: Plan, agent: AgentPlan) -> list[str]:
    tools = (plan.tools.get(name) for name in agent.tools)
    return [tool.agent for tool in tools if tool is not None and tool.agent is not None]


class _Audience:
    """Those who listen to one run, and the models that speak to them."""

    def __init__(self, run_id: RunId) -> None:
        self.run_id = run_id
        self.leave: Callable[[], None] = lambda: None
        self._listeners: list[SpeechListener] = []
        self._voices: dict[StepKey, _Voice] = {}
        self._seq = 0

    def join(self, listener: SpeechListener) -> None:
        self._listeners.append(listener)
        for voice in list(self._voices.values()):
            if voice.said:
                self._tell_one(listener, voice.delta(voice.said, self._seq))

    def part(self, listener: SpeechListener) -> bool:
        """Whether nobody is left."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        if self._listeners:
            return False
        for voice in self._voices.values():
            voice.stop()
        self._voices.clear()
        return True

    def voice(self, turn: RunAgentTurn, batch_seconds: float) -> "_Voice":
        self._fail([voice for voice in (self._voices.get(turn.key),) if voice is not None])
        voice = self._voices[turn.key] = _Voice(self.run_id, turn, self._tell, batch_seconds, since=self._seq)
        return voice

    def happened(self, events: Sequence[ev.Recorded]) -> None:
        """Ends the voices whose turn, step or leg these events end; what they have left to say comes before that."""
        for recorded in events:
            self._end(recorded.event, list(self._voices.values()))
            self._seq = max(self._seq, recorded.seq)

    def was_read(self, recorded: ev.Recorded) -> None:
        """The same for one event that was read in the journal, be it old or new."""
        if recorded.seq > self._seq:
            # Of a voice that began before this audience knew of any event, nobody can say what is older than it.
            self._end(recorded.event, [voice for voice in self._voices.values() if voice.since])
            self._seq = recorded.seq if self._seq else 0

    def _end(self, event: ev.Event, voices: Sequence["_Voice"]) -> None:
        match event:
            case ev.ModelTurnCompleted(key):
                for voice in voices:
                    if voice.key == key:
                        del self._voices[key]
                        voice.finish()
            case ev.StepCompleted(key) | ev.StepFailed(key):
                self._fail([one for one in voices if one.key == key or one.key.startswith((f"{key}/", f"{key}@"))])
            case (
                ev.LegStarted() | ev.RunCompleted() | ev.RunFailed() | ev.RunCancelled() | ev.RunTimedOut()
                | ev.RunExpired()
            ):  # fmt: skip
                self._fail(voices)
            case _:
                pass

    def _fail(self, voices: Sequence["_Voice"]) -> None:
        """What they were saying came to nothing."""
        for voice in voices:
            del self._voices[voice.key]
            voice.fail()

    def _tell(self, voice: "_Voice", text: str, void: bool) -> None:
        delta = voice.delta(text, self._seq, void=void)
        for listener in list(self._listeners):
            self._tell_one(listener, delta)

    def _tell_one(self, listener: SpeechListener, delta: TextDelta) -> None:
        try:
            listener(delta)
        except Exception:
            # Whoever listens must not hurt the run, and is told nothing more.
            log.exception("somebody who listened to run %s failed", self.run_id)
            if listener in self._listeners:
                self._listeners.remove(listener)


class _Voice:
    """One turn of a model, as it speaks."""

    def __init__(
        self,
        run_id: RunId,
        turn: RunAgentTurn,
        tell: Callable[["_Voice", str, bool], None],
        batch_seconds: float,
        *,
        since: int,
    ) -> None:
        self.since = since
        """Number of the last event before it; 0 where that is not known."""
        self._run_id = run_id
        self._turn = turn
        self._tell = tell
        self._batch_seconds = batch_seconds
        self._window = RedactionWindow()
        self._pieces: list[str] = []
        self._void = False
        self._timer: asyncio.TimerHandle | None = None
        self._over = False
        self.said = ""
        """What was told of this turn and still counts."""

    def __call__(self, piece: str) -> None:
        if self._over:
            return
        if piece:
            self._pieces.append(piece)
        else:
            self._pieces.clear()
            self._window = RedactionWindow()
            self._void = self._void or bool(self.said)
            self.said = ""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._batch_seconds, self._flush)

    @property
    def key(self) -> StepKey:
        return self._turn.key

    def delta(self, text: str, after: int, *, void: bool = False) -> TextDelta:
        turn = self._turn
        return TextDelta(self._run_id, turn.key, turn.step.id, turn.turn, text, void, after)

    def finish(self) -> None:
        """The turn is over: what was held back can go."""
        self.stop()
        self._say(self._window.push("".join(self._pieces)) + self._window.finish())

    def fail(self) -> None:
        """The turn came to nothing."""
        self.stop()
        self._void = self._void or bool(self.said)
        self._say("")

    def stop(self) -> None:
        """Nothing more is heard."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        self._timer = None
        text = self._window.push("".join(self._pieces))
        self._pieces.clear()
        self._say(text)

    def _say(self, text: str) -> None:
        if text or self._void:
            void, self._void = self._void, False
            self.said += text
            self._tell(self, text, void)
