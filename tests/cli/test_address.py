import pytest

from kneo_serv.cli.address import checked_address, tells_everybody
from kneo_serv.errors import InvalidRequestError


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("  https://kneo.example.com/  ", "https://kneo.example.com"),
        ("https://example.com/kneo/v1/", "https://example.com/kneo/v1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_address_is_kept_without_the_slash_at_its_end(given: str, kept: str) -> None:
    assert checked_address(given, source="the test") == kept


@pytest.mark.parametrize(
    "given",
    [
        "", "notaurl", "localhost:8000", "ftp://host", "http://", "http://:80", "http://a:b", "http://a:99999",
        "http://host:0", "http://ho st", "http://host/?q=1", "http://host/#top", "http://[::1", "http://host/\x1b[2J",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_its_source(given: str) -> None:
    with pytest.raises(InvalidRequestError, match="the test"):
        checked_address(given, source="the test")


@pytest.mark.parametrize("given", ["http://me:s3cret@host", "https://s3cret@host", "http://:s3cret@host"])
def test_a_password_in_an_address_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        checked_address(given, source="the test")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "open_to_all"),
    [
        ("http://kneo.example.com", True), ("http://192.0.2.7:8000", True), ("https://kneo.example.com", False),
        ("http://127.0.0.2:8000", False), ("http://localhost", False), ("http://[::1]:1", False),
        ("http://localhost.example.com", True),
    ],
)  # fmt: skip
def test_without_tls_another_machine_means_that_everybody_listens(address: str, open_to_all: bool) -> None:
    assert tells_everybody(address) is open_to_all
