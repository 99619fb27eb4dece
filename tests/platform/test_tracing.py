"""Whose trace a run is in, and what it passes on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from kneo_serv.model.event import RunCreated
from kneo_serv.model.ids import RunId
from kneo_serv.model.message import Turn
from kneo_serv.observe import trace_scope
from kneo_serv.platform.platform import Submission
from kneo_serv.store.contract import TimerKind
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.scripted_openai import ScriptedOpenAI, text
from tests.platform import speakers, worlds
from tests.platform.functions import GATES
from tests.platform.observed import (
    Spans,
    approve,
    context,
    driven,
    error,
    flags,
    manager,
    telemetry,
    told,
    trip,
)
from tests.platform.speakers import Speakers
from tests.platform.test_takeover import lose_worker
from tests.platform.worlds import PATIENCE, begun, opened, person, plan, run, step


def test_a_resting_run_that_others_end_says_so_in_its_trace(tmp_path: Path) -> None:
    spans = Spans()

    async def story() -> None:
        async with opened(tmp_path, telemetry=telemetry(spans)) as platform:
            record = await run(platform, plan(person()), timeout_seconds=60)
            (timer,) = await platform.store.due_timers(kinds=(TimerKind.RUN_DEADLINE,), now=record.created_at + 100)
            assert await platform.fire(timer)

    asyncio.run(story())
    ended = spans.one("kneo.run.ended")
    assert (error(ended), told(ended, "kneo.run.status")) == ("run_timed_out", "timed_out")
    assert len(spans.trace_ids) == 1


def test_a_takeover_is_a_new_leg_in_the_same_trace(tmp_path: Path) -> None:
    before, after = Spans(), Spans()

    async def story() -> None:
        async with (
            opened(tmp_path, telemetry=telemetry(before), lease_seconds=0.5) as lost,
            opened(tmp_path, telemetry=telemetry(after)) as rescuer,
        ):
            run_id = await begun(lost, plan(step("upper"), step("gated_async")), "TAKEN OVER SEEN")
            # A worker that crashed sends nothing more: what is told so far is all there will be of it.
            assert before.tree() == ["kneo.queue.dispatch", "kneo.step upper"]
            await lose_worker(lost)
            GATES["TAKEN OVER SEEN"].passable.set()
            rescuer.start_worker()
            assert (await rescuer.run_to_rest(run_id, patience=PATIENCE)).status == "completed"

    asyncio.run(story())
    leg = after.one("invoke_workflow flow")
    assert told(leg, "kneo.leg.number", "kneo.leg.reason", "kneo.fence") == (2, "takeover", 2)
    assert after.tree() == ["invoke_workflow flow", "  kneo.step gated_async"]
    assert leg.parent is not None
    assert leg.parent.span_id == context(before.one("kneo.queue.dispatch")).span_id
    assert before.trace_ids == after.trace_ids


def test_models_are_asked_under_the_context_of_their_turn(tmp_path: Path) -> None:
    spans, stage = Spans(), Headers({"root": ["done"]})

    async def story() -> None:
        async with speakers.opened(tmp_path, stage, telemetry=telemetry(spans)) as platform:
            made = speakers.compiled({})
            await run(platform, made, "hi", target="agent", trace={"tracestate": "vendor=1", "traceparent": GIVEN})

    asyncio.run(story())
    turn = context(spans.one("chat"))
    assert stage.headers == [
        {"traceparent": f"00-{'a' * 32}-{turn.span_id:016x}-{flags(turn)}", "tracestate": "vendor=1"}
    ]
    assert spans.trace_ids == {int("a" * 32, 16)}


GIVEN = f"00-{'a' * 32}-{'b' * 16}-01"


class Headers(Speakers):
    """Notes the headers of each question."""

    @property
    def headers(self) -> list[dict[str, str]]:
        return self.__dict__.setdefault("_headers", [])  # type: ignore[no-any-return]

    def create(self, agent: Any) -> Any:
        speaker = super().create(agent)
        turn = speaker.turn

        async def noting(request: Any) -> Turn:
            self.headers.append(dict(request.headers))
            return await turn(request)

        speaker.turn = noting  # type: ignore[method-assign]
        return speaker


def test_a_platform_without_telemetry_passes_the_context_on_all_the_same(tmp_path: Path) -> None:
    stage = Headers({"root": ["done"]})

    async def story() -> None:
        async with speakers.opened(tmp_path, stage) as platform:
            made = speakers.compiled(
                {}, {"id": "ask", "kind": "human", "ref": "person"}, {"id": "root", "kind": "agent", "ref": "root"}
            )
            record = await run(platform, made, "hi", trace={"TRACEPARENT": GIVEN})
            await worlds.answer(platform, record.id)

    asyncio.run(story())
    assert stage.headers == [{"traceparent": GIVEN}]


def test_a_run_that_another_run_asks_for_is_in_its_trace_without_telemetry_too(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as platform:
            with trace_scope({"traceparent": GIVEN}):
                record = await run(platform, plan(step("upper")))
            created = (await platform.events(record.id))[0].event
            assert isinstance(created, RunCreated)
            assert created.trace == {"traceparent": GIVEN}

    asyncio.run(story())


def test_the_trace_of_a_long_run_is_found_in_its_first_event(tmp_path: Path) -> None:
    spans = Spans()

    async def story() -> None:
        async with opened(tmp_path, telemetry=telemetry(spans)) as platform:
            record = await run(platform, plan(step("large"), step("exclaim", id="more"), person(), step("exclaim")))
            assert await platform.store.snapshot(record.id) is not None
        async with opened(tmp_path, telemetry=telemetry(spans)) as platform:
            assert (await worlds.answer(platform, record.id)).status == "completed"

    asyncio.run(story())
    taken = context(spans.one("kneo.queue.dispatch"))
    assert [leg.parent and leg.parent.span_id for leg in spans.named("invoke_workflow flow")] == [taken.span_id] * 2


@pytest.mark.parametrize("given", ["", "00-nonsense", f"00-{'0' * 32}-{'b' * 16}-01", f"ff-{'a' * 32}-{'b' * 16}-01"])
def test_a_malformed_context_is_passed_over(tmp_path: Path, given: str) -> None:
    spans = Spans()
    driven(tmp_path, spans, step("upper"), trace={"traceparent": given})
    root = spans.one("kneo.queue.dispatch")
    assert root.parent is None
    assert root.kind is SpanKind.PRODUCER
    assert len(spans.trace_ids) == 1


def test_a_trace_that_its_caller_does_not_record_is_not_recorded_here_either(tmp_path: Path) -> None:
    spans = Spans()
    record = driven(tmp_path, spans, step("upper"), trace={"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"})
    assert record.status == "completed"
    assert spans.ended == []


def test_a_run_belongs_to_the_span_that_its_caller_is_in_and_takes_no_baggage_along(tmp_path: Path) -> None:
    from opentelemetry import baggage
    from opentelemetry import context as contexts

    spans = Spans()
    spec = {**trip("http://127.0.0.1:9/v1")}
    spec["workflow"]["steps"] = spec["workflow"]["steps"][:1]
    spec["components"]["functions"]["upper"]["implementation"] = f"{__name__}.baggage_seen"
    with manager(tmp_path, spans) as made:
        token = contexts.attach(baggage.set_baggage("user", "canary"))
        try:
            with spans.provider.get_tracer("app").start_as_current_span("handle order") as caller:
                result = made.run_from_spec(input_text="hello", spec=spec)
        finally:
            contexts.detach(token)
    assert (result.status, result.output_text) == ("completed", "{}")
    assert spans.tree()[:2] == ["handle order", "  kneo.queue.dispatch"]
    assert spans.trace_ids == {caller.get_span_context().trace_id}


def baggage_seen(text: str) -> str:
    from opentelemetry import baggage

    return str(dict(baggage.get_all()))


def test_a_run_that_was_taken_in_without_telemetry_has_one_trace_by_its_id(tmp_path: Path) -> None:
    spans, others = Spans(), Spans()

    async def story() -> RunId:
        async with opened(tmp_path) as platform:
            record = await run(platform, plan(step("upper"), person(), step("exclaim")))
            submitted = await platform.start(Submission(plan(step("upper")), "later"))
        async with opened(tmp_path, telemetry=telemetry(spans)) as platform:
            await worlds.answer(platform, record.id)
        async with opened(tmp_path, telemetry=telemetry(others)) as platform:
            await platform.run_to_rest(submitted.id, patience=PATIENCE)
        return record.id

    asyncio.run(story())
    assert spans.tree() == ["invoke_workflow flow", "  kneo.step ask", "  kneo.step exclaim"]
    assert len(spans.trace_ids) == len(others.trace_ids) == 1
    assert spans.trace_ids != others.trace_ids


def test_the_sampler_decides_about_such_a_trace_too(tmp_path: Path) -> None:
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    spans = Spans(sampler=ParentBasedTraceIdRatio(0.0))

    async def story() -> None:
        async with opened(tmp_path) as platform:
            submitted = await platform.start(Submission(plan(step("upper")), "later"))
        async with opened(tmp_path, telemetry=telemetry(spans)) as platform:
            assert (await platform.run_to_rest(submitted.id, patience=PATIENCE)).status == "completed"

    asyncio.run(story())
    assert spans.ended == []


def test_a_fork_has_a_trace_of_its_own_that_is_linked_to_the_one_that_it_came_from(tmp_path: Path) -> None:
    spans, forked = Spans(), Spans()
    with ScriptedOpenAI(lambda _: text("bring a coat")) as server:
        with manager(tmp_path, spans) as made:
            result = made.run_from_spec(input_text="hello", spec=trip(server.base_url))
        with manager(tmp_path, forked) as made:
            child = made.fork_run(result.run_id, at_sequence=1, accept_side_effects=True)
            approve(made, child)
    first, second = forked.named("invoke_workflow trip")
    assert told(first, "kneo.run.id") == told(second, "kneo.run.id") == child.run_id
    assert len(forked.trace_ids) == 1
    assert not forked.trace_ids & spans.trace_ids
    for leg in (first, second):
        assert [link.context.span_id for link in leg.links] == [context(spans.one("kneo.queue.dispatch")).span_id]


def test_a_run_that_is_not_taken_in_is_an_error_of_its_span(tmp_path: Path) -> None:
    from kneo_serv.errors import SessionBusyError
    from kneo_serv.model.run import SessionConcurrency

    spans = Spans()

    async def story() -> None:
        more: dict[str, Any] = {"session_concurrency": SessionConcurrency.REJECT, "telemetry": telemetry(spans)}
        async with opened(tmp_path, **more) as platform:
            await platform.start(Submission(plan(step("upper")), "one", session_id="s"))
            with pytest.raises(SessionBusyError):
                await platform.start(Submission(plan(step("upper")), "two", session_id="s"))

    asyncio.run(story())
    assert [error(span) for span in spans.named("kneo.queue.dispatch")] == [None, "SessionBusyError"]


def test_two_platforms_in_one_process_share_nothing(tmp_path: Path) -> None:
    left, right = Spans(), Spans()

    async def story() -> None:
        async with (
            opened(tmp_path, store=SQLiteStore(tmp_path / "left.sqlite"), telemetry=telemetry(left)) as one,
            opened(tmp_path, store=SQLiteStore(tmp_path / "right.sqlite"), telemetry=telemetry(right)) as two,
        ):
            await asyncio.gather(run(one, plan(step("upper"))), run(two, plan(step("exclaim"))))

    asyncio.run(story())
    assert left.tree() == ["kneo.queue.dispatch", "  invoke_workflow flow", "    kneo.step upper"]
    assert right.tree() == ["kneo.queue.dispatch", "  invoke_workflow flow", "    kneo.step exclaim"]


@pytest.mark.parametrize("prefix", ["kneo.queue", "invoke", "kneo.step", "none"])
def test_a_span_processor_that_fails_hurts_no_run_and_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, prefix: str
) -> None:
    from opentelemetry.sdk.trace import SpanProcessor

    class Broken(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            if span.name.startswith(prefix):
                raise ZeroDivisionError("broken")

        def on_end(self, span: Any) -> None:
            raise ZeroDivisionError("broken")

    spans = Spans()
    spans.provider.add_span_processor(Broken())
    assert driven(tmp_path, spans, step("upper"), step("exclaim")).output_text == "TEA!"
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["kneo_serv.observe"]
