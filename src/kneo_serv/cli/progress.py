"""What happens in a run while it happens, on stderr: a live line on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

from kneo_serv.cli.terminal import note, printable
from kneo_serv.model import event as kinds
from kneo_serv.model.event import Event, Recorded, Resolution

type Listener = Callable[[Recorded], None]


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


@contextmanager
def following(*, silent: bool) -> Iterator[Listener]:
    """A listener that tells about the events it gets, as long as the context lasts.

    What the project's own functions print meanwhile goes to stderr, so that stdout holds nothing but the answer.
    """
    if silent:
        with redirect_stdout(sys.stderr):
            yield _say_nothing
    elif sys.stderr.isatty():
        with redirect_stdout(sys.stderr), _live() as listener:
            yield listener
    else:
        with redirect_stdout(sys.stderr):
            yield _say_plainly


def _say_nothing(recorded: Recorded) -> None:
    """Hears of everything and keeps it."""


def _say_plainly(recorded: Recorded) -> None:
    if line := happened(recorded.event):
        note(line)


@contextmanager
def _live() -> Iterator[Listener]:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    with console.status(Text("starting")) as status:

        def tell(recorded: Recorded) -> None:
            if line := happened(recorded.event):
                console.print(Text(printable(line)))
            if present := going_on(recorded.event):
                status.update(Text(printable(present)))

        yield tell
