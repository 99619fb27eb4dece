"""What the command line makes of services that fail, stammer, or are none; over real sockets."""

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from kneo_serv.cli.destination import Destination
from kneo_serv.cli.refusal import ServiceFault, ServiceUnreachable
from kneo_serv.cli.remote.client import ServiceClient, connected
from kneo_serv.cli.remote.retries import Retries
from kneo_serv.errors import InvalidRequestError, SettingsError
from tests.cli.scripted import NOTHING, Says, scripted

DONE = Says.json({"run_id": "run_x", "status": "completed"})
DONE_CONTENT = {"run_id": "run_x", "status": "completed"}
SECRET = "s3cret-token"


@contextlib.contextmanager
def client_of(
    url: str, *, pauses: list[float] | None = None, retries: int = 2, key: str | None = None, seconds: float = 10.0
) -> Iterator[ServiceClient]:
    """A client that sleeps on paper only."""
    destination = Destination(url, "the test", SECRET, "the test's key")
    slept = [] if pauses is None else pauses
    client = ServiceClient(
        destination,
        seconds=seconds,
        retries=Retries(retries, 1.0, lambda: 1.0),
        key=key,
        sleep=slept.append,
        now=lambda: 0.0,
    )
    try:
        yield client
    finally:
        client.close()


def fault_of(call: Callable[[], object]) -> ServiceFault:
    with pytest.raises(ServiceFault) as raised:
        call()
    assert SECRET not in f"{raised.value} {raised.value.hint} {raised.value.facts()}"
    return raised.value


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.mark.parametrize("passing", [Says.refusal(429, "rate_limited"), Says.html(502), Says.html(504), NOTHING])
def test_what_may_pass_is_tried_again_with_the_same_key(passing: Says) -> None:
    pauses: list[float] = []
    with scripted(passing, passing, DONE) as server, client_of(server.url, pauses=pauses) as client:
        assert client.write("/runs", client.new_key(), {"input": "x"}) == DONE_CONTENT
    assert pauses == [1.0, 2.0]
    assert len(set(server.keys)) == 1
    assert server.keys[0]
    assert [one.body for one in server.asked] == [{"input": "x"}] * 3
    assert {one.path for one in server.asked} == {"/v1/runs"}


def test_each_intended_write_has_a_key_of_its_own_and_reads_have_none() -> None:
    with scripted(DONE) as server, client_of(server.url) as client:
        for _ in range(2):
            client.write("/runs", client.new_key(), {})
        client.read("/runs", limit=3, status=None)
        client.look("/specs/validate", body={})
    first, second, read, look = server.keys
    assert None not in (first, second)
    assert first != second
    assert (read, look) == (None, None)
    assert server.asked[2].path == "/v1/runs?limit=3"
    assert {one.headers["Authorization"] for one in server.asked} == {f"Bearer {SECRET}"}
    assert server.asked[0].headers["User-Agent"].startswith("kneo-serv/")


def test_the_key_of_the_environment_is_that_of_every_write() -> None:
    with scripted(DONE) as server, client_of(server.url, key="mine") as client:
        client.write("/runs", client.new_key(), {})
        client.read("/runs")
    assert server.keys == ["mine", None]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
def test_what_does_not_pass_is_not_tried_again(status: int) -> None:
    pauses: list[float] = []
    with scripted(Says.refusal(status, "some_code", "Why.", fact=1)) as server:
        with client_of(server.url, pauses=pauses) as client:
            fault = fault_of(lambda: client.read("/runs"))
        assert (fault.wire_code, fault.message, fault.facts()) == ("some_code", "Why.", {"fact": 1})
        assert len(server.asked) == 1
    assert pauses == []


def test_the_last_attempt_tells_why() -> None:
    with scripted(Says.refusal(503, "queue_full", "9 runs are waiting.", queue_depth=9)) as server:
        with client_of(server.url) as client:
            fault = fault_of(lambda: client.write("/runs", client.new_key()))
        assert (fault.wire_code, fault.facts()) == ("queue_full", {"queue_depth": 9})
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("header", "pause"), [("7", 7.0), ("Thu, 01 Jan 1970 00:00:09 GMT", 9.0), ("nonsense", 1.0), ("0", 1.0)]
)
def test_the_pause_that_the_service_asks_for_is_made(header: str, pause: float) -> None:
    pauses: list[float] = []
    busy = Says.refusal(503, "queue_full", headers={"Retry-After": header})
    with scripted(busy, DONE) as server, client_of(server.url, pauses=pauses) as client:
        client.read("/runs")
    assert pauses == [pause]


