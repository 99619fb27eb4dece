"""The spans of a platform: of a run that is taken in, of each leg that is driven here, and of ends from outside.

All legs of a run are in one trace, whichever processes drive them. The journal keeps the context of the span in which
the run was taken in; a run without one, and a fork, is in the trace that follows from its id.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping

from kneo_serv.engine import posture
from kneo_serv.model.clock import Clock
from kneo_serv.model.ids import Owner, RunId
from kneo_serv.model.run import RunStatus
from kneo_serv.observe import Place, Telemetry, current_trace, trace_context
from kneo_serv.observe import conventions as names
from kneo_serv.platform.journal import RunJournal
from kneo_serv.platform.onlooker import Onlooker, Passing
from kneo_serv.platform.options import PlatformOptions
from kneo_serv.platform.span_facts import run_attributes
from kneo_serv.platform.spans import SpanBook
from kneo_serv.platform.submission import Submission

_LAST_SPANS_SECONDS = 3.0
"""How long a shutdown waits at most for the last spans to be sent."""


class Tracing:
    """Makes the onlookers of legs. Without telemetry it passes on trace contexts, and nothing else."""

    def __init__(self, telemetry: Telemetry | None, *, clock: Clock, lease_seconds: float) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._lease_seconds = lease_seconds

    @classmethod
    def of(cls, options: PlatformOptions, clock: Clock) -> "Tracing":
        """As the options say. Raises MissingExtraError, SettingsError."""
        telemetry = Telemetry.open(options.telemetry) if options.telemetry.wanted else None
        return cls(telemetry, clock=clock, lease_seconds=options.lease_seconds)

    @contextlib.contextmanager
    def dispatched(self, run_id: RunId, submission: Submission, at: float) -> Iterator[Mapping[str, str]]:
        """The trace context that a run is taken in under, inside the `with` block.

        With telemetry that is the one of a span, below the span that the submission names, or that its caller is in.
        """
        given, telemetry = trace_context(submission.trace), self._telemetry
        if telemetry is None:
            yield given or current_trace()
            return
        place = telemetry.below(given or telemetry.current()) or telemetry.nowhere()
        facts = {
            **run_attributes(submission.plan, run_id, submission.target, submission.session_id),
            names.ENVIRONMENT: submission.environment,
        }
        span = telemetry.start(names.DISPATCH_SPAN, at=at, inside=place, attributes=facts, kind="PRODUCER")
        try:
            yield telemetry.carried(span.inside)
        except Exception as error:
            span.fail(type(error).__name__)
            raise
        finally:
            span.end(max(at, self._clock.now()))

    def leg(self, opened: RunJournal, *, worker: Owner, fence: int) -> Onlooker:
        """Who looks on at a leg of this run; from here on it hears what its journal takes in."""
        telemetry = self._telemetry
        if telemetry is None:
            return Passing({} if opened.forked else opened.trace)
        place, linked = self._place(telemetry, opened)
        book = SpanBook(
            telemetry,
            opened.plan,
            opened.run,
            place,
            linked=linked,
            worker=worker,
            fence=fence,
            lease_seconds=self._lease_seconds,
            clock=self._clock,
        )
        opened.follower = book.hear
        return book

    def ended(self, opened: RunJournal) -> None:
        """Tells of a run that was ended while it rested, or while others drove it, by a span without length."""
        telemetry, run = self._telemetry, opened.run
        if telemetry is None:
            return
        place, linked = self._place(telemetry, opened)
        facts = {
            **run_attributes(opened.plan, run.id, run.target, run.session_id),
            names.RUN_STATUS: posture(run).status.value,
        }
        span = telemetry.start(names.RUN_ENDED_SPAN, at=run.at, inside=place, attributes=facts, linked=linked)
        if run.status is not RunStatus.CANCELLED:
            span.fail(run.error_type or run.status.value)
        span.end(run.at)

    async def close(self, timeout: float) -> None:
        """Sends the last spans, for `timeout` seconds and never longer than a few."""
        if self._telemetry is not None:
            await asyncio.to_thread(self._telemetry.close, min(max(timeout, 1.0), _LAST_SPANS_SECONDS))

    def _place(self, telemetry: Telemetry, opened: RunJournal) -> tuple[Place, Mapping[str, str]]:
        own = None if opened.forked else telemetry.below(opened.trace)
        return (own, {}) if own is not None else (telemetry.below_name(opened.run.id), opened.trace)
