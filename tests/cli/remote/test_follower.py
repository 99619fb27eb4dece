"""What one sees of a run at a service while it goes on: as much as of one in this process, and never more than once."""

import asyncio
import contextlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from kneo_serv.model.message import Turn, TurnRequest
from kneo_serv.platform import PlatformManager
from kneo_serv.runtime import RuntimeRegistry
from kneo_serv.service.factory import create_persistence_stores
from kneo_serv.spec import SpecCompiler
from kneo_serv.tools import ToolRegistry
from tests.cli.screen import PATIENCE, Terminal, terminal
from tests.cli.served import serving
from tests.cli.shell import Shell

PIECES = ["Tea is a drink\n", "made of leaves.\n", "Many people like it.\n"]
GATES: defaultdict[str, threading.Event] = defaultdict(threading.Event)
STEPS = {
    "version": "v1",
    "agent": {"name": "tea", "model": {"provider": "teller", "name": "tea"}},
    "workflow": {
        "type": "sequential",
        "name": "slow",
        "steps": [{"id": name, "kind": "function", "ref": name} for name in ("first", "second", "third")],
    },
    "components": {
        "functions": {
            name: {"implementation": f"{__name__}.{name}", "effect": "idempotent"}
            for name in ("first", "second", "third")
        }
    },
}
SAYS = {
    **STEPS,
    "workflow": {"type": "sequential", "name": "says", "steps": [{"id": "describe", "kind": "agent", "ref": "tea"}]},
    "components": {},
}


def first(text: str) -> str:
    assert GATES["first"].wait(PATIENCE)
    return text


def second(text: str) -> str:
    assert GATES["second"].wait(PATIENCE)
    return text


def third(text: str) -> str:
    assert GATES["third"].wait(PATIENCE)
    return text


class Teller:
    """A model that says each piece when its gate is open."""

    async def turn(self, request: TurnRequest) -> Turn:
        for number, piece in enumerate(PIECES):
            assert await asyncio.to_thread(GATES[f"piece {number}"].wait, PATIENCE)
            if request.on_text is not None:
                request.on_text(piece)
        assert await asyncio.to_thread(GATES["said"].wait, PATIENCE)
        return Turn("".join(PIECES))

    async def aclose(self) -> None:
        """Nothing is held."""


@pytest.fixture(autouse=True)
def gates() -> Iterator[None]:
    """All open behind every test, so that no thread is left waiting."""
    GATES.clear()
    yield
    for gate in GATES.values():
        gate.set()


@pytest.fixture
def url(kneo: Shell) -> Iterator[str]:
    """A service whose models are tellers."""
    kneo.write("steps.json", json.dumps(STEPS))
    kneo.write("says.json", json.dumps(SAYS))
    runtimes = RuntimeRegistry()
    runtimes.register("bridge", lambda *, model, preferences: Teller())
    runs, continuations = create_persistence_stores(state_path=kneo.folder / "elsewhere.sqlite")
    manager = PlatformManager(
        compiler=SpecCompiler(runtime_registry=runtimes, tool_registry=ToolRegistry()),
        run_state_store=runs,
        continuation_store=continuations,
    )
    manager.start_worker()
    try:
        with serving(manager) as address:
            yield address
    finally:
        for gate in GATES.values():
            gate.set()
        manager.shutdown()


def pass_all() -> None:
    for name in ("first", "second", "third", "piece 0", "piece 1", "piece 2", "said"):
        GATES[name].set()


