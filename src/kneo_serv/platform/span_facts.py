"""What spans tell of runs, steps, agents and calls: names and attributes, and nothing of what was said."""

from dataclasses import dataclass

from kneo_serv.engine.frames import AGENT_FLOW, CALLS_FLOW, flow_of, frame_holding, step_of
from kneo_serv.model import event as ev
from kneo_serv.model.ids import RunId, StepKey
from kneo_serv.model.message import ToolCall, Usage
from kneo_serv.model.plan import AgentPlan, Plan, RuntimeMode, StepKind
from kneo_serv.model.run import Frame, Run
from kneo_serv.observe import Attributes, redact_text
from kneo_serv.observe import conventions as names

_DUMMY = "dummy"


@dataclass(frozen=True, slots=True)
class StepFacts:
    """One step as its span shows it."""

    key: StepKey
    step_id: str
    kind: StepKind
    ref: str
    attempt: int
    index: int | None = None
    flow: str | None = None
    """Key of the workflow that it opens."""
    fallback_for: str | None = None
    inline: bool = False
    """It holds steps of its own (kind parallel or map), so that its workflow has no name."""
    alone: bool = False
    """It is all that the run does: the leg is the invocation of its agent."""

    @property
    def agent(self) -> str | None:
        """Key of the agent that it asks."""
        return self.ref if self.kind in (StepKind.AGENT, StepKind.GUARDRAIL) else None

    def attributes(self) -> Attributes:
        """Of the span of the step."""
        return {
            names.STEP_ID: self.step_id,
            names.STEP_KEY: self.key,
            names.STEP_KIND: self.kind.value,
            names.STEP_INDEX: self.index,
            names.STEP_ATTEMPT: self.attempt or None,
            names.STEP_FALLBACK_FOR: self.fallback_for,
            names.FUNCTION_NAME: self.ref if self.kind is StepKind.FUNCTION else None,
        }

    def invocation(self, plan: Plan) -> tuple[str, Attributes] | None:
        """Name and attributes of the span of the agent or workflow that it invokes; None where the step is all."""
        flow = plan.flows[self.flow].name if self.flow is not None and not self.inline else None
        if self.agent is not None and not self.alone:
            agent = plan.agents[self.agent]
            of_agent = {**agent_attributes(agent, names.INVOKE_AGENT), names.WORKFLOW_NAME: flow}
            return f"{names.INVOKE_AGENT} {agent.name}", of_agent
        if flow is not None:
            return f"{names.INVOKE_WORKFLOW} {flow}", {
                names.OPERATION: names.INVOKE_WORKFLOW,
                names.WORKFLOW_NAME: flow,
            }
        return None


def step_begun(event: ev.StepStarted, run: Run) -> StepFacts:
    """The step of an attempt that has begun; `run` is the run after it."""
    frame = run.frame and frame_holding(run.frame, event.key)
    return StepFacts(
        event.key,
        event.step_id,
        event.step_kind,
        event.ref,
        event.attempt,
        event.index,
        event.flow,
        event.fallback_for,
        inline=_is_inline(frame, event.step_kind, event.step_id, event.ref),
        alone=_is_alone(frame),
    )


def step_found(plan: Plan, run: Run, key: StepKey) -> StepFacts | None:
    """The live step of this key; None when it is not live."""
    frame = run.frame and frame_holding(run.frame, key)
    state = frame.live.get(key) if frame is not None else None
    if frame is None or state is None:
        return None
    step = step_of(flow_of(plan, frame), state)
    return StepFacts(
        key,
        state.executes,
        state.kind,
        step.ref,
        state.attempt,
        state.index,
        None if state.frame is None or state.frame.flow == CALLS_FLOW else state.frame.flow,
        None if state.executes == state.step_id else state.step_id,
        inline=_is_inline(frame, state.kind, state.executes, step.ref),
        alone=_is_alone(frame),
    )


def _is_inline(frame: Frame | None, kind: StepKind, step_id: str, ref: str) -> bool:
    return frame is not None and kind is StepKind.WORKFLOW and ref == f"{frame.flow}/{step_id}"


