"""The journal as a time line. It never holds the arguments or the results of tools."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from kneo_serv.engine.keys import ROOT_KEY, frame_of
from kneo_serv.model import event as ev
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import FlowType
from kneo_serv.model.run import RunRecord
from kneo_serv.observe import redact_error
from kneo_serv.platform.views.bounds import bounded, iso, preview
from kneo_serv.platform.views.run import fork_fields, usage_fields
from kneo_serv.platform.views.story import StepNote, Story, agent_of, workflow_type
from kneo_serv.platform.views.task import request_fields
from kneo_serv.platform.views.wire import WIRE, trace_type

SPEAKER = ("runtime_mode", "model_provider")
"""What the metadata of a model turn tell of who was asked."""

ENDS = ("_completed", "_failed")
"""How the types of events end that say how long something took."""


def trace_events(
    record: RunRecord, events: Sequence[ev.Recorded], *, limit: int = 10_000
) -> tuple[list[dict[str, Any]], int]:
    """The first `limit` trace events (0 means all), and how many were left out behind them."""
    story, timeline = Story.of(events), Timeline(record)
    lines: list[dict[str, Any]] = []
    dropped = 0
    for recorded in events:
        note = story.tell(recorded)
        added = timeline.lines(recorded, note, story)
        room = len(added) if limit == 0 else max(0, limit - len(lines))
        lines.extend(added[:room])
        dropped += len(added[room:])
    return lines, dropped


@dataclass(slots=True)
class Timeline:
    """Writer of one run's trace. Event ids and span ids follow from run, event and step: they never change."""

    record: RunRecord
    _opened: dict[str, str] = field(default_factory=dict)
    """Span name to the id of the event that opened it."""
    _since: dict[str, float] = field(default_factory=dict)
    """Span name to the time when it was opened."""
    _spans: dict[str, str] = field(default_factory=dict)

    def lines(self, recorded: ev.Recorded, note: StepNote | None, story: Story) -> list[dict[str, Any]]:
        """Trace events of one event, which `story` has just been told; `note` is the step that it is about."""
        key = None if note is None else note.key
        return [{**line, "key": key} for line in self._lines(recorded, note, story)]

    def _lines(self, recorded: ev.Recorded, note: StepNote | None, story: Story) -> list[dict[str, Any]]:
        kind = trace_type(recorded.event)
        if kind is None:
            return []
        match recorded.event:
            case ev.StepStarted() | ev.StepCompleted() | ev.StepFailed() as event if note is not None:
                return self._step(recorded, event, kind, note, story)
            case (
                ev.ModelTurnStarted()
                | ev.ModelTurnCompleted()
                | ev.ToolCallStarted()
                | ev.ToolCallCompleted()
                | ev.ToolCallFailed()
                | ev.ToolPolicyDenied()
            ) as event:
                return [self._part(recorded, event, kind, note, story)]
            case (
                ev.StepReturned()
                | ev.GuardrailStarted()
                | ev.GuardrailApplied()
                | ev.HumanAsked()
                | ev.HumanAnswered()
                | ev.HumanReminded()
                | ev.HumanEscalated()
                | ev.HumanExpired()
                | ev.LateOutcome()
            ) as event:
                return [self._aside(recorded, event, kind, note, story)]
            case ev.EdgeTaken(key, source, target, label):
                return [
                    self._line(
                        recorded,
                        kind,
                        span=_span_of_frame(key),
                        workflow_name=story.flow_name(key),
                        step_id=source,
                        metadata={"source": source, "target": target, "label": label},
                    )
                ]
            case event:
                return [self._run(recorded, event, kind, story)]

    def _run(self, recorded: ev.Recorded, event: ev.Event, kind: str, story: Story) -> dict[str, Any]:
        shape = workflow_type(self.record, story)
        fields: dict[str, Any] = {"agent_name": self.record.agent_name}
        metadata: dict[str, Any] = {"workflow_type": shape}
        match event:
            case ev.RunCreated():
                fields["input_preview"] = preview(event.input_text)
                metadata |= {"target": event.target, "start_index": 0}
            case ev.LegStarted():
                metadata |= {"reason": event.reason.value, "start_index": story.next_index}
            case ev.RunForked():
                if event.input_text is not None:
                    fields["input_preview"] = preview(event.input_text)
                metadata |= fork_fields(event)
            case ev.RunCompleted():
                fields["output_preview"] = preview(event.output_text)
                visited = "visited_nodes" if shape == FlowType.GRAPH else "visited_steps"
                metadata[visited] = bounded(story.visited)
            case ev.RunCancelled():
                metadata |= {"reason": event.reason, "actor": event.actor}
            case ev.RunTimedOut():
                metadata |= {
                    "timeout_seconds": event.timeout_seconds,
                    "deadline_at": event.deadline_at,
                    "status_at_timeout": event.status_at_timeout,
                }
            case ev.RunExpired():
                metadata["continuation_id"] = event.continuation_id
            case _:
                pass  # what a failed run has to say stands in its error
        if story.error is not None:
            fields["error"] = _error(*story.error)
        if isinstance(event, ev.RunFailed):
            fields["step_id"] = event.step_id
        return self._line(
            recorded, kind, span=ROOT_KEY, opens=isinstance(event, ev.RunCreated), metadata=metadata, **fields
        )

    def _step(
        self,
        recorded: ev.Recorded,
        event: ev.StepStarted | ev.StepCompleted | ev.StepFailed,
        kind: str,
        note: StepNote,
        story: Story,
    ) -> list[dict[str, Any]]:
        fields: dict[str, Any] = {
            **_place(note, story),
            "agent_name": agent_of(self.record, note),
            "opens": isinstance(event, ev.StepStarted),
        }
        metadata: dict[str, Any] = {
            "step_kind": note.kind and note.kind.value,
            "step_index": note.index,
            "visit": note.visit,
            "attempt": note.attempt,
        }
        match event:
            case ev.StepStarted():
                fields["input_preview"] = preview(note.input_text)
                if event.fallback_for is not None:
                    metadata["fallback_for"] = event.fallback_for
            case ev.StepCompleted():
                fields["output_preview"] = preview(event.output_text)
                if event.usage is not None:
                    metadata["usage"] = usage_fields(event.usage) | {"cost_usd": event.usage.cost_usd}
            case ev.StepFailed():
                fields["error"] = _error(event.error_type, event.message)
                metadata |= {"resolution": event.resolution.value, "retry_at": event.retry_at}
        step = self._line(recorded, kind, span=note.key, parent=_span_of_frame(note.frame), metadata=metadata, **fields)
        call = WIRE[type(event)].agent_call if note.calls_agent else None
        if call is None:
            return [step]
        messages = {"message_count": note.messages, "attempt": note.attempt}
        fields |= _speaker(note.spoke)
        agent = self._line(recorded, call, span=_agent_span(note.key), parent=note.key, metadata=messages, **fields)
        return [step, agent] if isinstance(event, ev.StepStarted) else [agent, step]

    def _part(
        self,
        recorded: ev.Recorded,
        event: ev.ModelTurnStarted
        | ev.ModelTurnCompleted
        | ev.ToolCallStarted
        | ev.ToolCallCompleted
        | ev.ToolCallFailed
        | ev.ToolPolicyDenied,
        kind: str,
        note: StepNote | None,
        story: Story,
    ) -> dict[str, Any]:
        fields: dict[str, Any] = _place(note, story)
        metadata: dict[str, Any] = {}
        if note is not None:
            fields["agent_name"] = agent_of(self.record, note)
        if isinstance(event, ev.ModelTurnStarted | ev.ModelTurnCompleted):
            span = f"{event.key}|turn|{event.turn}"
            metadata["turn"] = event.turn
        else:
            span = f"{event.key}|call|{event.call_id}"
            metadata["call_id"] = event.call_id
            fields["tool_name"] = event.tool_name
        match event:
            case ev.ModelTurnCompleted():
                fields |= _speaker(event) | {"output_preview": preview(event.text)}
                metadata |= {
                    "input_tokens": event.usage.input_tokens,
                    "output_tokens": event.usage.output_tokens,
                    "cached_tokens": event.usage.cached_tokens,
                    "cost_usd": event.usage.cost_usd,
                    "tool_call_count": len(event.tool_calls),
                    **{name: value for name, value in event.metadata.items() if name not in SPEAKER},
                }
                fields["memory_policy"] = event.metadata.get("memory", {}).get("policy")
            case ev.ToolCallStarted():
                metadata["number"] = event.number
            case ev.ToolCallFailed():
                # The text about bad arguments quotes them, so only its type is told.
                quotes = event.error_type == "ToolArgumentValidationError"
                fields["error"] = event.error_type if quotes else _error(event.error_type, event.message)
            case ev.ToolPolicyDenied():
                fields["error"] = redact_error(event.reason)
            case _:
                pass  # all there is to tell is who and when
        agent_span = _agent_span(event.key)
        parent = agent_span if agent_span in self._opened else event.key
        opens = isinstance(event, ev.ModelTurnStarted | ev.ToolCallStarted)
        return self._line(recorded, kind, span=span, parent=parent, opens=opens, metadata=metadata, **fields)

    def _aside(
        self,
        recorded: ev.Recorded,
        event: ev.StepReturned
        | ev.GuardrailStarted
        | ev.GuardrailApplied
        | ev.HumanAsked
        | ev.HumanAnswered
        | ev.HumanReminded
        | ev.HumanEscalated
        | ev.HumanExpired
        | ev.LateOutcome,
        kind: str,
        note: StepNote | None,
        story: Story,
    ) -> dict[str, Any]:
        fields: dict[str, Any] = _place(note, story) if note is not None else {"step_id": event.step_id}
        metadata: dict[str, Any] = {}
        match event:
            case ev.StepReturned():
                fields["output_preview"] = preview(event.output_text)
            case ev.GuardrailStarted():
                fields["guardrail_id"] = event.guardrail_id
                metadata = {"stage": event.stage}
            case ev.GuardrailApplied():
                fields["guardrail_id"] = event.guardrail_id
                metadata = {"stage": event.stage, "action": event.action, "passed": event.passed}
                metadata |= {"outcome": event.outcome.value, "reason": event.reason}
            case ev.HumanAsked():
                text = note.input_text if note is not None else ""
                fields["input_preview"] = preview(text)
                metadata = {"request": bounded(request_fields(event.request, text)), "expires_at": event.expires_at}
            case ev.HumanAnswered():
                metadata = {
                    "request_id": event.request_id,
                    "decision": event.decision.value,
                    "selected_option": event.selected_option,
                    "has_content": bool(event.content),
                    "actor": event.actor,
                    "automatic": event.automatic,
                }
            case ev.HumanEscalated():
                metadata = {"escalated_at": event.escalated_at, "original_expires_at": event.original_expires_at}
            case ev.HumanExpired():
                metadata = {
                    "on_timeout": event.on_timeout.value,
                    "timeout_seconds": event.timeout_seconds,
                    "expires_at": event.expires_at,
                }
            case ev.LateOutcome():
                metadata = {"outcome": event.outcome}
                if event.error_type is not None:
                    fields["error"] = event.error_type
            case ev.HumanReminded():
                metadata = {"number": event.number, "assignee": event.assignee}
        if not isinstance(event, ev.StepReturned | ev.GuardrailStarted | ev.GuardrailApplied | ev.LateOutcome):
            metadata["continuation_id"] = event.continuation_id
        return self._line(
            recorded,
            kind,
            span=event.key,
            parent=_span_of_frame(frame_of(event.key)),
            opens=isinstance(event, ev.HumanAsked) and event.key not in self._opened,
            metadata=metadata,
            **fields,
        )

    def _line(
        self,
        recorded: ev.Recorded,
        kind: str,
        *,
        span: str,
        parent: str | None = None,
        opens: bool = False,
        metadata: dict[str, Any],
        workflow_name: str | None = None,
        step_id: str | None = None,
        agent_name: str | None = None,
        runtime_mode: str | None = None,
        model_provider: str | None = None,
        model_name: str | None = None,
        tool_name: str | None = None,
        guardrail_id: str | None = None,
        memory_policy: str | None = None,
        input_preview: str | None = None,
        output_preview: str | None = None,
        error: str | None = None,
    ) -> dict[str, Any]:
        event_id = event_id_of(self.record.id, recorded.seq, kind)
        inside = self._opened.get(parent or "") if opens else self._opened.get(span)
        if opens:
            self._opened[span], self._since[span] = event_id, recorded.at
        elif kind.endswith(ENDS) and span in self._since:
            metadata = {**metadata, "duration_ms": round((recorded.at - self._since[span]) * 1000)}
        return {
            "type": kind,
            "run_id": self.record.id,
            "event_id": event_id,
            "sequence": recorded.seq,
            "timestamp": iso(recorded.at),
            "parent_event_id": inside,
            "span_id": self._span(span),
            "parent_span_id": None if parent is None else self._span(parent),
            "agent_name": agent_name,
            "workflow_name": workflow_name or self.record.workflow_name,
            "step_id": step_id,
            "runtime_mode": runtime_mode,
            "model_provider": model_provider,
            "model_name": model_name,
            "tool_name": tool_name,
            "guardrail_id": guardrail_id,
            "memory_policy": memory_policy,
            "input_preview": input_preview,
            "output_preview": output_preview,
            "metadata": metadata,
            "error": error,
        }

    def _span(self, name: str) -> str:
        if (span := self._spans.get(name)) is None:
            span = self._spans[name] = _digest(self.record.id, name, 8)
        return span


