import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kneo_serv.tools.mcp.bounded_lines import TOO_LARGE, BoundedLines, MessageTooLargeError, instead_of


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(
    st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=8), st.lists(st.integers(0, 20))
)
def test_lines_come_out_as_they_went_in_however_they_were_cut(lines: list[bytes], sizes: list[int]) -> None:
    reader = BoundedLines(100, lambda head, tail: b"!")
    found = [line for piece in cut(b"\n".join(lines), sizes) for line in reader.feed(piece)]
    assert [*found, reader.rest()] == (lines or [b""])


@given(st.integers(0, 2_000), st.lists(st.integers(0, 700), max_size=6))
def test_a_line_over_the_bound_gives_way_whatever_its_pieces(length: int, sizes: list[int]) -> None:
    line = (b"0123456789" * 200)[:length]
    edges: list[tuple[bytes, bytes]] = []

    def instead(head: bytes, tail: bytes) -> bytes:
        edges.append((head, tail))
        return b"!"

    reader = BoundedLines(600, instead)
    found = [each for piece in cut(b"a\n" + line + b"\nz\n", sizes) for each in reader.feed(piece)]
    assert found == [b"a", line if length <= 600 else b"!", b"z"]
    assert edges == ([(line[:256], line[-256:])] if length > 600 else [])


@pytest.mark.parametrize(
    ("message", "answered"),
    [
        ({"jsonrpc": "2.0", "id": 7, "result": {"text": "x"}}, 7),
        ({"id": "a-1", "result": {}}, "a-1"),
        ({"id": 3, "jsonrpc": "2.0", "error": {"code": 1}}, 3),
        ({"jsonrpc": "2.0", "result": {"id": 5}, "id": 9}, 9),
        ({"result": {"id": 5}, "id": 9, "jsonrpc": "2.0"}, 9),
    ],
)
def test_an_answer_over_the_bound_becomes_an_error_for_who_asked(message: dict[str, object], answered: object) -> None:
    text = json.dumps(message).encode()
    told = json.loads(instead_of(text, text, 10))
    assert told["id"] == answered
    assert told["error"] == {"code": TOO_LARGE, "message": "the answer has more than 10 bytes"}


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {}},
        {"jsonrpc": "2.0", "id": 4, "method": "sampling/createMessage", "params": {}},
    ],
)
def test_what_answers_nothing_gives_way_to_nothing(message: dict[str, object]) -> None:
    text = json.dumps(message).encode()
    assert instead_of(text, text, 10) == b""


def test_an_answer_to_nobody_knows_what_is_refused_unless_the_question_is_known() -> None:
    text = b'{"result": {"id": 5, "id": 6'
    with pytest.raises(MessageTooLargeError, match="more than 10 bytes"):
        instead_of(text, text, 10)
    assert json.loads(instead_of(text, text, 10, b"12"))["id"] == 12
