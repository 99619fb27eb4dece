"""The functions and tools of the research example answer as its spec says."""

from examples import app_functions


def test_compressing_leaves_one_line_without_repeated_blanks() -> None:
    assert app_functions.compress_history("What is\n\n  new   at work?\t") == "[compressed] What is new at work?"


def test_tools_answer_from_the_argument_that_their_schema_requires() -> None:
    assert app_functions.web_search({"query": "Nvidia strategy"}) == "Search result for: Nvidia strategy"
    assert app_functions.webpage_reader({"url": "https://example.com"}) == "Page content from: https://example.com"
    assert app_functions.summarize({"text": "a long text"}) == "Summary: a long text"
