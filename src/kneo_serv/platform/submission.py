"""What somebody wants to have run, and the run that it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kneo_serv.model import event as ev
from kneo_serv.model.ids import PlanHash, RunId
from kneo_serv.model.plan import Plan
from kneo_serv.model.quick import quick
from kneo_serv.model.run import Phase, RunRecord, RunStatus
from kneo_serv.platform.journal import public_text
from kneo_serv.platform.needs import needs_of


@quick
@dataclass(frozen=True, slots=True)
class Submission:
    """What somebody wants to have run. `target` is `agent` or `workflow`; times in seconds."""

    plan: Plan
    input_text: str
    target: str = "workflow"
    environment: str | None = None
    timeout_seconds: float | None = None
    session_id: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    """What was asked for (spec path, overlays, ...) and the caller's own metadata."""
    actor: str | None = None
    tenant: str | None = None
    """To whom the run will belong, for all its life."""
    queue: str | None = None
    """Where it waits for a worker; None: as its plan says."""
    priority: int | None = None
    """Among the runs of its tenant that wait; None: as its plan says."""
    trace: Mapping[str, str] = field(default_factory=dict)
    """W3C trace context that it is asked for under (`traceparent`, `tracestate`); a malformed one is passed over."""


def created_of(submission: Submission, now: float, token_budget: int | None) -> ev.RunCreated:
    """The first event of the run, born at `now` (seconds since the epoch)."""
    flow = submission.plan.root_flow if submission.target == "workflow" else None
    timeout = submission.timeout_seconds
    return ev.RunCreated(
        plan_hash=PlanHash(submission.plan.hash),
        target=submission.target,
        input_text=submission.input_text,
        agent_name=submission.plan.root_agent.name,
        workflow_name=flow.name if flow is not None else None,
        workflow_kind=flow.type.value if flow is not None else None,
        session_id=submission.session_id,
        timeout_seconds=timeout,
        deadline_at=now + timeout if timeout is not None else None,
        tags=submission.tags,
        environment=submission.environment,
        metadata=submission.metadata,
        # A plan that names its own budget means that one.
        token_budget=None if submission.plan.limits.token_budget is not None else token_budget,
        trace=submission.trace,
    )


def record_of(submission: Submission, created: ev.RunCreated, run_id: RunId, now: float) -> RunRecord:
    """The run's first row."""
    return RunRecord(
        id=run_id,
        status=RunStatus.RUNNING,
        phase=Phase.RUNNABLE,
        seq=1,
        plan_hash=created.plan_hash,
        target=created.target,
        input_text=created.input_text,
        public_input_text=public_text(created.input_text),
        created_at=now,
        updated_at=now,
        agent_name=created.agent_name,
        workflow_name=created.workflow_name,
        workflow_kind=created.workflow_kind,
        session_id=created.session_id,
        tags=created.tags,
        environment=created.environment,
        deadline_at=created.deadline_at,
        metadata=created.metadata,
        tenant=submission.tenant,
        queue=submission.queue or submission.plan.dispatch.queue,
        priority=submission.plan.dispatch.priority if submission.priority is None else submission.priority,
        needs=needs_of(submission.plan, submission.target),
    )