def _is_alone(frame: Frame | None) -> bool:
    return frame is not None and frame.flow == AGENT_FLOW


def run_attributes(plan: Plan, run_id: RunId, target: str, session_id: str | None) -> Attributes:
    """Of every span about a run as a whole."""
    flow = plan.root_flow if target != "agent" else None
    return {
        names.RUN_ID: run_id,
        names.RUN_TARGET: target,
        names.PLAN_HASH: plan.hash,
        names.WORKFLOW_NAME: None if flow is None else flow.name,
        names.AGENT_NAME: plan.root_agent.name if flow is None else None,
        names.CONVERSATION_ID: session_id and redact_text(session_id),
    }


def leg_name(plan: Plan, target: str) -> tuple[str, Attributes]:
    """Name of the span of a leg, and the attributes that go with the name."""
    if target != "agent" and plan.root_flow is not None:
        return f"{names.INVOKE_WORKFLOW} {plan.root_flow.name}", {names.OPERATION: names.INVOKE_WORKFLOW}
    return f"{names.INVOKE_AGENT} {plan.root_agent.name}", agent_attributes(plan.root_agent, names.INVOKE_AGENT)


def agent_attributes(agent: AgentPlan, operation: str) -> Attributes:
    """Which agent, and who answers for it."""
    model = agent.model
    return {
        names.OPERATION: operation,
        names.AGENT_NAME: agent.name,
        names.PROVIDER: names.provider_name(provider_of(agent)),
        names.REQUEST_MODEL: None if model is None else model.name,
        names.RUNTIME_MODE: agent.runtime.preferred_mode.value,
    }


def chat_name(agent: AgentPlan) -> str:
    """Name of the span of a model turn."""
    return names.CHAT if agent.model is None else f"{names.CHAT} {agent.model.name}"


def chat_attributes(agent: AgentPlan, turn: int) -> Attributes:
    """What is asked of a model."""
    model = agent.model
    return {
        **agent_attributes(agent, names.CHAT),
        names.MODEL_TURN: turn,
        names.REQUEST_TEMPERATURE: None if model is None else model.temperature,
        names.REQUEST_MAX_TOKENS: None if model is None else model.max_tokens,
        names.OUTPUT_TYPE: None if agent.output_schema is None else names.OUTPUT_TYPE_JSON,
    }


def usage_attributes(usage: Usage) -> Attributes:
    """What it took; nothing where the provider does not say."""
    return {
        names.INPUT_TOKENS: usage.input_tokens or None,
        names.OUTPUT_TOKENS: usage.output_tokens or None,
        names.CACHED_TOKENS: usage.cached_tokens or None,
        names.COST: usage.cost_usd or None,
    }


def tool_attributes(call: ToolCall, number: int, *, known: bool) -> Attributes:
    """Which tool is called; one that is not `known` stays without a name."""
    return {
        names.OPERATION: names.EXECUTE_TOOL,
        names.TOOL_NAME: call.name if known else None,
        names.TOOL_CALL_ID: call.id,
        names.TOOL_TYPE: names.TOOL_TYPE_FUNCTION,
        names.TOOL_NUMBER: number,
    }


def guardrail_attributes(event: ev.GuardrailStarted | ev.GuardrailApplied) -> Attributes:
    """Which guardrail looks, and what it finds."""
    facts: Attributes = {names.GUARDRAIL_ID: event.guardrail_id, names.GUARDRAIL_STAGE: event.stage}
    if isinstance(event, ev.GuardrailApplied):
        facts = {
            **facts,
            names.GUARDRAIL_ACTION: event.action,
            names.GUARDRAIL_PASSED: event.passed,
            names.GUARDRAIL_OUTCOME: event.outcome.value,
        }
    return facts


def provider_of(agent: AgentPlan) -> str:
    """The name of the provider that answers for this agent."""
    runtime, model = agent.runtime, agent.model
    named = runtime.native_provider if runtime.preferred_mode is RuntimeMode.NATIVE else runtime.bridge_provider
    return named or (model.provider if model is not None else _DUMMY)
