"""What follows a failed attempt."""

from dataclasses import dataclass

from kneo_serv.engine.frames import find, flow_of, frame_holding, step_of
from kneo_serv.model import event as ev
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import OnError, Plan, Step
from kneo_serv.model.quick import quick
from kneo_serv.model.run import Run, StepState

MAX_BACKOFF_SECONDS = 60.0


@quick
@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that came to nothing. `message` is for people and holds no secret.

    `violation` marks a refusal by policy or guardrail; `final` a failure that another attempt would only repeat, such
    as a time limit when timeouts are not to be retried.
    """

    key: StepKey
    error_type: str
    message: str
    violation: bool = False
    final: bool = False
    uncertain: bool = False
    """It was given up while it was at work: nobody knows whether it happened."""
    not_before: float | None = None
    """It could not be tried: another attempt may begin at this moment, and this one counts for nothing."""


def failed_step(plan: Plan, run: Run, failure: Failure, *, now: float) -> ev.StepFailed:
    """The event for a failure, with what follows it by the step's policy.

    Raises:
        KeyError: the step is not live.
    """
    frame = run.frame and frame_holding(run.frame, failure.key)
    state = find(run.frame, failure.key)
    if frame is None or state is None:
        raise KeyError(failure.key)
    step = step_of(flow_of(plan, frame), state)
    held = _is_held(step, state, failure)
    resolution = ev.Resolution.RETRY if held else _resolution(step, state, failure)
    # The exponent is bounded, since a float overflows long before somebody runs out of retries.
    backoff = min(step.backoff_seconds * 2.0 ** min(state.failures, 64), MAX_BACKOFF_SECONDS)
    return ev.StepFailed(
        failure.key,
        state.executes,
        max(state.attempt, 1),
        failure.error_type,
        failure.message,
        resolution,
        _retry_at(failure, now, now + backoff, held=held) if resolution is ev.Resolution.RETRY else None,
        state.index,
        failure.violation,
        failure.uncertain,
        held,
    )


def _is_held(step: Step, state: StepState, failure: Failure) -> bool:
    """Whether the step waits until it can be tried. One that has a stand-in, or goes on without it, need not."""
    if failure.not_before is None:
        return False
    alone = state.executes != state.step_id or (step.on_error is OnError.FALLBACK and step.fallback is None)
    return alone or step.on_error in (OnError.FAIL, OnError.RETRY)


def _retry_at(failure: Failure, now: float, usual: float, *, held: bool) -> float:
    return max(now, failure.not_before or now) if held else usual


def _resolution(step: Step, state: StepState, failure: Failure) -> ev.Resolution:
    if failure.violation:
        return ev.Resolution.FAIL
    if state.failures < step.max_retries and not failure.final:
        return ev.Resolution.RETRY
    if state.executes != state.step_id:
        # A stand-in has retries and a time limit of its own, but nobody stands in for it.
        return ev.Resolution.FAIL
    match step.on_error:
        case OnError.CONTINUE:
            return ev.Resolution.CONTINUE
        case OnError.FALLBACK if step.fallback is not None:
            return ev.Resolution.FALLBACK
        case OnError.FAIL | OnError.RETRY | OnError.FALLBACK:
            return ev.Resolution.FAIL
