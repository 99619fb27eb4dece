"""What somebody sends who means harm: raw requests by name, as no well-behaved client would send them."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

KEY = "hostile-4f1c7e0d2b"
"""The key of the attacker, who may do everything."""
CANARY = "canary-93d1f2a8"
"""What stands in files that no caller may read."""
BODY_BYTES = 1_048_576
"""What a body may have, by default."""

_SOURCE = ("spec", "spec_path", "environment", "overlays", "overrides")
_RUNS, _VALIDATE, _COMPILE = "/v1/runs", "/v1/specs/validate", "/v1/specs/compile"
_RESUME = "/v1/human-tasks/cont_x/resume"
_POLICY = "/v1/policies/environment/prod"


def request(
    method: str, target: str | bytes, body: bytes = b"", *fields: str | bytes, version: str = "1.1", key: str = KEY
) -> bytes:
    """The bytes of a request. Fields are whole lines; a length and a type of JSON are told unless they are."""
    lines = [line if isinstance(line, bytes) else line.encode("latin-1") for line in fields]
    named = b"\n".join(lines).lower()
    lines = [b"Host: service", b"Authorization: Bearer " + key.encode(), *lines]
    if body and b"content-length" not in named and b"transfer-encoding" not in named:
        lines.append(b"Content-Length: %d" % len(body))
    if body and b"content-type" not in named:
        lines.append(b"Content-Type: application/json")
    where = target if isinstance(target, bytes) else target.encode("latin-1")
    return b"%s %s HTTP/%s\r\n%s\r\n\r\n%s" % (
        method.encode(),
        where,
        version.encode(),
        b"\r\n".join(lines),
        body,
    )


def pieces(body: bytes, size: int = 65_536) -> bytes:
    """A body in chunks."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def post(target: str, value: Any, *fields: str) -> bytes:
    """A POST of a JSON value."""
    return request("POST", target, json.dumps(value).encode(), *fields)


def refused(root: Path) -> Iterator[tuple[str, bytes]]:
    """Requests that must be refused with a status from 400 to 499."""
    yield from _bodies()
    yield from _sizes()
    yield from _types()
    yield from _paths(root)
    yield from _wires()


def odd() -> Iterator[tuple[str, bytes]]:
    """Requests that may be answered or refused, but are no reason to fail."""
    yield from _ids()
    yield from _fields()
    yield from _values()


def _bodies() -> Iterator[tuple[str, bytes]]:
    deep = 100_000
    bad: Mapping[str, bytes] = {
        "no JSON": b"{]",
        "truncated JSON": b'{"input": "x", "spec": {"version": "v1", "agent"',
        "nothing but blanks": b"   ",
        "raw NUL": b'{"input": "a\x00b"}',
        "escaped NUL": b'{"input": "a\\u0000b"}',
        "NUL in a key": b'{"input": "a", "metadata": {"\\u0000": 1}}',
        "lone surrogate": b'{"input": "\\ud800"}',
        "lone surrogate in a key": b'{"input": "x", "metadata": {"\\udfff": 1}}',
        "bad UTF-8": b'{"input": "\xff\xfe\xc3"}',
        "overlong UTF-8": b'{"input": "\xc0\xaf"}',
        "UTF-16": '{"input": "x"}'.encode("utf-16"),
        "UTF-32": '{"input": "x"}'.encode("utf-32"),
        "a byte order mark": b'\xef\xbb\xbf{"input": 1}',
        "arrays without end": b"[" * deep,
        "deep arrays": b'{"input": "x", "metadata": {"a": ' + b"[" * deep + b"]" * deep + b"}}",
        "deep objects": b'{"input": "x", "spec": ' + b'{"a":' * deep + b"1" + b"}" * deep + b"}",
        "1e400": b'{"input": "x", "timeout_seconds": 1e400}',
        "1e400 in metadata": b'{"input": "x", "metadata": {"n": 1e400}}',
        "NaN": b'{"input": "x", "wait": NaN}',
        "Infinity": b'{"input": "x", "metadata": {"n": -Infinity}}',
        "an integer of 5000 digits": b'{"input": "x", "timeout_seconds": ' + b"9" * 5000 + b"}",
        "an integer of 5000 digits in metadata": b'{"input": "x", "metadata": {"n": ' + b"9" * 5000 + b"}}",
        "an integer of a million digits": b'{"input": "x", "metadata": {"n": ' + b"9" * 1_000_000 + b"}}",
        "100,000 keys": b'{"input": "x", ' + b",".join(b'"k%d":1' % n for n in range(70_000)) + b"}",
        "100,000 items": b'{"input": "x", "tags": [' + b",".join([b'"t"'] * 100_000) + b"]}",
        "an empty key": b'{"input": "x", "": 1}',
        "a word": b"null",
        "a list": b"[]",
        "two values": b'{"input": "x"}{"input": "y"}',
    }
    for name, body in bad.items():
        yield f"body: {name}", request("POST", _RUNS, body)
        yield f"body of specs: {name}", request("POST", _VALIDATE, body.replace(b'"input": "x", ', b"", 1))
        yield f"body of an answer: {name}", request("POST", _RESUME, body)
        yield f"body of a policy: {name}", request("PUT", _POLICY, body)


