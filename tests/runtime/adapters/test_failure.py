from typing import Any

import pytest

from kneo_serv.errors import ProviderError, ToolPolicyViolation
from kneo_serv.runtime.adapters.failure import translated


class HTTPError(Exception):
    def __init__(self, text: str, **fields: Any) -> None:
        super().__init__(text)
        self.__dict__.update(fields)


class Response:
    status_code = 503


def told(error: BaseException, *, cause: BaseException | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught, translated("shop.agent"):
        raise error from cause
    assert caught.value.__suppress_context__
    return caught.value


@pytest.mark.parametrize(
    ("error", "status", "transient"),
    [
        (HTTPError("key canary-1", status_code=401), 401, False),
        (HTTPError("key canary-1", status_code=429), 429, True),
        (HTTPError("key canary-1", response=Response()), 503, True),
        (HTTPError("key canary-1", response={"ResponseMetadata": {"HTTPStatusCode": 403}}), 403, False),
        (HTTPError("key canary-1", status=502), 502, True),
    ],
)
def test_what_a_server_said_is_left_out_and_its_status_told(error: Exception, status: int, transient: bool) -> None:
    problem = told(error)

    assert problem.message == f"Adapter 'shop.agent' failed: HTTPError (HTTP {status})."
    assert problem.transient is transient


def test_the_words_of_a_server_are_left_out_of_errors_that_wrap_them() -> None:
    inner = HTTPError("key canary-1", status_code=401)

    assert told(RuntimeError(f"model failed: {inner}"), cause=inner).message == (
        "Adapter 'shop.agent' failed: RuntimeError (HTTP 401)."
    )


def test_a_code_that_is_no_status_is_no_status() -> None:
    assert told(HTTPError("no tea", code=404)).message == "Adapter 'shop.agent' failed: HTTPError: no tea"


@pytest.mark.parametrize("error", [ConnectionResetError("peer"), TimeoutError("late")])
def test_a_lost_connection_may_pass(error: Exception) -> None:
    problem = told(error)

    assert problem.message == f"Adapter 'shop.agent' failed: {type(error).__name__} (the connection failed)."
    assert problem.transient


def test_other_texts_are_cut_and_known_shapes_of_secrets_masked() -> None:
    problem = told(ValueError("no tea\nwith Authorization: Bearer sk-abcdef123456 at /home/me/shop.py " + "x" * 500))

    assert "sk-abcdef123456" not in problem.message
    assert "/home/me" not in problem.message
    assert problem.message.startswith("Adapter 'shop.agent' failed: ValueError: no tea with")
    assert problem.message.endswith("xxx...")
    assert len(problem.message) < 400


def test_an_error_without_a_text_is_told_by_its_type() -> None:
    assert told(KeyError()).message == "Adapter 'shop.agent' failed: KeyError"


def test_errors_of_the_platform_and_cancellation_pass() -> None:
    for error in (ToolPolicyViolation("denied", tool_name="shell"), KeyboardInterrupt(), GeneratorExit()):
        with pytest.raises(type(error)) as caught, translated("shop.agent"):
            raise error
        assert caught.value is error


class Stopped(Exception):
    pass


@pytest.mark.parametrize(("bound", "said"), [(3, "asked its model 3 times"), (None, "Stopped: full")])
def test_the_stop_of_a_foreign_loop_names_the_setting_where_we_set_it(bound: int | None, said: str) -> None:
    with pytest.raises(ProviderError, match=said), translated("shop.agent", stop=Stopped, bound=bound):
        raise Stopped("full")
