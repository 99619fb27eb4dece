"""Handing over: an agent calls the tool of the participant that is to go on."""

from collections.abc import Sequence

from kneo_serv.model.message import ToolCall
from kneo_serv.model.plan import AgentPlan, Flow, FlowType, Plan, Step, StepKind
from kneo_serv.model.run import Frame, StepState
from kneo_serv.model.tool import ToolDefinition

PREFIX = "transfer_to_"
"""Begins the names of the tools by which agents hand over."""

_PARAMETERS = {
    "type": "object",
    "properties": {"message": {"type": "string", "description": "What they need to know to go on."}},
}


def offered(plan: Plan, flow: Flow, frame: Frame, step: Step) -> tuple[ToolDefinition, ...]:
    """The tools by which the agent of this step may hand over now; none when its turn is the last."""
    if not _may_transfer(flow, step) or (flow.max_iterations is not None and frame.index + 1 >= flow.max_iterations):
        return ()
    return tuple(
        ToolDefinition(f"{PREFIX}{other.id}", _description(plan, other), _PARAMETERS)
        for other in flow.steps
        if other.id != step.id
    )


def transfer(flow: Flow, step: Step, calls: Sequence[ToolCall]) -> tuple[str, ToolCall] | None:
    """The participant that is to go on, and the call that says so; the first such call counts."""
    if not _may_transfer(flow, step):
        return None
    names = {f"{PREFIX}{other.id}": other.id for other in flow.steps if other.id != step.id}
    return next(((names[call.name], call) for call in calls if call.name in names), None)


def transfer_of(flow: Flow, step: Step, state: StepState) -> str | None:
    """The participant whom a finished step handed over to."""
    found = transfer(flow, step, state.messages[-1].tool_calls) if state.messages else None
    return None if found is None else found[0]


def handed_text(text: str, call: ToolCall, input_text: str) -> str:
    """What goes on to the next one: what the agent said, else its message to them, else what it was told itself."""
    message = call.arguments.get("message")
    return text or (message if isinstance(message, str) else "") or input_text


def misdirected(flow: Flow, step: Step, agent: AgentPlan, call: ToolCall) -> str | None:
    """Why a call hands over to nobody; None when it does not try to."""
    if not _may_transfer(flow, step) or not call.name.startswith(PREFIX) or call.name in agent.tools:
        return None
    others = ", ".join(other.id for other in flow.steps if other.id != step.id)
    wanted = call.name.removeprefix(PREFIX)
    if wanted == step.id:
        return f"you are {wanted!r} yourself; you can hand over to: {others}"
    return f"there is no participant {wanted!r}; you can hand over to: {others}"


def _may_transfer(flow: Flow, step: Step) -> bool:
    return flow.type is FlowType.HANDOFF and flow.transfer and step.kind is StepKind.AGENT


def _description(plan: Plan, step: Step) -> str:
    described: str | None = None
    match step.kind:
        case StepKind.AGENT | StepKind.GUARDRAIL:
            described = plan.agents[step.ref].description
        case StepKind.HUMAN:
            described = plan.humans[step.ref].description
        case StepKind.WORKFLOW:
            described = plan.flows[step.ref].description
        case StepKind.FUNCTION:
            pass  # a function says nothing of itself
    return described or f"Hands the conversation over to {step.id}."
