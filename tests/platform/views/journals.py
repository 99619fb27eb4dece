"""Journals by hand: a builder that numbers events and gives them times."""

from dataclasses import dataclass, field
from typing import Any

from kneo_serv.model import event as ev
from kneo_serv.model.ids import ContinuationId, PlanHash, RequestId, RunId, StepKey
from kneo_serv.model.message import ToolCall, Usage
from kneo_serv.model.plan import RequestType, StepKind
from kneo_serv.model.run import Phase, RunRecord, RunStatus
from kneo_serv.model.task import Decision, HumanRequest, HumanTask

RUN = RunId("run_2026-05-10T12:34:56_abcdefghijklmnopqrstuv")
CONTINUATION = ContinuationId("cont_1")
REQUEST = HumanRequest(
    id=RequestId("req_1"),
    type=RequestType.APPROVAL,
    title="Check it",
    prompt="Is it right?",
    requested_by="h",
    assignee="ann@example.com",
    timeout_seconds=60.0,
)


@dataclass
class Journal:
    """A journal in the making."""

    events: list[ev.Recorded] = field(default_factory=list)

    def add(self, *events: ev.Event) -> "Journal":
        for event in events:
            seq = len(self.events) + 1
            self.events.append(ev.Recorded(seq, 1000.0 + seq, event))
        return self

    def begin(self, input_text: str = "in", target: str = "workflow") -> "Journal":
        return self.add(
            ev.RunCreated(PlanHash("p"), target, input_text, agent_name="root", workflow_name="flow"),
            ev.LegStarted("w", 1, ev.LegReason.START),
        )

    def start(self, path: str, kind: StepKind = StepKind.FUNCTION, index: int | None = None, **more: Any) -> "Journal":
        step_id = more.pop("step_id", path.rpartition("/")[2].partition("#")[0])
        return self.add(ev.StepStarted(key(path), step_id, kind, more.pop("attempt", 1), index=index, **more))

    def end(self, path: str, output_text: str, index: int | None = None) -> "Journal":
        step_id = path.rpartition("/")[2].partition("#")[0]
        return self.add(ev.StepCompleted(key(path), step_id, output_text, index))

    def function(self, path: str, output_text: str, index: int | None = None) -> "Journal":
        return self.start(path, index=index).end(path, output_text, index)

    def fail(self, path: str, resolution: ev.Resolution, index: int | None = None) -> "Journal":
        step_id = path.rpartition("/")[2].partition("#")[0]
        return self.add(ev.StepFailed(key(path), step_id, 1, "ValueError", "no such thing", resolution, index=index))

    def agent(self, path: str, output_text: str, index: int | None = None) -> "Journal":
        self.start(path, StepKind.AGENT, index, ref="@root")
        return self.turn(path, 1, output_text).end(path, output_text, index)

    def turn(self, path: str, number: int, text: str, *calls: ToolCall) -> "Journal":
        step_id = path.rpartition("/")[2].partition("#")[0]
        return self.add(
            ev.ModelTurnStarted(key(path), step_id, number),
            ev.ModelTurnCompleted(key(path), step_id, number, text, calls, Usage(10, 5, 1), "dummy-1"),
        )

    def ask(self, path: str, index: int | None = None, continuation: str = CONTINUATION) -> "Journal":
        step_id = path.rpartition("/")[2].partition("#")[0]
        return self.add(ev.HumanAsked(key(path), step_id, ContinuationId(continuation), REQUEST, index, 1060.0))

    def answer(self, path: str, decision: Decision = Decision.APPROVED, content: str | None = None) -> "Journal":
        step_id = path.rpartition("/")[2].partition("#")[0]
        return self.add(
            ev.HumanAnswered(key(path), step_id, CONTINUATION, REQUEST.id, decision, content, actor="ann"),
            ev.LegStarted("w", 2, ev.LegReason.RESUME),
        )

    @property
    def record(self) -> RunRecord:
        return row(seq=len(self.events))


def key(path: str) -> StepKey:
    return StepKey(f"main/{path}")


def row(status: RunStatus = RunStatus.RUNNING, **more: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "id": RUN,
        "status": status,
        "phase": Phase.RUNNABLE,
        "seq": 1,
        "plan_hash": PlanHash("p"),
        "target": "workflow",
        "input_text": "in",
        "created_at": 1000.0,
        "updated_at": 1001.0,
        "agent_name": "root",
        "workflow_name": "flow",
        "workflow_kind": "workflow",
        "session_id": "s-1",
    }
    return RunRecord(**{**fields, **more})


def human_task(**more: Any) -> HumanTask:
    fields: dict[str, Any] = {
        "continuation_id": CONTINUATION,
        "run_id": RUN,
        "key": key("h#1"),
        "step_id": "h",
        "step_index": 2,
        "workflow_name": "flow",
        "workflow_kind": "sequential",
        "request": REQUEST,
        "input_text": "mail bob@example.com",
        "public_input_text": "mail [REDACTED_EMAIL]",
        "created_at": 1000.0,
        "expires_at": 1060.0,
    }
    return HumanTask(**{**fields, **more})


def reviewed() -> Journal:
    """Function, agent, human, function; completed."""
    journal = Journal().begin().function("f#1", "f-out", 0).agent("a#1", "a-out", 1).ask("h#1", 2).answer("h#1")
    return journal.end("h#1", "a-out", 2).function("g#1", "g-out", 3).add(ev.RunCompleted("g-out"))
