"""The one table from kinds of events to their names on the wire, in the trace and among the checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass

from kneo_serv.model import event as ev


@dataclass(frozen=True, slots=True)
class Wire:
    """Names of one kind of event on the wire; None where it does not show."""

    trace: str | None = None
    checkpoint: str | None = None
    agent_call: str | None = None
    """Trace name of the agent call that an agent's step is, beside the step's own."""


WIRE: Mapping[type[ev.Event], Wire] = {
    ev.RunCreated: Wire("workflow_started", "run_started"),
    ev.LegStarted: Wire("workflow_resumed"),
    ev.StepStarted: Wire("step_started", agent_call="run_started"),
    ev.StepCompleted: Wire("step_completed", "step_completed", agent_call="run_completed"),
    ev.StepFailed: Wire("step_failed", "step_failed", agent_call="run_failed"),
    ev.ModelTurnStarted: Wire("model_turn_started"),
    ev.ModelTurnCompleted: Wire("model_turn_completed"),
    ev.ToolCallStarted: Wire("tool_call_started"),
    ev.ToolCallCompleted: Wire("tool_call_completed"),
    ev.ToolCallFailed: Wire("tool_call_failed"),
    ev.ToolPolicyDenied: Wire("tool_policy_denied"),
    ev.StepReturned: Wire("step_returned"),
    ev.GuardrailStarted: Wire("guardrail_started"),
    ev.GuardrailApplied: Wire("guardrail_applied"),
    ev.EdgeTaken: Wire("edge_taken"),
    ev.HumanAsked: Wire("human_intervention_requested", "human_pause"),
    ev.HumanAnswered: Wire("human_answered", "human_resume"),
    ev.HumanReminded: Wire("human_reminded"),
    ev.HumanEscalated: Wire("human_escalated"),
    ev.HumanExpired: Wire("human_expired"),
    ev.LateOutcome: Wire("late_outcome"),
    ev.RunContinued: Wire(checkpoint="replay_context"),
    ev.RunForked: Wire("workflow_forked", "run_forked"),
    ev.RunCompleted: Wire("workflow_completed", "run_completed"),
    ev.RunFailed: Wire("workflow_failed", "run_failed"),
    ev.RunCancelled: Wire("workflow_cancelled", "run_cancelled"),
    ev.RunTimedOut: Wire("workflow_timed_out", "run_timed_out"),
    ev.RunExpired: Wire("workflow_expired"),
}
NODE_COMPLETED = "node_completed"
"""Name of `step_completed` among the checkpoints where the step is a node of a graph."""


TRACE_TYPES: Mapping[str, str] = {kind.KIND: wire.trace for kind, wire in WIRE.items() if wire.trace is not None}
"""By kind of event its name in the trace."""


def trace_type(event: ev.Event) -> str | None:
    """Name of an event in the trace. The first leg shows as the start of the workflow and not once more."""
    if isinstance(event, ev.LegStarted) and event.reason is ev.LegReason.START:
        return None
    return WIRE[type(event)].trace


def checkpoint_type(event: ev.Event, *, in_graph: bool) -> str | None:
    """Name of the checkpoint that follows an event.

    A failure shows once it is final; where the policy lets the workflow go on without it, the step counts as completed.
    """
    kind = WIRE[type(event)].checkpoint
    if isinstance(event, ev.StepFailed):
        if event.resolution in (ev.Resolution.RETRY, ev.Resolution.FALLBACK):
            return None
        if event.resolution is ev.Resolution.CONTINUE:
            kind = WIRE[ev.StepCompleted].checkpoint
    return NODE_COMPLETED if in_graph and kind == "step_completed" else kind
