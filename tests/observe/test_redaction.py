"""Secrets do not leave the platform; everything else does, unchanged."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kneo_serv.observe import REDACTED, may_hold_secret, preview, redact_data, redact_error, redact_text
from kneo_serv.observe.redaction import MAX_DEPTH, redact_closely
from kneo_serv.observe.secret_names import FUSED_ENDINGS, SECRET_PAIRS, SECRET_WORDS

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"

SECRETS = {
    "write to ann.lee+x@example.co.uk today": "write to [REDACTED_EMAIL] today",
    "ssn 123-45-6789.": "ssn [REDACTED_SSN].",
    "Authorization: Bearer abc.def": "Authorization: Bearer [REDACTED]",
    "sent Bearer hunter2 to it": "sent Bearer [REDACTED] to it",
    "Basic dXNlcjpwYXNz": "Basic [REDACTED]",
    'Digest username="Mufasa", response="6629"': "Digest [REDACTED]",
    "Cookie: a=b; c=d\nnext": "Cookie: [REDACTED]\nnext",
    "Set-Cookie: sid=1; Path=/": "Set-Cookie: [REDACTED]",
    "key sk-proj-abc123def456 leaked": "key [REDACTED] leaked",
    "AKIAIOSFODNN7EXAMPLE": "[REDACTED]",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv": "[REDACTED]",
    "ghp_0123456789abcdef0123": "[REDACTED]",
    "gsk_0123456789abcdefghijABCDEFGHIJ0123456789abcdefghij01": "[REDACTED]",
    "github_pat_0123456789abcdef0123": "[REDACTED]",
    f"jwt {JWT} end": "jwt [REDACTED] end",
    "password=x": "password=[REDACTED]",
    "PGPASSWORD=x psql": "PGPASSWORD=[REDACTED] psql",
    "see 'password': 'x y'": "see 'password': '[REDACTED]'",
    'got "password": "x \\" y", "a": 1': 'got "password": "[REDACTED]", "a": 1',
    'got \\"password\\": \\"x\\", 1': 'got \\"password\\": \\"[REDACTED]\\", 1',
    'cut {"client_secret": 123, "a': 'cut {"client_secret": "[REDACTED]", "a',
    'near {"password": 123, "b": {"api_key": 12}}': 'near {"password": "[REDACTED]", "b": {"api_key": "[REDACTED]"}}',
    "connect(password=x)": "connect(password=[REDACTED])",
    "client_secret: abc": "client_secret: [REDACTED]",
    "credentials: read": "credentials: [REDACTED]",
    "credentials:readable": "credentials:[REDACTED]",
    "?access_token=abc&page=2": "?access_token=[REDACTED]&page=2",
    "secret_key=abc": "secret_key=[REDACTED]",
    "the API key: abc": "the API key: [REDACTED]",
    "postgres://user:p@ss@host/db": "postgres://user:[REDACTED]@host/db",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----": "[REDACTED]",
}

PLAIN = [
    "Spec digest does not match",
    "token count",
    "max_tokens=512, total_tokens: 30",
    "Missing Bearer token.",
    "basic authentication is off",
    "token expired yesterday",
    "the task-runner and risk-averse people",
    "on 2026-05-10 at 12:34:56",
    "run_2026-05-10T12:34:56_abcdefghijklmnopqrstuv",
    "package@1.2.3",
    "http://example.com:8080/a/b",
    "password: null",
    'cut {"password": null}, {"token": 12}',
    "token: ]",
    "Missing required scope: credentials:read",
    "viewer,credentials:read,runs:write",
    "a session_id of s-1",
    "",
]


@pytest.mark.parametrize(("text", "expected"), SECRETS.items())
def test_a_secret_in_a_text_gives_way_to_a_placeholder(text: str, expected: str) -> None:
    assert redact_text(text) == expected


@pytest.mark.parametrize("text", SECRETS)
def test_redacting_a_secret_twice_is_redacting_it_once(text: str) -> None:
    assert redact_text(redact_text(text)) == redact_text(text)


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact_text(text) is text


@pytest.mark.parametrize(
    "key",
    [
        *("password", "Password", "user_passwords", "dbPassword", "api_key", "apiKey", "x-api-key", "apikeys"),
        *("OPENAI_API_KEY", "clientSecret", "clientsecret", "access_token", "refreshToken", "authToken", "cookies"),
        *("set-cookie", "Authorization", "private_key", "client_cert", "ca_bundle", "credentials", "session"),
        *("email", "ssn", "social_security", "socialSecurity", "bearer", "token"),
    ],
)
def test_the_value_of_a_secret_key_is_masked(key: str) -> None:
    assert redact_data({key: "x", "kept": "y"}) == {key: REDACTED, "kept": "y"}
    nested: Any = {key: {"any": ["thing"]}}
    assert redact_data(nested) == {key: REDACTED}


@pytest.mark.parametrize(
    "key",
    [
        *("session_id", "sessionId", "input_tokens", "output_tokens", "total_tokens", "prompt_tokens"),
        *("completion_tokens", "token_usage", "usage", "tokens_input_total", "trace_event_count"),
        *("title", "secretary", "author", "monkey", "step_key", "tokenizer", "emailed"),
    ],
)
def test_the_value_of_an_open_key_is_kept(key: str) -> None:
    value = {key: "x"}
    assert redact_data(value) is value


def test_what_cannot_be_a_secret_stays_under_a_secret_key() -> None:
    value = {"password": None, "has_token": True, "max_tokens": 512, "token_budget": 0.5}
    assert redact_data(value) is value
    pin: dict[str, Any] = {"password": 1234}
    assert redact_data(pin) == {"password": REDACTED}


def test_json_in_a_string_stays_json() -> None:
    inner = json.dumps({"password": "x", "note": "ok", "mail": ["a@b.org"]})
    outer = redact_data({"raw": json.dumps({"inner": inner})})
    assert json.loads(json.loads(outer["raw"])["inner"]) == {
        "password": REDACTED,
        "note": "ok",
        "mail": ["[REDACTED_EMAIL]"],
    }


def test_json_without_secrets_keeps_its_spelling() -> None:
    text = '{ "a":1.50,\n "b": [1e400] }'
    assert redact_text(text) is text


def test_shapes_and_other_types_are_kept() -> None:
    value = {"a": ("x@y.org", 1), 2: [b"raw", 1.5, None]}
    assert redact_data(value) == {"a": ("[REDACTED_EMAIL]", 1), 2: [b"raw", 1.5, None]}


def test_values_nested_beyond_reason_are_masked_and_not_followed() -> None:
    value: list[Any] = ["a@b.org"]
    for _ in range(5000):
        value = [value]
    assert "a@b.org" not in str(json.dumps(redact_data(value)))
    assert redact_text("[" * 100_000 + '"password=x"' + "]" * 100_000).count("password=[REDACTED]") == 1


def test_an_error_does_not_show_paths_of_the_machine() -> None:
    assert redact_error('File "/home/ann/app/x.py", line 3') == 'File "[PATH]", line 3'
    assert redact_error("C:\\Users\\ann\\x.py is gone; see https://kneo.dev/docs/x") == (
        "[PATH] is gone; see https://kneo.dev/docs/x"
    )


def test_a_preview_is_redacted_before_it_is_cut() -> None:
    assert preview("x" * 490 + " ann@example.com") == "x" * 490 + " [REDACTED" + "...[truncated]"
    assert preview("x" * 500) == "x" * 500
    assert preview("x" * 501) == "x" * 500 + "...[truncated]"
    assert "ann@" not in preview("x" * 495 + " ann@example.com")


FRAGMENTS = st.sampled_from(
    [
        *SECRETS,
        *PLAIN,
        *("password", "token", "=", ":", " ", '"', "'", "\\", "\n", "Bearer ", "Cookie: ", "://", "@", ".", "-", ","),
        *("{", "}", "[", "]", "eyJ", "sk-", "123-45-6789", REDACTED, "Digest ", "a=", "Basic ", "authorization"),
    ]
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(FRAGMENTS, max_size=12).map("".join))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_redacting_any_text_twice_is_redacting_it_once(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_redacted_values_keep_their_shapes(value: Any) -> None:
    once = redact_data(value)
    assert redact_data(once) == once
    assert json.loads(json.dumps(once)) == once
    assert same_shape(value, once)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_redacted_json_texts_are_json(value: Any) -> None:
    text = json.dumps([value])
    once = redact_text(text)
    assert same_shape([value], json.loads(once))
    assert redact_text(once) == once


def same_shape(before: Any, after: Any) -> bool:
    if after == REDACTED:
        return True
    if isinstance(before, dict):
        return list(before) == list(after) and all(same_shape(before[key], after[key]) for key in before)
    if isinstance(before, list):
        return len(before) == len(after) and all(map(same_shape, before, after))
    return type(before) is type(after) and (isinstance(before, str) or before == after)


HOSTILE = {
    "letters": "a",
    "local parts": "a.",
    "addresses": "a@",
    "domains": "a@b.",
    "keys": "sk-",
    "json web tokens": "eyJaaaa.",
    "joined json web tokens": "eyJ-",
    "assignments": "password=",
    "names": "password",
    "spaced names": "token  ",
    "quotes": 'password="',
    "escapes": 'password\\"',
    "backslashes": 'token:"\\',
    "schemes": "Bearer ",
    "urls": "://a:",
    "pem": "-----BEGIN PRIVATE KEY",
    "cookies": "Cookie:",
    "numbers": "123-45-",
    "slashes": "/a",
    "brackets": "[{",
    "digests": "Digest a=",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_megabyte_takes_no_longer_than_its_size_says(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    begun = time.process_time()
    redact_error(text)
    assert time.process_time() - begun < 3.0


def test_text_without_triggers_passes_at_the_speed_of_memory() -> None:
    text = "All work and no play makes a dull day. " * 27_000
    begun = time.process_time()
    for _ in range(10):
        assert redact_text(text) is text
    assert time.process_time() - begun < 2.0


_FRAGMENTS = [
    *SECRETS,
    *SECRET_WORDS,
    *FUSED_ENDINGS,
    *(f"{first}{gap}{second}" for first, second in SECRET_PAIRS for gap in ("", "_", "-", ".", " ", "__")),
    *("=", ":", " ", '"', "'", "{", "}", "[", "]", ",", "\\", "\n", "x", "9", "-", "@", "s", "\u0130", "\u212a"),
    *("123-45-6789", "Bearer ", "sk-abcdef1", "eyJabcd.abcd.", "u0070", "\\u0070assword"),
]


@given(st.lists(st.sampled_from(_FRAGMENTS), max_size=8).map("".join), st.booleans())
@settings(max_examples=500, deadline=None)
def test_a_short_look_never_passes_over_what_a_close_one_finds(text: str, upper: bool) -> None:
    text = text.upper() if upper else text
    if redact_closely(text) != text:
        assert may_hold_secret(text)
        assert may_hold_secret(json.dumps({"value": text}, ensure_ascii=False))
        assert may_hold_secret(json.dumps({"value": json.dumps([text])}, ensure_ascii=False))


@pytest.mark.parametrize(
    "name", ["dbPassword", "APIKey", "x_api_keys", "ca.bundle", "clientCert", "socialSecurity", "SSN"]
)
def test_a_short_look_sees_the_names_of_secrets(name: str) -> None:
    assert redact_data({name: "x"}) == {name: REDACTED}
    assert may_hold_secret(json.dumps({name: "x"}))
    assert may_hold_secret(json.dumps({"text": json.dumps({name: "x"})}))


def test_a_short_look_does_not_trust_what_is_nested_deeply() -> None:
    assert may_hold_secret("[" * MAX_DEPTH)


def test_a_short_look_passes_over_ordinary_events() -> None:
    text = '{"key":"main/s0#1","step_id":"s0","input_text":"The customer asked for a refund of order 12345."}'
    assert not may_hold_secret(text)
