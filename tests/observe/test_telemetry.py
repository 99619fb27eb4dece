"""Spans on their way out of the process; each program below runs in a process of its own, as telemetry is global."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import SettingsError
from kneo_serv.observe import TelemetryOptions
from kneo_serv.observe.otlp import Exporting
from kneo_serv.settings import Settings
from tests.observe.collector import Collector

RUN = """
import json, logging, os, sys, time
sys.path.insert(0, os.getcwd())
logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
from kneo_serv.service.factory import create_local_platform_manager
manager = create_local_platform_manager(state_path=sys.argv[1])
SPEC = {"version": "v1", "agent": {"name": "echo", "model": {"provider": "dummy", "name": "dummy"}}}
"""
ONCE = """
result = manager.run_from_spec(input_text="hello", spec=SPEC, target="agent")
begun = time.monotonic()
manager.shutdown(timeout=float(os.environ.get("PATIENCE", "5")))
loaded = sorted({name.split(".")[0] for name in sys.modules})
print(json.dumps({"status": result.status, "closing": time.monotonic() - begun, "loaded": loaded}))
"""


def program(folder: Path, text: str, **variables: str) -> tuple[Any, list[str]]:
    """What a program prints, and what it logs above the level INFO."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "KNEO_SERV_"))}
    done = subprocess.run(
        [sys.executable, "-c", text, str(folder / "runs.sqlite")],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
    return json.loads(done.stdout.splitlines()[-1]), lines


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_nothing_of_the_library_is_loaded_while_telemetry_is_off(tmp_path: Path) -> None:
    told, lines = program(tmp_path, RUN + ONCE)
    assert told["status"] == "completed"
    assert "opentelemetry" not in told["loaded"]
    assert lines == []


def test_a_program_without_telemetry_of_its_own_sends_to_the_collector_of_the_standard_variables(
    tmp_path: Path,
) -> None:
    with Collector() as collector:
        told, lines = program(
            tmp_path,
            RUN + ONCE,
            KNEO_SERV_OTEL_ENABLED="true",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS="x-team=blue",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        )
    assert (told["status"], lines) == ("completed", [])
    assert sorted(collector.spans) == ["chat dummy", "invoke_agent echo", "kneo.queue.dispatch", "kneo.step echo"]
    from kneo_serv import __version__

    assert collector.resource["service.name"] == "kneo-serv"
    assert collector.resource["service.version"] == __version__
    assert collector.resource["deployment.environment.name"] == "test"
    assert collector.headers[0]["x-team"] == "blue"
    assert collector.requests[0].resource_spans[0].scope_spans[0].scope.name == "kneo_serv"


def test_the_name_of_the_service_and_the_sampler_are_those_of_the_variables(tmp_path: Path) -> None:
    with Collector() as collector:
        switched = {"KNEO_SERV_OTEL_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        program(tmp_path, RUN + ONCE, **switched, OTEL_TRACES_SAMPLER="always_off")
        assert collector.requests == []
        program(tmp_path, RUN + ONCE, **switched, OTEL_SERVICE_NAME="orders")
    assert collector.resource["service.name"] == "orders"


@pytest.mark.parametrize("variable", ["OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none"])
def test_the_standard_variables_that_switch_it_off_do_so(tmp_path: Path, variable: str) -> None:
    name, _, value = variable.partition("=")
    with Collector() as collector:
        told, lines = program(
            tmp_path,
            RUN + ONCE,
            KNEO_SERV_OTEL_ENABLED="true",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            **{name: value},
        )
    assert (told["status"], lines, collector.requests) == ("completed", [], [])


def test_a_script_that_forgets_to_shut_down_sends_its_last_spans_all_the_same(tmp_path: Path) -> None:
    forgetful = RUN + ONCE.replace("manager.shutdown", "(lambda **_: None)")
    with Collector() as collector:
        program(tmp_path, forgetful, KNEO_SERV_OTEL_ENABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert "kneo.step echo" in collector.spans


def test_a_collector_that_is_not_there_costs_no_run_anything_and_is_told_of_once(tmp_path: Path) -> None:
    often = RUN + ONCE.replace("begun =", "time.sleep(0.5); begun =")
    told, lines = program(
        tmp_path,
        often,
        KNEO_SERV_OTEL_ENABLED="true",
        OTEL_EXPORTER_OTLP_ENDPOINT=nobody(),
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
        OTEL_BSP_SCHEDULE_DELAY="20",
    )
    assert told["status"] == "completed"
    assert told["closing"] < 6
    assert [line for line in lines if "cannot be sent" in line] == lines
    assert len(lines) <= 2


def test_a_collector_that_never_answers_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with Collector(silent=True) as collector:
        begun = time.monotonic()
        told, lines = program(
            tmp_path,
            RUN + ONCE,
            KNEO_SERV_OTEL_ENABLED="true",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            PATIENCE="1",
        )
        took = time.monotonic() - begun
    assert told["status"] == "completed"
    assert told["closing"] < 4
    assert took < 30
    assert [line.split(" ", 2)[1] for line in lines] == ["kneo_serv.observe"]


def test_spans_go_to_the_provider_of_the_application_where_it_has_one(tmp_path: Path) -> None:
    application = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
kept, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
"""
    ending = """
with trace.get_tracer("app").start_as_current_span("after") as span:
    assert span.is_recording(), "the application's provider is its own to shut down"
print(json.dumps([span.name for span in kept.get_finished_spans()]))
"""
    with Collector() as collector:
        names, lines = program(
            tmp_path,
            application + RUN + ONCE + ending,
            KNEO_SERV_OTEL_ENABLED="on",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        )
    assert names == ["kneo.queue.dispatch", "chat dummy", "kneo.step echo", "invoke_agent echo", "after"]
    assert (lines, collector.requests) == ([], [])


def test_what_a_server_says_of_an_error_is_in_no_span_of_its_library(tmp_path: Path) -> None:
    application = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
kept, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
"""
    calling = """
import asyncio
from kneo_serv.errors import ToolError
from tests.tools.mcp.servers import HERE, pool, stdio
manager.run_from_spec(input_text="hello", spec=SPEC, target="agent")

async def ask():
    async with pool() as servers:
        try:
            await servers.call("odd", stdio(script=str(HERE / "odd_server.py"), args=("failing",)), "large", {})
        except ToolError:
            pass
        # Another library's spans, and those of the application, are their own.
        with trace.get_tracer("app").start_as_current_span("mine") as span:
            span.set_status(trace.StatusCode.ERROR, "my own words")

asyncio.run(ask())
print(json.dumps([[span.instrumentation_scope.name, span.status.status_code.name, span.to_json()]
                  for span in kept.get_finished_spans()]))
"""
    told, _ = program(tmp_path, application + RUN + calling, KNEO_SERV_OTEL_ENABLED="on")
    assert {"kneo_serv", "mcp-python-sdk", "app"} <= {scope for scope, _, _ in told}
    assert ("mcp-python-sdk", "ERROR") in {(scope, status) for scope, status, _ in told}
    assert not [text for _, _, text in told if "s3cr3t-canary-value" in text]
    assert [text for scope, _, text in told if scope == "app" and "my own words" in text]


def test_a_missing_library_is_told_with_the_command_that_installs_it(tmp_path: Path) -> None:
    without = """
import sys
sys.modules["opentelemetry"] = None
"""
    asking = """
from kneo_serv.errors import MissingExtraError
try:
    manager.run_from_spec(input_text="hello", spec=SPEC, target="agent")
except MissingExtraError as error:
    print(json.dumps({"error": str(error)}))
"""
    told, _ = program(tmp_path, without + RUN + asking, KNEO_SERV_OTEL_ENABLED="true")
    assert told["error"].startswith("KNEO_SERV_OTEL_ENABLED asks for OpenTelemetry")
    assert told["error"].endswith("pip install 'kneo-serv[telemetry]'")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "OTEL_TRACES_EXPORTER: 'zipkin' is not allowed; it must be otlp, console"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' is not allowed"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "udp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'udp' is not allowed"),
    ],
)
def test_an_exporter_that_there_is_not_is_refused_by_name(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Exporting.from_environment({variable: value})
    assert str(refused.value).startswith(said)


def test_spans_can_go_to_a_collector_over_grpc_too() -> None:
    exporting = Exporting.from_environment({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    exporting.close(2)
    exporting.close(2)


def test_the_three_switches_are_off_until_they_are_set() -> None:
    assert Settings.from_env({}).platform_options().telemetry == TelemetryOptions()
    switched = Settings.from_env(
        {
            "KNEO_SERV_OTEL_ENABLED": "true",
            "KNEO_SERV_OTEL_RECORD_ARGUMENTS": "true",
            "KNEO_SERV_OTEL_RECORD_RESULTS": "yes",
        }
    )
    assert switched.platform_options().telemetry == TelemetryOptions(
        enabled=True, record_arguments=True, record_results=True
    )
    with pytest.raises(SettingsError):
        Settings.from_env({"KNEO_SERV_OTEL_ENABLED": "ture"})