def test_who_is_asked_to_wait_too_long_is_told_so() -> None:
    pauses: list[float] = []
    busy = Says.refusal(429, "rate_limited", headers={"Retry-After": "3600"})
    with scripted(busy) as server, client_of(server.url, pauses=pauses) as client:
        fault = fault_of(lambda: client.read("/runs"))
    assert (pauses, fault.facts()["retry_after"]) == ([], 3600.0)
    assert "3600 seconds" in (fault.hint or "")


def test_the_same_request_at_work_is_asked_for_until_it_has_an_answer() -> None:
    pauses: list[float] = []
    busy = Says.refusal(409, "idempotency_key_in_progress", headers={"Retry-After": "2"})
    with scripted(*[busy] * 5, DONE) as server, client_of(server.url, pauses=pauses, retries=0) as client:
        assert client.write("/runs", client.new_key()) == DONE_CONTENT
        assert len(set(server.keys)) == 1
        server.answers[:] = [busy]
        assert client.attached("/runs", "key") is None
    assert pauses == [2.0] * 5


def test_a_refusal_of_the_key_says_where_the_key_is_from() -> None:
    with scripted(Says.refusal(401, "unauthorized"), Says.refusal(403, "forbidden", required_scope="runs:write")) as to:
        with client_of(to.url) as client:
            unknown, weak = fault_of(lambda: client.read("/runs")), fault_of(lambda: client.read("/runs"))
        assert unknown.facts()["key_source"] == "the test's key"
        assert "the test's key" in (unknown.hint or "")
        assert "runs:write" in (weak.hint or "")
        to.answers[:] = [Says.refusal(401, "unauthorized")]
        nobody = ServiceClient(Destination(to.url, "the test"), seconds=5, retries=Retries(0, 1, lambda: 1.0))
        assert "KNEO_SERV_API_KEY" in (fault_of(lambda: nobody.read("/runs")).hint or "")
        nobody.close()
        assert "Authorization" not in to.asked[-1].headers


def test_a_misshapen_request_is_told_by_its_places() -> None:
    faults = [{"loc": ["body", "input"], "msg": "Too long", "type": "x"}, {"loc": ["query", "limit"], "msg": "Too big"}]
    with scripted(Says.json({"detail": faults}, 422)) as server, client_of(server.url) as client:
        fault = fault_of(lambda: client.look("/specs/validate", body={}))
    assert "body.input: Too long; query.limit: Too big." in fault.message
    assert fault.facts() == {"errors": faults}


@pytest.mark.parametrize(
    "strange",
    [
        Says.html(200), Says.html(404), Says.json(["a", "list"]), Says.json({"detail": "Not Found"}, 404),
        Says.json({"detail": {"error": 3, "message": None}}, 400), Says(200, b"", {}), Says(400, b"\xff\xfe", {}),
        Says.json({"detail": ["text", None]}, 418),
    ],
)  # fmt: skip
def test_what_is_no_service_is_told_from_one(strange: Says) -> None:
    with scripted(strange) as server, client_of(server.url) as client:
        fault = fault_of(lambda: client.read("/runs"))
    assert isinstance(fault, ServiceUnreachable)
    assert fault.wire_code == "not_a_service"
    assert server.url in fault.message
    assert "the test" in fault.message


def test_an_answer_without_what_it_has_to_hold_is_that_of_another_program() -> None:
    with scripted(Says.json({"ok": True})) as server, client_of(server.url) as client:
        for call in (lambda: client.read("/runs", "runs"), lambda: client.write("/runs", "key")):
            assert fault_of(call).wire_code == "not_a_service"


def test_a_proxy_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "nonsense://somewhere")
    with pytest.raises(InvalidRequestError, match=r"cannot be called: .*nonsense"):
        client_of("http://kneo.example.com").__enter__()


