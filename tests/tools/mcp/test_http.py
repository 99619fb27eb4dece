"""Servers over HTTP: what is sent to them, and how they refuse."""

import gzip
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.errors import ToolError
from kneo_serv.model.secret import Secrets
from tests.tools.mcp.certificates import issue
from tests.tools.mcp.servers import RUNNING, pool, run, serving

CANARY = "c4nary-t0ken"


@contextmanager
def refusing(status: int, body: bytes = b"", **headers: str) -> Iterator[str]:
    """A service that answers every request like this, with the id of the question for `ID`; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = re.search(rb'"id":(\d+)', self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            self.answer(body.replace(b"ID", asked[1]) if asked else body)

        def do_GET(self) -> None:
            self.answer(body)

        def answer(self, body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as service:
        threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{service.server_port}"
        service.shutdown()


def refusal(server: dict[str, Any], environ: dict[str, str] = RUNNING, **options: Any) -> str:
    async def scenario() -> None:
        async with pool(environ=environ, **options) as servers:
            await servers.call("docs", server, "echo", {"text": ""})

    with pytest.raises(ToolError) as caught:
        run(scenario())
    return str(caught.value)


@pytest.mark.parametrize("mode", ["http", "json", "sse"])
def test_headers_of_the_config_are_sent_with_every_call(mode: str) -> None:
    async def scenario(server: dict[str, Any]) -> str:
        async with pool() as servers:
            return await servers.call("docs", {**server, "headers": {"X-Canary": CANARY}}, "headers", {})

    with serving(mode) as server:
        assert run(scenario(server)) == CANARY


@pytest.mark.parametrize("transport", ["http", "sse"])
def test_a_refusal_names_its_status_and_no_secret(transport: str, caplog: pytest.LogCaptureFixture) -> None:
    with refusing(401, f"bad key {CANARY}".encode()) as base, caplog.at_level(logging.DEBUG, "kneo_serv"):
        url = f"{base.replace('://', f'://user:{CANARY}@')}/mcp?key={CANARY}"
        server = {"transport": transport, "url" if transport == "http" else "sse_url": url}
        told = refusal({**server, "headers": {"Authorization": f"Bearer {CANARY}"}})
    assert told == "MCP server 'docs' cannot be used: it answered HTTP 401 Unauthorized."
    assert CANARY not in caplog.text


def test_what_a_server_says_about_its_caller_is_told_without_the_secret() -> None:
    body = f'{{"jsonrpc":"2.0","id":ID,"error":{{"code":-32002,"message":"key {CANARY} has expired"}}}}'.encode()
    with refusing(200, body, Content_Type="application/json") as base:
        told = refusal({"transport": "http", "url": f"{base}/mcp", "headers": {"X-Key": CANARY}})
    assert told == "MCP server 'docs' cannot be used: key [REDACTED] has expired."


def test_a_service_that_speaks_something_else_is_told() -> None:
    with refusing(200, b"<html>", Content_Type="text/html") as base:
        assert "Unexpected content type: text/html" in refusal({"transport": "http", "url": f"{base}/mcp"})


def test_an_answer_that_is_compressed_against_the_request_is_refused() -> None:
    with refusing(200, gzip.compress(b"x" * 100_000), Content_Type="application/json", Content_Encoding="gzip") as base:
        told = refusal({"transport": "http", "url": f"{base}/mcp"})
    assert "it compresses its answers although it was asked not to" in told


def test_a_service_that_is_not_there_is_told_with_its_address_and_without_secrets() -> None:
    with refusing(200) as base:
        pass
    told = refusal({"transport": "http", "url": f"{base}/mcp?key={CANARY}", "headers": {"X-Key": CANARY}})
    assert told == f"MCP server 'docs' cannot be used: {base}/mcp does not answer: All connection attempts failed."


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    issue(folder)
    return folder


@pytest.fixture(scope="module")
def secured(tls: Path) -> Iterator[dict[str, Any]]:
    """A server that shows a certificate and wants to see one."""
    with serving("http", tls=tls) as server:
        yield server


def test_certificates_are_shown_and_checked(secured: dict[str, Any], tls: Path) -> None:
    key = (tls / "client.key").read_text()
    environ = {**RUNNING, "CLIENT_KEY": key, "CLIENT_KEY_FILE": str(tls / "client.key")}
    mine = {**secured, "client_cert": str(tls / "client.pem")}
    ca = {"ca_bundle": str(tls / "ca.pem")}

    async def scenario() -> None:
        async with pool(environ=environ) as servers:
            for more in (
                {"client_key": str(tls / "client.key"), **ca},
                {"client_key_ref": "CLIENT_KEY", **ca},
                {"client_key_ref": "CLIENT_KEY_FILE", **ca},
                {"client_key_ref": "CLIENT_KEY", "verify": False},
            ):
                assert await servers.call("docs", {**mine, **more}, "echo", {"text": "safe"}) == "safe"

    run(scenario())

    async def mapped() -> None:
        secrets = Secrets(environ, extra_env={"archive": "CLIENT_KEY"})
        async with pool(environ=environ, secrets=secrets) as servers:
            asked = {**mine, **ca, "client_key_ref": "archive"}
            assert await servers.call("docs", asked, "echo", {"text": "safe"}) == "safe"

    run(mapped())
    assert "CERTIFICATE_VERIFY_FAILED" in refusal({**mine, "client_key_ref": "CLIENT_KEY"}, environ)
    assert "does not answer" in refusal({**secured, **ca}, environ)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"client_cert": "{tls}/client.pem", "client_key_ref": "NO_KEY"}, "NO_KEY is not set; client_key_ref names it"),
        ({"client_cert": "{tls}/client.pem", "client_key_ref": "BAD_KEY"}, "BAD_KEY holds neither a key in PEM form"),
        ({"client_key_ref": "CLIENT_KEY"}, "client_key_ref goes with a client_cert"),
        (
            {"client_cert": "{tls}/client.pem", "client_key_ref": "KNEO_SERV_SPEC_SIGNING_KEY"},
            "client_key_ref must not name KNEO_SERV_SPEC_SIGNING_KEY",
        ),
        ({"client_cert": "{tls}/none.pem"}, "its client_cert and its key cannot be used: no such file"),
        ({"client_cert": "{tls}/client.pem", "client_key": "{tls}/server.key"}, "cannot be used: SSLError"),
        ({"ca_bundle": "{tls}/none.pem"}, "its ca_bundle cannot be used: no such file"),
    ],
)  # fmt: skip
def test_keys_that_cannot_be_used_are_told_by_their_names(more: dict[str, str], problem: str, tls: Path) -> None:
    server = {"transport": "http", "url": "https://127.0.0.1:9/", **{k: v.format(tls=tls) for k, v in more.items()}}
    told = refusal(server, {**RUNNING, "CLIENT_KEY": (tls / "client.key").read_text(), "BAD_KEY": CANARY})
    assert problem in told
    assert CANARY not in told
    assert "BEGIN" not in told


def test_messages_of_the_older_transport_go_where_the_config_says() -> None:
    async def scenario(server: dict[str, Any]) -> str:
        async with pool() as servers:
            return await servers.call("docs", server, "echo", {"text": "heard"})

    with serving("sse") as server:
        elsewhere = server["sse_url"].replace("127.0.0.1", "localhost").replace("/sse", "/messages/")
        assert run(scenario({**server, "message_url": elsewhere})) == "heard"
        nowhere = server["sse_url"].replace("/sse", "/nowhere/")
        assert "it answered a message with HTTP 404 Not Found" in refusal({**server, "message_url": nowhere})
