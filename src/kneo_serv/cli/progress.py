"""What happens in a run, in words."""

from kneo_serv.model import event as kinds
from kneo_serv.model.event import Event, Resolution


def happened(event: Event) -> str | None:
    """One line about an event that is worth one; None for the others."""
    match event:
        case kinds.StepCompleted(step_id=step_id):
            return f"✓ {step_id}"
        case kinds.StepFailed(step_id=step_id, message=message, resolution=resolution):
            follows = {
                Resolution.RETRY: " (will be tried again)",
                Resolution.CONTINUE: " (the run goes on)",
                Resolution.FALLBACK: " (its fallback takes over)",
                Resolution.FAIL: "",
            }[resolution]
            return f"✗ {step_id}: {message}{follows}"
        case kinds.ToolCallCompleted(tool_name=tool_name):
            return f"  ✓ tool {tool_name}"
        case kinds.ToolCallFailed(tool_name=tool_name, message=message):
            return f"  ✗ tool {tool_name}: {message}"
        case kinds.ToolPolicyDenied(tool_name=tool_name, reason=reason):
            return f"  ✗ tool {tool_name} was refused: {reason}"
        case kinds.HumanAsked(step_id=step_id):
            return f"⚠ {step_id}: a person is asked"
        case _:
            return None


def going_on(event: Event) -> str | None:
    """What is at work from this event on; None when it does not tell."""
    match event:
        case kinds.StepStarted(step_id=step_id, step_kind=kind, attempt=attempt):
            return f"{step_id} ({kind}{f', attempt {attempt}' if attempt > 1 else ''})"
        case kinds.ModelTurnStarted(step_id=step_id, turn=turn):
            return f"{step_id}: asking the model{f', turn {turn}' if turn > 1 else ''}"
        case kinds.ToolCallStarted(step_id=step_id, tool_name=tool_name):
            return f"{step_id}: calling {tool_name}"
        case _:
            return None
