"""The state of a run after each of its steps, pauses and ends. Each is of bounded size, however long the run is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from kneo_serv.engine.keys import ROOT_KEY
from kneo_serv.model import event as ev
from kneo_serv.model.plan import FlowType
from kneo_serv.model.run import RunRecord
from kneo_serv.observe import redact_text
from kneo_serv.platform.views.bounds import bounded, iso
from kneo_serv.platform.views.resumption import replay_context
from kneo_serv.platform.views.run import fork_fields, usage_fields
from kneo_serv.platform.views.story import StepNote, Story, workflow_type
from kneo_serv.platform.views.task import request_fields
from kneo_serv.platform.views.trace import Timeline
from kneo_serv.platform.views.wire import checkpoint_type


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The run after one of its events. `sequence` counts from 1 without gaps, `iteration` the visits of the step.

    `trace_events` are those since the checkpoint before. `created_at` is an ISO text in UTC.
    """

    id: str
    run_id: str
    type: str
    workflow_name: str | None
    step_id: str | None
    node_id: str | None
    sequence: int
    iteration: int
    state: dict[str, Any]
    trace_events: list[dict[str, Any]]
    metadata: dict[str, Any]
    created_at: str

    def to_dict(self) -> dict[str, Any]:
        """JSON object with all fields."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(slots=True)
class Ledger:
    """Writer of one run's checkpoints, in step with its story."""

    record: RunRecord
    story: Story
    timeline: Timeline
    sequence: int = 0
    _pending: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, record: RunRecord, events: Sequence[ev.Recorded]) -> "Ledger":
        """A ledger at the beginning of the run."""
        return cls(record, Story.of(events), Timeline(record))

    def write(self, recorded: ev.Recorded) -> Checkpoint | None:
        """Takes in the next event; gives the checkpoint that it makes."""
        note = self.story.tell(recorded)
        self._pending.extend(self.timeline.lines(recorded, note, self.story))
        graph = self._in_graph(note)
        kind = checkpoint_type(recorded.event, in_graph=graph)
        if kind is None:
            return None
        self.sequence += 1
        trace, self._pending = self._pending, []
        at = iso(recorded.at) or ""
        step_id = note.visited_id if note is not None else None
        return Checkpoint(
            id=f"chk_{blake2b(f'{self.record.id}:{recorded.seq}'.encode(), digest_size=16).hexdigest()}",
            run_id=self.record.id,
            type=kind,
            workflow_name=(note and self.story.flow_name(note.frame)) or self.record.workflow_name,
            step_id=step_id,
            node_id=step_id if graph else None,
            sequence=self.sequence,
            iteration=note.visit if note is not None else 1,
            state=self._state(recorded, kind, at),
            trace_events=trace,
            metadata=bounded(self._metadata(recorded, note)),
            created_at=at,
        )

    def _in_graph(self, note: StepNote | None) -> bool:
        if note is None:
            return False
        if note.frame == ROOT_KEY:
            return workflow_type(self.record, self.story) == FlowType.GRAPH
        return note.frame in self.story.graphs

    def _state(self, recorded: ev.Recorded, kind: str, at: str) -> dict[str, Any]:
        record, story = self.record, self.story
        graph = workflow_type(record, story) == FlowType.GRAPH
        visited = bounded(story.visited)
        asked = story.waiting
        note = None if asked is None else story.note(asked.key)
        node_id = story.step_id if graph else None
        return {
            "id": record.id,
            "status": story.status.value,
            "agent_name": record.agent_name,
            "workflow_name": record.workflow_name,
            "workflow_kind": record.workflow_kind,
            "input_text": bounded(story.input_text),
            "output_text": bounded(story.output_text),
            "current_step_index": story.step_index,
            "current_step_id": story.step_id,
            "current_node_id": node_id,
            "visited_steps": visited,
            "visited_nodes": visited if graph else [],
            "pending_human_request": None
            if asked is None
            else bounded(request_fields(asked.request, note.input_text if note else "")),
            "continuation_id": None if asked is None else asked.continuation_id,
            "error": story.error_fields,
            "usage": usage_fields(story.usage),
            "parent_run_id": record.parent_run_id,
            "session_id": record.session_id,
            "tags": list(record.tags),
            "created_at": iso(record.created_at),
            "updated_at": at,
            "started_at": iso(story.started_at),
            "completed_at": iso(story.completed_at),
            "deadline_at": record.deadline_at,
            "metadata": {
                "target": record.target,
                "environment": record.environment,
                "execution_context": {
                    "last_event_type": kind,
                    "current_step_id": story.step_id,
                    "current_node_id": node_id,
                    "last_input_text": bounded(story.last_input),
                    "last_output_text": bounded(story.last_output),
                },
            },
        }

    def _metadata(self, recorded: ev.Recorded, note: StepNote | None) -> dict[str, Any]:
        match recorded.event:
            case ev.RunCreated() as event:
                return {
                    "target": event.target,
                    "environment": event.environment,
                    "timeout_seconds": event.timeout_seconds,
                    "deadline_at": event.deadline_at,
                }
            case ev.StepCompleted(output_text=output_text):
                return self._step(note, output_text, None)
            case ev.StepFailed() as event:
                error = {"message": redact_text(event.message), "type": event.error_type}
                passes = event.resolution is ev.Resolution.CONTINUE and note is not None
                return self._step(note, note.input_text if passes and note else None, error)
            case ev.HumanAsked() as event:
                text = note.input_text if note is not None else ""
                return {"continuation_id": event.continuation_id, "request": request_fields(event.request, text)}
            case ev.HumanAnswered() as event:
                return {"continuation_id": event.continuation_id, "decision": event.decision.value}
            case ev.RunContinued():
                return replay_context(self.record, self.story, checkpoint_count=self.sequence - 1)
            case ev.RunForked() as event:
                changed = {"input_text": event.input_text} if event.input_text is not None else {}
                return fork_fields(event) | changed
            case ev.RunCompleted(output_text):
                return {"output_text": output_text}
            case ev.RunFailed() as event:
                failed = {"error": {"message": redact_text(event.message), "type": event.error_type}}
                return failed | ({"dead_letter": True} if event.error_type == "dead_letter" else {})
            case ev.RunCancelled(reason):
                return {"reason": reason, "requested": True}
            case ev.RunTimedOut() as event:
                return {
                    "reason": "The run's deadline passed.",
                    "deadline_at": event.deadline_at,
                    "timed_out_at": recorded.at,
                    "status_at_timeout": event.status_at_timeout,
                }
            case _:
                return {}

    def _step(self, note: StepNote | None, output_text: str | None, error: dict[str, str] | None) -> dict[str, Any]:
        return {
            "workflow_type": workflow_type(self.record, self.story),
            "input_text": note.input_text if note is not None else None,
            "output_text": output_text,
            "error": error,
            "iteration": note.visit if note is not None else 1,
        }


def checkpoints(record: RunRecord, events: Sequence[ev.Recorded]) -> list[Checkpoint]:
    """All checkpoints of a run, in order."""
    ledger = Ledger.of(record, events)
    return [checkpoint for recorded in events if (checkpoint := ledger.write(recorded)) is not None]
