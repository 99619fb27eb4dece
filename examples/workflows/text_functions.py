"""The functions of these examples: text in, text out, always the same answer, harmless to repeat.

One is a tool: arguments in, text out.
"""

import json
from collections.abc import Mapping
from typing import Any

REJECTED = "Rejected by human reviewer:"
"""How the text begins that goes on after a rejection."""


def tidy(text: str) -> str:
    """The text in one line, without blanks at its ends."""
    return " ".join(text.split())


def draft(text: str) -> str:
    """A first draft."""
    return f"Draft 1: {text}"


def improve(text: str) -> str:
    """The next draft of a draft."""
    head, _, topic = text.partition(": ")
    number = head.removeprefix("Draft ")
    return f"Draft {int(number) + 1}: {topic}" if number.isdigit() else draft(text)


def publish(text: str) -> str:
    """What everything was done for. A rejection is passed on with its reason, and not published."""
    return f"Not published. {text}" if text.startswith(REJECTED) else f"Published: {text}"


def count_words(text: str) -> str:
    """How long the text is."""
    number = len(text.split())
    return f"{number} word{'' if number == 1 else 's'}"


def check_tone(text: str) -> str:
    """Whether the text shouts."""
    return "too loud" if "!" in text else "calm"


def sum_up(texts: str) -> str:
    """One line of the texts of all branches, which come as a JSON list (or as an object by branch)."""
    found = json.loads(texts)
    return " | ".join(str(text) for text in (found.values() if isinstance(found, dict) else found))


def split(text: str) -> str:
    """The parts of a text with commas, as a JSON list."""
    return json.dumps([part.strip() for part in text.split(",") if part.strip()])


def triage(text: str) -> str:
    """The desk that a request belongs to, before the request."""
    return f"[{'billing' if 'invoice' in text.lower() else 'support'}] {text}"


def solve(text: str) -> str:
    """A solution behind the request."""
    return f"{text} -> solved"


def close(text: str) -> str:
    """The request with its last word."""
    return f"{text}. Closed."


def offer(text: str) -> str:
    """A lower price with each turn."""
    price = _price(text)
    return f"I offer {price}." if price <= 80 else f"I offer {price - 10}."


def haggle(text: str) -> str:
    """Agrees to 80, and to nothing above."""
    return f"Agreed: {_price(text)}." if _price(text) <= 80 else f"{_price(text)} is too much."


def search_archive(arguments: Mapping[str, Any]) -> str:
    """What the archive has about a query: the handler of a tool, which gets its arguments as a mapping."""
    return f"2 pages about: {arguments['query']}"


def _price(text: str) -> int:
    """The last number in the text, or else 110."""
    numbers = [int(word) for word in text.replace(".", " ").replace(":", " ").split() if word.isdigit()]
    return numbers[-1] if numbers else 110
