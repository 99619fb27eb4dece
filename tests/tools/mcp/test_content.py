from typing import Any

import pytest

from kneo_serv.errors import ToolError
from kneo_serv.tools.mcp.content import answer_text


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"content": [text("one"), text("two")]}, "one\ntwo"),
        ({"content": [text("one")], "structuredContent": {"a": 1}}, "one"),
        ({"content": [], "structuredContent": {"a": "ü"}}, '{"a": "ü"}'),
        ({"content": [], "structuredContent": [1, 2]}, "[1, 2]"),
        ({"content": []}, ""),
        ({"content": [{"type": "image", "mimeType": "image/png", "data": "AAAA"}]}, "[image image/png, 3 bytes]"),
        ({"content": [{"type": "audio", "mimeType": "audio/wav", "data": "AAA="}]}, "[audio audio/wav, 2 bytes]"),
        ({"content": [{"type": "resource_link", "uri": "f:/a", "mimeType": "text/csv"}]}, "[resource f:/a, text/csv]"),
        ({"content": [{"type": "resource", "resource": {"uri": "a:b", "text": "hi"}}]}, "[resource a:b]\nhi"),
        ({"content": [{"type": "resource", "resource": {"uri": "a:b", "blob": "AA=="}}]}, "[resource a:b, 1 bytes]"),
        ({"content": [{"type": "hologram"}]}, "[hologram]"),
        (
            {"content": [{"type": "image", "mimeType": "image/png", "data": ""}], "structuredContent": {"w": 1}},
            '{"w": 1}\n[image image/png, 0 bytes]',
        ),
    ],
)  # fmt: skip
def test_a_result_is_text_and_what_is_none_is_noted(result: dict[str, Any], expected: str) -> None:
    assert answer_text(result, "t") == expected


def test_a_failure_is_told_in_the_tools_own_words_and_cut() -> None:
    with pytest.raises(ToolError, match=r"^no such file$"):
        answer_text({"content": [text("no such file")], "isError": True}, "t")
    with pytest.raises(ToolError, match="Tool 't' failed and gave no reason"):
        answer_text({"content": [], "isError": True}, "t")
    with pytest.raises(ToolError) as caught:
        answer_text({"content": [text("x" * 50_000)], "isError": True}, "t")
    assert len(str(caught.value)) == 2_003
