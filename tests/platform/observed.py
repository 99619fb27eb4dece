"""Platforms whose spans are kept, and what the spans look like."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kneo_serv.model.run import RunRecord, RunResult
from kneo_serv.model.task import HumanResponse
from kneo_serv.observe import TelemetryOptions
from kneo_serv.platform import PlatformManager
from kneo_serv.runtime import default_registry
from kneo_serv.spec import SpecCompiler
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.scripted_openai import tool_calls
from kneo_serv.tools import ToolRegistry, current_call, load_object
from tests.platform.worlds import opened, options, plan, run

SEEN: dict[str, Any] = {}
"""What a handler saw, by the text that it was given."""


def upper(text: str) -> str:
    return text.upper()


def weather(arguments: Mapping[str, Any]) -> str:
    city = str(arguments.get("city"))
    SEEN[city] = (dict(current_call().trace), trace.get_current_span().get_span_context())
    if city == "Atlantis":
        raise LookupError(f"no such city: {city}")
    return f"rain in {city}"


class Spans:
    """A tracer provider that keeps what it is given."""

    def __init__(self, **provider: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **provider)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def ended(self) -> list[ReadableSpan]:
        """In order of their beginnings; what an event has ended comes before what the same one has begun."""
        return sorted(
            self._exporter.get_finished_spans(), key=lambda span: (span.start_time or 0, span.end_time or 0, span.name)
        )

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.ended if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    @property
    def trace_ids(self) -> set[int]:
        return {context(span).trace_id for span in self.ended}

    def tree(self) -> list[str]:
        """Names of all spans, each below its parent and in order of their beginnings."""
        below: dict[int | None, list[ReadableSpan]] = {}
        known = {context(span).span_id for span in self.ended}
        for span in self.ended:
            parent = span.parent.span_id if span.parent is not None and span.parent.span_id in known else None
            below.setdefault(parent, []).append(span)

        def lines(parent: int | None, depth: int) -> Iterator[str]:
            for span in below.get(parent, ()):
                yield "  " * depth + span.name
                yield from lines(context(span).span_id, depth + 1)

        return list(lines(None, 0))

    def text(self) -> str:
        """Everything that the spans hold."""
        return "\n".join(span.to_json() for span in self.ended)


def context(span: ReadableSpan) -> trace.SpanContext:
    assert isinstance(span.context, trace.SpanContext)
    return span.context


def told(span: ReadableSpan, *keys: str) -> Any:
    """One attribute, or several."""
    attributes = span.attributes or {}
    return attributes.get(keys[0]) if len(keys) == 1 else tuple(attributes.get(key) for key in keys)


def events(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]


def error(span: ReadableSpan) -> Any:
    """The error type of a failed span; None of one that went well."""
    failed = span.status.status_code is trace.StatusCode.ERROR
    assert failed == (told(span, "error.type") is not None)
    return told(span, "error.type")


def telemetry(spans: Spans, **more: Any) -> TelemetryOptions:
    return TelemetryOptions(tracer_provider=spans.provider, **more)


@contextmanager
def manager(
    path: Path,
    spans: Spans | None,
    *,
    record: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    **more: Any,
) -> Iterator[PlatformManager]:
    """A manager with real runtimes on `path/runs.sqlite`."""
    if spans is not None:
        more["telemetry"] = telemetry(spans, **{f"record_{name}": True for name in record})
    made = PlatformManager(
        compiler=SpecCompiler(
            runtime_registry=default_registry(environ=environ or {}, provider_retries=0, load_object=load_object),
            tool_registry=ToolRegistry(),
        ),
        run_state_store=SQLiteStore(path / "runs.sqlite"),
        options=options(**more),
    )
    try:
        yield made
    finally:
        made.shutdown(timeout=5)


CITIES = tool_calls(("c1", "weather", {"city": "Oslo"}), ("c2", "weather", {"city": "Atlantis"}))


def trip(url: str) -> dict[str, Any]:
    """A sequence with everything in it."""
    return {
        "version": "v1",
        "agent": {"name": "nobody"},
        "workflow": {
            "type": "sequential",
            "name": "trip",
            "steps": [
                {"id": "prepare", "kind": "function", "ref": "upper"},
                {"id": "nested", "kind": "workflow", "ref": "inner"},
                {
                    "id": "both",
                    "kind": "parallel",
                    "aggregation": "concat",
                    "branches": [
                        {"id": "left", "kind": "function", "ref": "upper"},
                        {"id": "right", "kind": "function", "ref": "upper"},
                    ],
                },
                {"id": "look", "kind": "agent", "ref": "forecaster"},
                {"id": "ask", "kind": "human", "ref": "boss"},
                {"id": "last", "kind": "function", "ref": "upper"},
            ],
        },
        "tools": {
            "weather": {
                "description": "Tells the weather.",
                "parameters": {"type": "object"},
                "implementation": f"{__name__}.weather",
            }
        },
        "components": {
            "functions": {"upper": {"implementation": f"{__name__}.upper"}},
            "humans": {"boss": {"description": "Shall we go?"}},
            "workflows": {
                "inner": {
                    "type": "sequential",
                    "name": "inside",
                    "steps": [{"id": "deep", "kind": "function", "ref": "upper"}],
                }
            },
            "agents": {"forecaster": forecaster(url)},
        },
    }


def forecaster(url: str) -> dict[str, Any]:
    return {
        "name": "forecaster",
        "strategy": "react",
        "tools": ["weather"],
        "system_prompt": "You look out of the window.",
        "model": {
            "provider": "openai",
            "name": "gpt-x",
            "temperature": 0.5,
            "max_tokens": 100,
            "base_url": url,
            "extra": {"api_key": "sk-canary-key-123456"},
        },
    }


def approve(made: PlatformManager, paused: RunResult) -> RunResult:
    assert paused.continuation_id is not None
    task = made.get_human_task(paused.continuation_id)
    assert task is not None
    return made.resume_human_task(paused.continuation_id, response=HumanResponse(task["id"], "approved"))


def driven(path: Path, spans: Spans, *steps: dict[str, Any], text: str = "tea", **more: Any) -> RunRecord:
    """A run of these steps, as far as it goes."""

    async def story() -> RunRecord:
        async with opened(path, telemetry=telemetry(spans)) as platform:
            return await run(platform, plan(*steps), text, **more)

    return asyncio.run(story())


def flags(found: Any) -> str:
    return f"{int(found.trace_flags):02x}"
