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
class Asked:
    """Who was asked, as far as a price depends on it."""

    provider: str
    url: str | None
    models: tuple[str, ...]
    """Names of the model, the most exact one first: what the answer says, then what was asked for."""
    at: datetime | None = None
    """When; prices change. None means now."""
    details: Mapping[str, Any] | None = None
    """What else the answer says of itself (such as the service tier)."""


def list_price(usage: AbstractUsage, asked: Asked) -> float | None:
    """The price in US dollars; None when nobody knows it."""
    for model in asked.models:
        for reference in _references(asked):
            try:
                price = calc_price(
                    usage,
                    model,
                    genai_request_timestamp=asked.at,
                    price_context=dict(asked.details) if asked.details else None,
                    **reference,
                )
            except (LookupError, ValueError):
                continue
            return round(float(price.total_price), _DIGITS)
    return None


def _references(asked: Asked) -> Iterable[dict[str, Any]]:
    # The address says more than the name: several providers sell the same models at prices of their own.
    if asked.url:
        yield {"provider_api_url": asked.url}
    yield {"provider_id": asked.provider}
