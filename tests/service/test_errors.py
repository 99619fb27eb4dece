import pytest

from kneo_serv.errors import (
    InvalidRequestError,
    KneoError,
    NotFoundError,
    PlatformClosedError,
    QueueFullError,
    StoreError,
)
from kneo_serv.service.errors import RETRY_AFTER, STATUS, RequestRefused, answer_to, code_of


def test_every_code_that_asks_for_patience_is_one_that_can_be_told() -> None:
    assert set(RETRY_AFTER) <= set(STATUS)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequestError("x"), 400, "invalid_request"),
        (NotFoundError("run", "run_1"), 404, "not_found"),
        (QueueFullError(depth=3, limit=3), 503, "queue_full"),
        (StoreError("x"), 503, "store_unavailable"),
        (PlatformClosedError("x"), 503, "store_unavailable"),
        (RequestRefused("payload_too_large", "x"), 413, "payload_too_large"),
        (KneoError("x"), 500, "internal_error"),
        (RequestRefused("something_new", "x"), 500, "internal_error"),
    ],
)
def test_an_error_is_told_by_its_status_and_code(error: KneoError, status: int, code: str) -> None:
    answer = answer_to(error)
    assert answer.status_code == status
    assert code_of(error) == code
    assert f'"error":"{code}"'.encode() in bytes(answer.body)


def test_facts_stand_beside_code_and_message() -> None:
    answer = answer_to(QueueFullError(depth=3, limit=2))
    assert b'"queue_depth":3' in bytes(answer.body) or b'"depth":3' in bytes(answer.body)
    assert answer.headers["retry-after"] == "5"


def test_what_is_our_own_fault_says_nothing() -> None:
    assert b"hunter2" not in bytes(answer_to(KneoError("password hunter2 of the database")).body)


def test_no_answer_names_a_path_of_the_machine() -> None:
    body = bytes(answer_to(StoreError("The database /srv/kneo/runs.sqlite cannot be opened.")).body)
    assert b"/srv" not in body
