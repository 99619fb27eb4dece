"""What a question to a model costs, by the list prices of genai-prices. Only its bundled data: nothing is fetched.

Imports the price list: load it late.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from genai_prices import calc_price
from genai_prices.types import AbstractUsage

_DIGITS = 9
"""A billionth of a dollar is below every price."""


@dataclass(frozen=True, slots=True)
class Sale:
    """Who sold what, as far as a price depends on it."""

    provider: str
    url: str | None
    models: tuple[str, ...]
    """Names of the model, the most exact one first: what the answer says, then what was asked for."""
    at: datetime | None = None
    """When; prices change. None means now."""
    details: Mapping[str, Any] | None = None
    """What else the answer says of itself (such as the service tier)."""


def list_price(usage: AbstractUsage, sale: Sale) -> float | None:
    """The price in US dollars; None when nobody knows it."""
    for model in sale.models:
        for reference in _references(sale):
            try:
                price = calc_price(
                    usage,
                    model,
                    genai_request_timestamp=sale.at,
                    price_context=dict(sale.details) if sale.details else None,
                    **reference,
                )
            except (LookupError, ValueError, TypeError, ArithmeticError):
                continue  # unknown, or told in numbers that make no sense: a price never fails a turn
            return round(float(price.total_price), _DIGITS)
    return None


def _references(sale: Sale) -> Iterable[dict[str, Any]]:
    # The address says more than the name: several providers sell the same models at prices of their own.
    if sale.url:
        yield {"provider_api_url": sale.url}
    yield {"provider_id": sale.provider}
