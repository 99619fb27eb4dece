"""Ways through the tree of frames: finding a step instance, changing it, and looking at what is open."""

from collections.abc import Callable, Iterator

from kneo_serv.engine.joins import has_enough
from kneo_serv.engine.keys import frame_of, nested_key, step_key
from kneo_serv.model.event import Resolution, StepCompleted, StepFailed
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import ROOT, Flow, FlowType, Plan, Step, StepKind
from kneo_serv.model.quick import replace
from kneo_serv.model.run import CallPhase, CallState, Frame, Run, StepPhase, StepState

AGENT_FLOW = ""
"""Name of the frame's flow when the root agent runs alone."""

CALLS_FLOW = "@calls"
"""Name of the flow in whose frame agents answer tool calls of another agent."""


def flow_of(plan: Plan, frame: Frame) -> Flow:
    """The workflow that a frame executes; for the root agent alone, a sequence of that one step."""
    if frame.flow == CALLS_FLOW:
        tools = ((name, tool.agent, tool.definition.timeout_seconds) for name, tool in plan.tools.items())
        steps = (
            Step(name, StepKind.AGENT, agent, timeout_seconds=limit)
            for name, agent, limit in tools
            if agent is not None
        )
        return Flow("tools", FlowType.CONCURRENT, tuple(steps))
    if frame.flow != AGENT_FLOW:
        return plan.flows[frame.flow]
    agent = plan.root_agent
    return Flow(agent.name, FlowType.SEQUENTIAL, (Step(agent.name, StepKind.AGENT, ROOT),))


def step_of(flow: Flow, state: StepState) -> Step:
    """The step whose target an instance executes."""
    return step_named(flow, state.executes, state.index)


def agent_of(frame: Frame, step: Step) -> str:
    """Key of the agent that a step asks."""
    return ROOT if frame.flow == AGENT_FLOW else step.ref


def step_named(flow: Flow, step_id: str, index: int | None = None) -> Step:
    """The step of this id; `index` is where it stands, if that is known. Raises KeyError."""
    # In a map the index is the place of an item in the list, which says nothing of the one step that there is.
    if index is not None and index < len(flow.steps) and flow.steps[index].id == step_id:
        return flow.steps[index]
    for added in (flow.aggregator, flow.speaker):
        if added is not None and added.id == step_id:
            return added
    return flow.step(step_id)


def side_by_side(flow: Flow) -> bool:
    """Whether the steps of a workflow are at work at the same time."""
    return flow.type is FlowType.CONCURRENT or flow.type is FlowType.MAP


def is_inline(frame: Frame, step: Step) -> bool:
    """Whether a step holds steps of its own (kind parallel or map), which share the variables around them."""
    return step.kind is StepKind.WORKFLOW and step.ref == f"{frame.flow}/{step.id}"


def branch_to(frame: Frame, key: StepKey) -> StepState | None:
    """The live instance of this frame in whose own frame `key` lies, or which opened the frame of that key."""
    segment = key[len(frame.key) + 1 :].partition("/")[0]
    state = frame.live.get(StepKey(f"{frame.key}/{segment.partition('@')[0]}"))
    if state is None or state.frame is None:
        return None
    return state if key == state.frame.key or _holds(state.frame, key) else None


def find(frame: Frame | None, key: StepKey) -> StepState | None:
    """The live step instance of this key."""
    if frame is None:
        return None
    if key in frame.live:
        return frame.live[key]
    branch = branch_to(frame, key)
    return None if branch is None else find(branch.frame, key)


def frame_holding(frame: Frame, key: StepKey) -> Frame | None:
    """The frame in which the step of `key` lives."""
    wanted = frame_of(key)
    if frame.key == wanted:
        return frame
    branch = branch_to(frame, key)
    return None if branch is None or branch.frame is None else frame_holding(branch.frame, key)


def in_frame(frame: Frame, frame_key: StepKey, change: Callable[[Frame], Frame]) -> Frame:
    """The tree with one frame changed. Raises KeyError when there is no such frame."""
    if frame.key == frame_key:
        return change(frame)
    state = branch_to(frame, frame_key)
    if state is None or state.frame is None:
        raise KeyError(frame_key)
    inner = in_frame(state.frame, frame_key, change)
    return replace(frame, live={**frame.live, state.key: replace(state, frame=inner)})


def with_step(frame: Frame, state: StepState) -> Frame:
    """The frame with this instance live, in the place that it had."""
    return replace(frame, live={**frame.live, state.key: state})


def in_place_of(frame: Frame, key: StepKey, state: StepState) -> Frame:
    """The frame with this instance live where that of `key` was, so that the order of beginnings stays."""
    return replace(
        frame, live=dict((state.key, state) if other == key else (other, was) for other, was in frame.live.items())
    )


def without_step(frame: Frame, key: StepKey) -> Frame:
    """The frame without this instance."""
    return replace(frame, live={other: state for other, state in frame.live.items() if other != key})


def leaves(frame: Frame | None) -> Iterator[StepState]:
    """Live instances with nothing live below them, in declared order of their beginnings."""
    if frame is None:
        return
    for state in frame.live.values():
        if state.frame is not None and state.frame.live:
            yield from leaves(state.frame)
        else:
            yield state


def in_flight(state: StepState) -> bool:
    """Whether something of this instance, or of its frame, is being done right now."""
    if state.phase is StepPhase.RUNNING:
        return True
    if any(call.phase is CallPhase.RUNNING and not is_nested(state, call) for call in state.calls):
        return True
    if state.admission.checking or state.screening.checking or any(call.screening.checking for call in state.calls):
        return True
    return state.frame is not None and any(in_flight(inner) for inner in state.frame.live.values())


def open_tasks(run: Run) -> list[StepState]:
    """Instances that wait for a person."""
    return [state for state in leaves(run.frame) if state.phase is StepPhase.ASKED]


def is_nested(state: StepState, call: CallState) -> bool:
    """Whether an agent is answering this call in the frame of the step."""
    return call.phase is CallPhase.RUNNING and holds_calls(state) and call_key(state, call) in _answering(state)


def holds_calls(state: StepState) -> bool:
    """Whether the frame of the step is that of agents that answer its tool calls."""
    return state.frame is not None and state.frame.flow == CALLS_FLOW


def call_key(state: StepState, call: CallState) -> StepKey:
    """Key of the step instance in which an agent answers a tool call."""
    # A frame keeps its key when the step goes on in another attempt.
    base = state.frame.key if holds_calls(state) and state.frame else nested_key(state.key, state.attempt)
    return step_key(base, call.call.name, call.number)


def _answering(state: StepState) -> set[str]:
    return set() if state.frame is None else {*state.frame.live, *state.frame.outputs}


def withdrawn(run: Run, event: StepCompleted | StepFailed) -> list[StepState]:
    """Instances whose questions nobody can answer any more once this event is folded into `run`.

    They live in a nested workflow that is given up for another attempt, for its fallback, or for good; or beside a
    branch with which enough have finished.
    """
    state, frame = find(run.frame, event.key), run.frame and frame_holding(run.frame, event.key)
    if state is None or frame is None:
        return []
    resolution = event.resolution if isinstance(event, StepFailed) else Resolution.CONTINUE
    if resolution is Resolution.FAIL:
        return []
    if resolution is Resolution.CONTINUE and has_enough(frame, ending=1):
        return [inner for inner in leaves(frame) if inner.phase is StepPhase.ASKED]
    return [inner for inner in leaves(state.frame) if inner.phase is StepPhase.ASKED]


def _holds(frame: Frame, key: StepKey) -> bool:
    return key.startswith(f"{frame.key}/")
