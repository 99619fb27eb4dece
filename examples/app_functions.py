"""The function and the tools of research_agent.yaml.

A function step takes the text that flows and returns the text that goes on. A tool takes the arguments that the model
chose, as its JSON Schema in the spec describes them, and returns what the model reads. The tools answer without a
network, so that the example is the same everywhere; put your search engine and your reader in their place.
"""

from typing import Any


def compress_history(text: str) -> str:
    """The text in one line without repeated blanks, marked as compressed."""
    return f"[compressed] {' '.join(text.split())}"


def web_search(args: dict[str, Any]) -> str:
    """What a search engine found for `query`."""
    return f"Search result for: {args['query']}"


def webpage_reader(args: dict[str, Any]) -> str:
    """What stands on the page at `url`."""
    return f"Page content from: {args['url']}"


def summarize(args: dict[str, Any]) -> str:
    """The heart of `text`."""
    return f"Summary: {args['text']}"
