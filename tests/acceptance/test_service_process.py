"""The service as a process: how it starts, what it says, and how it ends."""

import asyncio
import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from kneo_serv.model.run import Phase, RunStatus
from kneo_serv.platform import PlatformManager
from kneo_serv.service.factory import create_local_platform_manager
from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.store_suite.samples import new_run
from tests.acceptance.server import Server, serving
from tests.acceptance.shell import PATIENCE, Shell, until

FUNCTIONS = '''
import time
from pathlib import Path


def busy(text: str) -> str:
    """Keeps the interpreter occupied, as far as it lets anybody else in at all."""
    Path("busy").touch()
    over = time.monotonic() + 3
    while time.monotonic() < over:
        sum(range(10_000))
    return text


def first(text: str) -> str:
    with Path("marks").open("a") as file:
        print("first", file=file)
    return text + "1"


def slow(text: str) -> str:
    Path("slow").touch()
    while not Path("go").exists():
        time.sleep(0.02)
    return text + "2"
'''


def spec(*names: str) -> dict[str, object]:
    """A workflow of these functions, one after the other."""
    functions = {name: {"implementation": f"served.{name}", "effect": "idempotent"} for name in names}
    return {
        "version": "v1",
        "agent": {"name": "idle", "model": {"provider": "dummy", "name": "dummy"}},
        "workflow": {
            "type": "sequential",
            "steps": [{"id": name, "kind": "function", "ref": name} for name in names],
        },
        "components": {"functions": functions},
    }


