import socket
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from genai_prices import Usage

from kneo_serv.runtime.prices import Sale, list_price

MILLION = Usage(input_tokens=1_000_000)
OPENAI = Sale("openai", None, ("gpt-4o-mini",), at=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_known_model_costs_its_list_price() -> None:
    assert list_price(MILLION, OPENAI) == 0.15
    assert list_price(Usage(output_tokens=1_000_000), OPENAI) == 0.6


def test_tokens_from_a_cache_cost_what_the_provider_takes_for_them() -> None:
    assert list_price(Usage(input_tokens=1_000_000, cache_read_tokens=1_000_000), OPENAI) == 0.075


def test_the_name_that_was_asked_for_stands_in_for_one_that_nobody_knows() -> None:
    assert list_price(MILLION, replace(OPENAI, models=("my-deployment", "gpt-4o-mini"))) == 0.15


def test_the_address_says_more_than_the_name() -> None:
    sale = Sale("openai", "https://api.groq.com/openai/v1", ("llama-3.3-70b-versatile",))

    assert list_price(MILLION, sale) == list_price(MILLION, replace(sale, provider="groq", url=None))


@pytest.mark.parametrize(
    ("usage", "sale"),
    [
        (MILLION, replace(OPENAI, models=("nobody-sells-this",))),
        (MILLION, replace(OPENAI, provider="nobody")),
        (MILLION, replace(OPENAI, models=())),
        (Usage(input_tokens=1, cache_read_tokens=5), OPENAI),
    ],
)
def test_what_nobody_knows_the_price_of_has_none(usage: Usage, sale: Sale) -> None:
    assert list_price(usage, sale) is None


def test_prices_are_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("somebody wants to go online")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert list_price(MILLION, OPENAI) == 0.15