def _sizes() -> Iterator[tuple[str, bytes]]:
    large = b'{"input": "' + b"x" * 10_000_000 + b'"}'
    yield "10 MB with its length", request("POST", _RUNS, large)
    yield "10 MB in pieces", request("POST", _RUNS, pieces(large), "Transfer-Encoding: chunked")
    yield "10 MB without a key", request("POST", _RUNS, large, key="none")
    yield "10 MB to nowhere", request("POST", "/nowhere", large)
    yield "10 MB in a GET", request("GET", _RUNS, large)
    yield "pieces of one byte", request("POST", _RUNS, pieces(large[:40_000], 1), "Transfer-Encoding: chunked")
    yield "a length of 10^30", request("POST", _RUNS, b"{}", f"Content-Length: {10**30}")
    yield "a negative length", request("POST", _RUNS, b"{}", "Content-Length: -1")
    yield "a length that is a word", request("POST", _RUNS, b"{}", "Content-Length: many")
    yield "two lengths", request("POST", _RUNS, b"{}", "Content-Length: 2", "Content-Length: 3")
    yield (
        "length and pieces",
        request("POST", _RUNS, b"2\r\n{}\r\n0\r\n\r\n", "Content-Length: 2", "Transfer-Encoding: chunked"),
    )
    yield "a length that is too short", request("POST", _RUNS, b'{"input": "x"}', "Content-Length: 3")
    yield "pieces of no size", request("POST", _RUNS, b"zz\r\n{}\r\n", "Transfer-Encoding: chunked")
    yield "a piece of 2^64", request("POST", _RUNS, b"fffffffffffffffff\r\n{}\r\n", "Transfer-Encoding: chunked")
    yield "a coding that is unknown", request("POST", _RUNS, b"{}", "Transfer-Encoding: gzip")


def _types() -> Iterator[tuple[str, bytes]]:
    body = b'{"input": "x"}'
    for kind in (
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ):
        yield f"type: {kind}", request("POST", _RUNS, body, f"Content-Type: {kind}")
    yield "type: none at all", request("POST", _RUNS, body, "Content-Type:")
    yield "type: rubbish", request("POST", _RUNS, body, 'Content-Type: \xff;;;="')
    yield (
        "type: charset",
        request("POST", _RUNS, '{"input": 1}'.encode("utf-16"), "Content-Type: application/json; charset=utf-16"),
    )
    yield "a compressed body", request("POST", _RUNS, b"\x1f\x8b\x08\x00", "Content-Encoding: gzip")


