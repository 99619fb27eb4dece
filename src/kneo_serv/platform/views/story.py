"""The fold behind all views: where a run stood after each event, as far as its public events tell.

The engine's own fold needs the plan; this one needs only the events, so that a run can be shown for as long as its
journal is kept. What no event says is computed: the input of a step is the text that flows in its frame.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote

from kneo_serv.engine.keys import ROOT_KEY, frame_of, nested_key
from kneo_serv.model import event as ev
from kneo_serv.model.ids import StepKey
from kneo_serv.model.message import Usage
from kneo_serv.model.plan import ROOT, FlowType, StepKind
from kneo_serv.model.run import RunRecord, RunStatus
from kneo_serv.observe import redact_text


@dataclass(slots=True)
class StepNote:
    """One live step instance."""

    key: StepKey
    visited_id: str
    """Id in its workflow, also where a fallback stands in."""
    visit: int
    input_text: str
    index: int | None = None
    kind: StepKind | None = None
    ref: str = ""
    opens: str | None = None
    """Key of the workflow whose frame it opened."""
    attempt: int = 1
    messages: int = 1
    """Messages of an agent's conversation so far, its input included."""
    spoke: ev.ModelTurnCompleted | None = None
    """What its model said last."""

    @property
    def frame(self) -> StepKey:
        """Key of the frame that it lives in."""
        return frame_of(self.key)

    @property
    def calls_agent(self) -> bool:
        """Whether it asks a model itself."""
        return self.kind in (StepKind.AGENT, StepKind.GUARDRAIL) and self.opens is None


@dataclass(slots=True)
class _Flowing:
    """The text that flows in one frame. In a concurrent one all steps get the same."""

    text: str
    flow: str
    live: set[StepKey] = field(default_factory=set)
    concurrent: bool = False


