"""Spans that a library makes by itself beside ours, and what they tell of errors."""

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

WORDLESS = frozenset({"mcp-python-sdk"})
"""Scopes whose spans quote what a server said of an error; the text may hold its keys, which nobody here knows."""

_tended: "WeakSet[Any]" = WeakSet()


def without_foreign_texts(provider: object) -> None:
    """Has such spans of this provider tell that something failed, and not in which words; ours tell it by the rules.

    A provider that takes no processors makes no spans that are kept, and is left alone.
    """
    add = getattr(provider, "add_span_processor", None)
    if add is None or provider in _tended:
        return
    from opentelemetry.sdk.trace import SpanProcessor

    class Wordless(SpanProcessor):
        def on_start(self, span: "Span", parent_context: "Context | None" = None) -> None:
            scope = span.instrumentation_scope
            if scope is not None and scope.name in WORDLESS:
                _silence(span)

    _tended.add(provider)
    add(Wordless())


def _silence(span: Any) -> None:
    # At the beginning, since a finished span cannot be changed, and other processors may have passed it on by then.
    from opentelemetry.trace import Status

    set_status = span.set_status

    def without_text(status: Any, description: str | None = None) -> None:
        set_status(Status(status.status_code if isinstance(status, Status) else status))

    def not_recorded(*given: Any, **named: Any) -> None:
        """What an exception says, and where it came from, is not told."""

    span.set_status = without_text
    span.record_exception = not_recorded