def _paths(root: Path) -> Iterator[tuple[str, bytes]]:
    traps = [
        "../outside.yaml",
        "..",
        "../",
        "./../outside.yaml",
        "sub/../../outside.yaml",
        "..\\outside.yaml",
        "~/outside.yaml",
        "~root/.ssh/id_rsa",
        "~",
        "/etc/passwd",
        "//etc/passwd",
        "/proc/self/environ",
        "/dev/zero",
        "/dev/stdin",
        str(root.parent / "outside.yaml"),
        "link.yaml",
        "folder-link/outside.yaml",
        "loop.yaml",
        "pipe.yaml",
        "sub",
        ".",
        "a\x00b",
        "%2e%2e/outside.yaml",
        "..%2foutside.yaml",
        "file:///etc/passwd",
        "http://127.0.0.1:1/x.yaml",
        "\\\\server\\share\\x.yaml",
        "x" * 4_000,
        "x/" * 2_000,
        "x" * 5_000,
        "\ud7ff\ue000\uffff",
        "bomb.yaml",
        "bomb.json",
        "deep.yaml",
        "binary.yaml",
        "tagged.yaml",
        "large.yaml",
        "nothing.yaml",
    ]
    for trap in traps:
        for where in (
            _COMPILE,
            "/v1/specs/explain",
            "/v1/specs/graph",
            "/v1/specs/policy-report",
            "/v1/specs/run",
            _RUNS,
        ):
            more = {"input": "x"} if where in (_RUNS, "/v1/specs/run") else {}
            yield f"{where} of {trap[:60]!r}", post(where, {"spec_path": trap, **more})
        yield f"overlay {trap[:60]!r}", post(_COMPILE, {"spec_path": "fine.yaml", "overlays": [trap]})
        skills = {
            "version": "v1",
            "agent": {**_AGENT, "skills": ["one"]},
            "components": {"skills": {"one": {"source": trap}}},
        }
        if trap not in (".", "sub", "large.yaml", "deep.yaml", "tagged.yaml", "bomb.yaml", "bomb.json"):
            yield f"skill {trap[:60]!r}", post(_COMPILE, {"spec": skills})


_AGENT: dict[str, Any] = {"name": "echo", "model": {"provider": "dummy", "name": "dummy"}}


def _wires() -> Iterator[tuple[str, bytes]]:
    yield "garbage", bytes(range(256)) * 4
    yield "no request at all", b"\r\n\r\nHELO there\r\n\r\n"
    yield "TLS", bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "HTTP/9.9", request("GET", "/livez", version="9.9")
    yield "a long method", request("A" * 10_000, "/livez")
    yield "CONNECT", request("CONNECT", "example.org:443")
    yield "TRACE", request("TRACE", "/v1/runs")
    yield "OPTIONS *", request("OPTIONS", "*")
    yield "PROPFIND", request("PROPFIND", "/v1/runs")
    yield "GET by another name", request("DELETE", "/v1/runs", b"", "X-HTTP-Method-Override: GET")
    yield "a path that is no ASCII", request("GET", b"/v1/runs/\xff\xfe")
    yield "a raw NUL in the path", request("GET", b"/v1/runs/a\x00b")
    yield "a URL of 100 kB", request("GET", "/v1/runs?q=" + "x" * 100_000)
    yield "a path of 100 kB", request("GET", "/v1/runs/" + "x" * 100_000)
    yield "a field of 100 kB", request("GET", "/v1/runs", b"", "X-Large: " + "x" * 100_000)
    yield "a head of 10 MB", request("GET", "/v1/runs", b"", *(["X-More: " + "x" * 1000] * 10_000))
    yield "a head of 10 MB in one field", request("GET", "/v1/runs", b"", "X-More: " + "x" * 10_000_000)
    yield "blank lines without end", b"\r\n" * 200_000
    yield "a bare line feed in a field", request("GET", "/v1/runs", b"", b"X-A: b\nX-C: d\n\n")
    yield "a NUL in a field", request("GET", "/v1/runs", b"", b"X-A: a\x00b")
    yield "a space before the colon", request("GET", "/v1/runs", b"", "X-A : b")
    yield "a folded field", request("GET", "/v1/runs", b"", "X-A: b\r\n c: d")
    yield "no colon", request("GET", "/v1/runs", b"", "nonsense")
    yield (
        "an endless trailer",
        (request("POST", _RUNS, b"2\r\n{}\r\n0\r\nX-Trailer: ", "Transfer-Encoding: chunked") + b"x" * 10_000_000),
    )