@pytest.fixture
def desk(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A folder with functions of its own; what this test itself opens there is looked for from there."""
    shell.write("served.py", FUNCTIONS)
    monkeypatch.syspath_prepend(str(shell.folder))
    return shell


@pytest.fixture
def outside(desk: Shell) -> Iterator[PlatformManager]:
    """Another process at the same store (this one): it hands runs in and looks on, and executes nothing."""
    manager = create_local_platform_manager(state_path=desk.folder / ".kneo" / "kneo_runs.sqlite")
    yield manager
    manager.shutdown()


def fill(path: Path, *, runs: int) -> None:
    """A store with many runs that have ended."""

    async def write() -> None:
        path.parent.mkdir(exist_ok=True)
        store = SQLiteStore(path)
        await store.open()
        for first in range(0, runs, 500):
            rows = (new_run(f"{n}", status=RunStatus.COMPLETED, phase=Phase.ENDED) for n in range(first, first + 500))
            await asyncio.gather(*(store.create(row) for row in rows))
        await store.close()

    asyncio.run(write())


def listens(url: str) -> bool:
    """Whether somebody answers there."""
    try:
        httpx.get(f"{url}/livez", timeout=PATIENCE)
    except httpx.TransportError:
        return False
    return True


def ended(manager: PlatformManager, run_id: str, server: Server) -> RunStatus:
    """The status of a run that has ended."""
    until(lambda: manager.get_run(run_id).status.is_terminal, server.process)
    return manager.get_run(run_id).status


def test_the_service_starts_says_where_it_is_and_ends_when_asked(desk: Shell) -> None:
    with serving(desk) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.get("/livez").json() == {"ok": True, "metadata": {}}
        ready = server.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["metadata"]["checks"]["runtime_registry"]["count"] == 3
        assert "server" not in ready.headers
        assert server.stop() == 0
    lines = [json.loads(line) for line in server.log]
    requests = [line for line in lines if line.get("event") == "http_request"]
    assert [line["path"] for line in requests] == ["/livez", "/readyz"]


def test_ctrl_c_ends_it_in_order_too(desk: Shell) -> None:
    with serving(desk) as server:
        assert server.stop(signal.SIGINT) == 0


def test_a_run_in_hand_when_the_service_ends_is_gone_on_with_by_the_next_one(
    desk: Shell, outside: PlatformManager
) -> None:
    quick = Shell(desk.folder, {"KNEO_SERV_SHUTDOWN_TIMEOUT_SECONDS": "0.5"})
    with serving(quick) as server:
        run = outside.start_run_from_spec(spec=spec("first", "slow"), input_text="x", target="workflow")
        until((desk.folder / "slow").exists, server.process)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 20
    assert not outside.get_run(run.id).status.is_terminal
    (desk.folder / "go").touch()
    with serving(quick) as server:
        assert ended(outside, run.id, server) is RunStatus.COMPLETED
    assert outside.get_run(run.id).output_text == "x12"
    assert (desk.folder / "marks").read_text().split() == ["first"]


def test_a_caller_who_still_waits_when_the_service_ends_is_told_of_a_run_that_goes_on(
    desk: Shell, outside: PlatformManager
) -> None:
    quick = Shell(desk.folder, {"KNEO_SERV_SHUTDOWN_TIMEOUT_SECONDS": "0.5"})
    with serving(quick) as server, ThreadPoolExecutor() as others:
        asked = {"input": "x", "spec": spec("slow")}
        waiting = others.submit(httpx.post, f"{server.url}/v1/runs", json=asked, timeout=PATIENCE)
        until((desk.folder / "slow").exists, server.process)
        assert server.stop() == 0
        answer = waiting.result()
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert not outside.get_run(answer.json()["run_id"]).status.is_terminal


def test_who_presses_ctrl_c_twice_does_not_wait_for_the_runs(desk: Shell, outside: PlatformManager) -> None:
    with serving(desk) as server:
        outside.start_run_from_spec(spec=spec("slow"), input_text="x", target="workflow")
        until((desk.folder / "slow").exists, server.process)
        server.process.send_signal(signal.SIGINT)
        # The port is let go at once; by then the first signal has been understood.
        until(lambda: not listens(server.url), server.process)
        assert server.stop(signal.SIGINT) == 130


def test_a_run_that_ends_in_time_is_waited_for(desk: Shell, outside: PlatformManager) -> None:
    with serving(desk) as server:
        run = outside.start_run_from_spec(spec=spec("slow"), input_text="x", target="workflow")
        until((desk.folder / "slow").exists, server.process)
        server.process.send_signal(signal.SIGTERM)
        (desk.folder / "go").touch()
        assert server.process.wait(PATIENCE) == 0
    assert outside.get_run(run.id).status is RunStatus.COMPLETED


def test_the_service_lives_while_functions_keep_the_interpreter_busy(desk: Shell, outside: PlatformManager) -> None:
    with serving(desk) as server:
        runs = [outside.start_run_from_spec(spec=spec("busy"), input_text="x", target="workflow").id for _ in range(2)]
        until((desk.folder / "busy").exists, server.process)
        taken = []
        with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
            while not all(outside.get_run(run_id).status.is_terminal for run_id in runs):
                began = time.perf_counter()
                assert client.get("/livez").status_code == 200
                taken.append(time.perf_counter() - began)
        taken.sort()
        assert len(taken) > 20
        # Two threads that compute hand the interpreter on every 5 ms; a blocked loop would answer after seconds.
        assert taken[int(len(taken) * 0.99)] < 0.5, taken[-5:]


def test_the_service_lives_while_ten_thousand_runs_are_listed_and_waited_for(desk: Shell) -> None:
    fill(desk.folder / ".kneo" / "kneo_runs.sqlite", runs=10_000)
    with serving(desk) as server:
        over = threading.Event()

        def list_all() -> int:
            pages = 0
            with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
                while not over.is_set():
                    cursor = None
                    for _ in range(10):
                        asked = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
                        page = client.get("/v1/runs", params=asked).raise_for_status().json()
                        pages, cursor = pages + 1, page.get("next_cursor")
            return pages

        def work() -> str:
            asked = {"input": "x", "spec": spec("busy")}
            return str(httpx.post(f"{server.url}/v1/runs", json=asked, timeout=PATIENCE).json()["status"])

        with ThreadPoolExecutor() as others:
            pages, status = others.submit(list_all), others.submit(work)
            until((desk.folder / "busy").exists, server.process)
            taken = []
            with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
                while not status.done():
                    began = time.perf_counter()
                    assert client.get("/livez").status_code == 200
                    taken.append(time.perf_counter() - began)
            over.set()
            assert status.result() == "completed"
            assert pages.result() > 0
        taken.sort()
        p50, p99 = (taken[int(len(taken) * part)] for part in (0.5, 0.99))
        print(f"livez: {len(taken)} requests, p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, {pages.result()} pages")
        assert len(taken) > 20
        # A list on the server's loop, or a wait that holds it, would cost seconds.
        assert p99 < 0.5, taken[-5:]


def test_a_busy_port_is_an_error_in_words(desk: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = desk.kneo("service", "serve", "--port", port, code=1)
    assert f"Cannot listen on 127.0.0.1:{port}" in answer.err
    assert "Traceback" not in answer.err


def test_others_are_let_in_with_a_key_or_when_that_is_meant(desk: Shell) -> None:
    refused = desk.kneo("service", "serve", "--host", "0.0.0.0", "--port", "0", code=1)
    assert "--insecure" in refused.err
    assert not (desk.folder / ".kneo").exists()
    with serving(desk, "--host", "0.0.0.0", "--insecure") as server:
        assert server.stop() == 0
    with serving(Shell(desk.folder, {"KNEO_SERV_API_KEYS": "me:key:admin"}), "--host", "0.0.0.0") as server:
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--workers", "2"], "SQLite"),
        (["--log-level", "loud"], "DEBUG"),
        (["--log-format", "xml"], "json"),
        (["--env-file", "nothing.env"], "nothing.env"),
        (["--ssl-certfile", "cert.pem"], "--ssl-keyfile"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_opened(desk: Shell, words: list[str], told: str) -> None:
    with desk.start_kneo("service", "serve", "--port", "0", *words) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in (1, 2)
    assert told in err
    assert "Traceback" not in err
    assert not (desk.folder / ".kneo").exists()


def test_an_env_file_sets_what_is_not_set_yet(desk: Shell) -> None:
    desk.write("service.env", "KNEO_SERV_METRICS_ENABLED=off\nKNEO_SERV_LOG_FORMAT=json\n")
    with serving(Shell(desk.folder, {"KNEO_SERV_LOG_FORMAT": "text"}), "--env-file", "service.env") as server:
        assert server.get("/metrics").status_code == 404
        assert server.stop() == 0
    assert any("GET /metrics 404" in line for line in server.log)


def test_behind_a_proxy_the_callers_address_and_the_prefix_are_the_proxys(desk: Shell) -> None:
    with serving(desk, "--proxy-headers", "--root-path", "/kneo") as server:
        assert server.url.endswith("/kneo")
        bare = server.url.removesuffix("/kneo")
        answer = httpx.get(f"{bare}/v1/livez/", headers={"X-Forwarded-For": "203.0.113.9"}, timeout=PATIENCE)
        assert answer.headers["location"].endswith("/kneo/v1/livez")
        assert server.stop() == 0
    line = next(json.loads(line) for line in server.log if "http_request" in line)
    assert line["client_ip"] == "203.0.113.9"


def test_a_stranger_cannot_say_where_they_come_from(desk: Shell) -> None:
    with serving(desk) as server:
        server.get("/livez", headers={"X-Forwarded-For": "203.0.113.9"})
        assert server.stop() == 0
    assert json.loads(server.log[-1])["client_ip"] == "127.0.0.1"


def test_with_a_certificate_it_speaks_https(desk: Shell) -> None:
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(make.split(), cwd=desk.folder, check=True, capture_output=True)
    with serving(desk, "--ssl-keyfile", "key.pem", "--ssl-certfile", "cert.pem") as server:
        trust = ssl.create_default_context(cafile=str(desk.folder / "cert.pem"))
        trust.check_hostname = False
        assert server.url.startswith("https://")
        assert server.get("/livez", verify=trust).status_code == 200
        assert server.stop() == 0


def test_hostile_bodies_are_refused_over_the_wire_and_the_service_lives(desk: Shell) -> None:
    quick = Shell(desk.folder, {"KNEO_SERV_REQUEST_BODY_SECONDS": "0.3", "KNEO_SERV_MAX_BODY_BYTES": "1000"})
    with serving(quick) as server:
        large = httpx.post(server.url + "/v1/livez", content=b"x" * 10_000_000, timeout=PATIENCE)
        assert (large.status_code, large.json()["detail"]["max_body_bytes"]) == (413, 1000)
        pieces = httpx.post(server.url + "/v1/livez", content=iter([b"x" * 600] * 1000), timeout=PATIENCE)
        assert pieces.status_code == 413
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as slow:
            slow.sendall(b"POST /v1/livez HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            answer = b"".join(iter(lambda: slow.recv(65_536), b""))
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer.lower()
        assert server.get("/livez").status_code == 200
        assert server.stop() == 0


def test_the_document_can_be_printed(desk: Shell) -> None:
    assert desk.kneo("service", "openapi").json["info"]["title"] == "Kneo Agent Platform API"


def test_the_folder_of_the_state_is_that_of_the_command_line(desk: Shell) -> None:
    run = desk.kneo("run", "examples/smoke_human_workflow.yaml", "--input", "hello", "--target", "workflow", "--json")
    with serving(desk) as server:
        assert "kneo_human_tasks_open 1.0" in server.get("/metrics").text
        assert server.stop() == 0
    assert run.json["status"] == "paused"
    assert Path(desk.folder / ".kneo" / "kneo_runs.sqlite").exists()