@dataclass(slots=True)
class Story:
    """Where a run stands after the events told so far. `graphs` are the frames in which edges are taken."""

    graphs: frozenset[StepKey]
    status: RunStatus = RunStatus.CREATED
    input_text: str = ""
    output_text: str | None = None
    visited: list[str] = field(default_factory=list)
    next_index: int = 0
    step_id: str | None = None
    step_index: int | None = None
    failed_step: str | None = None
    error: tuple[str, str] | None = None
    """Type and message."""
    usage: Usage = Usage()
    spent: dict[str, Usage] = field(default_factory=dict)
    """By key of the agent."""
    started_at: float | None = None
    completed_at: float | None = None
    asked: dict[StepKey, ev.HumanAsked] = field(default_factory=dict)
    last_input: str | None = None
    last_output: str | None = None
    _busy: set[StepKey] = field(default_factory=set)
    _notes: dict[StepKey, StepNote] = field(default_factory=dict)
    _frames: dict[StepKey, _Flowing] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[ev.Recorded]) -> Self:
        """An untold story of these events."""
        return cls(frozenset(recorded.event.key for recorded in events if isinstance(recorded.event, ev.EdgeTaken)))

    @classmethod
    def told(cls, events: Sequence[ev.Recorded]) -> Self:
        """The story of these events, told to its end."""
        story = cls.of(events)
        for recorded in events:
            story.tell(recorded)
        return story

    @property
    def text(self) -> str:
        """The text that the next step of the run's own workflow gets."""
        return self._frame(ROOT_KEY).text

    @property
    def is_concurrent(self) -> bool:
        """Whether steps of the run's own workflow were seen at work beside each other."""
        return self._frame(ROOT_KEY).concurrent

    @property
    def waiting(self) -> ev.HumanAsked | None:
        """The oldest open question."""
        return next(iter(self.asked.values()), None)

    @property
    def error_fields(self) -> dict[str, str] | None:
        """Why the run ended badly, as JSON object."""
        return None if self.error is None else {"message": redact_text(self.error[1]), "type": self.error[0]}

    def note(self, key: StepKey) -> StepNote | None:
        """The live step instance of this key."""
        return self._notes.get(key)

    def flow_name(self, frame_key: StepKey) -> str | None:
        """Name of the workflow of a nested frame; None for the run's own."""
        return self._frame(frame_key).flow or None

    def tell(self, recorded: ev.Recorded) -> StepNote | None:
        """Takes in the next event; gives the step that it is about."""
        event = recorded.event
        match event:
            case ev.RunCreated():
                self.status = RunStatus.RUNNING
                self.input_text = event.input_text
                self._frames[ROOT_KEY] = _Flowing(event.input_text, "")
            case ev.LegStarted():
                self.started_at = recorded.at if self.started_at is None else self.started_at
            case ev.StepStarted():
                return self._start(event)
            case ev.HumanAsked():
                note = self._note(event.key, event.index)
                note.kind = note.kind or StepKind.HUMAN
                self.asked[event.key] = event
                self._busy.discard(event.key)
                self._settle()
                return note
            case ev.HumanAnswered():
                self.asked.pop(event.key, None)
                self._busy.add(event.key)
                self._settle()
                return self._note(event.key)
            case ev.StepCompleted():
                note = self._note(event.key, event.index)
                self._end(note, event.output_text)
                return note
            case ev.StepFailed():
                return self._fail(event)
            case ev.ModelTurnCompleted():
                self.usage += event.usage
                note = self._heard(event.key)
                note.spoke = event
                self.spent[note.ref] = self.spent.get(note.ref, Usage()) + event.usage
                return note
            case ev.GuardrailApplied():
                self.usage += event.usage
                return self._note(event.key)
            case ev.ToolCallCompleted() | ev.ToolCallFailed() | ev.ToolPolicyDenied():
                return self._heard(event.key)
            case ev.EdgeTaken() | ev.LateOutcome():
                return None
            case (
                ev.ModelTurnStarted()
                | ev.ToolCallStarted()
                | ev.StepReturned()
                | ev.GuardrailStarted()
                | ev.HumanReminded()
                | ev.HumanEscalated()
                | ev.HumanExpired()
            ):
                return self._note(event.key)
            case ev.RunContinued():
                self.status, self.error, self.failed_step, self.completed_at = RunStatus.RUNNING, None, None, None
            case ev.RunForked():
                self._fork(event)
            case ev.RunCompleted():
                self.output_text = event.output_text
                self._finish(RunStatus.COMPLETED, recorded.at)
            case ev.RunFailed():
                self.failed_step = event.step_id or self.failed_step
                self._finish(RunStatus.FAILED, recorded.at, (event.error_type, event.message))
            case ev.RunCancelled():
                self._finish(RunStatus.CANCELLED, recorded.at, ("cancelled", event.reason))
            case ev.RunTimedOut():
                message = f"The run did not end within its timeout of {event.timeout_seconds or 0:g} seconds."
                self._finish(RunStatus.TIMED_OUT, recorded.at, ("run_timed_out", message))
            case ev.RunExpired():
                self._finish(RunStatus.EXPIRED, recorded.at, ("human_task_expired", event.message))
        return None

    def _start(self, event: ev.StepStarted) -> StepNote:
        note = self._note(event.key, event.index)
        note.kind, note.ref, note.opens, note.attempt = event.step_kind, event.ref, event.flow, event.attempt
        note.messages = 1
        if event.flow is None:
            self._busy.add(event.key)
        else:
            self._frames[nested_key(event.key, event.attempt)] = _Flowing(note.input_text, event.flow)
        self._settle()
        return note

    def _fail(self, event: ev.StepFailed) -> StepNote:
        note = self._note(event.key, event.index)
        match event.resolution:
            case ev.Resolution.CONTINUE:
                self._end(note, note.input_text)
            case ev.Resolution.FALLBACK:
                self._forget(note)
            case ev.Resolution.FAIL:
                self._busy.discard(event.key)
                if note.frame == ROOT_KEY:
                    self.failed_step = note.visited_id
            case ev.Resolution.RETRY:
                pass  # the step stays as it is, and waits for its next attempt
        self._settle()
        return note

    def _fork(self, event: ev.RunForked) -> None:
        self.status, self.error, self.failed_step, self.completed_at = RunStatus.RUNNING, None, None, None
        self.started_at, self.usage = None, Usage()
        self.spent.clear()
        self.asked.clear()
        if event.input_text is None:
            return
        note = self._notes.get(event.input_key or ROOT_KEY)
        if note is not None and note.opens is None:
            note.input_text = event.input_text
            return
        frame = self._frame(event.input_key or ROOT_KEY)
        frame.text = event.input_text
        if event.input_key == ROOT_KEY and not self.visited and not frame.live:
            self.input_text = event.input_text

    def _heard(self, key: StepKey) -> StepNote:
        note = self._note(key)
        note.messages += 1
        return note

    def _note(self, key: StepKey, index: int | None = None) -> StepNote:
        if (note := self._notes.get(key)) is not None:
            return note
        frame_key = key.rpartition("/")[0]
        visited_id, visit = visit_of(key)
        frame = self._frame(StepKey(frame_key))
        note = StepNote(key, visited_id, visit, frame.text, index)
        frame.concurrent = frame.concurrent or bool(frame.live)
        frame.live.add(key)
        self._notes[key] = note
        self.last_input = note.input_text
        if frame_key == ROOT_KEY:
            self.step_id, self.step_index = note.visited_id, index
        return note

    def _end(self, note: StepNote, output_text: str) -> None:
        self._forget(note)
        self.last_output = output_text
        frame = self._frame(note.frame)
        if not frame.concurrent:
            frame.text = output_text
        if note.frame == ROOT_KEY:
            self.visited.append(note.visited_id)
            self.next_index = len(self.visited) if note.index is None else note.index + 1
        self._settle()

    def _forget(self, note: StepNote) -> None:
        self._notes.pop(note.key, None)
        self._busy.discard(note.key)
        self.asked.pop(note.key, None)
        self._frame(note.frame).live.discard(note.key)
        if note.opens is not None:
            self._frames.pop(nested_key(note.key, note.attempt), None)

    def _frame(self, key: StepKey) -> _Flowing:
        if (frame := self._frames.get(key)) is None:
            frame = self._frames[key] = _Flowing("", "")
        return frame

    def _settle(self) -> None:
        if not self.status.is_terminal:
            self.status = RunStatus.BLOCKED if self.asked and not self._busy else RunStatus.RUNNING

    def _finish(self, status: RunStatus, at: float, error: tuple[str, str] | None = None) -> None:
        self.status, self.error, self.completed_at = status, error, at
        self.asked.clear()
        self._busy.clear()


def visit_of(key: StepKey) -> tuple[str, int]:
    """The id of a step in its workflow, also where a fallback stands in, and which of its visits this is."""
    segment = key.rpartition("/")[2]
    visited_id, _, visit = segment.partition("~")[0].rpartition("#")
    return unquote(visited_id), int(visit or 1)


def workflow_type(record: RunRecord, story: Story | None = None) -> str | None:
    """The type of the run's own workflow, as far as its row and its events tell; None for an agent's run."""
    if record.target == "agent":
        return None
    stated: Any = _stated(record.metadata) or record.workflow_kind
    if stated in FlowType:
        return str(stated)
    if record.current_node_id is not None or (story is not None and ROOT_KEY in story.graphs):
        return FlowType.GRAPH.value
    return (FlowType.CONCURRENT if story is not None and story.is_concurrent else FlowType.SEQUENTIAL).value


def _stated(metadata: Mapping[str, Any]) -> Any:
    return metadata.get("workflow_type")


def agent_of(record: RunRecord, note: StepNote) -> str | None:
    """Name of the agent that a step asks; None for a step that asks none."""
    if note.kind not in (StepKind.AGENT, StepKind.GUARDRAIL):
        return None
    return record.agent_name if note.ref == ROOT else note.ref or None