class LiveTrace:
    """The trace of a run, told event by event: the same rows as those of `trace_events`, while they come."""

    def __init__(self, record: RunRecord) -> None:
        """A trace of which nothing is told; `record` says what never changes about the run."""
        # Which frames are graphs is asked only of checkpoints, and of runs whose row does not say what they are.
        self._story = Story(frozenset())
        self._timeline = Timeline(record)

    def rows(self, recorded: ev.Recorded) -> list[dict[str, Any]]:
        """The rows of the next event of the run's history, which begins with its first one."""
        return self._timeline.lines(recorded, self._story.tell(recorded), self._story)


def event_id_of(run_id: str, seq: int, kind: str) -> str:
    """Id of the row of this kind that the event of this number has in a run's trace."""
    return f"evt_{_digest(run_id, f'{seq}:{kind}', 16)}"


def _digest(run_id: str, name: str, size: int) -> str:
    return blake2b(f"{run_id}:{name}".encode(), digest_size=size).hexdigest()


def _speaker(turn: ev.ModelTurnCompleted | None) -> dict[str, Any]:
    """Which model spoke, as far as the turn tells; nothing before it has spoken."""
    if turn is None:
        return {}
    return {"model_name": turn.model_name, **{name: turn.metadata.get(name) for name in SPEAKER}}


def _place(note: StepNote | None, story: Story) -> dict[str, Any]:
    if note is None:
        return {}
    return {"step_id": note.visited_id, "workflow_name": story.flow_name(note.frame)}


def _span_of_frame(frame_key: StepKey) -> str:
    """Span of the step that opened a frame, whichever attempt it was; the run's own for the root frame."""
    front, slash, segment = frame_key.rpartition("/")
    return front + slash + segment.partition("@")[0]


def _agent_span(key: StepKey) -> str:
    return f"{key}|agent"


def _error(error_type: str, message: str) -> str:
    return redact_error(f"{error_type}: {message}")