def _ids() -> Iterator[tuple[str, bytes]]:
    ids = [
        "%00",
        "a%00b",
        "%ff%fe",
        "%ED%A0%80",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%2f..%2fetc%2fpasswd",
        "%2F",
        "%5C",
        "%0d%0aX-Injected:%20yes",
        "%0a",
        "%7f%1b%5b2J",
        "%25252e",
        "%",
        "%zz",
        "' OR 1=1 --",
        "%22;DROP%20TABLE%20runs",
        "x" * 4_000,
        "%F0%9F%98%80" * 300,
        ".",
        "..",
        "*",
        "%20",
        "run_2026-05-10T12:34:56_x",
    ]
    for one in ids:
        where = one.replace(" ", "%20")
        for view in (
            "",
            "/trace",
            "/checkpoints",
            "/checkpoints/diff",
            "/graph",
            "/recovery",
            "/replay",
            "/policy-report",
        ):
            yield f"GET run {one[:40]}{view}", request("GET", f"/v1/runs/{where}{view}")
        yield f"cancel {one[:40]}", request("POST", f"/v1/runs/{where}/cancel")
        yield f"continue {one[:40]}", request("POST", f"/v1/runs/{where}/continue")
        yield f"task {one[:40]}", request("GET", f"/v1/human-tasks/{where}")
        yield f"resume {one[:40]}", post(f"/v1/human-tasks/{where}/resume", {"request_id": "r", "decision": "approved"})
        yield f"policy {one[:40]}", request("GET", f"/v1/policies/environment/{where}")
        yield f"set policy {one[:40]}", request("PUT", f"/v1/policies/environment/{where}", b"{}")
        for name in ("run_id", "cursor", "sort_by", "status", "created_after", "event_type", "q", "fields", "unknown"):
            yield f"runs by {name}={one[:40]}", request("GET", f"/v1/runs?{name}={where}")
            yield f"audit by {name}={one[:40]}", request("GET", f"/v1/audit-events?{name}={where}")
        yield f"tasks by run_id={one[:40]}", request("GET", f"/v1/human-tasks?run_id={where}&sort_by={where}")
        yield f"credentials {one[:40]}", request("GET", f"/v1/security/credentials?extras={where}&providers={where}")
    for number in ("1e400", "-1", "9" * 5000, "NaN", "1_000", "٣", "0x10", "1.0000000000000000001", ""):
        encoded = quote(number)
        for name in ("limit", "offset", "from_sequence", "to_sequence"):
            yield f"{name}={number[:20]}", request("GET", f"/v1/runs?{name}={encoded}")
        yield f"wait={number[:20]}", request("GET", f"/v1/runs/x?wait={encoded}")
        yield f"diff {number[:20]}", request("GET", f"/v1/runs/x/checkpoints/diff?from_sequence={encoded}")
    for moment in ("0001-01-01", "9999-12-31T23:59:59+23:59", "0001-01-01T00:00:00-23:59", "0000-01-01", "now", "1e9"):
        yield f"since {moment}", request("GET", f"/v1/runs?created_after={quote(moment)}")
        yield f"audit since {moment}", request("GET", f"/v1/audit-events?created_before={quote(moment)}")
    yield "many parameters", request("GET", "/v1/runs?" + "&".join(f"p{n}=1" for n in range(5_000)))
    yield "one parameter often", request("GET", "/v1/runs?" + "&".join(["limit=1"] * 5_000))