def test_a_proxy_that_answers_instead_is_told_from_the_service() -> None:
    with scripted(Says.html(502)) as server, client_of(server.url) as client:
        fault = fault_of(lambda: client.read("/runs"))
    assert fault.wire_code == "service_unreachable"
    assert "502 Bad Gateway (text/html)" in fault.message


def test_a_key_is_not_taken_along_to_another_address() -> None:
    with scripted(DONE) as other:
        elsewhere = Says(307, b"", {"Location": f"{other.url}/v1/runs"})
        with scripted(elsewhere) as server, client_of(server.url) as client:
            fault = fault_of(lambda: client.write("/runs", "key"))
        assert other.asked == []
    assert fault.wire_code == "not_a_service"
    assert f"{other.url}/v1/runs" in fault.message


def test_nobody_at_home_is_told_with_the_address_and_the_mend() -> None:
    pauses: list[float] = []
    url = f"http://127.0.0.1:{free_port()}"
    with client_of(url, pauses=pauses) as client:
        fault = fault_of(lambda: client.read("/runs"))
    assert pauses == [1.0, 2.0]
    assert fault.wire_code == "service_unreachable"
    assert fault.facts() == {"url": url, "source": "the test"}
    assert "Connection refused" in fault.message
    assert "kneo service serve" in (fault.hint or "")


def test_a_name_that_nobody_has_is_told() -> None:
    with client_of("http://nowhere.invalid", retries=0) as client:
        assert "nowhere.invalid" in fault_of(lambda: client.read("/runs")).message


def test_a_service_that_never_answers_is_given_up_after_the_time_that_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with client_of(url, retries=0, seconds=0.2) as client:
            fault = fault_of(lambda: client.read("/runs"))
    assert "did not answer within 0.2 seconds" in fault.message
    assert "KNEO_SERV_CLIENT_TIMEOUT" in (fault.hint or "")


def test_tls_where_there_is_none_is_told_and_not_tried_again() -> None:
    pauses: list[float] = []
    with scripted(DONE) as server, client_of(server.url.replace("http:", "https:"), pauses=pauses) as client:
        fault = fault_of(lambda: client.read("/runs"))
    assert "TLS failed" in fault.message
    assert pauses == []


def test_both_names_of_a_service_lead_to_it() -> None:
    for more in ("", "/v1", "/behind/v1"):
        with scripted(DONE) as server, client_of(server.url + more) as client:
            client.read("/runs")
        assert server.asked[0].path == f"{more.removesuffix('/v1')}/v1/runs"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TIMEOUT", "0"), ("TIMEOUT", "abc"), ("RETRIES", "-1"), ("RETRIES", "1.5"),
        ("RETRY_BACKOFF_SECONDS", "0"), ("RETRY_BACKOFF_SECONDS", "nan"),
    ],
)  # fmt: skip
def test_a_variable_that_cannot_be_used_is_named(name: str, text: str) -> None:
    environ = {f"KNEO_SERV_CLIENT_{name}": text}
    with pytest.raises(SettingsError, match=f"KNEO_SERV_CLIENT_{name}"):
        connected(Destination("http://h", "the test"), environ).__enter__()


@pytest.mark.parametrize("key", ["x" * 257, "a b", "a\nb", "ü"])
def test_an_idempotency_key_that_cannot_be_sent_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequestError, match="KNEO_SERV_IDEMPOTENCY_KEY"):
        connected(Destination("http://h", "the test"), {"KNEO_SERV_IDEMPOTENCY_KEY": key}).__enter__()


def test_the_variables_say_how_often_and_with_which_key() -> None:
    environ = {
        "KNEO_SERV_CLIENT_RETRIES": "4", "KNEO_SERV_CLIENT_RETRY_BACKOFF_SECONDS": "0.001",
        "KNEO_SERV_IDEMPOTENCY_KEY": "mine",
    }  # fmt: skip
    with scripted(Says.html(503)) as server, connected(Destination(server.url, "the test"), environ) as client:
        fault_of(lambda: client.write("/runs", client.new_key()))
    assert server.keys == ["mine"] * 5
