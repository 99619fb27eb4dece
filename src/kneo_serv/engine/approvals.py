"""Tool calls that a person has to agree to: what is asked, and what an answer means."""

import hashlib
import json

from kneo_serv.engine.commands import AskHuman
from kneo_serv.model.event import HumanAnswered
from kneo_serv.model.ids import StepKey
from kneo_serv.model.message import ToolCall
from kneo_serv.model.plan import HumanPlan, Plan, RequestType, Step
from kneo_serv.model.quick import replace
from kneo_serv.model.run import CallPhase, CallState, StepPhase, StepState
from kneo_serv.model.task import About, Decision
from kneo_serv.model.tool import Effect


def approval_digest(plan: Plan, key: StepKey, number: int, call: ToolCall) -> str:
    """Names exactly this call: hex SHA-256 of the plan, the step instance, the call's number, tool and arguments."""
    named = [plan.hash, key, number, call.name, call.arguments]
    text = json.dumps(named, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def awaits_approval(call: CallState) -> bool:
    """Whether a person has to agree before this call begins."""
    return call.phase is CallPhase.READY and call.needs_approval and call.approved is None


def must_not_repeat(plan: Plan, call: CallState) -> bool:
    """Whether a person decides, once nobody knows whether this call happened.

    An approval is used up when its call begins. So what needs one is not called again by itself either, unless its
    effect is declared as harmless to repeat.
    """
    tool = plan.tools.get(call.call.name)
    effect = tool.definition.effect if tool is not None else None
    return effect is Effect.ONCE or (call.needs_approval and effect is None)


def ask_for_approval(plan: Plan, state: StepState, step: Step, call: CallState) -> AskHuman:
    """The question whether a tool may be called. The text under review is `arguments_text`."""
    name = call.call.name
    return AskHuman(
        state.key,
        step,
        state.index,
        HumanPlan(request_type=RequestType.REVIEW),
        arguments_text(call.call),
        title=f"May the tool {name!r} be called?",
        prompt=(
            f"Approve to call {name!r} with these arguments, edit to call it with others (a JSON object), provide a "
            "result without calling it, reject to tell the model no."
        ),
        metadata={
            "tool_name": name,
            "call_id": call.call.id,
            "arguments_digest": approval_digest(plan, state.key, call.number, call.call),
        },
        about=About.APPROVAL,
        subject=call.call.id,
    )


def arguments_text(call: ToolCall) -> str:
    """The arguments as a person reads and edits them."""
    return json.dumps(call.arguments, indent=2, ensure_ascii=False)


def arguments_of(text: str) -> dict[str, object] | None:
    """The arguments that a person wrote; None when the text is no JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def answered_approval(plan: Plan, state: StepState, event: HumanAnswered) -> StepState:
    """The step after a person decided about one of its calls."""
    subject = state.task.subject if state.task is not None else None
    calls = tuple(_decided(plan, state, call, event) if call.call.id == subject else call for call in state.calls)
    return replace(state, phase=StepPhase.READY, task=None, calls=calls)


def _decided(plan: Plan, state: StepState, call: CallState, event: HumanAnswered) -> CallState:
    match event.decision:
        case Decision.EDITED:
            arguments = arguments_of(event.content or "")
            if arguments is None:
                return replace(call, phase=CallPhase.FAILED, output="the reviewer's arguments are no JSON object")
            edited = replace(call.call, arguments=arguments)
            digest = approval_digest(plan, state.key, call.number, edited)
            return replace(call, call=edited, approved=digest, edited=arguments != call.call.arguments)
        case Decision.PROVIDED:
            return replace(call, phase=CallPhase.DONE, output=event.content or "")
        case Decision.REJECTED:
            reason = f": {event.content}" if event.content else ""
            return replace(call, phase=CallPhase.FAILED, output=f"a person refused this call{reason}")
        case Decision.APPROVED | Decision.SELECTED:
            return replace(call, approved=approval_digest(plan, state.key, call.number, call.call))