def _fields() -> Iterator[tuple[str, bytes]]:
    body = json.dumps({"input": "x", "spec": {"version": "v1", "agent": _AGENT}}).encode()
    values: list[bytes] = [
        b"a\tb",
        b"\xff\xfe",
        b"\x7f\x1b[2J",
        b"x" * 257,
        b"x" * 60_000,
        b"",
        b"   ",
        b"' OR 1=1 --",
        b"../../etc/passwd",
        "\U0001f600".encode(),
        b"a\xc3",
        b"key, another",
    ]
    for value in values:
        for name in (
            b"X-Request-ID",
            b"Idempotency-Key",
            b"traceparent",
            b"tracestate",
            b"If-None-Match",
            b"User-Agent",
            b"Accept",
            b"Cookie",
            b"X-Forwarded-For",
            b"X-Kneo-Api-Key",
            b"Last-Event-ID",
            b"Range",
            b"Expect",
        ):
            shown = value[:20].decode("latin-1")
            yield f"{name.decode()}: {shown!r}", request("POST", _RUNS, body, name + b": " + value)
            yield f"GET with {name.decode()}: {shown!r}", request("GET", "/v1/runs/x", b"", name + b": " + value)
    for value in (b"\xff\xfe", b"x" * 60_000, b"a.b.c", b"eyJhbGciOiJub25lIn0.e30.", b"", b"Bearer", b"a\tb"):
        yield f"token {value[:20]!r}", request("GET", "/v1/runs", b"", b"X-Kneo-Api-Key: " + value, key="")
    yield "HTTP/0.9", b"GET /livez\r\n\r\n"
    yield "HTTP/1.0", request("GET", "/livez", version="1.0")
    yield "HTTP/1.0 with a body", request("POST", _RUNS, body, version="1.0")
    yield "no host", b"GET /livez HTTP/1.1\r\n\r\n"
    yield "two hosts", request("GET", "/livez", b"", "Host: other")
    yield "another's address", request("GET", "http://other.example/livez")
    yield "a host that is none", request("GET", "/livez/", b"", "Host: a b\xff")
    yield "HEAD with a body", request("HEAD", "/v1/runs", b"{}")
    yield "lower case", request("get", "/livez")
    yield (
        "an upgrade",
        request("GET", "/livez", b"", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    )
    yield (
        "h2c",
        request(
            "GET", "/livez", b"", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"
        ),
    )
    yield "an expectation", request("POST", _RUNS, body, "Expect: 100-continue")
    yield (
        "a trailer",
        request("POST", _RUNS, pieces(body)[:-2] + b"Authorization: x\r\n\r\n", "Transfer-Encoding: chunked"),
    )
    yield "extensions of pieces", request("POST", _RUNS, b"2;a=b;c\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked")
    yield (
        "a preflight",
        request("OPTIONS", "/v1/runs", b"", "Origin: https://evil.example", "Access-Control-Request-Method: POST"),
    )


def _values() -> Iterator[tuple[str, bytes]]:
    """Every field of every request with values of other types."""
    fields: Mapping[str, tuple[dict[str, Any], tuple[str, ...]]] = {
        _RUNS: (
            {"input": "x", "spec": {"version": "v1", "agent": _AGENT}},
            (
                *_SOURCE,
                "input",
                "target",
                "skills",
                "async_mode",
                "session_id",
                "metadata",
                "timeout_seconds",
                "wait",
                "tags",
            ),
        ),
        _COMPILE: (
            {"spec": {"version": "v1", "agent": _AGENT}},
            (*_SOURCE, "strict"),
        ),
        _RESUME: (
            {"request_id": "r", "decision": "approved"},
            ("request_id", "decision", "content", "selected_option", "metadata"),
        ),
        f"{_POLICY}/preview": (
            {},
            ("enabled", "blocked_diagnostic_codes", "require_guardrails"),
        ),
    }
    values: list[Any] = [None, True, 0, -1, 1.5, 2**63, -(2**64), 10**300, "", "x", "x" * 30_000, [], [[]], [None], {}]
    values += [
        {"a": None},
        {"": {}},
        [{}],
        ["a", 1],
        {"version": "v1"},
        {"version": ["v1"], "agent": []},
        {"version": 10**400},
    ]
    for where, (good, names) in fields.items():
        for name in names:
            for value in values:
                yield f"{where} {name}={str(value)[:30]}", post(where, {**good, name: value})
        yield f"{where} with a field too many", post(where, {**good, "unknown": 1})
    parts: list[Any] = [
        "agent",
        "workflow",
        "components",
        "version",
        "guardrails",
        "memory",
        "tools",
        "extensions",
        "limits",
    ]
    for part in parts:
        for value in values:
            spec = {"version": "v1", "agent": _AGENT, part: value}
            yield f"spec with {part}={str(value)[:30]}", post(_VALIDATE, {"spec": spec})
    twice = b'{"input": "x", "input": "y", "spec": {"version": "v1", "version": "v2", "agent": {}}}'
    yield "keys that stand twice", request("POST", _RUNS, twice)


def lay_traps(root: Path) -> None:
    """Files in the folder for specs, and outside of it, that a caller may name."""
    root.mkdir(exist_ok=True)
    (root / "sub").mkdir()
    outside = root.parent / "outside.yaml"
    outside.write_text(f"version: v1\nagent: {{name: {CANARY}, model: {{provider: dummy, name: dummy}}}}\n")
    (root / "fine.yaml").write_text("version: v1\nagent: {name: fine, model: {provider: dummy, name: dummy}}\n")
    (root / "link.yaml").symlink_to(outside)
    (root / "folder-link").symlink_to(root.parent)
    (root / "loop.yaml").symlink_to(root / "loop.yaml")
    # Nobody writes to it: who opens it waits for ever.
    os.mkfifo(root / "pipe.yaml")
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    (root / "bomb.yaml").write_text("\n".join([*lines, "version: v1"]))
    (root / "bomb.json").write_text('{"a":' * 100_000)
    (root / "deep.yaml").write_text("[" * 100_000)
    (root / "binary.yaml").write_bytes(bytes(range(256)) * 100)
    (root / "tagged.yaml").write_text("version: !!python/object/apply:os.system ['touch hacked']\n")
    (root / "large.yaml").write_text("# " + "x" * 30_000_000)
