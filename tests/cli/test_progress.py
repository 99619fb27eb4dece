import pytest

from kneo_serv.cli.progress import going_on, happened
from kneo_serv.model.event import (
    Event,
    LegReason,
    LegStarted,
    Resolution,
    StepCompleted,
    StepFailed,
    StepStarted,
    ToolCallStarted,
    ToolPolicyDenied,
)
from kneo_serv.model.ids import StepKey
from kneo_serv.model.plan import StepKind

KEY = StepKey("main/draft")
STARTED = StepStarted(KEY, "draft", StepKind.FUNCTION, attempt=2)
DONE = StepCompleted(KEY, "[draft]", output_text="secret text")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (DONE, "✓ [draft]"),
        (StepFailed(KEY, "draft", 1, "OSError", "no disk", Resolution.RETRY), "✗ draft: no disk (will be tried again)"),
        (StepFailed(KEY, "draft", 1, "OSError", "no disk", Resolution.FAIL), "✗ draft: no disk"),
        (ToolPolicyDenied(KEY, "draft", "c", "shell", "not allowed"), "  ✗ tool shell was refused: not allowed"),
        (STARTED, None),
        (LegStarted("me", 1, LegReason.START), None),
    ],
)
def test_what_happened_is_told_in_one_line_without_the_texts_themselves(event: Event, line: str | None) -> None:
    assert happened(event) == line


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (STARTED, "draft (function, attempt 2)"),
        (ToolCallStarted(KEY, "draft", "c", "web_search", 1), "draft: calling web_search"),
        (DONE, None),
    ],
)
def test_what_is_at_work_is_told(event: Event, line: str | None) -> None:
    assert going_on(event) == line
