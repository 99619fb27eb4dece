"""Server-sent events are read as they were written, however they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kneo_serv.cli.remote.server_events import ServerEvent, server_events
from kneo_serv.service import sse


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    """The body in pieces that end anywhere."""
    marks = sorted({place % (len(whole) + 1) for place in places})
    return [whole[start:end] for start, end in zip([0, *marks], [*marks, len(whole)], strict=True)]


@given(st.text(), st.lists(st.integers(min_value=0), max_size=8))
def test_what_a_service_tells_is_read_whole_wherever_the_pieces_end(text: str, places: list[int]) -> None:
    body = sse.opening(2000) + sse.event({"text": text}, name="told", id="4.1") + sse.heartbeat("7")
    opening, event, alive = server_events(cut(body, places))
    assert opening == ServerEvent("", "", None, 2000)
    assert (event.name, event.id, event.retry) == ("told", "4.1", None)
    assert event.data.encode() == sse.event({"text": text}, name="x").partition(b"data: ")[2].rstrip(b"\n")
    assert alive == ServerEvent("", "", "7", None)


def test_signs_that_only_look_like_line_ends_stay_in_their_text() -> None:
    (event,) = server_events([b'event: told\r\ndata: "a\xe2\x80\xa8b\xc2\x85c\x0bd"\r\n\r\n'])
    assert event.data == '"a\u2028b\x85c\x0bd"'


def test_data_of_several_lines_is_one_text_and_unknown_fields_are_passed_over() -> None:
    told = list(server_events([b": alive\n\ndata: a\nnonsense\nsecret: x\ndata:b\nretry: soon\n\ndata: cut o"]))
    assert told == [ServerEvent("", "a\nb", None, None)]


def test_an_event_that_never_ends_is_given_up() -> None:
    with pytest.raises(ValueError, match="too long"):
        list(server_events(b"x" * 1_000_000 for _ in range(100)))
