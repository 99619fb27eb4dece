"""Ways through the tree of frames: finding a step instance, changing it, and looking at what is open."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from kneo_serv.engine.keys import frame_of
from kneo_serv.model.event import Resolution, StepFailed
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import ROOT, Flow, FlowType, Plan, Step, StepKind
from kneo_serv.model.run import CallPhase, Frame, Run, StepPhase, StepState

AGENT_FLOW = ""
"""Name of the frame's flow when the root agent runs alone."""


def flow_of(plan: Plan, frame: Frame) -> Flow:
    """The workflow that a frame executes; for the root agent alone, a sequence of that one step."""
    if frame.flow != AGENT_FLOW:
        return plan.flows[frame.flow]
    agent = plan.root_agent
    return Flow(agent.name, FlowType.SEQUENTIAL, (Step(agent.name, StepKind.AGENT, ROOT),))


def step_of(flow: Flow, state: StepState) -> Step:
    """The step whose target an instance executes."""
    if state.index is not None and flow.steps[state.index].id == state.executes:
        return flow.steps[state.index]
    return flow.step(state.executes)


def find(frame: Frame | None, key: StepKey) -> StepState | None:
    """The live step instance of this key."""
    if frame is None:
        return None
    if key in frame.live:
        return frame.live[key]
    for state in frame.live.values():
        if state.frame is not None and _holds(state.frame, key):
            return find(state.frame, key)
    return None


def frame_holding(frame: Frame, key: StepKey) -> Frame | None:
    """The frame in which the step of `key` lives."""
    wanted = frame_of(key)
    if frame.key == wanted:
        return frame
    for state in frame.live.values():
        if state.frame is not None and _holds(state.frame, key):
            return frame_holding(state.frame, key)
    return None


def in_frame(frame: Frame, frame_key: StepKey, change: Callable[[Frame], Frame]) -> Frame:
    """The tree with one frame changed. Raises KeyError when there is no such frame."""
    if frame.key == frame_key:
        return change(frame)
    for state in frame.live.values():
        if state.frame is not None and _holds(state.frame, StepKey(f"{frame_key}/")):
            inner = in_frame(state.frame, frame_key, change)
            return replace(frame, live={**frame.live, state.key: replace(state, frame=inner)})
    raise KeyError(frame_key)


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
    if state.phase is StepPhase.RUNNING or any(call.phase is CallPhase.RUNNING for call in state.calls):
        return True
    if state.admission.checking or state.screening.checking or any(call.screening.checking for call in state.calls):
        return True
    return state.frame is not None and any(in_flight(inner) for inner in state.frame.live.values())


def open_tasks(run: Run) -> list[StepState]:
    """Instances that wait for a person."""
    return [state for state in leaves(run.frame) if state.phase is StepPhase.ASKED]


def withdrawn(run: Run, event: StepFailed) -> list[StepState]:
    """Instances whose questions nobody can answer any more once this failure is folded into `run`.

    They live in a nested workflow that is given up for another attempt, for its fallback, or for good.
    """
    state = find(run.frame, event.key)
    if state is None or event.resolution is Resolution.FAIL:
        return []
    return [inner for inner in leaves(state.frame) if inner.phase is StepPhase.ASKED]


def _holds(frame: Frame, key: StepKey) -> bool:
    return key.startswith(f"{frame.key}/")