@contextlib.contextmanager
def proxy(url: str, *, cut: list[int] | None = None, refuse: int | None = None, mute: bool = False) -> Iterator[Any]:
    """The address of a proxy, and the `Last-Event-ID` of each stream that was asked for.

    Of streams it lets so many events through that the numbers in `cut` say, one number for each stream, and then hangs
    up; or refuses them with a status; or is `mute` and lets nothing through.
    """
    asked: list[str | None] = []
    cuts = list(cut or ())
    quiet = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            if "/events?" in self.path:
                self._stream(kept)
                return
            answer = httpx2.request(self.command, url + self.path, headers=kept, content=content, timeout=60)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def _stream(self, headers: dict[str, str]) -> None:
            asked.append(headers.get("Last-Event-ID"))
            if refuse is not None:
                self.send_error(refuse)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            if mute:
                quiet.wait(PATIENCE)
                return
            left = cuts.pop(0) if cuts else 10_000
            with httpx2.stream("GET", url + self.path, headers=headers, timeout=60) as answer:
                text = b"retry: 1\n\n"
                for piece in answer.iter_bytes():
                    text += piece.replace(b"retry: 2000", b"retry: 1")
                    *whole, text = text.split(b"\n\n")
                    for block in whole:
                        self.wfile.write(block + b"\n\n")
                        self.wfile.flush()
                        left -= b"\nevent: " in block
                        if left == 0:
                            return

        do_GET = do_POST = _pass  # noqa: N815 - so the library calls them

        def log_message(self, *words: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        quiet.set()
        server.shutdown()
        thread.join()
        server.server_close()


def seen(shown: Terminal, *texts: str) -> str:
    return shown.until(lambda screen: all(text in screen for text in texts))


def run(spec: str, url: str) -> tuple[str, ...]:
    return "run", f"{spec}.json", "--input", "tea", "--service-url", url


def test_lines_are_written_while_slow_steps_go_on_and_the_answer_comes_last(kneo: Shell, url: str) -> None:
    with terminal(kneo.folder, *run("steps", url), piped=True, term="dumb", columns=200) as shown:
        GATES["first"].set()
        assert "second" not in seen(shown, "✓ first")
        GATES["second"].set()
        assert "third" not in seen(shown, "✓ second")
        assert (kneo.folder / "out").read_text() == ""
        GATES["third"].set()
        assert shown.end() == 0
    assert [line for line in shown.screen.text.split("\n") if not line.startswith("Run run_")][:3] == [
        "✓ first", "✓ second", "✓ third",
    ]  # fmt: skip
    assert (kneo.folder / "out").read_text() == "tea\n"


def test_one_sees_what_a_model_says_while_it_says_it_and_the_answer_once(kneo: Shell, url: str) -> None:
    with terminal(kneo.folder, *run("says", url), columns=100) as shown:
        GATES["piece 0"].set()
        assert "leaves" not in seen(shown, "describe: asking the model", "Tea is a drink")
        GATES["piece 1"].set()
        seen(shown, "  Tea is a drink", "  made of leaves.")
        pass_all()
        assert shown.end() == 0
    lines = shown.screen.text.split("\n")
    assert [line for line in lines if not line.lstrip("✓ ").startswith("Run run_")] == [
        "✓ describe", "Tea is a drink", "made of leaves.", "Many people like it.", "",
    ]  # fmt: skip
    assert lines[-1].endswith(" completed.")


def test_a_run_that_goes_on_shows_only_what_comes_of_the_command(kneo: Shell, url: str) -> None:
    pass_all()
    done = kneo(*run("steps", url), "--json").json["run_id"]
    told = kneo("runs", "fork", done, "--at", "2", "--service-url", url)
    assert told.exit_code == 0
    assert [line for line in told.stderr.splitlines() if "un_" not in line and "run " not in line.lower()] == [
        "✓ second", "✓ third",
    ]  # fmt: skip


@pytest.mark.parametrize("cut", [[1], [3], [1, 1, 1], [2, 3]])
def test_a_stream_that_breaks_is_gone_on_with_and_nothing_is_told_twice(kneo: Shell, url: str, cut: list[int]) -> None:
    for name in ("first", "second"):
        GATES[name].set()
    opening = threading.Timer(1.5, GATES["third"].set)
    opening.start()
    with proxy(url, cut=cut) as (address, asked):
        told = kneo(*run("steps", address))
        opening.join()
    assert told.exit_code == 0
    lines = [line for line in told.stderr.splitlines() if "Run run_" not in line]
    assert lines == ["✓ first", "✓ second", "✓ third"]
    assert len(asked) == len(cut) + 1
    assert asked[0] is None
    assert None not in asked[1:]


@pytest.mark.parametrize("trouble", [{"refuse": 404}, {"refuse": 503}, {"mute": True}], ids=["old", "full", "mute"])
def test_without_a_stream_the_answer_comes_all_the_same(kneo: Shell, url: str, trouble: dict[str, Any]) -> None:
    pass_all()
    with proxy(url, **trouble) as (address, asked):
        told = kneo(*run("steps", address))
        assert len(asked) == 1
    assert (told.exit_code, told.stdout) == (0, "tea\n")
    assert "✓ first" not in told.stderr


def test_who_wants_to_hear_nothing_asks_for_nothing(kneo: Shell, url: str) -> None:
    pass_all()
    with proxy(url) as (address, asked):
        for switch in ("--json", "--quiet"):
            assert kneo(*run("steps", address), switch).exit_code == 0
        assert asked == []
        assert kneo(*run("steps", address), "--no-stream").exit_code == 0
        assert len(asked) == 1


def test_ctrl_c_ends_the_waiting_at_once_and_nothing_else(kneo: Shell, url: str) -> None:
    with terminal(kneo.folder, *run("steps", url), term="dumb", columns=200) as shown:
        GATES["first"].set()
        seen(shown, "✓ first", "is at work at")
        begun = time.monotonic()
        shown.interrupt()
        assert shown.end() == 130
        assert time.monotonic() - begun < 5
    assert "what was begun goes on in the service: `kneo runs get run_" in shown.screen.text
    pass_all()
    (row,) = kneo("runs", "list", "--service-url", url, "--json").json["runs"]
    assert row["status"] in ("running", "completed")
